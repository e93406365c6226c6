// SPDX-License-Identifier: GPL-2.0
//
// munmap of parts, mremap, mprotect (U3, P3): what stays has its content, what goes is gone, in every sharer.
#include <random>
#include <sys/syscall.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

static void* filled(int fd, size_t pages) { // page p holds p + 1
    void* memory = map_pages(fd, pages);
    for (size_t page = 0; page < pages; ++page)
        fill(at(memory, page), page + 1);
    return memory;
}

// Room in the address space that nothing else will take.
static void* reserve(size_t pages) {
    void* room = mmap(nullptr, pages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(room != MAP_FAILED);
    return room;
}

static uint64_t anon_pages() { return objr::standin() ? 0 : objr::stat("anon_pages"); }

CASE(split_by_a_hole) {
    const int fd = device();
    void* memory = filled(fd, 16);
    CHECK_OK(munmap(at(memory, 5), 3 * kPage));
    if (!objr::standin()) CHECK_EQ(anon_pages(), 13u);
    for (size_t page = 0; page < 16; ++page) {
        if (page >= 5 && page < 8)
            CHECK_EQ(read_signal(at(memory, page)), SIGSEGV);
        else
            CHECK(holds(at(memory, page), page + 1));
    }
    in_child([&] {
        for (size_t page = 8; page < 16; ++page) {
            CHECK(holds(at(memory, page), page + 1));
            fill(at(memory, page), 77);
        }
        CHECK_OK(munmap(memory, 5 * kPage));
    });
    for (size_t page = 8; page < 16; ++page)
        CHECK(holds(at(memory, page), page + 1));
    CHECK(holds(at(memory, 4), 5));
}

CASE(unmap_in_a_child_leaves_the_parent) {
    const int fd = device();
    void* memory = filled(fd, 16);
    in_child([&] {
        CHECK_OK(munmap(at(memory, 2), 5 * kPage));
        CHECK_OK(munmap(memory, kPage));
        CHECK_OK(munmap(at(memory, 15), kPage));
        CHECK_EQ(read_signal(at(memory, 3)), SIGSEGV);
        CHECK(holds(at(memory, 9), 10));
    });
    for (size_t page = 0; page < 16; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(unmap_every_other_page) {
    const int fd = device();
    const size_t pages = 200;
    void* memory = filled(fd, pages);
    for (size_t page = 0; page < pages; page += 2)
        CHECK_OK(munmap(at(memory, page), kPage));
    if (!objr::standin()) CHECK_EQ(anon_pages(), pages / 2);
    in_child([&] {
        for (size_t page = 1; page < pages; page += 2) {
            CHECK(holds(at(memory, page), page + 1));
            fill(at(memory, page), 5);
        }
    });
    for (size_t page = 1; page < pages; page += 2)
        CHECK(holds(at(memory, page), page + 1));
    CHECK_OK(munmap(memory, pages * kPage)); // over holes and mappings at once
    if (!objr::standin()) CHECK_EQ(anon_pages(), 0u);
}

CASE(mremap_moves_whole) {
    const int fd = device();
    void* memory = filled(fd, 8);
    void* room = reserve(8);
    void* moved = mremap(memory, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    CHECK(moved == room);
    CHECK_EQ(read_signal(memory), SIGSEGV);
    for (size_t page = 0; page < 8; ++page) {
        CHECK(holds(at(moved, page), page + 1));
        fill(at(moved, page), page + 101);
    }
    in_child([&] {
        for (size_t page = 0; page < 8; ++page)
            CHECK(holds(at(moved, page), page + 101));
        fill(moved, 1);
    });
    CHECK(holds(moved, 101));
    if (!objr::standin()) CHECK_EQ(anon_pages(), 8u);
}

CASE(mremap_moves_a_part) {
    const int fd = device();
    void* memory = filled(fd, 16);
    void* room = reserve(4);
    CHECK(mremap(at(memory, 6), 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
    for (size_t page = 0; page < 16; ++page) {
        if (page >= 6 && page < 10) {
            CHECK_EQ(read_signal(at(memory, page)), SIGSEGV);
            CHECK(holds(at(room, page - 6), page + 1));
        } else {
            CHECK(holds(at(memory, page), page + 1));
        }
    }
}

CASE(mremap_moves_over_a_mapping) {
    const int fd = device();
    void* memory = filled(fd, 4);
    void* target = filled(fd, 8);
    CHECK(mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at(target, 2)) == at(target, 2));
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(target, page), page >= 2 && page < 6 ? page - 1 : page + 1));
    if (!objr::standin()) CHECK_EQ(anon_pages(), 8u);
}

CASE(P3_shared_page_at_two_addresses) { // moved in the child only: the page is found at both places
    const int fd = device();
    void* memory = filled(fd, 8);
    void* room = reserve(8);
    Actor child([&](Actor& self) {
        CHECK(mremap(memory, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
        self.pause();
        for (size_t page = 0; page < 8; ++page)
            CHECK(holds(at(room, page), page + 1));
        fill(room, 50);
        self.pause();
        CHECK(holds(room, 50));
        CHECK(holds(at(room, 1), 2));
    });
    child.await();
    if (!objr::standin()) {
        const auto answers = objr::parse_answers(objr::ask("query", objr::selector_of(getpid(), at(memory, 3))));
        CHECK_EQ(answers.size(), 1u);
        CHECK_EQ(answers[0].mappers.size(), 2u);
        CHECK_EQ(answers[0].mapper_of(getpid()), 1);
        CHECK_EQ(answers[0].mapper_of(child.pid()), 1);
        CHECK(answers[0].mappers[0].at("vaddr") != answers[0].mappers[1].at("vaddr"));
    }
    child.step();
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
    fill(at(memory, 1), 60);
    child.finish();
    CHECK(holds(at(memory, 1), 60));
}

CASE(M11_mremap_back_and_forth) {
    const int fd = device();
    void* memory = filled(fd, 8);
    void* rooms[2] = {reserve(8), memory};
    for (int round = 0; round < 50; ++round) {
        void* to = rooms[round % 2];
        void* from = rooms[1 - round % 2];
        CHECK(mremap(from, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
        if (round % 10 == 5)
            in_child([&] {
                for (size_t page = 0; page < 8; ++page)
                    CHECK(holds(at(to, page), page + 1));
                fill(at(to, 2), 1);
            });
    }
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(mremap_shrinks) {
    const int fd = device();
    void* memory = filled(fd, 8);
    CHECK(mremap(memory, 8 * kPage, 3 * kPage, 0) == memory);
    for (size_t page = 0; page < 8; ++page) {
        if (page < 3)
            CHECK(holds(at(memory, page), page + 1));
        else
            CHECK_EQ(read_signal(at(memory, page)), SIGSEGV);
    }
    // Shrinking and moving in one.
    void* room = reserve(8);
    CHECK(mremap(memory, 3 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
    CHECK(holds(room, 1));
    CHECK(holds(at(room, 1), 2));
    CHECK_EQ(read_signal(memory), SIGSEGV);
    if (!objr::standin()) CHECK_EQ(anon_pages(), 2u);
}

CASE(mremap_grow_is_refused) {
    need_module();
    const int fd = device();
    void* memory = filled(fd, 4);
    CHECK_FAILS(mremap(memory, 4 * kPage, 8 * kPage, MREMAP_MAYMOVE), EFAULT);
    CHECK_FAILS(mremap(memory, 4 * kPage, 8 * kPage, 0), EFAULT);
    CHECK_FAILS(mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr), EINVAL);
    CHECK_FAILS(mremap(memory, 0, 4 * kPage, MREMAP_MAYMOVE), EFAULT); // the old way to map a shared mapping twice
    CHECK_FAILS(mremap(memory, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at(memory, 2)),
                EINVAL); // onto itself
    for (size_t page = 0; page < 4; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(mremap_over_a_boundary_is_refused) { // two VMAs in one move: this kernel moves neither
    need_module();
    const int fd = device();
    void* memory = filled(fd, 8);
    void* room = reserve(8);
    CHECK_OK(mprotect(at(memory, 4), 4 * kPage, PROT_READ));
    if (mremap(memory, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == MAP_FAILED)
        CHECK_EQ(errno, EFAULT);
    else
        memory = room;
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(remap_file_pages_of_an_object) { // the kernel makes a VMA with another offset of it
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "nonlinear", 8 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    for (const size_t page : {0, 3, 5}) {
        if (syscall(SYS_remap_file_pages, at(memory, page), kPage, 0, 7 - page, 0))
            skip(with_errno("remap_file_pages"));
        CHECK(holds(at(memory, page), 8 - page));
    }
    const auto answers = objr::parse_answers(objr::ask("query", "file nonlinear pgoff 7"));
    CHECK_EQ(answers.size(), 1u);
    CHECK_EQ(answers[0].mapper_of(getpid()), 2); // at its own place and at that of page 0
    in_child([&] {
        CHECK(holds(at(memory, 5), 3));
        CHECK_OK(munmap(at(memory, 3), kPage));
    });
    CHECK(holds(at(memory, 3), 5));
}

CASE(mprotect_round_trips) {
    const int fd = device();
    void* memory = filled(fd, 8);
    for (int round = 0; round < 3; ++round) {
        CHECK_OK(mprotect(memory, 8 * kPage, PROT_READ));
        CHECK_EQ(write_signal(at(memory, 3)), SIGSEGV);
        CHECK(holds(at(memory, 3), 4));
        CHECK_OK(mprotect(memory, 8 * kPage, PROT_READ | PROT_WRITE));
        CHECK_EQ(write_signal(at(memory, 3)), 0);
        fill(at(memory, 3), 4);
        CHECK_OK(mprotect(memory, 8 * kPage, PROT_NONE));
        CHECK_EQ(read_signal(at(memory, 3)), SIGSEGV);
        CHECK_EQ(write_signal(at(memory, 3)), SIGSEGV);
        CHECK_OK(mprotect(memory, 8 * kPage, PROT_READ));
        CHECK(holds(at(memory, 3), 4));
        CHECK_EQ(write_signal(at(memory, 3)), SIGSEGV);
        CHECK_OK(mprotect(memory, 8 * kPage, PROT_READ | PROT_WRITE));
    }
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(mprotect_of_a_part) {
    const int fd = device();
    void* memory = filled(fd, 12);
    CHECK_OK(mprotect(at(memory, 4), 4 * kPage, PROT_READ));
    CHECK_OK(mprotect(at(memory, 5), kPage, PROT_NONE));
    for (size_t page = 0; page < 12; ++page) {
        const bool readable = page != 5, writable = page < 4 || page >= 8;
        CHECK_EQ(read_signal(at(memory, page)), readable ? 0 : SIGSEGV);
        CHECK_EQ(write_signal(at(memory, page)), writable ? 0 : SIGSEGV);
        if (readable) CHECK(holds(at(memory, page), page + 1));
    }
    in_child([&] {
        CHECK_EQ(read_signal(at(memory, 5)), SIGSEGV);
        CHECK_OK(mprotect(memory, 12 * kPage, PROT_READ | PROT_WRITE));
        for (size_t page = 0; page < 12; ++page) {
            CHECK(holds(at(memory, page), page + 1));
            fill(at(memory, page), 9);
        }
    });
    CHECK_EQ(write_signal(at(memory, 4)), SIGSEGV); // the child's protection is its own
    CHECK_OK(mprotect(memory, 12 * kPage, PROT_READ | PROT_WRITE));
    for (size_t page = 0; page < 12; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(mprotect_untouched_pages) {
    const int fd = device();
    void* memory = map_pages(fd, 4, PROT_NONE);
    CHECK_EQ(read_signal(memory), SIGSEGV);
    CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ));
    CHECK(holds(memory, 0));
    CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ | PROT_WRITE));
    fill(memory, 1);
    fill(at(memory, 1), 2);
    CHECK_OK(mprotect(memory, 4 * kPage, PROT_WRITE));
    CHECK_EQ(write_signal(at(memory, 2)), 0);
    CHECK(holds(memory, 1));
}

CASE(adjacent_mappings) { // three neighbours with going-on offsets, then handled as one range
    const int fd = device();
    void* room = reserve(12);
    for (size_t part = 0; part < 3; ++part)
        CHECK(objr::map(fd, 4 * kPage, PROT_READ | PROT_WRITE, part * 4, at(room, part * 4)) == at(room, part * 4));
    for (size_t page = 0; page < 12; ++page)
        fill(at(room, page), page + 1);
    CHECK_OK(mprotect(at(room, 2), 8 * kPage, PROT_READ));
    in_child([&] {
        for (size_t page = 0; page < 12; ++page)
            CHECK(holds(at(room, page), page + 1));
        CHECK_OK(munmap(at(room, 3), 6 * kPage));
        fill(room, 7);
    });
    CHECK_OK(mprotect(at(room, 2), 8 * kPage, PROT_READ | PROT_WRITE));
    CHECK_OK(munmap(at(room, 3), 6 * kPage));
    for (size_t page = 0; page < 12; ++page)
        if (page < 3 || page >= 9) CHECK(holds(at(room, page), page + 1));
    if (!objr::standin()) CHECK_EQ(anon_pages(), 6u);
}

CASE(map_into_the_hole_again) {
    const int fd = device();
    void* memory = filled(fd, 9);
    for (int round = 0; round < 20; ++round) {
        CHECK_OK(munmap(at(memory, 3), 3 * kPage));
        CHECK(objr::map(fd, 3 * kPage, PROT_READ | PROT_WRITE, 3, at(memory, 3)) == at(memory, 3));
        for (size_t page = 3; page < 6; ++page) {
            CHECK(holds(at(memory, page), 0));
            fill(at(memory, page), page + 1);
        }
        if (round % 5 == 0)
            in_child([&] {
                for (size_t page = 0; page < 9; ++page)
                    CHECK(holds(at(memory, page), page + 1));
            });
    }
}

// Random operations on one region against a plain model of what every page must hold, with forked witnesses.
CASE_LIMIT(random_operations, 120) {
    const int fd = device();
    const size_t pages = 48;
    const uint64_t seed = 20240607;
    std::mt19937_64 random(seed);
    void* base = reserve(pages);
    struct PageModel {
        bool mapped = false;
        int prot = PROT_NONE;
        uint64_t tag = 0;
    };
    std::vector<PageModel> model(pages);
    auto check = [&] {
        for (size_t page = 0; page < pages; ++page)
            if (model[page].mapped && (model[page].prot & PROT_READ)) CHECK(holds(at(base, page), model[page].tag));
    };
    uint64_t next_tag = 1;
    for (int step = 0; step < 1500; ++step) {
        const size_t first = random() % pages;
        const size_t count = 1 + random() % std::min<size_t>(8, pages - first);
        switch (random() % 6) {
        case 0:
            CHECK(objr::map(fd, count * kPage, PROT_READ | PROT_WRITE, random() % 100, at(base, first)) ==
                  at(base, first));
            for (size_t page = first; page < first + count; ++page)
                model[page] = {true, PROT_READ | PROT_WRITE, 0};
            break;
        case 1: // unmapped, and the room kept
            CHECK(mmap(at(base, first), count * kPage, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == at(base, first));
            for (size_t page = first; page < first + count; ++page)
                model[page] = {};
            break;
        case 2: {
            static const int kinds[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};
            bool whole = true;
            for (size_t page = first; page < first + count; ++page)
                whole = whole && model[page].mapped;
            if (!whole) break;
            const int prot = kinds[random() % 4];
            CHECK_OK(mprotect(at(base, first), count * kPage, prot));
            for (size_t page = first; page < first + count; ++page)
                model[page].prot = prot;
            break;
        }
        case 3:
            for (size_t page = first; page < first + count; ++page)
                if (model[page].mapped && (model[page].prot & PROT_WRITE))
                    fill(at(base, page), model[page].tag = next_tag++);
            break;
        case 4: { // one page to another place
            const size_t to = random() % pages;
            if (!model[first].mapped || to == first) break;
            CHECK(mremap(at(base, first), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at(base, to)) == at(base, to));
            model[to] = model[first];
            model[first] = {};
            CHECK(mmap(at(base, first), kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                       0) == at(base, first));
            break;
        }
        default:
            if (step % 10 == 0)
                in_child([&] {
                    check();
                    for (size_t page = 0; page < pages; ++page)
                        if (model[page].mapped && (model[page].prot & PROT_WRITE)) fill(at(base, page), ~next_tag);
                });
            break;
        }
        if (step % 50 == 0) check();
    }
    check();
}
