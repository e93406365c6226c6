// SPDX-License-Identifier: GPL-2.0
// users.cpp: spec U2, U3, and the operations of an address space as a process sees them.
#include "fixture.h"

using namespace objr;
using namespace objr::test;

// ---- U2: copy-on-write

OBJR_TEST(spec_U2_fork_separates_writes) {
    TestWorld world(test);
    Process parent(test, world);
    Process child(test, world);
    OBJR_ASSERT(parent.map(0, 4));
    parent.store(0, 10);
    parent.store(1, 11);
    OBJR_ASSERT(parent.fork_to(child));
    child.store(0, 20);
    parent.store(1, 21);
    OBJR_EXPECT_EQ(parent.load(0), 10);
    OBJR_EXPECT_EQ(parent.load(1), 21);
    OBJR_EXPECT_EQ(child.load(0), 20);
    OBJR_EXPECT_EQ(child.load(1), 11);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 2);
}

OBJR_TEST(spec_U2_last_owner_does_not_copy) {
    TestWorld world(test);
    Process parent(test, world);
    Process child(test, world);
    OBJR_ASSERT(parent.map(0, 1));
    parent.store(0, 10);
    Page* page = parent.page(0);
    OBJR_ASSERT(parent.fork_to(child));
    child.store(0, 20); // the parent owns its page alone from here on
    const s64 before = world->counters.sum(Count::cow_faults);
    parent.store(0, 30);
    OBJR_EXPECT(parent.page(0) == page);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), before);
    // And when the other one exits without writing.
    Process second(test, world);
    OBJR_ASSERT(parent.fork_to(second));
    second.exit();
    parent.store(0, 40);
    OBJR_EXPECT(parent.page(0) == page);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), before);
}

OBJR_TEST(spec_U2_private_write_stays_private) {
    TestWorld world(test);
    Object object(test, world, "base", 4);
    Process writer(test, world);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(writer.map(0, 4, kShared, object.get(), 0));
    OBJR_ASSERT(a.map(0, 4, kReadWrite, object.get(), 0));
    writer.store(0, 1);
    OBJR_EXPECT_EQ(a.load(0), 1);
    a.store(0, 2); // a copy of a page that was mapped
    a.store(1, 3); // a copy of one that was not
    OBJR_EXPECT_EQ(writer.load(0), 1);
    OBJR_EXPECT_EQ(writer.load(1), 0);
    writer.store(0, 4);
    OBJR_EXPECT_EQ(a.load(0), 2);
    OBJR_ASSERT(a.fork_to(b));
    b.store(0, 5);
    OBJR_EXPECT_EQ(a.load(0), 2);
    OBJR_EXPECT_EQ(writer.load(0), 4);
    OBJR_EXPECT_EQ(b.load(1), 3);
    OBJR_EXPECT_EQ(b.load(2), 0);
}

OBJR_TEST(spec_U2_shared_after_fork) {
    TestWorld world(test);
    Object object(test, world, "shm", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    b.store(0, 2);
    OBJR_EXPECT_EQ(a.load(0), 2);
    a.store(3, 3);
    OBJR_EXPECT_EQ(b.load(3), 3);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 0);
}

// ---- U3: structure

OBJR_TEST(spec_U3_hole_in_the_middle) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 10));
    for (u64 page = 0; page < 10; page++) {
        a.store(page, page);
    }
    OBJR_ASSERT(a.unmap(3, 6));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 2);
    OBJR_EXPECT_EQ(a.load(2), 2);
    OBJR_EXPECT_EQ(a.load(6), 6);
    OBJR_EXPECT_EQ(a.try_load(3), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(a.try_load(5), -OBJR_EFAULT);
    OBJR_EXPECT(a.vma(0)->anon_vma == a.vma(9)->anon_vma);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(9)), 1);
    OBJR_EXPECT_EQ(world.used_pages(), 7);
}

OBJR_TEST(spec_U3_merge) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.map(8, 12));
    a.store(8, 2);
    OBJR_EXPECT_EQ(a.mm().vma_count(), 2);
    OBJR_ASSERT(a.map(4, 8)); // between two of different families: joins the left one; without families all become one
    const bool families = a.vma(0)->anon_vma != nullptr;
    OBJR_EXPECT_EQ(a.mm().vma_count(), families ? 2 : 1);
    OBJR_EXPECT_EQ(a.vma(0)->end, families ? at(8) : at(12));
    a.store(5, 3);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(5)), 1);
    OBJR_ASSERT(a.unmap(8, 12));
    OBJR_ASSERT(a.map(8, 12));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 1);
    // Downwards: the Vma with a family survives, and its pages are still found.
    OBJR_ASSERT(a.map(104, 108));
    a.store(104, 5);
    OBJR_ASSERT(a.map(100, 104));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 2);
    OBJR_EXPECT_EQ(a.vma(104)->start, at(100));
    OBJR_EXPECT_EQ(a.load(104), 5);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(104)), 1);
}

OBJR_TEST(spec_U3_M11_move) {
    TestWorld world(test);
    Object object(test, world, "moved", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 8));
    OBJR_ASSERT(a.map(100, 108, kShared, object.get(), 0));
    for (u64 page = 0; page < 8; page++) {
        a.store(page, page + 50);
        a.store(100 + page, page + 60);
    }
    OBJR_ASSERT(a.fork_to(b));
    Page* page = a.page(5);
    OBJR_ASSERT(a.mm().move(at(4), at(1020), 4 * kPageSize, nullptr)); // over the end of a table
    OBJR_EXPECT_EQ(a.try_load(5), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(a.load(1021), 55);
    if (world.is("anonmm")) { // has copied it (spec A4)
        OBJR_EXPECT(a.page(1021) != page && b.page(5) == page);
        OBJR_EXPECT_EQ(count_mappers(*world, *page), 1);
        OBJR_EXPECT_EQ(count_mappers(*world, *a.page(1021)), 1);
    } else {
        OBJR_EXPECT(a.page(1021) == page);
        OBJR_EXPECT_EQ(count_mappers(*world, *page), 2); // at different addresses in the two
    }
    a.store(1021, 1);
    OBJR_EXPECT_EQ(b.load(5), 55);
    OBJR_ASSERT(a.mm().move(at(100), at(300), 8 * kPageSize, nullptr));
    OBJR_EXPECT_EQ(a.load(303), 63);
    b.store(103, 7);
    OBJR_EXPECT_EQ(a.load(303), 7);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(303)), 2);
    // Refused, and nothing changes.
    OBJR_EXPECT_EQ(a.mm().move(at(300), at(304), 8 * kPageSize, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(a.mm().move(at(300), at(0), 8 * kPageSize, nullptr).as_int(), -OBJR_EEXIST);
    OBJR_EXPECT_EQ(a.mm().move(at(300), at(500), 9 * kPageSize, nullptr).as_int(), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(a.load(303), 7);
}

OBJR_TEST(spec_U3_protect) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 8));
    a.store(2, 2);
    a.store(3, 3);
    OBJR_ASSERT(a.mm().protect(at(2), at(4), OBJR_VM_READ));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 3);
    OBJR_EXPECT_EQ(a.try_store(2, 9), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.load(2), 2);
    a.store(1, 1);
    OBJR_ASSERT(a.mm().protect(at(2), at(3), 0));
    OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EACCES);
    OBJR_ASSERT(a.mm().protect(at(0), at(8), OBJR_VM_READ | OBJR_VM_WRITE));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 1);
    a.store(2, 4);
    OBJR_EXPECT_EQ(a.load(2), 4);
    OBJR_EXPECT_EQ(a.load(3), 3);
    // No right to ever write.
    OBJR_ASSERT(a.map(20, 24, OBJR_VM_READ));
    OBJR_EXPECT_EQ(a.mm().protect(at(20), at(24), OBJR_VM_READ | OBJR_VM_WRITE).as_int(), -OBJR_EACCES);
}

OBJR_TEST(spec_U3_follows_the_process_protection) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4, kReadOnly));
    OBJR_EXPECT_EQ(a.load(0), 0);
    // The process's own VMA says otherwise: it decides.
    OBJR_EXPECT(a.mm().fault_with_flags(at(0), Access::write, OBJR_VM_READ | OBJR_VM_WRITE, nullptr));
    OBJR_EXPECT_EQ(a.try_store(0, 1), 0);
    OBJR_EXPECT_EQ(a.mm().fault_with_flags(at(0), Access::write, OBJR_VM_READ, nullptr).as_int(), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.try_store(0, 2), -OBJR_EACCES);
}

// ptrace: may write to a read-only private mapping, never past it to an object that the process may only read.
OBJR_TEST(spec_U3_debugger_access) {
    TestWorld world(test);
    Object object(test, world, "traced", 4);
    Process a(test, world);
    Process w(test, world);
    OBJR_ASSERT(w.map(0, 4, kShared, object.get(), 0));
    OBJR_ASSERT(a.map(0, 4, kReadOnly, object.get(), 0));
    OBJR_ASSERT(a.map(10, 14, (kReadOnly & ~OBJR_VM_MAYWRITE) | OBJR_VM_SHARED, object.get(), 0));
    OBJR_ASSERT(a.map(20, 24, OBJR_VM_MAYWRITE)); // no access at all
    w.store(1, 5);
    OBJR_EXPECT_EQ(a.load(1), 5);
    objr_mm* mm = reinterpret_cast<objr_mm*>(&a.mm());
    u64 word = 0;
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(11).value, &word, sizeof(word), 0), sizeof(word));
    OBJR_EXPECT_EQ(word, 5);
    word = 6;
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(11).value, &word, sizeof(word), 1), -OBJR_EACCES);
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(1).value, &word, sizeof(word), 1), sizeof(word));
    OBJR_EXPECT_EQ(a.load(1), 6);
    OBJR_EXPECT_EQ(w.load(1), 5);
    OBJR_EXPECT_EQ(a.try_store(1, 7), -OBJR_EACCES);
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(1).value, &word, sizeof(word), 1), sizeof(word)); // its own page by now
    OBJR_EXPECT_EQ(a.try_store(1, 7), -OBJR_EACCES);
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(20).value, &word, sizeof(word), 0), -OBJR_EACCES);
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(1).value + 4092, &word, sizeof(word), 0), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(objr_mm_access(mm, at(50).value, &word, sizeof(word), 0), -OBJR_EFAULT);
}

OBJR_TEST(spec_U3_bad_ranges) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    Mm& mm = a.mm();
    const Vaddr end = mm.address_end();
    OBJR_EXPECT_EQ(mm.map(at(2), at(6), 0, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EEXIST);
    OBJR_EXPECT_EQ(mm.map(at(6), at(6), 0, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.map(at(7), at(6), 0, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.map(at(6) + 1, at(7), 0, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.map(end - kPageSize, end + kPageSize, 0, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.map(at(6), at(8), ~0ull, kReadWrite, nullptr, nullptr).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.unmap(at(6) + 5, at(8), Translations::present).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.unmap(at(6), at(8), Translations::present).as_int(), 0); // nothing there: fine
    OBJR_EXPECT_EQ(mm.fault(Vaddr(~0ull), Access::read, nullptr).as_int(), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(mm.vma_count(), 1);
}

// ---- U3: memory that runs out at every single allocation: nothing leaks, nothing is half done

namespace {

// Runs operation with the first, second, ... allocation failing until it needs no more. after: checks that nothing changed.
template <class Operation, class After>
void fail_each_allocation(objr_test* test, Operation&& operation, After&& after) {
    for (unsigned n = 1; n < 100; n++) {
        objr_test_fail_nth_allocation(n);
        const Status status = operation();
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        if (!reached) {
            OBJR_EXPECT(status);
            return;
        }
        OBJR_ASSERT_EQ(status.as_int(), -OBJR_ENOMEM);
        after();
        OBJR_PROPAGATE();
    }
}

} // namespace

OBJR_TEST(spec_U3_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test);
    Object object(test, world, "fail", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive());
    fail_each_allocation(
        test, [&] { return a.map(0, 8); }, [&] { OBJR_EXPECT_EQ(a.mm().vma_count(), 0); });
    OBJR_PROPAGATE();
    u64 value = 0;
    fail_each_allocation(
        test, [&] { return a.cpu().store(a.mm(), at(0), 5); }, [&] { OBJR_EXPECT_EQ(world.used_pages(), 0); });
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(600, 608, kReadWrite, object.get(), 0));
    fail_each_allocation(
        test, [&] { return a.cpu().store(a.mm(), at(600), 6); }, [&] { OBJR_EXPECT(a.page(600) == nullptr); });
    OBJR_PROPAGATE();
    fail_each_allocation(
        test, [&] { return a.fork_to(b); },
        [&] {
            OBJR_EXPECT_EQ(b.mm().vma_count(), 0);
            OBJR_EXPECT(world.verify());
        });
    OBJR_PROPAGATE();
    OBJR_EXPECT_EQ(b.load(600), 6);
    fail_each_allocation(
        test, [&] { return a.unmap(2, 4); }, [&] { OBJR_EXPECT_EQ(a.try_load(2), 0); });
    OBJR_PROPAGATE();
    fail_each_allocation(
        test, [&] { return a.mm().move(at(600), at(1500), 4 * kPageSize, nullptr); },
        [&] {
            OBJR_EXPECT_EQ(a.load(600), 6);
            OBJR_EXPECT(world.verify());
        });
    OBJR_PROPAGATE();
    fail_each_allocation(
        test, [&] { return a.mm().protect(at(5), at(7), OBJR_VM_READ); },
        [&] { OBJR_EXPECT_EQ(a.try_store(5, 1), 0); });
    OBJR_PROPAGATE();
    OBJR_EXPECT(a.cpu().load(a.mm(), at(1500), &value));
    OBJR_EXPECT_EQ(value, 6);
}
