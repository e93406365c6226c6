// SPDX-License-Identifier: GPL-2.0
//
// Named memory objects (OBJRMAP_IOC_OBJECT): names, owners, shared and private views, lifetime, truncation.
#include <sys/fsuid.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

// A name of this process's own, so that cases never meet.
static std::string own_name(const char* suffix = "") { return "case-" + std::to_string(getpgrp()) + suffix; }

static int bound(const std::string& name, uint64_t size, unsigned flags) {
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, name, size, flags));
    return fd;
}

CASE(object_create_open_excl) {
    need_module();
    const std::string name = own_name();
    const int fd = device();
    CHECK_FAILS(objr::bind_object(fd, name, 4 * kPage, OBJRMAP_SHARED), ENOENT);
    CHECK_FAILS(objr::bind_object(fd, name, 0, OBJRMAP_SHARED), ENOENT);
    CHECK_OK(objr::bind_object(fd, name, 4 * kPage, OBJRMAP_CREATE | OBJRMAP_EXCL));
    CHECK_FAILS(objr::bind_object(fd, name, 4 * kPage, OBJRMAP_SHARED), EBUSY);
    const int second = device();
    CHECK_FAILS(objr::bind_object(second, name, 4 * kPage, OBJRMAP_CREATE | OBJRMAP_EXCL), EEXIST);
    CHECK_FAILS(objr::bind_object(second, name, 5 * kPage, OBJRMAP_SHARED), EINVAL);
    CHECK_FAILS(objr::bind_object(second, name, 5 * kPage, OBJRMAP_CREATE), EINVAL);
    CHECK_OK(objr::bind_object(second, name, 0, OBJRMAP_SHARED));
    const int third = device();
    CHECK_OK(objr::bind_object(third, name, 4 * kPage, OBJRMAP_CREATE));
    const int fourth = device();
    CHECK_FAILS(objr::bind_object(fourth, own_name("-new"), 0, OBJRMAP_CREATE), EINVAL);
    CHECK_EQ(objr::stat("file_mappings"), 1u);
}

CASE(object_bad_names_and_flags) {
    need_module();
    const int fd = device();
    for (const char* name : {"", "a/b", "/", "a b", " ", "tab\there", "line\nbreak", "bell\a", "\x7f"})
        CHECK_FAILS(objr::bind_object(fd, name, kPage, OBJRMAP_CREATE), EINVAL);
    objrmap_object request{};
    memset(request.name, 'x', sizeof(request.name)); // no terminator
    request.size = kPage;
    request.flags = OBJRMAP_CREATE;
    CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_OBJECT, &request), EINVAL);
    memset(&request, 0, sizeof(request));
    strcpy(request.name, "flags");
    request.size = kPage;
    for (const unsigned flags : {8u, 0x80000000u, ~0u, OBJRMAP_EXCL}) {
        request.flags = flags;
        CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_OBJECT, &request), flags == OBJRMAP_EXCL ? errno : EINVAL);
    }
    request.flags = OBJRMAP_CREATE;
    request.reserved = 1;
    CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_OBJECT, &request), EINVAL);
    request.reserved = 0;
    for (const uint64_t size : {~uint64_t{0}, ~uint64_t{0} - 4095, uint64_t{1} << 63}) {
        request.size = size;
        CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_OBJECT, &request), EINVAL);
    }
    CHECK_EQ(objr::stat("file_mappings"), 0u);
    request.size = 2 * kPage; // and the descriptor is still good
    CHECK_OK(ioctl(fd, OBJRMAP_IOC_OBJECT, &request));
    // The longest name there is.
    objrmap_object longest{};
    memset(longest.name, 'n', sizeof(longest.name) - 1);
    longest.size = kPage;
    longest.flags = OBJRMAP_CREATE;
    CHECK_OK(ioctl(device(), OBJRMAP_IOC_OBJECT, &longest));
}

CASE(object_bind_comes_before_mmap) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 1);
    CHECK_FAILS(objr::bind_object(fd, own_name(), kPage, OBJRMAP_CREATE), EBUSY);
    CHECK_OK(munmap(memory, kPage));
    CHECK_FAILS(objr::bind_object(fd, own_name(), kPage, OBJRMAP_CREATE), EBUSY); // "once, before the first mmap"
}

CASE(object_of_another_user_is_refused) {
    need_module();
    need_root();
    const int owner = bound(own_name("-root"), kPage, OBJRMAP_CREATE);
    map_pages(owner, 1);
    const int fd = device(), own = device(); // opened as root: the node's mode is another matter
    in_child([&] {
        CHECK_OK(setegid(65534));
        CHECK_OK(seteuid(65534));
        CHECK_FAILS(objr::open_device(), EACCES);
        CHECK_FAILS(objr::bind_object(fd, own_name("-root"), kPage, OBJRMAP_SHARED), EACCES);
        CHECK_FAILS(objr::bind_object(fd, own_name("-root"), kPage, OBJRMAP_PRIVATE), EACCES);
        CHECK_FAILS(objr::bind_object(fd, own_name("-root"), kPage, OBJRMAP_CREATE), EACCES);
        CHECK_OK(objr::bind_object(own, own_name("-nobody"), kPage, OBJRMAP_CREATE));
        fill(map_pages(own, 1), 3);
        CHECK_OK(seteuid(0));
        const int again = device();
        CHECK_OK(seteuid(65534));
        CHECK_OK(objr::bind_object(again, own_name("-nobody"), 0, OBJRMAP_SHARED)); // the owner himself
        CHECK_OK(seteuid(0));
        CHECK_OK(setegid(0));
        const int root = device();
        CHECK_OK(objr::bind_object(root, own_name("-nobody"), 0, OBJRMAP_SHARED)); // and root
        CHECK(holds(map_pages(root, 1), 3));
    });
    CHECK_OK(objr::bind_object(fd, own_name("-root"), kPage, OBJRMAP_SHARED)); // a refusal left it unbound
}

CASE(object_shared_writes_are_seen_by_all) {
    const std::string name = own_name();
    // Three processes that are no relatives of each other's mappings, at different addresses.
    Actor one([&](Actor& self) {
        const int fd = bound(name, 8 * kPage, OBJRMAP_CREATE);
        void* memory = map_pages(fd, 8);
        fill(memory, 1);
        self.pause();
        CHECK(holds(at(memory, 1), 2));
        CHECK(holds(at(memory, 7), 3));
        fill(memory, 11);
        self.pause();
    });
    one.await();
    Actor two([&](Actor& self) {
        map_pages(device(), 100); // so that the address differs
        const int fd = bound(name, 0, OBJRMAP_SHARED);
        void* memory = map_pages(fd, 8);
        CHECK(holds(memory, 1));
        fill(at(memory, 1), 2);
        self.pause();
        CHECK(holds(memory, 11));
    });
    two.await();
    Actor three([&](Actor& self) {
        const int fd = bound(name, 8 * kPage, OBJRMAP_SHARED);
        void* memory = map_pages(fd, 2, PROT_READ | PROT_WRITE, 6); // a window
        CHECK(holds(memory, 0));
        fill(at(memory, 1), 3);
        in_child([&] { CHECK(holds(at(memory, 1), 3)); });
        self.pause();
    });
    three.await();
    one.step();
    two.finish();
    three.finish();
    one.finish();
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(object_shared_over_fork) {
    const std::string name = own_name();
    const int fd = bound(name, 4 * kPage, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    in_child([&] {
        CHECK(holds(memory, 1));
        fill(memory, 2);
        fill(at(memory, 3), 4);
    });
    CHECK(holds(memory, 2)); // no copy-on-write here
    CHECK(holds(at(memory, 3), 4));
    CHECK_OK(mprotect(memory, kPage, PROT_READ));
    in_child([&] {
        CHECK_EQ(write_signal(memory), SIGSEGV);
        CHECK_OK(mprotect(memory, kPage, PROT_READ | PROT_WRITE));
        fill(memory, 5);
    });
    CHECK(holds(memory, 5));
    CHECK_OK(munmap(at(memory, 1), kPage));
    CHECK(holds(at(memory, 3), 4));
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(U2_object_private_view) {
    const std::string name = own_name();
    const int shared_fd = bound(name, 4 * kPage, OBJRMAP_CREATE);
    void* shared = map_pages(shared_fd, 4);
    for (size_t page = 0; page < 4; ++page)
        fill(at(shared, page), page + 1);
    const int private_fd = bound(name, 0, OBJRMAP_PRIVATE);
    void* mine = map_pages(private_fd, 4);
    void* other = map_pages(private_fd, 4); // a second private view: its own copies
    for (size_t page = 0; page < 4; ++page)
        CHECK(holds(at(mine, page), page + 1));
    fill(mine, 100);
    CHECK(holds(shared, 1));
    CHECK(holds(other, 1));
    fill(at(shared, 1), 22); // not copied yet: seen
    CHECK(holds(at(mine, 1), 22));
    fill(shared, 21); // copied: not seen
    CHECK(holds(mine, 100));
    CHECK(holds(other, 21));
    in_child([&] {
        CHECK(holds(mine, 100));
        fill(mine, 200);
        fill(at(mine, 2), 203);
        CHECK(holds(at(shared, 2), 3));
    });
    CHECK(holds(mine, 100));
    CHECK(holds(at(mine, 2), 3));
    CHECK_OK(munmap(shared, 4 * kPage));
    CHECK(holds(mine, 100));
    CHECK(holds(at(mine, 3), 4));
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(object_lives_until_the_last_user) {
    need_module();
    const std::string name = own_name();
    int fd = bound(name, 4 * kPage, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    CHECK_OK(close(fd)); // the mapping keeps it
    fd = bound(name, 0, OBJRMAP_SHARED);
    CHECK_OK(munmap(memory, 4 * kPage)); // the descriptor keeps it
    memory = map_pages(fd, 4);
    CHECK(holds(memory, 1));
    CHECK_OK(munmap(memory, 4 * kPage));
    // A child's mapping keeps it when all else is gone.
    memory = map_pages(fd, 4);
    Actor child([&](Actor& self) {
        close(fd);
        self.pause();
    });
    child.await();
    CHECK_OK(munmap(memory, 4 * kPage));
    CHECK_OK(close(fd));
    fd = bound(name, 0, OBJRMAP_SHARED);
    memory = map_pages(fd, 4);
    CHECK(holds(memory, 1));
    child.finish();
    CHECK_OK(munmap(memory, 4 * kPage));
    CHECK_OK(close(fd));
    CHECK(becomes([] { return objr::stat("file_mappings") == 0; }));
    fd = device();
    CHECK_FAILS(objr::bind_object(fd, name, 0, OBJRMAP_SHARED), ENOENT);
    CHECK_OK(objr::bind_object(fd, name, 2 * kPage, OBJRMAP_CREATE | OBJRMAP_EXCL)); // any size: it is a new one
    memory = map_pages(fd, 2);
    CHECK(holds(memory, 0));
}

CASE(object_beyond_the_end) {
    const std::string name = own_name();
    const int fd = bound(name, 3 * kPage, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 6);
    fill(at(memory, 2), 1);
    CHECK_EQ(read_signal(at(memory, 3)), SIGBUS);
    CHECK_EQ(write_signal(at(memory, 5)), SIGBUS);
    CHECK(holds(at(memory, 2), 1));
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(object_size_is_rounded_up) {
    need_module();
    const int fd = bound(own_name(), kPage + 1, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 3);
    fill(at(memory, 1), 1);
    CHECK_EQ(read_signal(at(memory, 2)), SIGBUS);
    CHECK_OK(objr::bind_object(device(), own_name(), 2 * kPage, OBJRMAP_SHARED));
}

CASE(U6_object_truncate_cuts_every_sharer) {
    const std::string name = own_name();
    const int fd = bound(name, 8 * kPage, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    Actor sharer([&](Actor& self) {
        const int own = bound(name, 0, OBJRMAP_SHARED);
        void* view = map_pages(own, 8);
        CHECK(holds(at(view, 7), 8));
        self.pause();
        CHECK_EQ(read_signal(at(view, 7)), SIGBUS);
        CHECK_EQ(read_signal(at(view, 4)), SIGBUS);
        CHECK(holds(at(view, 3), 4));
        self.pause();
        CHECK(holds(at(view, 7), 0));
    });
    sharer.await();
    CHECK_OK(objr::truncate_object(fd, 4 * kPage));
    CHECK_EQ(read_signal(at(memory, 4)), SIGBUS);
    CHECK(holds(at(memory, 3), 4));
    sharer.step();
    CHECK_OK(objr::truncate_object(fd, 8 * kPage));
    sharer.finish();
    CHECK(holds(at(memory, 4), 0)); // grown: zeros, not the old content
    CHECK_OK(objr::truncate_object(fd, 0));
    CHECK_EQ(read_signal(memory), SIGBUS);
    if (!objr::standin()) CHECK_EQ(objr::stat("file_pages"), 0u);
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(U6_object_truncate_within_a_page) { // what was cut off does not come back
    const std::string name = own_name();
    const int fd = bound(name, 4 * kPage, OBJRMAP_CREATE);
    void* memory = map_pages(fd, 4);
    memset(memory, 'x', 4 * kPage);
    CHECK_OK(objr::truncate_object(fd, kPage + 100));
    CHECK_EQ(read_signal(at(memory, 2)), SIGBUS);
    CHECK_OK(objr::truncate_object(fd, 4 * kPage));
    CHECK_EQ(static_cast<int>(at(memory, 1)[99]), 'x');
    for (size_t byte = 100; byte < kPage; ++byte)
        CHECK_EQ(static_cast<int>(at(memory, 1)[byte]), 0);
    CHECK(holds(at(memory, 2), 0));
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(U6_truncate_takes_private_copies_too) { // as Linux does for private file mappings
    const std::string name = own_name();
    const int fd = bound(name, 4 * kPage, OBJRMAP_CREATE);
    const int private_fd = bound(name, 4 * kPage, OBJRMAP_PRIVATE);
    void* mine = map_pages(private_fd, 4);
    fill(at(mine, 1), 1);
    fill(at(mine, 3), 2);
    CHECK_OK(objr::truncate_object(fd, 2 * kPage));
    CHECK(holds(at(mine, 1), 1));
    CHECK_EQ(read_signal(at(mine, 3)), SIGBUS);
    if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
}

CASE(truncate_of_the_unbound_is_refused) {
    need_module();
    const int fd = device();
    CHECK_FAILS(objr::truncate_object(fd, kPage), EINVAL);
    CHECK_FAILS(ftruncate(fd, 0), EINVAL);
}

CASE(object_users_come_and_go) { // create, use and drop the same names from several processes at once
    need_module();
    const std::string name = own_name();
    std::vector<pid_t> workers;
    for (int worker = 0; worker < 6; ++worker) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (int round = 0; round < 40; ++round) {
                const int fd = bound(name + std::to_string(round % 3), 4 * kPage, OBJRMAP_CREATE);
                void* memory = map_pages(fd, 4);
                auto* word = reinterpret_cast<volatile uint64_t*>(at(memory, 2)) + worker;
                const uint64_t before = *word; // what an earlier round of this worker left, or nothing
                CHECK(before == 0 || before / 1000 == static_cast<uint64_t>(worker) + 1);
                *word = (static_cast<uint64_t>(worker) + 1) * 1000 + static_cast<uint64_t>(round);
                CHECK_EQ(*word, (static_cast<uint64_t>(worker) + 1) * 1000 + static_cast<uint64_t>(round));
                CHECK_OK(munmap(memory, 4 * kPage));
                CHECK_OK(close(fd));
            }
            _exit(0);
        }
        workers.push_back(pid);
    }
    for (const pid_t pid : workers)
        expect_exit(pid);
}
