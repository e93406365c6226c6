// SPDX-License-Identifier: GPL-2.0
//
// nonlinear_test.cpp: what must hold of nonlinear mappings while threads remap, unmap, clean and write back side by side, under
// each reverse map.
#include "threads.h"

#include "objrmap/unmap_nonlinear.h"

#include <atomic>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

class NonlinearThreads : public testing::TestWithParam<const char*> {};

std::vector<const char*> scheme_names() {
    std::vector<const char*> names;
    for (u32 n = 0; scheme_name(n); n++)
        names.push_back(scheme_name(n));
    return names;
}

INSTANTIATE_TEST_SUITE_P(Schemes, NonlinearThreads, testing::ValuesIn(scheme_names()),
                         [](const auto& scheme) { return std::string(scheme.param); });

// What is done to a page of the object, whoever maps it where.
void disturb(World& world, FileMapping& object, u64 pgoff, Random& random) {
    SharedGuard quiesce(world.quiesce);
    Page* page = object.find_page(pgoff);
    if (!page) return;
    {
        PageLock lock(*page);
        WalkCost cost;
        const bool cut_off = page->mapping() != MappingWord::file(&object);
        switch (cut_off ? 3 : random.below(3)) {
        case 0: page_mkclean(world, *page); break;
        case 1: try_to_unmap_nonlinear(world, *page, LockedVmas::spare, cost); break;
        case 2: // lazily: translations stay, and may be used without a trace
            rmap_walk(world, *page, EarlyStop::yes, cost, [](const Mapping& mapping) {
                mapping.table.take_bits(mapping.address, Pte::kAccessed);
                return Visit::go_on;
            });
            break;
        default: break;
        }
    }
    world.pool.put(*page);
}

// After a write-back: a page that is not dirty now, seen while nobody can write to it, is as it is in the file.
void expect_clean_is_written(World& world, FileMapping& file, objr_memory_file* memory, u64 pgoff) {
    SharedGuard quiesce(world.quiesce);
    Page* page = file.find_page(pgoff);
    if (!page) return;
    {
        PageLock lock(*page);
        page_mkclean(world, *page);
        if (!page->has(PageFlag::dirty)) {
            u64 word = 0;
            objr_memory_file_read(memory, pgoff * kPageSize, &word, sizeof(word));
            EXPECT_EQ(*static_cast<const u64*>(world.pool.address(*page)), word);
        }
    }
    world.pool.put(*page);
}

// Each writer has a page of the file of its own, and shows it to itself now here, now there, while all pages are taken away and
// written back: it reads what it wrote last, and so does the file in the end.
TEST_P(NonlinearThreads, spec_C12_C15_nothing_written_is_lost) {
    constexpr u64 kWriters = 3;
    constexpr u64 kRoom = 40; // pages of each writer's window
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam());
    objr_memory_file* memory = objr_memory_file_create("written", kWriters * kPageSize, kWriters * kPageSize, 1);
    ASSERT_NE(memory, nullptr);
    u64 written[kWriters] = {};
    std::atomic<u64> next{0};
    {
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        ASSERT_TRUE(opened);
        Object file(*opened);
        Process a(test, world);
        Process b(test, world);
        ASSERT_TRUE(a.map(0, kWriters * kRoom, kShared, file.get(), 0));
        ASSERT_TRUE(b.map(0, kWriters * kRoom, kShared, file.get(), 0));
        for (u64 mine = 0; mine < kWriters; mine++) { // from here on everything shows only what is its writer's
            for (u64 page = 0; page < kRoom; page++) {
                for (Process* process : {&a, &b})
                    ASSERT_TRUE(process->mm().remap(at(mine * kRoom + page), kPageSize, mine, Populate::no));
            }
            a.store(mine * kRoom, 0);
        }
        Threads threads(std::chrono::milliseconds(700));
        for (u64 i = 0; i < kWriters; i++) {
            threads.run([&, mine = next++](Random& random) {
                Process& here = random.below(2) != 0 ? a : b;
                const u64 page = mine * kRoom + random.below(kRoom);
                EXPECT_EQ(here.load(page), written[mine]);
                here.store(page, ++written[mine]);
                const u64 other = mine * kRoom + random.below(kRoom);
                EXPECT_TRUE(
                    here.mm().remap(at(other), kPageSize, mine, random.below(2) != 0 ? Populate::yes : Populate::no));
                EXPECT_EQ(a.load(other), written[mine]);
            });
        }
        threads.run([&](Random& random) { disturb(*world, *file.get(), random.below(kWriters), random); });
        threads.run([&](Random& random) { disturb(*world, *file.get(), random.below(kWriters), random); });
        threads.run([&](Random&) {
            EXPECT_TRUE(file->sync(0, ~0ull, false));
            for (u64 pgoff = 0; pgoff < kWriters; pgoff++)
                expect_clean_is_written(*world, *file.get(), memory, pgoff);
        });
        threads.run([&](Random&) { expect_verified(world.handle()); });
        threads.join();
    }
    for (u64 i = 0; i < kWriters; i++) {
        u64 word = 0;
        objr_memory_file_read(memory, i * kPageSize, &word, sizeof(word));
        EXPECT_EQ(word, written[i]);
    }
    objr_memory_file_destroy(memory);
}

// Vmas split, merge, move, go and come while others are in the middle of their clusters.
TEST_P(NonlinearThreads, spec_C14_clusters_of_changing_vmas) {
    constexpr u64 kPages = 96;
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 2, 4, GetParam());
    Object object(test, world, "changing", kPages);
    {
        Process a(test, world);
        Process b(test, world);
        ASSERT_TRUE(a.map(0, kPages, kShared, object.get(), 0));
        ASSERT_TRUE(b.map(0, kPages, kShared, object.get(), 0));
        Threads threads(std::chrono::milliseconds(500));
        for (Process* process : {&a, &b}) {
            threads.run([&object, process](Random& random) {
                const u64 first = random.below(kPages);
                const u64 last = first + 1 + random.below(std::min<u64>(kPages - first, 40));
                Mm& mm = process->mm();
                switch (random.below(6)) {
                case 0:
                    EXPECT_TRUE(process->unmap(first, last));
                    EXPECT_TRUE(process->map(first, last, kShared, object.get(), first));
                    break;
                case 1:
                    EXPECT_TRUE(mm.move(at(first), at(600), (last - first) * kPageSize, nullptr));
                    EXPECT_TRUE(mm.move(at(600), at(first), (last - first) * kPageSize, nullptr));
                    break;
                case 2:
                    EXPECT_TRUE(mm.protect(at(first), at(last), OBJR_VM_READ));
                    EXPECT_TRUE(mm.protect(at(first), at(last), OBJR_VM_READ | OBJR_VM_WRITE));
                    break;
                default:
                    EXPECT_TRUE(mm.remap(at(first), (last - first) * kPageSize, random.below(kPages), Populate::yes));
                }
            });
            threads.run([process](Random& random) { // its Vma may be elsewhere just now
                static_cast<void>(process->try_store(random.below(kPages), 1));
            });
        }
        threads.run([&](Random& random) { disturb(*world, *object.get(), random.below(kPages), random); });
        threads.run([&](Random& random) { disturb(*world, *object.get(), random.below(kPages), random); });
        threads.run([&](Random& random) {
            EXPECT_TRUE(object->truncate((1 + random.below(kPages)) * kPageSize));
            expect_verified(world.handle());
        });
        threads.join();
    }
    object.close();
}

} // namespace
