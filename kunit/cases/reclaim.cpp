// SPDX-License-Identifier: GPL-2.0
// Reclaim: processes that use more memory than the pool has; what is taken and what is passed by; who waits for whom.
#include "unmap_fixture.h"

#include "objrmap/reclaim.h"

namespace objr::test {

namespace {

// What page n holds in its v-th version.
constexpr u64 content(u64 n, u64 version) { return (n + 1) * 0x9e3779b97f4a7c15ull + version; }

u32 take(TestWorld& world, u32 wanted, ScanLedger& ledger) {
    return reclaim_pages(*world, wanted, Scanner::faulter, ledger);
}

// Everything that can be: what was used the first round only forgets.
u32 take_all(TestWorld& world, ScanLedger& ledger) {
    u32 all = 0;
    for (u32 taken = 1; taken != 0; all += taken) {
        taken = take(world, world->pool.size(), ledger);
    }
    return all;
}

// Forget the processor's translations, so that its next use sets the accessed bit.
void forget_translations(Process& process) {
    process.cpu().zap(nullptr, Vaddr(0), process.mm().address_end(), OBJR_MMAP_LOCK_NOT_HELD);
}

u32 present(const Process& process, u64 first, u64 last) {
    u32 count = 0;
    for (u64 n = first; n < last; n++) {
        count += process.pte(n).is_present() ? 1 : 0;
    }
    return count;
}

// A file of the given pages with a descriptor open for writing, for the time of a test.
class BackedFile : Pinned {
public:
    BackedFile(objr_test* test, TestWorld& world, u64 pages)
        : file_(objr_memory_file_create("reclaimed", pages * kPageSize, pages * kPageSize, 1)) {
        objr_backing* backing = file_ ? objr_memory_file_open(file_, 1) : nullptr;
        Result<FileMapping*> made =
            backing ? FileMapping::of_file(*world, backing) : Result<FileMapping*>(Errno{OBJR_ENOMEM});
        OBJR_EXPECT(made);
        mapping_ = made ? *made : nullptr;
    }
    ~BackedFile() {
        if (mapping_) {
            mapping_->put();
        }
        if (file_) {
            objr_memory_file_destroy(file_);
        }
    }
    FileMapping* get() const { return mapping_; }
    objr_memory_file* file() const { return file_; }

private:
    objr_memory_file* file_;
    FileMapping* mapping_ = nullptr;
};

} // namespace

// ---- more memory than there is

OBJR_TEST(spec_U5_three_times_the_pool) {
    constexpr u64 kPages = 768;
    TestWorld world(test, 1, 4, nullptr, 4);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, kPages));
    for (u64 version = 0; version < 3; version++) {
        for (u64 n = 0; n < kPages; n++) {
            if (version != 0) {
                OBJR_ASSERT_EQ(a.load(n), content(n, version - 1));
            }
            a.store(n, content(n, version));
        }
        OBJR_EXPECT(world.verify());
    }
    OBJR_EXPECT(world->counters.sum(Count::reclaimed_pages) >= 3 * (768 - 256));
    OBJR_EXPECT(world->counters.sum(Count::swap_ins) >= 2 * (768 - 256));
}

// Shared by fork, each child writes a part of its own; everybody sees what he should.
OBJR_TEST(spec_U5_three_times_the_pool_shared_and_copied) {
    constexpr u64 kPages = 192;
    constexpr u32 kChildren = 5;
    TestWorld world(test, 1, 4, nullptr, 8);
    Process parent(test, world);
    Processes children(test, world, kChildren);
    OBJR_ASSERT(parent.map(0, kPages) && children);
    for (u64 n = 0; n < kPages; n++) {
        parent.store(n, content(n, 0));
    }
    for (u32 c = 0; c < kChildren; c++) {
        OBJR_ASSERT(parent.fork_to(children[c]));
    }
    auto is_own = [](u32 child, u64 n) { return (n + child) % kChildren != 0; };
    for (u32 c = 0; c < kChildren; c++) {
        for (u64 n = 0; n < kPages; n++) {
            if (is_own(c, n)) {
                children[c].store(n, content(n, c + 1));
            }
        }
    }
    OBJR_EXPECT(world.verify());
    for (u32 c = 0; c < kChildren; c++) {
        for (u64 n = 0; n < kPages; n++) {
            OBJR_ASSERT_EQ(children[c].load(n), content(n, is_own(c, n) ? c + 1 : 0));
        }
    }
    for (u64 n = 0; n < kPages; n++) {
        OBJR_ASSERT_EQ(parent.load(n), content(n, 0));
    }
}

// ---- what is taken

OBJR_TEST(reclaim_takes_what_was_not_used) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 96));
    for (u64 n = 0; n < 96; n++) {
        a.store(n, content(n, 0));
    }
    // The first look forgets the uses that made the pages; from then on only those of [0, 32) are used.
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take(world, 32, ledger), 32);
    forget_translations(a);
    for (u64 n = 0; n < 32; n++) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 0));
    }
    OBJR_EXPECT_EQ(take(world, 32, ledger), 32);
    OBJR_EXPECT_EQ(present(a, 0, 32), 32);
    OBJR_EXPECT_EQ(present(a, 32, 96), 32);
    OBJR_EXPECT(ledger.hits != 0 && ledger.candidates >= ledger.hits);
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < 96; n++) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 0));
    }
}

// All pages are used between any two looks at them: at last they are taken all the same.
OBJR_TEST(reclaim_takes_what_is_used_at_last) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 8));
    for (u64 n = 0; n < 8; n++) {
        a.store(n, n);
        world->pool.activate(*a.page(n));
    }
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take(world, 8, ledger), 8);
    OBJR_EXPECT_EQ(present(a, 0, 8), 0);
    OBJR_EXPECT_EQ(ledger[Fate::freed], 8);
    OBJR_EXPECT(ledger[Fate::deactivated] >= 8);
    OBJR_EXPECT_EQ(take(world, 8, ledger), 0); // nothing is left
    for (u64 n = 0; n < 8; n++) {
        OBJR_EXPECT_EQ(a.load(n), n);
    }
}

OBJR_TEST(spec_U4_locked_pages_are_passed_by) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 64));
    OBJR_ASSERT_EQ(a.mm().advise(at(0), at(32), Advice::lock).as_int(), 0);
    for (u64 n = 32; n < 64; n++) {
        a.store(n, n);
    }
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take(world, 64, ledger), 32);
    OBJR_EXPECT_EQ(present(a, 0, 32), 32);
    OBJR_EXPECT_EQ(ledger[Fate::locked], 32);
    OBJR_EXPECT_EQ(world->pool.unevictable_pages(), 32);
    OBJR_EXPECT(world.verify());
    ScanLedger again;
    OBJR_EXPECT_EQ(take(world, 64, again), 0);
    OBJR_EXPECT_EQ(again.scanned, 0); // they are on a list of their own
    OBJR_ASSERT_EQ(a.mm().advise(at(0), at(16), Advice::unlock).as_int(), 0);
    OBJR_EXPECT_EQ(world->pool.unevictable_pages(), 16);
    OBJR_EXPECT_EQ(take(world, 64, again), 16);
    OBJR_EXPECT(a.unmap(16, 24)); // those that go are locked yet
    OBJR_EXPECT_EQ(world->pool.unevictable_pages(), 8);
}

OBJR_TEST(spec_M10_pinned_pages_are_passed_by) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(1, 1);
    Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take(world, 4, ledger), 1);
    OBJR_EXPECT(ledger[Fate::pinned] != 0 && a.page(0) == *pinned && !a.page(1));
    unpin_page(*world, **pinned);
    OBJR_EXPECT_EQ(take(world, 4, ledger), 1);
}

OBJR_TEST(reclaim_clean_and_dirty_pages_of_a_file) {
    constexpr u64 kPages = 32;
    TestWorld world(test, 1, 4, nullptr, 0);
    BackedFile file(test, world, kPages);
    Process a(test, world);
    OBJR_ASSERT(file.get() && a.map(0, kPages, kShared, file.get()));
    for (u64 n = 0; n < kPages; n++) {
        if (n % 4 == 0) {
            a.store(n, content(n, 0));
        } else {
            a.load(n);
        }
    }
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take_all(world, ledger), kPages - kPages / 4); // who faults writes to no file
    OBJR_EXPECT(ledger[Fate::dirty] != 0);
    OBJR_EXPECT_EQ(objr_memory_file_calls(file.file(), OBJR_MEMORY_WRITE), 0);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT(write_back_some(*world, kPages) != 0);
    OBJR_EXPECT_EQ(take_all(world, ledger), kPages / 4);
    OBJR_EXPECT_EQ(file.get()->cached_pages(), 0);
    for (u64 n = 0; n < kPages; n += 4) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 0));
    }
}

// Between the copy that is written and the write's end the file has the old contents: the page must not leave memory, to be read anew.
OBJR_TEST(reclaim_leaves_what_is_being_written) {
    struct Interrupted {
        TestWorld& world;
        Process& process;
        u32 taken = 0;
        u64 seen = 0;
    };
    TestWorld world(test, 1, 4, nullptr, 0);
    BackedFile file(test, world, 2);
    Process a(test, world);
    OBJR_ASSERT(file.get() && a.map(0, 2, kShared, file.get()));
    a.store(0, 5);
    Interrupted interrupted{world, a};
    objr_memory_file_on_write(
        file.file(),
        [](void* context) {
            auto& here = *static_cast<Interrupted*>(context);
            ScanLedger ledger;
            here.taken = take_all(here.world, ledger);
            here.seen = here.process.load(0);
        },
        &interrupted);
    OBJR_EXPECT(write_back_some(*world, 2) == 1);
    OBJR_EXPECT_EQ(interrupted.taken, 0);
    OBJR_EXPECT_EQ(interrupted.seen, 5);
    // A write that fails leaves the only copy where it is.
    objr_memory_file_fail(file.file(), OBJR_MEMORY_WRITE, OBJR_EIO, 0);
    a.store(0, 6);
    OBJR_EXPECT(!file.get()->sync(0, 1, true));
    OBJR_EXPECT_EQ(interrupted.taken, 0);
    OBJR_EXPECT_EQ(a.load(0), 6);
    objr_memory_file_fail(file.file(), OBJR_MEMORY_WRITE, 0, 0);
    objr_memory_file_on_write(file.file(), nullptr, nullptr);
    OBJR_EXPECT(file.get()->sync(0, 1, true));
    ScanLedger ledger;
    OBJR_EXPECT_EQ(take_all(world, ledger), 1);
    OBJR_EXPECT_EQ(a.load(0), 6);
}

// ---- nothing can be taken, or not at once

OBJR_TEST(reclaim_nothing_can_be_taken) {
    TestWorld world(test);
    Process a(test, world);
    Process hungry(test, world);
    OBJR_ASSERT(a.map(0, 8) && hungry.devour(0, 257));
    OBJR_EXPECT_EQ(a.try_store(0, 1), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(world->pool.pages_set_aside(), 0);
    OBJR_ASSERT_EQ(hungry.mm().advise(at(0), at(1), Advice::unlock).as_int(), 0);
    OBJR_EXPECT_EQ(a.try_store(0, 1), 0); // a single page is enough
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT(!hungry.page(0));
    OBJR_EXPECT(world.verify());
}

OBJR_TEST(reclaim_frames_are_set_aside) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 256));
    for (u64 n = 0; n < 256; n++) {
        a.store(n, n);
    }
    FrameReserve frames(*world, Patience::files);
    OBJR_EXPECT_EQ(frames.allocate_locked().as_int(), -OBJR_ENOBUFS);
    OBJR_ASSERT(frames.set_aside());
    OBJR_EXPECT_EQ(world->pool.pages_set_aside(), 2);
    OBJR_EXPECT(world.verify()); // others may look while somebody has some
    OBJR_EXPECT(a.unmap(255, 256));
    Page* others[64];
    u32 count = 0;
    for (Result<Page*> page = world->pool.allocate_locked(); page; page = world->pool.allocate_locked()) {
        others[count++] = *page;
        OBJR_ASSERT(count < 64);
    }
    OBJR_EXPECT_EQ(world->pool.pages_set_aside(), 2); // they are not others' to take
    Result<Page*> page = frames.allocate_locked();
    OBJR_ASSERT(page);
    OBJR_EXPECT((*page)->locked() && (*page)->refcount.load() == 1 && world->pool.is_zero(**page));
    OBJR_EXPECT_EQ(world->pool.pages_set_aside(), 1);
    (*page)->unlock();
    OBJR_EXPECT(world->pool.put(**page));
    while (count != 0) {
        others[--count]->unlock();
        world->pool.put(*others[count]);
    }
}

// ---- the two threads

OBJR_TEST(reclaim_daemons_keep_the_watermarks) {
    TestWorld world(test, 1, 4, nullptr, 4);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 512));
    world->low_pages.store(32);
    world->high_pages.store(64);
    OBJR_ASSERT(world->start_daemons());
    for (u64 n = 0; n < 512; n++) {
        a.store(n, content(n, 0));
    }
    OBJR_EXPECT(world->reclaimd.wait_for_round());
    OBJR_EXPECT(world->pool.free_pages() >= 64);
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < 512; n++) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 0));
    }
    world->stop_daemons();
    OBJR_EXPECT_EQ(world->reclaimd.wait_for_round().as_int(), -OBJR_EAGAIN);
}

// The pool is full of pages that are newer than their file: whoever may wait for it has them written.
OBJR_TEST(reclaim_daemon_writes_files) {
    constexpr u64 kPages = 700;
    TestWorld world(test, 1, 4, nullptr, 0);
    BackedFile file(test, world, kPages);
    Process a(test, world);
    OBJR_ASSERT(file.get() && a.map(0, kPages, kShared, file.get()));
    OBJR_ASSERT(world->start_daemons());
    for (u64 n = 0; n < kPages; n++) {
        a.store(n, content(n, 1));
    }
    for (u64 n = 0; n < kPages; n++) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 1));
    }
    OBJR_EXPECT(world->counters.sum(Count::writebacks) >= static_cast<s64>(kPages - 256));
    world->stop_daemons();
    a.exit();
}

// ---- without memory

// Whatever allocation fails while memory is short: the access succeeds or is an error, nothing is lost.
OBJR_TEST(reclaim_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        return;
    }
    constexpr u64 kPages = 300;
    TestWorld world(test, 1, 4, nullptr, 2);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, kPages));
    for (u64 n = 0; n < kPages; n++) {
        a.store(n, content(n, 0));
    }
    Random random(7);
    for (unsigned nth = 1; nth <= 40; nth++) {
        const u64 n = random.next() % kPages;
        objr_test_fail_nth_allocation(1 + nth % 4);
        const s32 error = a.try_store(n, content(n, 0));
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT(error == 0 || error == -OBJR_ENOMEM || error == -OBJR_EIO);
    }
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < kPages; n++) {
        OBJR_EXPECT_EQ(a.load(n), content(n, 0));
    }
}

} // namespace objr::test
