// SPDX-License-Identifier: GPL-2.0
//
// Advice (OBJRMAP_IOC_ADVISE): LOCK and UNLOCK, how memory will be used, what is refused; and that a part of a mapping which
// the module treats apart is still one mapping to the kernel.
#include <sys/resource.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

namespace {

// The answer of `unmap` for one page of this process: SUCCESS, AGAIN or FAIL.
std::string unmap_answer(const void* address) {
    int error = 0;
    const std::string text = objr::ask("command", "unmap " + objr::selector_of(getpid(), address), &error);
    if (error) fail(__FILE__, __LINE__, "unmap: " + text);
    return objr::fields_of(text.substr(0, text.find('\n')))["answer"];
}

void expect_pages(void* memory, size_t pages, uint64_t tag) { // filled with tag, tag + 1 ...
    for (size_t page = 0; page < pages; ++page)
        CHECK(holds(at(memory, page), tag + page));
}

void fill_pages(void* memory, size_t pages, uint64_t tag) {
    for (size_t page = 0; page < pages; ++page)
        fill(at(memory, page), tag + page);
}

} // namespace

CASE(advise_says_yes_to_what_there_is) {
    const int fd = device();
    void* memory = map_pages(fd, 8);
    fill_pages(memory, 4, 1);
    for (const unsigned advice : {OBJRMAP_ADVISE_RANDOM, OBJRMAP_ADVISE_SEQUENTIAL, OBJRMAP_ADVISE_NORMAL,
                                  OBJRMAP_ADVISE_LOCK, OBJRMAP_ADVISE_UNLOCK}) {
        CHECK_OK(objr::advise(fd, memory, 8 * kPage, advice));
        CHECK_OK(objr::advise(fd, at(memory, 2), 3 * kPage, advice));
        CHECK_OK(objr::advise(fd, at(memory, 2), 0, advice));
        CHECK_OK(objr::advise(fd, at(memory, 7), 1, advice)); // rounded up to a page
        expect_pages(memory, 4, 1);
    }
    CHECK(holds(at(memory, 5), 0));
}

CASE(advise_refuses) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    fill_pages(memory, 8, 1);
    const auto address = reinterpret_cast<uint64_t>(memory);
    struct {
        objrmap_advise request;
        int error;
    } const wrong[] = {
        {{address, kPage, 9, 0}, EINVAL},
        {{address, kPage, ~0u, 0}, EINVAL},
        {{address, kPage, OBJRMAP_ADVISE_LOCK, 1}, EINVAL},
        {{address + 1, kPage, OBJRMAP_ADVISE_LOCK, 0}, EINVAL},
        {{address, ~uint64_t{0}, OBJRMAP_ADVISE_LOCK, 0}, EINVAL},
        {{address, ~uint64_t{0} & ~(kPage - 1), OBJRMAP_ADVISE_LOCK, 0}, EINVAL},
        {{~uint64_t{0} & ~(kPage - 1), kPage, OBJRMAP_ADVISE_LOCK, 0}, EINVAL},
        {{~uint64_t{0} & ~(2 * kPage - 1), kPage, OBJRMAP_ADVISE_LOCK, 0}, ENOMEM},
        {{0, kPage, OBJRMAP_ADVISE_RANDOM, 0}, ENOMEM},
        {{address, 9 * kPage, OBJRMAP_ADVISE_RANDOM, 0}, ENOMEM},
        {{address - kPage, 2 * kPage, OBJRMAP_ADVISE_LOCK, 0}, ENOMEM},
    };
    size_t row = 0;
    for (const auto& [request, error] : wrong) {
        objrmap_advise copy = request;
        errno = 0;
        if (ioctl(fd, OBJRMAP_IOC_ADVISE, &copy) != -1 || errno != error)
            fail(__FILE__, __LINE__, with_errno(("row " + std::to_string(row)).c_str()));
        ++row;
    }
    CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_ADVISE, nullptr), EFAULT);
    // A hole, and memory that is not of the pool: nothing of the range is changed.
    CHECK_OK(munmap(at(memory, 4), kPage));
    CHECK_FAILS(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_LOCK), ENOMEM);
    CHECK_EQ(unmap_answer(memory), "SUCCESS");
    CHECK(mmap(at(memory, 4), kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    CHECK_FAILS(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_LOCK), ENOMEM);
    CHECK_FAILS(objr::advise(fd, at(memory, 4), kPage, OBJRMAP_ADVISE_NORMAL), ENOMEM);
    CHECK_OK(objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_LOCK));
    for (const unsigned advice : {OBJRMAP_ADVISE_DONTNEED, OBJRMAP_ADVISE_COLD, OBJRMAP_ADVISE_PAGEOUT}) {
        CHECK_FAILS(objr::advise(fd, memory, 8 * kPage, advice), ENOMEM);
        CHECK_FAILS(objr::advise(fd, memory, 4 * kPage, advice), EINVAL); // it is locked
    }
    expect_pages(memory, 4, 1);
}

CASE(U4_locked_pages_are_not_unmapped) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    fill_pages(memory, 8, 1);
    CHECK_OK(objr::advise(fd, at(memory, 2), 4 * kPage, OBJRMAP_ADVISE_LOCK));
    CHECK_EQ(objr::stat("locked_pages"), 4u);
    CHECK_EQ(unmap_answer(at(memory, 3)), "FAIL");
    expect_pages(memory, 8, 1);
    // Young ones may be refused once (C10), never for ever.
    for (const size_t page : {0, 7})
        CHECK(becomes([&] { return unmap_answer(at(memory, page)) == "SUCCESS"; }));
    CHECK_EQ(unmap_answer(at(memory, 5)), "FAIL");
    expect_pages(memory, 8, 1);
    const std::string selector = objr::selector_of(getpid(), at(memory, 3));
    const auto answers = objr::parse_answers(objr::ask("query", selector));
    CHECK(("," + answers.at(0).page.at("flags") + ",").find(",mlocked,") != std::string::npos); // listed as such

    CHECK_OK(objr::advise(fd, at(memory, 2), 2 * kPage, OBJRMAP_ADVISE_UNLOCK));
    CHECK_EQ(objr::stat("locked_pages"), 2u);
    CHECK(becomes([&] { return unmap_answer(at(memory, 3)) == "SUCCESS"; }));
    CHECK_EQ(unmap_answer(at(memory, 4)), "FAIL");
    expect_pages(memory, 8, 1);
    CHECK_OK(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_UNLOCK));
    CHECK_EQ(objr::stat("locked_pages"), 0u);
    for (size_t page = 0; page < 8; ++page)
        CHECK(becomes([&] { return unmap_answer(at(memory, page)) == "SUCCESS"; }));
    expect_pages(memory, 8, 1);
}

CASE(U4_lock_brings_the_pages_in) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    CHECK_OK(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_LOCK));
    CHECK_EQ(objr::stat("mappings"), 8u);
    CHECK(holds(at(memory, 5), 0));
    fill_pages(memory, 8, 1);
    CHECK_EQ(objr::stat("locked_pages"), 8u);
    CHECK_OK(munmap(at(memory, 2), 2 * kPage)); // gone is not locked
    CHECK_EQ(objr::stat("locked_pages"), 6u);
    expect_pages(memory, 2, 1);
    // What was swapped out comes back, of an object as well.
    void* other = map_pages(fd, 4);
    fill_pages(other, 4, 50);
    for (size_t page = 0; page < 4; ++page)
        CHECK(becomes([&] { return unmap_answer(at(other, page)) == "SUCCESS"; }));
    const uint64_t before = objr::stat("mappings");
    CHECK_OK(objr::advise(fd, other, 4 * kPage, OBJRMAP_ADVISE_LOCK));
    CHECK_EQ(objr::stat("mappings"), before + 4);
    expect_pages(other, 4, 50);
}

CASE(lock_of_what_may_not_be_had) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill_pages(memory, 4, 1);
    CHECK_OK(mprotect(at(memory, 2), kPage, PROT_NONE));
    errno = 0;
    const int result = objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_LOCK);
    CHECK(result == 0 || errno == ENOMEM || errno == EACCES); // never a signal, and the rest is there
    CHECK_EQ(unmap_answer(at(memory, 0)), "FAIL");
    CHECK_OK(mprotect(at(memory, 2), kPage, PROT_READ | PROT_WRITE));
    expect_pages(memory, 4, 1);

    const int object = device();
    CHECK_OK(objr::bind_object(object, "advise-" + std::to_string(getpgrp()), 2 * kPage, OBJRMAP_CREATE));
    void* view = map_pages(object, 4); // two pages beyond the end
    errno = 0;
    CHECK(objr::advise(object, view, 4 * kPage, OBJRMAP_ADVISE_LOCK) == -1);
    CHECK(errno == EIO || errno == ENOMEM);
    CHECK_EQ(read_signal(at(view, 3)), SIGBUS);
    fill(at(view, 1), 9);
    CHECK(holds(at(view, 1), 9));
}

CASE(U4_lock_is_not_inherited) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill_pages(memory, 4, 1);
    CHECK_OK(objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_LOCK));
    Actor child([&](Actor& self) {
        fill_pages(memory, 2, 10); // pages of its own
        self.pause();
        CHECK(becomes([&] { return unmap_answer(at(memory, 1)) == "SUCCESS"; }));
        expect_pages(memory, 2, 10);
        CHECK_EQ(unmap_answer(at(memory, 3)), "FAIL"); // shared with one who has locked it
        CHECK(holds(at(memory, 3), 4));
    });
    child.await();
    CHECK_EQ(unmap_answer(at(memory, 1)), "FAIL");
    child.finish();
    expect_pages(memory, 4, 1);
}

CASE(lock_for_those_who_may) {
    need_module();
    need_root();
    const int fd = device();
    void* memory = map_pages(fd, 2);
    in_child([&] {
        const rlimit none{0, 0};
        CHECK_OK(setrlimit(RLIMIT_MEMLOCK, &none));
        CHECK_OK(objr::advise(fd, memory, kPage, OBJRMAP_ADVISE_LOCK)); // CAP_IPC_LOCK
        CHECK_OK(seteuid(65534));
        CHECK_FAILS(objr::advise(fd, memory, kPage, OBJRMAP_ADVISE_LOCK), EPERM);
        CHECK_OK(objr::advise(fd, memory, kPage, OBJRMAP_ADVISE_RANDOM));
        CHECK_OK(objr::advise(fd, memory, kPage, OBJRMAP_ADVISE_UNLOCK));
    });
    in_child([&] {
        const rlimit some{65536, 65536};
        CHECK_OK(setrlimit(RLIMIT_MEMLOCK, &some));
        CHECK_OK(seteuid(65534));
        CHECK_OK(objr::advise(fd, memory, kPage, OBJRMAP_ADVISE_LOCK));
    });
}

CASE(advised_parts_are_still_one_mapping) { // the module cuts its Vmas where the kernel does not
    const int fd = device();
    void* memory = map_pages(fd, 16);
    fill_pages(memory, 16, 1);
    CHECK_OK(objr::advise(fd, at(memory, 4), 4 * kPage, OBJRMAP_ADVISE_LOCK));
    CHECK_OK(objr::advise(fd, at(memory, 6), 6 * kPage, OBJRMAP_ADVISE_RANDOM));
    in_child([&] {
        expect_pages(memory, 16, 1);
        fill_pages(memory, 16, 100);
        CHECK_OK(munmap(at(memory, 5), 4 * kPage)); // across three of them
        expect_pages(memory, 5, 100);
        expect_pages(at(memory, 9), 7, 109);
    });
    CHECK_OK(mprotect(at(memory, 3), 6 * kPage, PROT_READ));
    expect_pages(memory, 16, 1);
    CHECK_EQ(write_signal(at(memory, 8)), SIGSEGV);
    CHECK_EQ(write_signal(at(memory, 9)), 0);
    CHECK_OK(mprotect(memory, 16 * kPage, PROT_READ | PROT_WRITE));
    fill_pages(memory, 16, 200);

    void* fresh = map_pages(fd, 16); // the kernel never joins its mappings again: one that was not cut by mprotect
    fill_pages(fresh, 16, 300);
    CHECK_OK(objr::advise(fd, at(fresh, 4), 4 * kPage, OBJRMAP_ADVISE_SEQUENTIAL));
    void* room = mmap(nullptr, 16 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mremap(fresh, 16 * kPage, 16 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
    expect_pages(room, 16, 300);
    in_child([&] { expect_pages(room, 16, 300); });
    CHECK_OK(objr::advise(fd, room, 16 * kPage, OBJRMAP_ADVISE_NORMAL)); // alike again
    CHECK_OK(munmap(at(room, 6), kPage));
    expect_pages(room, 6, 300);
    CHECK_OK(munmap(at(memory, 1), 14 * kPage));
    CHECK(holds(memory, 200) && holds(at(memory, 15), 215));
}

CASE(U9_advice_in_pool_memory) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    auto* request = reinterpret_cast<objrmap_advise*>(at(memory, 1));
    *request = {reinterpret_cast<uint64_t>(memory), 4 * kPage, OBJRMAP_ADVISE_LOCK, 0};
    CHECK_OK(ioctl(fd, OBJRMAP_IOC_ADVISE, request));
    CHECK_EQ(objr::stat("locked_pages"), 4u);
    CHECK_EQ(unmap_answer(at(memory, 1)), "FAIL");
    request->advice = OBJRMAP_ADVISE_UNLOCK;
    CHECK_OK(ioctl(fd, OBJRMAP_IOC_ADVISE, request));
    CHECK_EQ(objr::stat("locked_pages"), 0u);
}

CASE_LIMIT(advice_while_threads_use_the_memory, 120) { // and unmap it, and fork
    const int fd = device();
    void* memory = map_pages(fd, 64);
    fill_pages(memory, 64, 1);
    Actor user([&](Actor& self) {
        self.pause();
        for (int round = 0; round < 40; ++round) {
            in_child([&] {
                expect_pages(memory, 64, 1);
                CHECK_OK(munmap(at(memory, 10), 20 * kPage));
            });
            expect_pages(memory, 64, 1);
        }
    });
    user.await();
    user.go();
    for (int round = 0; round < 300; ++round) {
        const auto first = static_cast<size_t>(round * 7 % 60), count = static_cast<size_t>(1 + round % 4);
        static const unsigned advice[] = {OBJRMAP_ADVISE_LOCK, OBJRMAP_ADVISE_RANDOM, OBJRMAP_ADVISE_UNLOCK,
                                          OBJRMAP_ADVISE_SEQUENTIAL, OBJRMAP_ADVISE_NORMAL};
        CHECK_OK(objr::advise(fd, at(memory, first), count * kPage, advice[round % 5]));
        CHECK(holds(at(memory, first), first + 1));
    }
    user.wait_end();
    expect_pages(memory, 64, 1);
}

// ---- what is in memory --------------------------------------------------------------------------------------------

CASE(dontneed_drops_what_is_ones_own) {
    const int fd = device();
    void* memory = map_pages(fd, 8);
    fill_pages(memory, 8, 1);
    in_child([&] {
        CHECK_OK(objr::advise(fd, at(memory, 2), 4 * kPage, OBJRMAP_ADVISE_DONTNEED));
        expect_pages(memory, 2, 1);
        for (size_t page = 2; page < 6; ++page)
            CHECK(holds(at(memory, page), 0));
        fill(at(memory, 3), 99);
        CHECK(holds(at(memory, 6), 7));
    });
    expect_pages(memory, 8, 1); // the parent's
}

CASE(dontneed_leaves_the_object) {
    need_module();
    const std::string directory = directory_on("tmpfs");
    const int file = make_file(directory + "/f", std::string(4 * kPage, 'f'));
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, file, OBJRMAP_SHARED));
    void* memory = map_pages(fd, 4);
    fill_pages(memory, 4, 1);
    CHECK_OK(objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_DONTNEED));
    expect_pages(memory, 4, 1); // not yet in the file, and not lost
    CHECK_OK(fsync(fd));
    CHECK_EQ(content_of(directory + "/f").substr(3 * kPage),
             std::string(static_cast<char*>(memory) + 3 * kPage, kPage));
}

CASE(pageout_and_back) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 64);
    fill_pages(memory, 64, 1);
    const uint64_t free_before = objr::stat("free_pages");
    CHECK_OK(objr::advise(fd, memory, 64 * kPage, OBJRMAP_ADVISE_PAGEOUT));
    CHECK(objr::stat("free_pages") >= free_before + 60);
    CHECK(objr::stat("swapped_pages") >= 60u);
    CHECK_OK(objr::advise(fd, memory, 64 * kPage, OBJRMAP_ADVISE_WILLNEED));
    CHECK(objr::stat("swapcache_pages") >= 60u);
    CHECK_OK(objr::advise(fd, memory, 64 * kPage, OBJRMAP_ADVISE_COLD));
    expect_pages(memory, 64, 1);
    // A file: what is dirty is written first.
    const std::string directory = directory_on("tmpfs");
    const int file = make_file(directory + "/f", std::string(8 * kPage, 'f'));
    const int bound = device();
    CHECK_OK(objr::bind_file(bound, file, OBJRMAP_SHARED));
    void* view = map_pages(bound, 8);
    fill_pages(view, 4, 50);
    CHECK(at(view, 7)[0] == 'f');
    const uint64_t file_pages = objr::stat("file_pages");
    CHECK_OK(objr::advise(bound, view, 8 * kPage, OBJRMAP_ADVISE_PAGEOUT));
    CHECK_EQ(objr::stat("file_pages"), file_pages - 5);
    CHECK_EQ(objr::stat("dirty_pages"), 0u);
    CHECK_EQ(memcmp(content_of(directory + "/f").data(), view, 4 * kPage), 0);
    expect_pages(view, 4, 50);
}

CASE(U4_lock_is_limited) {
    need_module();
    need_root();
    const int fd = device();
    void* memory = map_pages(fd, 16);
    in_child([&] {
        const rlimit six{6 * kPage, 6 * kPage};
        CHECK_OK(setrlimit(RLIMIT_MEMLOCK, &six));
        CHECK_OK(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_LOCK)); // CAP_IPC_LOCK
        CHECK_OK(objr::advise(fd, memory, 8 * kPage, OBJRMAP_ADVISE_UNLOCK));
        CHECK_OK(setuid(65534));
        CHECK_FAILS(objr::advise(fd, memory, 7 * kPage, OBJRMAP_ADVISE_LOCK), ENOMEM);
        CHECK_OK(objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_LOCK));
        CHECK_OK(objr::advise(fd, memory, 4 * kPage, OBJRMAP_ADVISE_LOCK)); // counted once
        void* other = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK_OK(mlock(other, kPage)); // other memory's share
        CHECK_FAILS(objr::advise(fd, at(memory, 4), 2 * kPage, OBJRMAP_ADVISE_LOCK), ENOMEM);
        CHECK_OK(objr::advise(fd, at(memory, 4), kPage, OBJRMAP_ADVISE_LOCK));
        CHECK_OK(munmap(memory, 2 * kPage));
        CHECK_OK(objr::advise(fd, at(memory, 5), 2 * kPage, OBJRMAP_ADVISE_LOCK));
        CHECK_FAILS(objr::advise(fd, at(memory, 7), kPage, OBJRMAP_ADVISE_LOCK), ENOMEM);
    });
    CHECK_EQ(objr::stat("locked_pages"), 0u);
}
