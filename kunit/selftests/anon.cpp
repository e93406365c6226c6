// SPDX-License-Identifier: GPL-2.0
//
// Private anonymous memory: what a plain mmap of the device gives, to whom, and that it comes back.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <thread>

#include "harness.h"

using namespace harness;
using objr::kPage;

CASE(U8_zero_filled_always) {
    const int fd = device();
    for (int round = 0; round < 3; ++round) {
        void* memory = map_pages(fd, 64);
        for (size_t page = 0; page < 64; ++page) {
            CHECK(holds(at(memory, page), 0));
            fill(at(memory, page), 0xdead0000 + page);
        }
        for (size_t page = 0; page < 64; ++page)
            CHECK(holds(at(memory, page), 0xdead0000 + page));
        CHECK_OK(munmap(memory, 64 * kPage));
    }
}

CASE(U8_nothing_of_another_process) {
    const int fd = device();
    const size_t pages = 512;
    in_child([&] {
        void* memory = map_pages(fd, pages);
        for (size_t page = 0; page < pages; ++page)
            fill(at(memory, page), 0x5ec2e7000 + page);
    });
    void* memory = map_pages(fd, pages);
    for (size_t page = 0; page < pages; ++page)
        CHECK(holds(at(memory, page), 0));
}

CASE(equal_offset_is_not_shared) {
    const int fd = device();
    const int again = dup(fd);
    for (const uint64_t pgoff : {0ULL, 5ULL, 1ULL << 30}) {
        void* one = map_pages(fd, 4, PROT_READ | PROT_WRITE, pgoff);
        void* two = map_pages(fd, 4, PROT_READ | PROT_WRITE, pgoff);
        void* three = map_pages(again, 4, PROT_READ | PROT_WRITE, pgoff);
        fill(at(one, 1), 1);
        CHECK(holds(at(two, 1), 0));
        fill(at(two, 1), 2);
        CHECK(holds(at(three, 1), 0));
        fill(at(three, 1), 3);
        CHECK(holds(at(one, 1), 1));
        CHECK(holds(at(two, 1), 2));
        CHECK(holds(at(three, 1), 3));
    }
}

CASE(inherited_descriptor_is_not_shared) {
    const int fd = device();
    void* memory = map_pages(fd, 2);
    fill(memory, 7);
    in_child([&] {
        void* own = map_pages(fd, 2);
        CHECK(holds(own, 0));
        fill(own, 8);
        CHECK(holds(memory, 7));
    });
    CHECK(holds(memory, 7));
    CHECK(holds(at(memory, 1), 0));
}

static void send_descriptor(int socket, int fd) {
    char byte = 'd', control[CMSG_SPACE(sizeof(int))] = {};
    iovec data{&byte, 1};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    CHECK_EQ(sendmsg(socket, &message, 0), 1);
}

static int receive_descriptor(int socket) {
    char byte, control[CMSG_SPACE(sizeof(int))] = {};
    iovec data{&byte, 1};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    CHECK_EQ(recvmsg(socket, &message, 0), 1);
    int fd = -1;
    CHECK(CMSG_FIRSTHDR(&message));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return fd;
}

CASE(passed_descriptor_is_not_shared) {
    int ends[2];
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    Actor receiver([&](Actor& self) {
        const int fd = receive_descriptor(ends[1]);
        void* memory = map_pages(fd, 2);
        CHECK(holds(memory, 0));
        fill(memory, 2);
        self.pause();
        CHECK(holds(memory, 2));
    });
    const int fd = device(); // opened after the fork: the receiver has it only from the message
    void* memory = map_pages(fd, 2);
    fill(memory, 1);
    send_descriptor(ends[0], fd);
    receiver.await();
    CHECK(holds(memory, 1));
    close(fd); // the receiver's mapping keeps the file
    receiver.finish();
    CHECK(holds(memory, 1));
}

CASE(descriptor_in_flight_is_freed) { // the last reference sits in a socket nobody reads
    need_module();
    int ends[2];
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    const int fd = device();
    send_descriptor(ends[0], fd);
    close(fd);
    close(ends[0]);
    close(ends[1]);
}

CASE(private_mapping_is_refused) {
    need_module();
    const int fd = device();
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), EINVAL);
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
    CHECK_EQ(objr::stat("vmas"), 0u);
}

CASE(bad_ranges_are_refused) {
    need_module();
    const int fd = device();
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 1), EINVAL);
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0x800), EINVAL);
    CHECK_FAILS(mmap(nullptr, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
    CHECK_FAILS(mmap(nullptr, size_t{1} << 48, PROT_READ, MAP_SHARED, fd, 0), ENOMEM);
    CHECK_FAILS(mmap(nullptr, SIZE_MAX - 4095, PROT_READ, MAP_SHARED, fd, 0), ENOMEM);
    // Offsets whose end cannot be said in pages or bytes: refused, or a mapping that works; never a crash.
    for (const uint64_t pgoff : {(1ULL << 52) - 1, 1ULL << 51, (1ULL << 51) - 1, (1ULL << 51) - 4, (1ULL << 40)}) {
        void* memory = objr::map(fd, 4 * kPage, PROT_READ | PROT_WRITE, pgoff);
        if (memory == MAP_FAILED) {
            CHECK(errno == EINVAL || errno == EOVERFLOW);
            continue;
        }
        for (size_t page = 0; page < 4; ++page)
            fill(at(memory, page), pgoff + page + 1);
        for (size_t page = 0; page < 4; ++page)
            CHECK(holds(at(memory, page), pgoff + page + 1));
        CHECK_OK(munmap(memory, 4 * kPage));
    }
    // Room for everything, memory for nothing: mapping is cheap, and only touched pages cost.
    void* large = objr::map(fd, size_t{1} << 40, PROT_READ | PROT_WRITE);
    if (large != MAP_FAILED) {
        fill(static_cast<char*>(large) + (size_t{1} << 39), 9);
        CHECK(objr::stat("anon_pages") <= 4);
        CHECK_OK(munmap(large, size_t{1} << 40));
    }
}

CASE(mapping_over_a_mapping_replaces_it) {
    const int fd = device();
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    CHECK(objr::map(fd, 4 * kPage, PROT_READ | PROT_WRITE, 0, at(memory, 2)) == at(memory, 2));
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page >= 2 && page < 6 ? 0 : page + 1));
    // And ordinary memory over a part of the pool's.
    CHECK(mmap(at(memory, 4), kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at(memory, 4));
    CHECK(holds(at(memory, 4), 0));
    CHECK(holds(at(memory, 7), 8));
}

CASE(read_only_descriptor) {
    need_module();
    const int fd = device(O_RDONLY);
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    void* memory = map_pages(fd, 4, PROT_READ);
    for (size_t page = 0; page < 4; ++page)
        CHECK(holds(at(memory, page), 0));
    CHECK_EQ(write_signal(memory), SIGSEGV);
    CHECK_FAILS(mprotect(memory, kPage, PROT_READ | PROT_WRITE), EACCES);
    in_child([&] {
        CHECK(holds(memory, 0));
        CHECK_EQ(write_signal(memory), SIGSEGV);
    });
    CHECK_EQ(read_signal(memory), 0);
}

CASE(write_only_descriptor) {
    need_module();
    const int fd = device(O_WRONLY);
    CHECK_FAILS(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
}

CASE(closed_descriptor_leaves_the_memory) {
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    CHECK_OK(close(fd));
    CHECK_FAILS(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0), EBADF);
    objrmap_truncate request{0};
    CHECK_FAILS(ioctl(fd, OBJRMAP_IOC_TRUNCATE, &request), EBADF);
    fill(at(memory, 1), 2);
    in_child([&] {
        CHECK(holds(memory, 1));
        fill(memory, 3);
        fill(at(memory, 2), 4);
    });
    CHECK(holds(memory, 1));
    CHECK(holds(at(memory, 1), 2));
    CHECK(holds(at(memory, 2), 0));
    CHECK_OK(munmap(at(memory, 1), kPage));
    CHECK(holds(memory, 1));
}

CASE(exec_releases) {
    const int fd = device();
    int ends[2];
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    const pid_t pid = fork();
    CHECK_OK(pid);
    if (pid == 0) {
        close(ends[0]);
        void* memory = map_pages(fd, 100);
        for (size_t page = 0; page < 100; ++page)
            fill(at(memory, page), page + 1);
        const std::string channel = std::to_string(ends[1]);
        execl("/proc/self/exe", "selftests", "--exec-helper", channel.c_str(), static_cast<char*>(nullptr));
        fail(__FILE__, __LINE__, with_errno("exec"));
    }
    close(ends[1]);
    char byte = 0;
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    // The process lives, its memory does not.
    if (!objr::standin())
        CHECK(becomes([] { return objr::stat("free_pages") == objr::stat("pool_pages") && objr::stat("mms") == 0; }));
    CHECK_EQ(write(ends[0], "g", 1), 1);
    expect_exit(pid);
}

CASE(descriptor_inherited_over_exec) { // a new address space: nothing of the old one's is in it
    const int fd = device();
    fill(map_pages(fd, 2), 5);
    const int kept = dup(fd); // without close-on-exec
    in_child([&] {
        const std::string number = std::to_string(kept);
        execl("/proc/self/exe", "selftests", "--zero-helper", number.c_str(), static_cast<char*>(nullptr));
        fail(__FILE__, __LINE__, with_errno("exec"));
    });
}

CASE(exit_frees_although_others_look_at_the_process) { // an open /proc/pid/mem keeps the mm_struct, not the memory
    need_module();
    const int fd = device();
    Actor child([&](Actor& self) {
        void* memory = map_pages(fd, 50);
        for (size_t page = 0; page < 50; ++page)
            fill(at(memory, page), 1);
        self.pause();
    });
    child.await();
    const std::string process = "/proc/" + std::to_string(child.pid()) + "/";
    std::vector<int> kept;
    for (const char* file : {"mem", "maps", "smaps", "stat"})
        kept.push_back(open((process + file).c_str(), O_RDONLY | O_CLOEXEC));
    CHECK_OK(kept[0]);
    objr::read_all(kept[1], 100);
    child.finish();
    CHECK(becomes([] { return objr::stat("free_pages") == objr::stat("pool_pages"); }));
    char byte;
    CHECK(pread(kept[0], &byte, 1, 0x1000) <= 0);
    // Others that begin their lives now are told apart from the dead one.
    in_child([&] { CHECK(holds(map_pages(fd, 4), 0)); });
}

CASE(one_mm_over_all_descriptors) {
    need_module();
    const int one = device(), two = device();
    fill(map_pages(one, 2), 1);
    fill(map_pages(two, 2), 2);
    CHECK_OK(objr::bind_object(device(), "third", kPage, OBJRMAP_CREATE));
    CHECK_EQ(objr::stat("mms"), 1u);
    in_child([&] {
        fill(map_pages(two, 2), 3);
        CHECK_EQ(objr::stat("mms"), 2u);
    });
}

CASE(pid_namespace) { // pids of answers are those of the initial namespace
    need_module();
    need_root();
    const int fd = device();
    void* memory = map_pages(fd, 1);
    fill(memory, 1);
    int ends[2];
    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    const pid_t outer = fork();
    CHECK_OK(outer);
    if (outer == 0) {
        if (unshare(CLONE_NEWPID)) skip(with_errno("unshare"));
        const pid_t first = fork();
        if (first == 0) {
            CHECK_EQ(getpid(), 1);
            CHECK(holds(memory, 1));
            char byte = 'r';
            _exit(write(ends[1], &byte, 1) == 1 && read(ends[1], &byte, 1) == 1 ? 0 : 1);
        }
        CHECK_EQ(write(ends[1], &first, sizeof(first)), static_cast<ssize_t>(sizeof(first)));
        expect_exit(first);
        _exit(0);
    }
    struct __attribute__((packed)) {
        pid_t pid;
        char ready;
    } message{};
    for (size_t got = 0; got < sizeof(message);) { // the two may come in either order
        const ssize_t more = read(ends[0], reinterpret_cast<char*>(&message) + got, sizeof(message) - got);
        CHECK(more > 0);
        got += static_cast<size_t>(more);
    }
    std::vector<objrmap_mapper> mappers;
    CHECK(objr::who(fd, memory, mappers));
    CHECK_EQ(mappers.size(), 3u); // this one, the one that left the namespace, and the first of the new one
    for (const objrmap_mapper& mapper : mappers)
        CHECK(mapper.pid >= static_cast<unsigned>(getpid()) && mapper.pid != 1);
    CHECK_EQ(write(ends[0], "g", 1), 1);
    expect_exit(outer);
}

CASE(interfaces_that_pin_pages_are_refused) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    int ends[2];
    CHECK_OK(pipe(ends));
    iovec part{memory, kPage};
    CHECK_FAILS(vmsplice(ends[1], &part, 1, 0), EFAULT);
    uint32_t* word = reinterpret_cast<uint32_t*>(at(memory, 1));
    *word = 7;
    CHECK_EQ(syscall(SYS_futex, word, 1 /* FUTEX_WAKE */ | 128 /* PRIVATE */, 1, nullptr, nullptr, 0), 0);
    CHECK_FAILS(syscall(SYS_futex, word, 0 /* FUTEX_WAIT */, 7, nullptr, nullptr, 0), EFAULT); // shared: by the page
    const std::string path = directory_on("ext4") + "/direct";
    close(make_file(path, std::string(4 * kPage, 'd')));
    const int direct = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (direct >= 0) {
        CHECK_FAILS(pread(direct, at(memory, 2), kPage, 0), EFAULT);
        CHECK_FAILS(pwrite(direct, memory, kPage, 0), EFAULT);
    }
    CHECK(holds(memory, 1));
}

CASE(clear_refs_and_pagemap) { // what the kernel offers to clear accessed bits must not disturb
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    for (const char* what : {"1", "2", "3", "4", "5"}) {
        objr::write_text("/proc/self/clear_refs", what);
        for (size_t page = 0; page < 8; ++page)
            CHECK(holds(at(memory, page), page + 1));
        in_child([&] { fill(memory, 9); });
        CHECK(holds(memory, 1));
        fill(at(memory, 7), 8);
    }
    const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap >= 0) {
        uint64_t entry = 0;
        CHECK_EQ(pread(pagemap, &entry, 8, static_cast<off_t>(reinterpret_cast<uintptr_t>(memory) / kPage * 8)), 8);
    }
}

CASE(P5_high_addresses) { // five-level tables, where the processor and the kernel have them
    const int fd = device();
    void* const wanted = reinterpret_cast<void*>(uint64_t{1} << 52);
    void* memory = objr::map(fd, 4 * kPage, PROT_READ | PROT_WRITE, 0, wanted);
    if (memory == MAP_FAILED) skip("no addresses above 47 bits: boot with five-level page tables");
    CHECK(memory == wanted);
    for (size_t page = 0; page < 4; ++page)
        fill(at(memory, page), page + 1);
    in_child([&] {
        CHECK(holds(at(memory, 3), 4));
        fill(at(memory, 3), 9);
    });
    CHECK(holds(at(memory, 3), 4));
    if (!objr::standin())
        CHECK_EQ(
            objr::parse_answers(objr::ask("query", objr::selector_of(getpid(), at(memory, 2)))).at(0).mappers.size(),
            1u);
}

CASE(U3_kill_in_the_middle) {
    const int fd = device();
    for (int round = 0; round < 20; ++round) {
        int ends[2];
        CHECK_OK(pipe(ends));
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (uint64_t tag = 1;; ++tag) {
                void* memory = map_pages(fd, 16);
                for (size_t page = 0; page < 16; ++page)
                    fill(at(memory, page), tag);
                if (tag == 2 + static_cast<uint64_t>(round) % 5 && write(ends[1], "x", 1) != 1) _exit(1);
                if (round % 2) munmap(at(memory, 3), 10 * kPage);
                munmap(memory, 16 * kPage);
            }
        }
        close(ends[1]);
        char byte;
        CHECK_EQ(read(ends[0], &byte, 1), 1);
        close(ends[0]);
        CHECK_OK(kill(pid, SIGKILL));
        CHECK_EQ(waitpid(pid, nullptr, 0), pid);
    }
}

CASE(code_runs_in_the_pool) {
    static const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; // mov $42,%eax; ret
    const int fd = device();
    void* memory = map_pages(fd, 1);
    memcpy(memory, code, sizeof(code));
    CHECK_EQ(signal_of([=] { reinterpret_cast<int (*)()>(memory)(); }), SIGSEGV);
    CHECK_OK(mprotect(memory, kPage, PROT_READ | PROT_EXEC));
    CHECK_EQ(reinterpret_cast<int (*)()>(memory)(), 42);
    in_child([&] { CHECK_EQ(reinterpret_cast<int (*)()>(memory)(), 42); });
    CHECK_EQ(write_signal(memory), SIGSEGV);
}

CASE(threads_fault_the_same_pages) {
    const int fd = device();
    const size_t pages = 64, threads = 8;
    for (int round = 0; round < 4; ++round) {
        void* memory = map_pages(fd, pages);
        std::vector<std::thread> crew;
        for (size_t thread = 0; thread < threads; ++thread)
            crew.emplace_back([=] { // each has its own word in every page
                for (size_t page = 0; page < pages; ++page)
                    reinterpret_cast<volatile uint64_t*>(at(memory, page))[thread] = page * 100 + thread;
            });
        // Forks meanwhile: a child sees for every word either nothing or the whole write, and its own writes stay its own.
        for (int forks = 0; forks < 4; ++forks)
            in_child([&] {
                for (size_t page = 0; page < pages; ++page)
                    for (size_t thread = 0; thread < threads; ++thread) {
                        auto* word = reinterpret_cast<volatile uint64_t*>(at(memory, page)) + thread;
                        CHECK(*word == 0 || *word == page * 100 + thread);
                        *word = ~0ULL;
                    }
            });
        for (std::thread& thread : crew)
            thread.join();
        for (size_t page = 0; page < pages; ++page)
            for (size_t thread = 0; thread < threads; ++thread)
                CHECK_EQ(reinterpret_cast<volatile uint64_t*>(at(memory, page))[thread], page * 100 + thread);
        CHECK_OK(munmap(memory, pages * kPage));
    }
}

CASE(U3_threads_change_one_mapping) { // unmap, map again and protect in disjoint parts of one mapping
    const int fd = device();
    const size_t part = 16, threads = 8;
    void* memory = map_pages(fd, part * threads);
    std::vector<std::thread> crew;
    for (size_t thread = 0; thread < threads; ++thread)
        crew.emplace_back([=] {
            unsigned char* mine = at(memory, part * thread);
            for (uint64_t round = 1; round <= 12; ++round) {
                fill(at(mine, round % part), thread * 1000 + round);
                CHECK_OK(mprotect(at(mine, round % part), kPage, PROT_READ));
                CHECK(holds(at(mine, round % part), thread * 1000 + round));
                CHECK_OK(munmap(at(mine, (round + 3) % part), kPage));
                CHECK(objr::map(fd, kPage, PROT_READ | PROT_WRITE, round, at(mine, (round + 3) % part)) != MAP_FAILED);
                CHECK(holds(at(mine, (round + 3) % part), 0));
                CHECK_OK(mprotect(mine, part * kPage, PROT_READ | PROT_WRITE));
            }
        });
    for (std::thread& thread : crew)
        thread.join();
}

CASE(vfork_and_clone_vm_share_one_mm) {
    const int fd = device();
    void* memory = map_pages(fd, 1);
    fill(memory, 1);
    // A process that shares the whole address space (as vfork's child does), and lives on while we look.
    struct Shared {
        void* memory;
        int ready[2], leave[2];
    } shared{memory, {}, {}};
    CHECK_OK(pipe(shared.ready));
    CHECK_OK(pipe(shared.leave));
    static char stack[65536] __attribute__((aligned(16)));
    const int pid = clone(
        [](void* argument) {
            auto* with = static_cast<Shared*>(argument);
            fill(with->memory, 2);
            char byte = 'r';
            return write(with->ready[1], &byte, 1) == 1 && read(with->leave[0], &byte, 1) == 1 ? 0 : 1;
        },
        stack + sizeof(stack), CLONE_VM | SIGCHLD, &shared);
    CHECK_OK(pid);
    char byte;
    CHECK_EQ(read(shared.ready[0], &byte, 1), 1);
    CHECK(holds(memory, 2)); // no copy was made
    if (!objr::standin()) {
        CHECK_EQ(objr::stat("mms"), 1u);
        for (const int who : {static_cast<int>(getpid()), pid}) {
            const auto answers = objr::parse_answers(objr::ask("query", objr::selector_of(who, memory)));
            CHECK_EQ(answers.size(), 1u);
            CHECK_EQ(answers[0].mappers.size(), 1u);
            CHECK_EQ(answers[0].mapper_of(std::min<int>(getpid(), pid)), 1);
        }
    }
    CHECK_EQ(write(shared.leave[1], "g", 1), 1);
    expect_exit(pid);
    CHECK(holds(memory, 2));
    const pid_t child = vfork();
    if (child == 0) {
        *static_cast<Byte*>(memory) = 99;
        _exit(0);
    }
    expect_exit(child);
    CHECK_EQ(static_cast<int>(*static_cast<Byte*>(memory)), 99);
}

CASE(U9_madvise_fork_advice) {
    const int fd = device();
    void* memory = map_pages(fd, 4);
    for (size_t page = 0; page < 4; ++page)
        fill(at(memory, page), page + 1);
    CHECK_OK(madvise(at(memory, 1), kPage, MADV_DONTFORK));
    in_child([&] {
        CHECK(holds(memory, 1));
        CHECK_EQ(read_signal(at(memory, 1)), SIGSEGV);
        CHECK(holds(at(memory, 2), 3));
        fill(memory, 9);
    });
    CHECK(holds(memory, 1));
    CHECK(holds(at(memory, 1), 2));
    CHECK_OK(madvise(at(memory, 1), kPage, MADV_DOFORK));
    // KEEPONFORK undoes what a driver may have set to keep the kernel from copying translations: still copy-on-write.
    madvise(memory, 4 * kPage, MADV_KEEPONFORK);
    in_child([&] {
        for (size_t page = 0; page < 4; ++page) {
            CHECK(holds(at(memory, page), page + 1));
            fill(at(memory, page), page + 100);
        }
    });
    for (size_t page = 0; page < 4; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(madvise_unsupported_is_refused) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    for (size_t page = 0; page < 4; ++page)
        fill(at(memory, page), page + 1);
    for (const int advice : {MADV_DONTNEED, MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_WIPEONFORK}) {
        CHECK_FAILS(madvise(memory, 4 * kPage, advice), EINVAL);
        for (size_t page = 0; page < 4; ++page)
            CHECK(holds(at(memory, page), page + 1));
    }
    for (const int advice : {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTDUMP, MADV_REMOVE,
                             MADV_MERGEABLE, MADV_HUGEPAGE, MADV_POPULATE_READ, MADV_POPULATE_WRITE}) {
        madvise(memory, 4 * kPage, advice); // whatever it answers, the memory stays
        for (size_t page = 0; page < 4; ++page)
            CHECK(holds(at(memory, page), page + 1));
    }
}

CASE(mlock_and_populate) {
    const int fd = device();
    void* memory = objr::map(fd, 8 * kPage, PROT_READ | PROT_WRITE, 0, nullptr, MAP_POPULATE);
    CHECK(memory != MAP_FAILED);
    CHECK_OK(mlock(memory, 4 * kPage));
    fill(memory, 1);
    CHECK_OK(munlock(memory, 4 * kPage));
    CHECK_OK(mlockall(MCL_CURRENT | MCL_FUTURE));
    void* more = map_pages(fd, 4);
    fill(more, 2);
    in_child([&] {
        CHECK(holds(memory, 1));
        fill(more, 3);
    });
    CHECK(holds(more, 2));
    CHECK_OK(munlockall());
}

CASE(U9_system_calls_on_pool_memory) {
    const int fd = device();
    void* memory = map_pages(fd, 8);
    int ends[2];
    CHECK_OK(pipe(ends));
    // write(2) from, read(2) into pages; untouched ones on both sides too.
    fill(memory, 1);
    CHECK_EQ(write(ends[1], memory, kPage), static_cast<ssize_t>(kPage));
    CHECK_EQ(read(ends[0], at(memory, 1), kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(at(memory, 1), 1));
    CHECK_EQ(write(ends[1], at(memory, 2), kPage), static_cast<ssize_t>(kPage));
    CHECK_EQ(read(ends[0], at(memory, 1), kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(at(memory, 1), 0));
    // Into memory shared copy-on-write: the reader gets its own copy.
    in_child([&] {
        CHECK_EQ(write(ends[1], at(memory, 3), kPage), static_cast<ssize_t>(kPage));
        CHECK_EQ(read(ends[0], memory, kPage), static_cast<ssize_t>(kPage));
        CHECK(holds(memory, 0));
    });
    CHECK(holds(memory, 1));
    // Read-only: EFAULT, and nothing is changed.
    CHECK_OK(mprotect(memory, kPage, PROT_READ));
    CHECK_EQ(write(ends[1], "abcd", 4), 4);
    CHECK_FAILS(read(ends[0], memory, 4), EFAULT);
    CHECK(holds(memory, 1));
    // Paths, structures and vectors in the pool.
    auto* words = reinterpret_cast<char*>(at(memory, 4));
    strcpy(words, "/proc/self/stat");
    const int proc = open(words, O_RDONLY | O_CLOEXEC);
    CHECK_OK(proc);
    CHECK(read(proc, at(memory, 5), kPage) > 10);
    CHECK_EQ(atoi(reinterpret_cast<char*>(at(memory, 5))), getpid());
    auto* status = reinterpret_cast<struct stat*>(at(memory, 6));
    CHECK_OK(fstat(fd, status));
    CHECK(S_ISCHR(status->st_mode));
    // A futex that threads of this process use (private: by address) and getrandom straight into the pool.
    CHECK_OK(syscall(SYS_getrandom, at(memory, 7), kPage, 0));
}

CASE(proc_mem_and_ptrace) {
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    Actor child([&](Actor& self) {
        self.pause();
        self.pause();
        CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(memory), 0x1122334455667788ULL);
        CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(at(memory, 1)), 0x99aabbccddeeff00ULL);
    });
    child.await();
    // /proc/pid/mem, across a page boundary, where one side is untouched.
    const std::string path = "/proc/" + std::to_string(child.pid()) + "/mem";
    const int mem = open(path.c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(mem);
    std::vector<unsigned char> copy(2 * kPage, 0xff);
    CHECK_EQ(pread(mem, copy.data(), 2 * kPage, static_cast<off_t>(reinterpret_cast<uintptr_t>(memory))),
             static_cast<ssize_t>(2 * kPage));
    CHECK(holds(copy.data(), 1));
    CHECK(holds(copy.data() + kPage, 0));
    const uint64_t word = 0x1122334455667788ULL;
    CHECK_EQ(pwrite(mem, &word, 8, static_cast<off_t>(reinterpret_cast<uintptr_t>(memory))), 8);
    close(mem);
    child.step();
    CHECK(holds(memory, 1)); // the write broke the sharing in the child
    // ptrace
    CHECK_OK(ptrace(PTRACE_ATTACH, child.pid(), nullptr, nullptr));
    int status;
    CHECK_EQ(waitpid(child.pid(), &status, 0), child.pid());
    errno = 0;
    CHECK_EQ(static_cast<uint64_t>(ptrace(PTRACE_PEEKDATA, child.pid(), memory, nullptr)), word);
    CHECK_OK(ptrace(PTRACE_POKEDATA, child.pid(), at(memory, 1), reinterpret_cast<void*>(0x99aabbccddeeff00ULL)));
    CHECK_OK(ptrace(PTRACE_DETACH, child.pid(), nullptr, nullptr));
    CHECK(holds(at(memory, 1), 0));
    child.finish();
    // process_vm_readv pins pages, which this memory does not allow: an error, not a crash.
    if (!objr::standin()) {
        uint64_t into = 0;
        iovec local{&into, 8}, remote{memory, 8};
        CHECK_FAILS(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), EFAULT);
    }
    // /proc/pid/maps, smaps and pagemap walk over the mapping.
    CHECK(objr::read_text("/proc/self/maps").find(objr::standin() ? "stack" : "objrmap") != std::string::npos);
    CHECK(objr::read_text("/proc/self/smaps").size() > 100 || access("/proc/self/smaps", F_OK));
}

CASE(core_dump_leaves_the_pool_out) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 64);
    fill(memory, 1);
    const pid_t pid = fork();
    CHECK_OK(pid);
    if (pid == 0) {
        rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_CORE, &unlimited);
        if (chdir("/tmp")) _exit(0);
        fill(memory, 2);
        abort();
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    if (system("rm -f /tmp/core /tmp/core.*")) {
    }
    CHECK(holds(memory, 1));
}

CASE(many_mappings_of_one_process) {
    const int fd = device();
    std::vector<void*> maps;
    for (size_t i = 0; i < 1000; ++i) {
        maps.push_back(map_pages(fd, 2, PROT_READ | PROT_WRITE, i % 7));
        *reinterpret_cast<volatile uint64_t*>(maps.back()) = i + 1;
    }
    in_child([&] {
        for (size_t i = 0; i < maps.size(); i += 3)
            CHECK_OK(munmap(maps[i], 2 * kPage));
        for (size_t i = 1; i < maps.size(); i += 3)
            *reinterpret_cast<volatile uint64_t*>(maps[i]) = 0;
    });
    for (size_t i = 0; i < maps.size(); ++i)
        CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(maps[i]), i + 1);
}

CASE(P6_sparse_address_space) { // touches far apart: page tables of every level come and go
    const int fd = device();
    const size_t length = size_t{1} << 41;
    void* memory = objr::map(fd, length, PROT_READ | PROT_WRITE);
    if (memory == MAP_FAILED) skip("no room for a mapping of 2 TiB");
    for (unsigned bit = 12; bit < 41; ++bit)
        *reinterpret_cast<volatile uint64_t*>(static_cast<char*>(memory) + (size_t{1} << bit)) = bit;
    in_child([&] {
        for (unsigned bit = 12; bit < 41; ++bit) {
            auto* word = reinterpret_cast<volatile uint64_t*>(static_cast<char*>(memory) + (size_t{1} << bit));
            CHECK_EQ(*word, uint64_t{bit});
            *word = 0;
        }
    });
    for (unsigned bit = 12; bit < 41; bit += 2)
        CHECK_OK(munmap(static_cast<char*>(memory) + (size_t{1} << bit), kPage));
    for (unsigned bit = 13; bit < 41; bit += 2)
        CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(static_cast<char*>(memory) + (size_t{1} << bit)), uint64_t{bit});
}
