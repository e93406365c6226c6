// SPDX-License-Identifier: GPL-2.0
// referenced.cpp: who has used a page: counted exactly (spec M8), by the rules of 2.6.24 (C6-C9, C13) and of today (M7).
#include "text_fixture.h"

#include "objrmap/referenced.h"

using namespace objr;
using namespace objr::test;

namespace {

u32 bits_in(u32 set) {
    u32 count = 0;
    for (; set != 0; set &= set - 1) {
        count++;
    }
    return count;
}

// Asks, and lets the rows go. other: a lock that is not free at the time.
template <class Lock = Page>
Referenced ask(objr_test* test, World& world, Page& page, const ReferencedOptions& options, u32* rows = nullptr,
               Lock* other = nullptr) {
    UseRows uses;
    Result<Referenced> answer = Errno{OBJR_EIO};
    {
        SharedGuard quiesce(world.quiesce);
        OptionalGuard<Page> lock(options.held == PageHeld::locked ? &page : nullptr);
        OptionalGuard<Lock> taken(other);
        answer = page_referenced(world, page, options, uses);
    }
    OBJR_EXPECT_EQ(answer.as_int(), 0);
    if (rows) {
        *rows = uses.count();
    }
    return *answer;
}

u32 young(objr_test* test, World& world, Page& page, ReferencedMode mode) { return ask(test, world, page, mode).young; }

// A Vma with other flags, for the time of a test.
class WithFlags : Pinned {
public:
    WithFlags(Process& process, u64 page, u32 flags) : vma_(process.vma(page)), before_(vma_->flags) {
        vma_->set_flags(before_ | flags);
    }
    ~WithFlags() { vma_->set_flags(before_); }

private:
    Vma* const vma_;
    const u32 before_;
};

constexpr ReferencedMode kExact = ReferencedMode::exact;
constexpr ReferencedMode kLazy = ReferencedMode::lazy;
constexpr ReferencedMode kPeek = ReferencedMode::peek;

} // namespace

// ---- every scheme

// k of n relatives, all at the same offset of their Vmas, touch a page they share: k is the count, whoever the k are.
OBJR_TEST(spec_M8_exact_counts_who_touched) {
    constexpr u32 kRelatives = 5;
    TestWorld world(test);
    Processes all(test, world, kRelatives);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 4));
    all[0].store(2, 7);
    for (u32 n = 1; n < kRelatives; n++) {
        OBJR_ASSERT(all[n / 2].fork_to(all[n])); // children and grandchildren
    }
    Page& page = *all[0].page(2);
    OBJR_ASSERT_EQ(page.mappings(), kRelatives);
    young(test, *world, page, kExact);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 0); // left alone
    for (u32 set = 0; set < 1u << kRelatives; set++) {
        for (u32 n = 0; n < kRelatives; n++) {
            if ((set & (1u << n)) != 0) {
                OBJR_EXPECT_EQ(all[n].load(2), 7); // once through the tables,
                OBJR_EXPECT_EQ(all[n].load(2), 7); // once through the TLB
            }
        }
        u32 rows = 0;
        const Referenced answer = ask(test, *world, page, kExact, &rows);
        OBJR_EXPECT_EQ(answer.young, bits_in(set));
        OBJR_EXPECT_EQ(answer.count, bits_in(set));
        OBJR_EXPECT_EQ(answer.mappings, kRelatives);
        OBJR_EXPECT_EQ(rows, kRelatives);
    }
}

OBJR_TEST(spec_M8_exact_sees_past_the_tlb) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 1);
    OBJR_EXPECT(!a.pte(0).young());
    a.store(0, 2); // the translation is gone: the bit is set anew
    OBJR_EXPECT(a.pte(0).young());
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 1);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 0);
}

OBJR_TEST(spec_M8_lazy_does_not_flush) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(young(test, *world, page, kLazy), 1);
    const u64 faults = a.cpu().faults();
    a.store(0, 2); // through the TLB: nobody hears of it
    OBJR_EXPECT_EQ(a.cpu().faults(), faults);
    OBJR_EXPECT(!a.pte(0).young());
    OBJR_EXPECT_EQ(young(test, *world, page, kLazy), 0);
    OBJR_EXPECT_EQ(a.load(0), 2);
}

OBJR_TEST(spec_M8_lazy_allocates_nothing) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    objr_test_fail_nth_allocation(1);
    const u32 counted = young(test, *world, *a.page(0), kLazy);
    const unsigned tried = objr_test_allocations();
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(counted, 1);
    OBJR_EXPECT_EQ(tried, 0);
}

OBJR_TEST(spec_M8_peek_changes_nothing) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 2));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    Page& page = *a.page(0);
    page.set(PageFlag::referenced);
    OBJR_EXPECT_EQ(b.load(0), 1);
    const Pte before[] = {a.pte(0), b.pte(0)};
    for (u32 i = 0; i < 3; i++) {
        const u64 faults = b.cpu().faults();
        const Referenced answer = ask(test, *world, page, kPeek);
        OBJR_EXPECT_EQ(answer.young, 2);
        OBJR_EXPECT(answer.flag);
        OBJR_EXPECT(a.pte(0) == before[0] && b.pte(0) == before[1]);
        OBJR_EXPECT_EQ(b.load(0), 1);
        OBJR_EXPECT_EQ(b.cpu().faults(), faults); // not even the TLB
    }
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 2);
    OBJR_EXPECT(!page.has(PageFlag::referenced));
}

// Clearing A leaves D and RW as they are.
OBJR_TEST(spec_M8_keeps_dirty_and_write) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    a.store(0, 1);
    OBJR_EXPECT_EQ(a.load(1), 0); // writable and clean
    for (u64 n = 0; n < 2; n++) {
        const Pte before = a.pte(n);
        OBJR_EXPECT_EQ(young(test, *world, *a.page(n), kExact), 1);
        OBJR_EXPECT(a.pte(n) == before.without(Pte::kAccessed));
        OBJR_EXPECT_EQ(a.load(n), n == 0 ? 1 : 0);
        OBJR_EXPECT_EQ(young(test, *world, *a.page(n), kLazy), 1);
        OBJR_EXPECT(a.pte(n) == before.without(Pte::kAccessed));
    }
}

// Mapped and referenced are different numbers, of file pages too.
OBJR_TEST(spec_C6_mapped_and_referenced) {
    TestWorld world(test);
    Object object(test, world, "used", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive());
    OBJR_ASSERT(a.map(0, 4, kShared, object.get()) && b.map(10, 14, kReadWrite, object.get()));
    a.store(3, 5);
    OBJR_EXPECT_EQ(b.load(13), 5);
    Page& page = *a.page(3);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 2);
    OBJR_EXPECT_EQ(b.load(13), 5);
    const Referenced answer = ask(test, *world, page, kExact);
    OBJR_EXPECT_EQ(answer.young, 1);
    OBJR_EXPECT_EQ(answer.mappings, 2);
}

// One page twice in one Mm is two mappings, each used by itself.
OBJR_TEST(spec_M8_twice_in_one_mm) {
    TestWorld world(test);
    Object object(test, world, "twice", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1, kShared, object.get()) && a.map(8, 9, kShared, object.get()));
    a.store(0, 5);
    OBJR_EXPECT_EQ(a.load(8), 5);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 2);
    OBJR_EXPECT_EQ(a.load(8), 5);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 1);
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 0);
}

OBJR_TEST(spec_M8_failing_allocations) {
    if (objr_test_can_fail_allocations() == 0) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    {
        UseRows rows;
        SharedGuard quiesce(world->quiesce);
        PageLock lock(page);
        objr_test_fail_nth_allocation(1);
        const Result<Referenced> answer = page_referenced(*world, page, kExact, rows);
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(answer.as_int(), -OBJR_ENOMEM);
    }
    OBJR_EXPECT(a.pte(0).young()); // nothing was forgotten
    OBJR_EXPECT_EQ(young(test, *world, page, kExact), 1);
}

OBJR_TEST(command_referenced) {
    TestWorld world(test);
    Text text(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    const char* verb = "referenced ";
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(0), "", verb).c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=2 count=1 mapped=2 young=1 flag=0 locked=0 mode=exact stop=mapcount\n");
    OBJR_EXPECT_EQ(text.count("\nmapper pid=- comm=- mm="), 2);
    OBJR_EXPECT_EQ(text.count(" young=1 "), 2); // the page's, and that of a
    OBJR_EXPECT_EQ(b.load(0), 1);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(0), " peek", verb).c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), " young=1 flag=0 locked=0 mode=peek ");
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(0), " json", verb).c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"referenced\":{\"pfn\":\"0x");
    OBJR_EXPECT_TEXT(text.c_str(), "\"mappers\":[{\"pid\":null,");
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(0), "", verb).c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), " count=0 mapped=2 young=0 ");
}

// ---- 2.6.24

OBJR_TEST(spec_C6_young_and_flag) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    page.set(PageFlag::referenced);
    Referenced answer = ask(test, *world, page, kLazy);
    OBJR_EXPECT_EQ(answer.count, 2); // the entry and the flag
    OBJR_EXPECT_EQ(answer.young, 1);
    answer = ask(test, *world, page, kLazy);
    OBJR_EXPECT_EQ(answer.count, 0); // both are cleared
    page.set(PageFlag::referenced);
    OBJR_EXPECT_EQ(ask(test, *world, page, kExact).count, 1);
}

OBJR_TEST(spec_C7_locked_file_page) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "busy", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1, kShared, object.get()) && a.map(4, 5));
    a.store(0, 1);
    a.store(4, 2);
    const ReferencedOptions unlocked(kLazy, PageHeld::unlocked);
    const s64 walks = world->counters.sum(Count::rmap_walks);
    Page& shared = *a.page(0);
    Page& anon = *a.page(4);
    OBJR_EXPECT_EQ(ask(test, *world, shared, unlocked, nullptr, &shared).count, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::rmap_walks), walks);
    OBJR_EXPECT(a.pte(0).young()); // it was not looked at
    OBJR_EXPECT_EQ(ask(test, *world, shared, unlocked).count, 1);
    OBJR_EXPECT(!a.pte(0).young() && !shared.locked());
    // Of no matter for an anonymous page.
    OBJR_EXPECT_EQ(ask(test, *world, anon, unlocked, nullptr, &anon).count, 1);
    OBJR_EXPECT(!a.pte(4).young());
    OBJR_EXPECT_EQ(ask(test, *world, anon, unlocked, nullptr, &anon).count, 0);
}

// The walk ends when all mappings were found, young or not.
OBJR_TEST(spec_C8_referenced_stops_early) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && c.alive() && a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    c.store(0, 3); // two mappings are left: the first two of three in the list
    Page& page = *a.page(0);
    ask(test, *world, page, kLazy);
    for (ReferencedMode mode : {kLazy, kExact, kPeek}) {
        const Referenced answer = ask(test, *world, page, mode);
        OBJR_EXPECT_EQ(answer.young, 0);
        OBJR_EXPECT_EQ(answer.cost.candidates, 2);
        OBJR_EXPECT(answer.cost.stop == StopReason::mapcount);
    }
}

OBJR_TEST(spec_C9_locked_and_may_share) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "locked", 1);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive());
    OBJR_ASSERT(a.map(0, 1, kShared, object.get()) && b.map(0, 1, kShared, object.get()));
    a.store(0, 1);
    OBJR_EXPECT_EQ(b.load(0), 1);
    Page& page = *a.page(0);
    ask(test, *world, page, kExact);
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(b.load(0), 1);
    {
        WithFlags first(a, 0, OBJR_VM_LOCKED); // whichever of the two comes first ends the walk
        WithFlags second(b, 0, OBJR_VM_LOCKED);
        const Referenced answer = ask(test, *world, page, kLazy);
        OBJR_EXPECT_EQ(answer.count, 1);
        OBJR_EXPECT_EQ(answer.young, 0);
        OBJR_EXPECT(answer.at_locked);
        OBJR_EXPECT_EQ(answer.cost.candidates, 1);
        OBJR_EXPECT_EQ(answer.cost.hits, 0);
        OBJR_EXPECT(a.pte(0).young() && b.pte(0).young()); // not read
    }
    // The walk of an anonymous page has no such test.
    OBJR_ASSERT(a.map(4, 5));
    a.store(4, 1);
    WithFlags locked(a, 4, OBJR_VM_LOCKED);
    OBJR_EXPECT_EQ(ask(test, *world, *a.page(4), kLazy).count, 1);
    OBJR_EXPECT_EQ(ask(test, *world, *a.page(4), kLazy).count, 0);
}

// A use through a nonlinear view counts for nothing in 2.6.24, and does today.
OBJR_TEST(spec_C13_referenced_and_nonlinear) {
    for (const char* scheme : {"classic", "chain"}) {
        TestWorld world(test, 1, 4, scheme);
        Object object(test, world, "window", 8);
        Process a(test, world);
        Process b(test, world);
        OBJR_ASSERT(a.alive() && b.alive());
        OBJR_ASSERT(a.map(0, 8, kShared, object.get()) && b.map(0, 8, kShared, object.get()));
        OBJR_ASSERT(b.mm().remap(at(5), kPageSize, 2, Populate::no));
        a.store(2, 7);
        OBJR_EXPECT_EQ(b.load(5), 7);
        Page& page = *a.page(2);
        OBJR_EXPECT_EQ(page.mappings(), 2);
        const bool sees = world.is("chain");
        OBJR_EXPECT_EQ(ask(test, *world, page, kPeek).count, sees ? 2 : 1);
        OBJR_EXPECT_EQ(ask(test, *world, page, kExact).count, sees ? 2 : 1);
        OBJR_EXPECT_EQ(b.pte(5).young(), !sees);
        OBJR_EXPECT_EQ(count_mappers(*world, page), 2); // who maps it is another question
    }
}

// ---- today's Linux

OBJR_TEST(spec_M7_page_lock_is_tried) {
    TestWorld world(test, 1, 4, "chain");
    Object object(test, world, "busy", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1, kShared, object.get()) && a.map(4, 5));
    const ReferencedOptions unlocked(kLazy, PageHeld::unlocked);
    for (u64 n : {0, 4}) {
        a.store(n, 1);
        Page& page = *a.page(n);
        const s64 walks = world->counters.sum(Count::rmap_walks);
        OBJR_EXPECT_EQ(ask(test, *world, page, unlocked, nullptr, &page).count, 1);
        OBJR_EXPECT_EQ(world->counters.sum(Count::rmap_walks), walks);
        OBJR_EXPECT(a.pte(n).young());
        OBJR_EXPECT_EQ(ask(test, *world, page, unlocked).count, 1);
        OBJR_EXPECT_EQ(ask(test, *world, page, unlocked).count, 0);
    }
}

OBJR_TEST(spec_M7_contended) {
    TestWorld world(test, 1, 4, "chain");
    Object object(test, world, "busy", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1, kShared, object.get()) && a.map(4, 5));
    a.store(0, 1);
    a.store(4, 1);
    const ReferencedOptions unlocked(kLazy, PageHeld::unlocked);
    for (u64 n : {0, 4}) {
        Page& page = *a.page(n);
        page.set(PageFlag::referenced);
        RwSem* writer = n == 0 ? &object->i_mmap_lock : &a.vma(4)->anon()->root->lock;
        const Referenced answer = ask(test, *world, page, unlocked, nullptr, writer);
        OBJR_EXPECT_EQ(answer.count, Referenced::kContended);
        OBJR_EXPECT(answer.cost.stop == StopReason::contended);
        OBJR_EXPECT(a.pte(n).young() && page.has(PageFlag::referenced));
        OBJR_EXPECT_EQ(ask(test, *world, page, unlocked).count, 1); // the flag is told, not counted
        OBJR_EXPECT(!page.has(PageFlag::referenced));
    }
}

OBJR_TEST(spec_M7_advice_and_locked) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(b.load(0), 1);
    Page& page = *a.page(0);
    for (u32 advice : {OBJR_VM_RANDOM, OBJR_VM_SEQUENTIAL}) {
        WithFlags streaming(b, 0, advice);
        const Referenced answer = ask(test, *world, page, kExact);
        OBJR_EXPECT_EQ(answer.count, 1); // only a's
        OBJR_EXPECT(b.pte(0).young());
        OBJR_EXPECT_EQ(a.load(0), 1);
    }
    {
        WithFlags first(a, 0, OBJR_VM_LOCKED);
        WithFlags second(b, 0, OBJR_VM_LOCKED);
        const Referenced answer = ask(test, *world, page, kExact);
        OBJR_EXPECT_EQ(answer.count, 0);
        OBJR_EXPECT(answer.at_locked);
        OBJR_EXPECT_EQ(answer.cost.candidates, 1);
        OBJR_EXPECT(a.pte(0).young() && b.pte(0).young());
    }
    OBJR_EXPECT_EQ(ask(test, *world, page, kExact).count, 2);
}
