// SPDX-License-Identifier: GPL-2.0
// nonlinear.cpp: spec C12 to C14 and what C15, U6 and H3 say of nonlinear mappings: remap_file_pages under every scheme.
#include "text_fixture.h"
#include "unmap_fixture.h"

#include "objrmap/referenced.h"
#include "objrmap/unmap_nonlinear.h"

using namespace objr;
using namespace objr::test;

namespace {

// Pages [first, last) of the process's region show the object from pgoff on.
Status remap(Process& process, u64 first, u64 last, u64 pgoff, Populate populate = Populate::no) {
    return process.mm().remap(at(first), (last - first) * kPageSize, pgoff, populate);
}

// The object's pages in reverse order: page n of the region shows pgoff pages - 1 - n.
bool reverse(Process& process, u64 pages, Populate populate = Populate::no) {
    for (u64 page = 0; page < pages; page++) {
        if (!remap(process, page, page + 1, pages - 1 - page, populate)) {
            return false;
        }
    }
    return true;
}

bool names(const Process& process, u64 page, u64 pgoff) { return process.pte(page) == Pte::file(Pgoff(pgoff)); }

bool nonlinear(const Process& process, u64 page) { return process.vma(page)->has(VmFlag::nonlinear); }

// A page of the object, as it is in its cache.
class Cached : Pinned {
public:
    Cached(TestWorld& world, Object& object, u64 pgoff) : world_(world), page_(object->find_page(pgoff)) {}
    ~Cached() {
        if (page_) {
            world_->pool.put(*page_);
        }
    }
    explicit operator bool() const { return page_ != nullptr; }
    Page* operator->() const { return page_; }
    Page& operator*() const { return *page_; }

private:
    TestWorld& world_;
    Page* page_;
};

} // namespace

// ---- C12: from linear to nonlinear

OBJR_TEST(spec_C12_first_remap_moves_to_the_list) {
    TestWorld world(test);
    Object object(test, world, "list", 16);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()) && b.map(0, 8, kShared, object.get()));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 0);
    OBJR_ASSERT(remap(a, 0, 2, 8));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 1);
    OBJR_EXPECT_EQ(object->i_mmap.size(), 2);
    OBJR_EXPECT(nonlinear(a, 0) && !nonlinear(b, 0));
    OBJR_EXPECT(a.vma(0) == a.vma(7)); // whole, as the process asked for it
    OBJR_ASSERT(remap(a, 4, 6, 9));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 1);
    OBJR_EXPECT(world.verify());
}

OBJR_TEST(spec_C12_already_linear_changes_nothing) {
    TestWorld world(test);
    Object object(test, world, "linear", 16);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 3));
    a.store(2, 22);
    const Pte before = a.pte(2);
    OBJR_EXPECT(remap(a, 0, 8, 3, Populate::yes));
    OBJR_EXPECT(remap(a, 2, 4, 5));
    OBJR_EXPECT(!nonlinear(a, 0));
    OBJR_EXPECT(a.pte(2) == before);
    OBJR_EXPECT_EQ(a.mm().resident(), 1); // not even populated
    OBJR_ASSERT(remap(a, 0, 1, 4));
    OBJR_EXPECT(remap(a, 2, 4, 5)); // no longer linear: taken out like any other
    OBJR_EXPECT(names(a, 2, 5) && names(a, 3, 6));
    OBJR_EXPECT_EQ(a.load(2), 22);
}

// ---- C12: entries and faults

OBJR_TEST(spec_C12_nonblocking_installs_file_entries) {
    TestWorld world(test);
    Object object(test, world, "entries", 16);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()));
    for (u64 page = 0; page < 8; page++) {
        a.store(page, 100 + page);
    }
    OBJR_ASSERT(remap(a, 0, 4, 4));
    for (u64 page = 0; page < 4; page++) {
        OBJR_EXPECT(names(a, page, 4 + page));
        Cached out(world, object, page);
        OBJR_EXPECT(out && !out->mapped() && out->has(PageFlag::dirty) && out->refcount.load() == 2);
    }
    OBJR_EXPECT_EQ(a.mm().resident(), 4);
    OBJR_EXPECT(a.page(4) && a.page(7));
    OBJR_ASSERT(remap(a, 8 - 2, 8, 12)); // beyond the end of what is linear there
    OBJR_EXPECT(names(a, 6, 12) && names(a, 7, 13));
    OBJR_EXPECT_EQ(a.load(0), 104); // the fault follows the entry
    OBJR_EXPECT(a.page(0) == a.page(4));
    OBJR_EXPECT_EQ(a.page(0)->mappings(), 2);
}

OBJR_TEST(spec_C12_blocking_populates) {
    TestWorld world(test);
    Object object(test, world, "populate", 16);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()));
    OBJR_ASSERT(remap(a, 0, 8, 12, Populate::yes));
    OBJR_EXPECT_EQ(a.cpu().faults(), 0);
    for (u64 page = 0; page < 4; page++) {
        OBJR_ASSERT(a.page(page) != nullptr);
        OBJR_EXPECT_EQ(a.page(page)->index, 12 + page);
        OBJR_EXPECT(!a.pte(page).writable()); // clean: the first write is to be noticed
    }
    for (u64 page = 4; page < 8; page++) { // beyond the end of the object
        OBJR_EXPECT(names(a, page, 12 + page));
    }
    OBJR_EXPECT_EQ(a.load(3), 0);
    OBJR_EXPECT_EQ(a.cpu().faults(), 0);
}

OBJR_TEST(spec_C12_round_trip_through_a_reversed_window) {
    constexpr u64 kCount = 48;
    TestWorld world(test);
    Object object(test, world, "reversed", kCount);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, kCount, kShared, object.get()) &&
                b.map(64, 64 + kCount, kShared, object.get()));
    for (u64 page = 0; page < kCount; page++) {
        b.store(64 + page, page);
    }
    OBJR_ASSERT(reverse(a, kCount));
    for (u64 page = 0; page < kCount; page++) {
        OBJR_EXPECT_EQ(a.load(page), kCount - 1 - page);
        a.store(page, 1000 + page);
    }
    for (u64 page = 0; page < kCount; page++) {
        OBJR_EXPECT_EQ(b.load(64 + kCount - 1 - page), 1000 + page);
    }
    OBJR_ASSERT(reverse(a, kCount, Populate::yes)); // what is written stays in the object
    OBJR_ASSERT(remap(a, 0, kCount, 0)); // straight again, in the list for good
    for (u64 page = 0; page < kCount; page++) {
        OBJR_EXPECT_EQ(a.load(page), 1000 + kCount - 1 - page);
    }
    OBJR_EXPECT(nonlinear(a, 0));
}

OBJR_TEST(spec_C12_windows_at_different_offsets) {
    TestWorld world(test);
    Object object(test, world, "windows", 32);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(3, 11, kShared, object.get(), 5) && a.map(40, 44, kShared, object.get(), 0) &&
                b.map(100, 132, kShared, object.get()));
    OBJR_ASSERT(remap(a, 4, 7, 20) && remap(a, 41, 42, 20) && remap(b, 131, 132, 20));
    a.store(4, 7);
    OBJR_EXPECT_EQ(a.load(41), 7);
    OBJR_EXPECT_EQ(b.load(131), 7);
    OBJR_EXPECT_EQ(b.load(120), 7);
    Page& page = *a.page(4);
    OBJR_EXPECT(a.page(41) == &page && b.page(131) == &page && b.page(120) == &page);
    OBJR_EXPECT_EQ(count_mappers(*world, page), 4);
    OBJR_EXPECT_EQ(a.load(3), 0); // pgoff 5, never remapped
    OBJR_EXPECT_EQ(a.page(3)->index, 5);
}

// Two views of a file, each in an order of its own.
OBJR_TEST(spec_C12_two_views_of_one_file) {
    constexpr u64 kCount = 200;
    TestWorld world(test);
    Object object(test, world, "views", kCount);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, kCount, kShared, object.get()) && b.map(0, kCount, kShared, object.get()));
    OBJR_ASSERT(reverse(a, kCount));
    for (u64 page = 0; page < kCount; page++) { // 77 and 200 have no common factor
        OBJR_ASSERT(remap(b, page, page + 1, page * 77 % kCount));
    }
    for (u64 page = 0; page < kCount; page++) {
        a.store(page, kCount - 1 - page);
    }
    for (u64 page = 0; page < kCount; page++) {
        OBJR_EXPECT_EQ(b.load(page), page * 77 % kCount);
    }
    for (u64 page = 0; page < kCount; page += 17) {
        Page& shown = *b.page(page);
        u64 sum = 0;
        WalkCost cost;
        SharedGuard quiesce(world->quiesce);
        PageLock lock(shown);
        rmap_walk(*world, shown, EarlyStop::yes, cost, [&](const Mapping& mapping) {
            sum += (mapping.address - kBase) >> kPageShift;
            return Visit::go_on;
        });
        OBJR_EXPECT_EQ(cost.hits, 2);
        OBJR_EXPECT_EQ(sum, page + kCount - 1 - page * 77 % kCount);
    }
}

OBJR_TEST(spec_C12_beyond_the_end) {
    TestWorld world(test);
    Object object(test, world, "end", 4);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 4, kShared, object.get()));
    OBJR_EXPECT(remap(a, 0, 2, 3, Populate::yes)); // its last page, and one that it does not have
    OBJR_EXPECT(remap(a, 2, 4, Pte::kFilePgoffs - 2));
    OBJR_EXPECT_EQ(a.load(0), 0);
    OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_store(3, 1), -OBJR_EIO);
    OBJR_EXPECT(names(a, 3, Pte::kFilePgoffs - 1));
    OBJR_ASSERT(object->truncate(8 * kPageSize));
    a.store(1, 11);
    OBJR_EXPECT_EQ(a.page(1)->index, 4);
}

// ---- C12: what is refused

OBJR_TEST(spec_C12_bad_arguments) {
    TestWorld world(test);
    Object object(test, world, "bad", 16);
    Object other(test, world, "other", 16);
    Process a(test, world);
    OBJR_ASSERT(object.get() && other.get());
    OBJR_ASSERT(a.map(0, 4, kShared, object.get()) && a.map(4, 8, kShared, other.get()));
    OBJR_ASSERT(a.map(10, 12, kReadWrite, object.get()) && a.map(12, 14));
    const struct {
        u64 first, last, pgoff;
    } kBad[] = {
        {0, 0, 0}, // empty
        {2, 6, 0}, // two files
        {6, 10, 0}, // a hole at the end
        {9, 10, 0}, // nothing there
        {10, 11, 1}, // a private view
        {12, 13, 1}, // anonymous
        {0, 2, Pte::kFilePgoffs - 1},
        {0, 1, Pte::kFilePgoffs},
        {0, 1, ~0ull},
    };
    for (const auto& bad : kBad) {
        OBJR_EXPECT_EQ(remap(a, bad.first, bad.last, bad.pgoff, Populate::yes).as_int(), -OBJR_EINVAL);
    }
    Mm& mm = a.mm();
    OBJR_EXPECT_EQ(mm.remap(at(0) + 8, kPageSize, 5, Populate::no).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.remap(at(0), kPageSize + 8, 5, Populate::no).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.remap(at(0), ~0ull << kPageShift, 5, Populate::no).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(mm.remap(mm.address_end(), kPageSize, 5, Populate::no).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear() + other->i_mmap.nonlinear(), 0);
    OBJR_EXPECT_EQ(a.mm().resident(), 0);
    OBJR_ASSERT(a.mm().split(at(2)));
    OBJR_EXPECT(remap(a, 1, 3, 8)); // one file, in two Vmas
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 2);
    OBJR_EXPECT(names(a, 1, 8) && names(a, 2, 9));
}

OBJR_TEST(spec_C12_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    constexpr u64 kFar = 3 * PageTable::kEntries; // needs tables of its own
    TestWorld world(test);
    Object object(test, world, "failing", 16);
    OBJR_ASSERT(object.get() != nullptr);
    for (unsigned n = 1;; n++) {
        Process a(test, world);
        OBJR_ASSERT(a.map(kFar - 4, kFar + 4, kShared, object.get()));
        a.store(kFar - 1, n);
        objr_test_fail_nth_allocation(n);
        const Status status = remap(a, kFar - 4, kFar + 4, 2);
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT(!reached || status.as_int() == -OBJR_ENOMEM);
        OBJR_EXPECT_EQ(nonlinear(a, kFar), !reached);
        OBJR_EXPECT_EQ(a.page(kFar - 1) != nullptr, reached);
        OBJR_ASSERT(world.verify());
        if (!reached) {
            OBJR_EXPECT(n > 1);
            break;
        }
    }
}

// ---- C12: nonlinear Vmas in the life of a process

OBJR_TEST(spec_C12_fork_inherits_the_places) {
    TestWorld world(test);
    Object object(test, world, "fork", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()) && reverse(a, 8));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, page);
    }
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT(nonlinear(b, 0));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 2);
    OBJR_EXPECT(names(b, 7, 0)); // not yet used by anybody
    OBJR_EXPECT(world.verify());
    for (u64 page = 0; page < 4; page++) {
        OBJR_EXPECT_EQ(b.load(page), page);
        b.store(page, 10 + page);
        OBJR_EXPECT_EQ(a.load(page), 10 + page);
    }
    a.store(7, 77);
    OBJR_EXPECT_EQ(b.load(7), 77);
    OBJR_ASSERT(remap(b, 0, 1, 0)); // its own view from now on
    OBJR_EXPECT_EQ(b.load(0), 77);
    OBJR_EXPECT_EQ(a.load(0), 10);
}

OBJR_TEST(spec_C12_unmap_in_the_middle) {
    TestWorld world(test);
    Object object(test, world, "middle", 12);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 12, kShared, object.get()) && reverse(a, 12));
    for (u64 page = 0; page < 12; page += 2) { // every other one stays a file entry
        a.store(page, page);
    }
    OBJR_ASSERT(a.unmap(4, 7));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 2);
    OBJR_EXPECT(nonlinear(a, 3) && nonlinear(a, 7));
    OBJR_EXPECT_EQ(a.try_load(5), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(a.load(2), 2);
    OBJR_EXPECT_EQ(a.load(8), 8);
    a.store(7, 7);
    OBJR_EXPECT_EQ(a.page(7)->index, 4);
    OBJR_ASSERT(a.map(4, 7, kShared, object.get(), 4)); // linear, between the two: no neighbour of theirs
    OBJR_EXPECT(!nonlinear(a, 4));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 2);
    OBJR_EXPECT_EQ(a.load(4), 7);
    OBJR_EXPECT_EQ(remap(a, 3, 8, 0).as_int(), 0);
    OBJR_EXPECT_EQ(a.mm().vma_count(), 3);
}

OBJR_TEST(spec_C12_move) {
    TestWorld world(test);
    Object object(test, world, "move", 8);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()) && reverse(a, 8));
    a.store(0, 1);
    OBJR_ASSERT(a.mm().move(at(0), at(600), 4 * kPageSize, nullptr)); // another table
    OBJR_EXPECT(nonlinear(a, 600) && names(a, 601, 6));
    OBJR_EXPECT_EQ(a.load(600), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(600)), 1);
    a.store(601, 2);
    OBJR_EXPECT_EQ(a.page(601)->index, 6);
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 2);
    OBJR_EXPECT(world.verify());
}

OBJR_TEST(spec_C12_protect) {
    TestWorld world(test);
    Object object(test, world, "protect", 8);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()) && reverse(a, 8));
    a.store(2, 2);
    OBJR_ASSERT(a.mm().protect(at(2), at(5), OBJR_VM_READ));
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 3);
    OBJR_EXPECT(names(a, 3, 4));
    OBJR_EXPECT_EQ(a.try_store(3, 1), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.load(2), 2);
    OBJR_ASSERT(a.mm().protect(at(2), at(5), OBJR_VM_READ | OBJR_VM_WRITE));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 1); // one again
    a.store(3, 3);
    OBJR_EXPECT_EQ(a.page(3)->index, 4);
}

OBJR_TEST(spec_C12_what_was_written_stays_dirty) {
    TestWorld world(test);
    Object object(test, world, "dirty", 8);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 4, kShared, object.get()));
    a.store(0, 1);
    OBJR_ASSERT(a.mm().protect(at(0), at(1), OBJR_VM_READ)); // dirty, and not writable any more
    OBJR_ASSERT(remap(a, 0, 1, 4));
    Cached page(world, object, 0);
    OBJR_EXPECT(page && page->has(PageFlag::dirty));
    OBJR_EXPECT_EQ(a.load(0), 0); // not through an old translation
    OBJR_ASSERT(a.mm().protect(at(0), at(1), OBJR_VM_READ | OBJR_VM_WRITE));
}

// ---- C13: found all the same

OBJR_TEST(spec_C13_query_scans_nonlinear_vmas) {
    TestWorld world(test);
    Object object(test, world, "query", 32);
    Process a(test, world);
    Process b(test, world);
    Text text(test);
    OBJR_ASSERT(object.get() && text && a.map(0, 32, kShared, object.get()) && b.map(0, 32, kShared, object.get()));
    OBJR_ASSERT(remap(a, 0, 1, 20) && remap(a, 9, 10, 20) && remap(b, 3, 4, 7));
    a.store(0, 1);
    OBJR_EXPECT_EQ(a.load(9), 1);
    OBJR_EXPECT_EQ(b.load(4), 0);
    WalkCost cost;
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0), &cost), 2);
    text.query(world, Selector(*world, *a.page(0), " explain").c_str());
    OBJR_EXPECT_EQ(text.count("mapper "), 2);
    OBJR_EXPECT_TEXT(text.c_str(), " vaddr=0x7f0000000000 ");
    OBJR_EXPECT_TEXT(text.c_str(), " vaddr=0x7f0000009000 ");
    if (world.is("pte_chain")) { // it knows the entries, wherever they are
        OBJR_EXPECT_EQ(cost.scanned, 0);
        OBJR_EXPECT_EQ(cost.candidates, 2);
        return;
    }
    OBJR_EXPECT_EQ(cost.scanned, 64); // both tables' parts of both Vmas
    OBJR_EXPECT_EQ(cost.candidates, 3);
    OBJR_EXPECT_EQ(cost.false_hits, 1);
    OBJR_EXPECT_TEXT(text.c_str(), " scanned=");
    OBJR_EXPECT_EQ(text.count(" why=nonlinear miss=none\n"), 2);
    OBJR_EXPECT_EQ(text.count(" vaddr=0x7f0000000000 why=nonlinear miss=nowhere\n"), 1); // of b
    text.query(world, Selector(*world, *b.page(4), " explain").c_str());
    OBJR_EXPECT_EQ(text.count(" why=nonlinear miss=none\n"), 1);
    OBJR_EXPECT_EQ(text.count(" why=nonlinear miss=nowhere\n"),
                   1); // a's entry for it is none: it would come with a fault
    OBJR_ASSERT(remap(a, 30, 31, 4));
    WordsOf<64> selector;
    selector.words.add("mm ").decimal(a.mm().id()).add(" addr 0x7f000001e000");
    text.query(world, selector.words.c_str());
    OBJR_EXPECT_TEXT(text.c_str(), ": the entry names a page of the file\n");
    text.query(world, Selector(*world, *b.page(4), " explain").c_str());
    OBJR_EXPECT_EQ(text.count(" vaddr=0x7f000001e000 why=nonlinear miss=file-entry\n"), 1);
}

// 2.6.24 does not look into nonlinear Vmas when it asks who has used a page. The others find the entry by the scan or by the chain.
OBJR_TEST(spec_C13_referenced_does_not_see_them_in_classic) {
    TestWorld world(test);
    Object object(test, world, "referenced", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get()) && b.map(0, 8, kShared, object.get()));
    OBJR_ASSERT(remap(a, 0, 1, 5));
    a.store(0, 1);
    b.load(5);
    Page& page = *a.page(0);
    UseRows rows;
    SharedGuard quiesce(world->quiesce);
    PageLock lock(page);
    Result<Referenced> answer = page_referenced(*world, page, ReferencedMode::exact, rows);
    OBJR_ASSERT(answer);
    const bool sees = world->scheme().traits.rules == Rules::linux_7 || world->scheme().traits.tracks_entries;
    OBJR_EXPECT_EQ((*answer).mappings, 2);
    OBJR_EXPECT_EQ((*answer).young, sees ? 2 : 1);
    OBJR_EXPECT_EQ(rows.count(), sees ? 2 : 1);
    rows.release();
    answer = page_referenced(*world, page, ReferencedMode::peek, rows);
    OBJR_ASSERT(answer);
    OBJR_EXPECT_EQ((*answer).young, 0);
}

// ---- C15, U6

OBJR_TEST(spec_C15_mkclean_of_nonlinear) {
    TestWorld world(test);
    Object object(test, world, "clean", 40);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 40, kShared, object.get()) && b.map(0, 40, kShared, object.get()));
    for (u64 page = 0; page < 20; page++) { // more than one batch
        OBJR_ASSERT(remap(a, page, page + 1, 39));
        a.store(page, page);
    }
    b.store(39, 39);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(page.mappings(), 21);
    {
        SharedGuard quiesce(world->quiesce);
        PageLock lock(page);
        OBJR_EXPECT_EQ(page_mkclean(*world, page), 21);
        OBJR_EXPECT(page.has(PageFlag::dirty));
        page.clear(PageFlag::dirty);
        OBJR_EXPECT_EQ(page_mkclean(*world, page), 0);
    }
    OBJR_EXPECT(!a.pte(19).writable() && !a.pte(19).dirty() && !b.pte(39).writable());
    a.store(19, 1); // noticed
    OBJR_EXPECT(a.pte(19).dirty());
    OBJR_EXPECT_EQ(b.load(39), 1);
}

OBJR_TEST(spec_U6_truncate_nonlinear) {
    TestWorld world(test);
    Object object(test, world, "cut", 100);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 100, kShared, object.get()) && b.map(0, 4, kShared, object.get(), 96));
    OBJR_ASSERT(reverse(a, 100));
    OBJR_ASSERT(remap(b, 0, 4, 0)); // linearly all of it is beyond the new end, in truth nothing
    for (u64 page = 0; page < 100; page++) {
        a.store(page, page);
    }
    OBJR_EXPECT_EQ(b.load(0), 99);
    OBJR_ASSERT(object->truncate(10 * kPageSize));
    for (u64 page = 0; page < 90; page++) {
        OBJR_EXPECT(names(a, page, 99 - page));
    }
    OBJR_EXPECT_EQ(a.mm().resident(), 10);
    OBJR_EXPECT(b.page(0) != nullptr);
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_store(89, 1), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.load(90), 90);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(object->truncate(100 * kPageSize));
    OBJR_EXPECT_EQ(a.load(0), 0); // new, and in its old place
    OBJR_EXPECT_EQ(a.page(0)->index, 99);
}

// ---- C14: clusters

namespace {

constexpr u64 kCluster = 32;

// Nobody has used pages [first, last) lately; translations of them may be left, as the lazy mode of spec M8 leaves them.
void age_lazily(Process& process, u64 first, u64 last) {
    SharedGuard guard(process.mm().lock());
    for (u64 page = first; page < last; page++) {
        PageTable* table = process.mm().tables().leaf(at(page));
        if (!table) {
            continue;
        }
        Guard table_guard(table->lock);
        if (table->get(at(page)).is_present()) {
            table->take_bits(at(page), Pte::kAccessed);
        }
    }
}

void age(Process& process, u64 first, u64 last) {
    age_lazily(process, first, last);
    process.cpu().zap(nullptr, at(first), at(last), OBJR_MMAP_LOCK_NOT_HELD);
}

ClusterResult unmap(TestWorld& world, Page& page, LockedVmas locked = LockedVmas::spare) {
    SharedGuard quiesce(world->quiesce);
    PageLock lock(page);
    WalkCost cost;
    return try_to_unmap_nonlinear(*world, page, locked, cost);
}

u32 present(const Process& process, u64 first, u64 last) {
    u32 count = 0;
    for (u64 page = first; page < last; page++) {
        count += process.page(page) ? 1 : 0;
    }
    return count;
}

// [0, pages) shows the object backwards and is all there, used and dirty.
bool fill_backwards(Process& process, Object& object, u64 pages) {
    if (!object.get() || !process.map(0, pages, kShared, object.get()) || !reverse(process, pages)) {
        return false;
    }
    for (u64 page = 0; page < pages; page++) {
        process.store(page, page);
    }
    return present(process, 0, pages) == pages;
}

} // namespace

OBJR_TEST(spec_C14_clusters_and_their_cursor) {
    TestWorld world(test);
    Object object(test, world, "clusters", 4 * kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 4 * kCluster));
    age(a, 0, 4 * kCluster);
    Page& meant = *a.page(70);
    for (u64 round = 1; round <= 3; round++) { // until its turn comes
        OBJR_EXPECT(meant.mapped());
        const ClusterResult result = unmap(world, meant);
        OBJR_EXPECT(result.state == ClusterResult::State::tried);
        OBJR_EXPECT_EQ(result.taken, kCluster);
        OBJR_EXPECT_EQ(a.vma(0)->nonlinear_cursor, round * kCluster);
        OBJR_EXPECT_EQ(present(a, 0, 4 * kCluster), (4 - round) * kCluster);
    }
    OBJR_EXPECT(!meant.mapped());
    OBJR_EXPECT(names(a, 70, 4 * kCluster - 1 - 70));
    OBJR_EXPECT(meant.has(PageFlag::dirty));
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(unmap(world, *a.page(127)).taken, kCluster); // from where the last one stopped
    for (u64 page = 0; page < 4 * kCluster; page++) {
        OBJR_EXPECT_EQ(a.load(page), page); // nothing is lost
    }
}

OBJR_TEST(spec_C14_translations_go_too) {
    TestWorld world(test);
    Object object(test, world, "translations", kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, kCluster));
    age_lazily(a, 0, kCluster);
    const u64 before = a.cpu().faults();
    OBJR_EXPECT_EQ(unmap(world, *a.page(0)).taken, kCluster);
    for (u64 page = 0; page < kCluster; page++) {
        a.store(page, 2 * page);
    }
    OBJR_EXPECT_EQ(a.cpu().faults() - before, kCluster);
}

OBJR_TEST(spec_C14_young_ones_stay) {
    TestWorld world(test);
    Object object(test, world, "young", 2 * kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 2 * kCluster));
    OBJR_EXPECT_EQ(unmap(world, *a.page(0), LockedVmas::take).taken, 0); // as a migration, too
    OBJR_EXPECT_EQ(present(a, 0, 2 * kCluster), 2 * kCluster);
    OBJR_EXPECT_EQ(a.vma(0)->nonlinear_cursor, 0); // a whole pass for nothing: to the beginning
    OBJR_EXPECT(!a.pte(0).young() && !a.pte(63).young()); // but next time
    a.load(5);
    OBJR_EXPECT(a.pte(5).young()); // by a new translation
    OBJR_EXPECT_EQ(unmap(world, *a.page(40)).taken, kCluster - 1);
    OBJR_EXPECT(a.page(5) != nullptr);
    OBJR_EXPECT_EQ(present(a, 0, kCluster), 1);
}

OBJR_TEST(spec_C14_locked_vmas_are_spared) {
    constexpr u32 kLocked = static_cast<u32>(VmFlag::locked);
    TestWorld world(test);
    Object object(test, world, "locked", kCluster);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(fill_backwards(a, object, kCluster) && fill_backwards(b, object, kCluster));
    age(b, 0, kCluster);
    Page& page = *a.page(0);
    a.vma(0)->set_flags(a.vma(0)->flags | kLocked);
    OBJR_EXPECT_EQ(unmap(world, page).taken, kCluster);
    OBJR_EXPECT_EQ(present(b, 0, kCluster), 0);
    OBJR_EXPECT_EQ(present(a, 0, kCluster), kCluster);
    b.exit();
    const ClusterResult result = unmap(world, page);
    OBJR_EXPECT(result.state == ClusterResult::State::all_locked);
    OBJR_EXPECT_EQ(result.taken, 0);
    OBJR_EXPECT(a.pte(0).young()); // not looked at
    a.vma(0)->set_flags(a.vma(0)->flags & ~kLocked);
    OBJR_EXPECT(unmap(world, page).state == ClusterResult::State::tried);
}

OBJR_TEST(spec_C14_migration_takes_locked_ones) {
    constexpr u32 kLocked = static_cast<u32>(VmFlag::locked);
    TestWorld world(test);
    Object object(test, world, "migrating", kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, kCluster));
    age(a, 0, kCluster);
    Page& page = *a.page(0);
    a.vma(0)->set_flags(a.vma(0)->flags | kLocked);
    OBJR_EXPECT_EQ(unmap(world, page, LockedVmas::take).taken, kCluster);
    a.vma(0)->set_flags(a.vma(0)->flags & ~kLocked);
    OBJR_EXPECT(!page.mapped());
}

// As many are taken as the page has mappings, and then to the end of that cluster.
OBJR_TEST(spec_C14_mapcount_is_the_budget) {
    constexpr u64 kCount = 6;
    TestWorld world(test);
    Object object(test, world, "budget", kCount * kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, kCount * kCluster));
    for (u64 n = 0; n < kCount; n++) { // one that may go in each cluster
        age(a, n * kCluster + 3, n * kCluster + 4);
    }
    Process b(test, world);
    OBJR_ASSERT(b.map(0, 8, kShared, object.get(), 0) && b.map(8, 16, kShared, object.get(), 0));
    b.load(2);
    b.load(10);
    Page& page = *b.page(2);
    OBJR_EXPECT_EQ(page.mappings(), 3);
    OBJR_EXPECT_EQ(unmap(world, page).taken, 3);
    OBJR_EXPECT_EQ(a.vma(0)->nonlinear_cursor, 3 * kCluster);
    OBJR_EXPECT_EQ(present(a, 0, kCount * kCluster), kCount * kCluster - 3);
    OBJR_EXPECT_EQ(unmap(world, page).taken, 3);
    OBJR_EXPECT_EQ(page.mappings(), 3); // it was others all the time
}

// Vmas take turns: none is looked at in its second cluster before all were in their first.
OBJR_TEST(spec_C14_vmas_take_turns) {
    TestWorld world(test);
    Object object(test, world, "turns", 2 * kCluster);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 2 * kCluster) && fill_backwards(b, object, 2 * kCluster));
    age(a, 0, 2 * kCluster);
    age(b, 0, 2 * kCluster);
    Page& page = *a.page(63);
    auto cursors = [&](u64 of_a, u64 of_b) {
        return a.vma(0)->nonlinear_cursor == of_a * kCluster && b.vma(0)->nonlinear_cursor == of_b * kCluster;
    };
    OBJR_EXPECT_EQ(unmap(world, page).taken, kCluster);
    OBJR_EXPECT(cursors(1, 0));
    OBJR_EXPECT_EQ(unmap(world, page).taken, kCluster);
    OBJR_EXPECT(cursors(1, 1));
    OBJR_EXPECT_EQ(unmap(world, page).taken, kCluster);
    OBJR_EXPECT(cursors(2, 1));
    OBJR_EXPECT_EQ(page.mappings(), 1);
    OBJR_EXPECT_EQ(unmap(world, page).taken, kCluster);
    OBJR_EXPECT(!page.mapped());
}

OBJR_TEST(spec_C14_linear_places_are_cleared) {
    TestWorld world(test);
    Object object(test, world, "places", 3 * kCluster);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(20, 20 + 2 * kCluster, kShared, object.get(), 0)); // begins within a cluster
    OBJR_ASSERT(remap(a, 30, 31, 80));
    for (u64 page = 20; page < 20 + 2 * kCluster; page++) {
        a.store(page, page);
    }
    age(a, 20, 20 + 2 * kCluster);
    Page& page = *a.page(20);
    OBJR_EXPECT_EQ(unmap(world, page).taken, 12); // to the end of the cluster
    OBJR_EXPECT_EQ(a.vma(20)->nonlinear_cursor, 12);
    OBJR_EXPECT(a.pte(20).is_none() && a.pte(31).is_none() && names(a, 30, 80));
    OBJR_EXPECT_EQ(unmap(world, *a.page(83)).taken, kCluster);
    OBJR_EXPECT_EQ(unmap(world, *a.page(83)).taken, 20);
    OBJR_EXPECT_EQ(a.mm().resident(), 0);
    for (u64 n = 20; n < 20 + 2 * kCluster; n++) {
        OBJR_EXPECT_EQ(a.load(n), n);
    }
}

OBJR_TEST(spec_C14_pages_locked_elsewhere_stay) {
    TestWorld world(test);
    Object object(test, world, "elsewhere", kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, kCluster));
    age(a, 0, kCluster);
    Page& busy = *a.page(7);
    Page& page = *a.page(0);
    {
        SharedGuard quiesce(world->quiesce);
        PageLock lock(page);
        OBJR_ASSERT(busy.try_lock());
        WalkCost cost;
        OBJR_EXPECT_EQ(try_to_unmap_nonlinear(*world, page, LockedVmas::spare, cost).taken, kCluster - 1);
        busy.unlock();
    }
    OBJR_EXPECT(a.page(7) == &busy);
    OBJR_EXPECT_EQ(unmap(world, busy).taken, 0); // the cursor was at the end
    OBJR_EXPECT_EQ(unmap(world, busy).taken, 1);
}

namespace {

// A processor that has used one page in a way that the module's tables do not show.
class SilentUse final : public Mmu {
public:
    explicit SilentUse(Vaddr address) : address_(address) {}
    void zap(objr_region*, Vaddr, Vaddr, objr_held) override { zaps_++; }
    Translation harvest(objr_region*, Vaddr address, Harvest) override { return {true, address == address_, false}; }
    Status install(void*, Vaddr, Pfn, bool, bool) override { return {}; }
    u32 zaps() const { return zaps_; }

private:
    const Vaddr address_;
    u32 zaps_ = 0;
};

} // namespace

OBJR_TEST(spec_C14_uses_that_only_the_mmu_knows) {
    TestWorld world(test);
    Object object(test, world, "silent", kCluster);
    SilentUse mmu(at(3));
    Result<Mm*> made = Mm::create(*world, mmu);
    OBJR_ASSERT(object.get() && made);
    Mm& mm = **made;
    OBJR_EXPECT(mm.map(at(0), at(kCluster), 0, kShared, object.get(), nullptr));
    OBJR_EXPECT(mm.remap(at(0), kCluster / 2 * kPageSize, kCluster / 2, Populate::yes));
    for (u64 page = 0; page < kCluster / 2; page++) {
        PageTable* table = mm.tables().leaf(at(page));
        Guard guard(table->lock);
        table->take_bits(at(page), Pte::kAccessed);
    }
    PageTable* table = mm.tables().leaf(at(0));
    Page* page = world->pool.page_of(table->get(at(0)).pfn());
    OBJR_EXPECT_EQ(unmap(world, *page).taken, kCluster / 2 - 1);
    OBJR_EXPECT(table->get(at(3)).is_present());
    OBJR_EXPECT_EQ(mm.resident(), 1);
    OBJR_EXPECT(mmu.zaps() >= 1);
    OBJR_EXPECT(mm.unmap(Vaddr(0), mm.address_end(), Translations::present));
    mm.put();
}

OBJR_TEST(spec_C14_nothing_nonlinear) {
    TestWorld world(test);
    Object object(test, world, "nothing", 4);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 4, kShared, object.get()) && a.map(8, 9));
    a.store(0, 1);
    a.store(8, 1);
    OBJR_EXPECT(unmap(world, *a.page(0)).state == ClusterResult::State::nothing);
    OBJR_EXPECT(unmap(world, *a.page(8)).state == ClusterResult::State::nothing);
    Page& page = *a.page(0);
    OBJR_ASSERT(remap(a, 0, 4, 1)); // now nonlinear, and the page is mapped nowhere
    OBJR_EXPECT_EQ(unmap(world, page).taken, 0);
}

// ---- C10, C11, C14, U4: nonlinear Vmas and all of try_to_unmap

namespace {

UnmapResult take_away(TestWorld& world, Page& page, UnmapMode mode) {
    SharedGuard quiesce(world->quiesce);
    PageLock lock(page);
    WalkCost cost;
    return try_to_unmap(*world, page, mode, cost);
}

} // namespace

// Revoke and migration take exactly this page, by a pass over everything, used or not.
OBJR_TEST(spec_C11_C14_full_pass_leaves_the_file_offset) {
    TestWorld world(test);
    Object object(test, world, "full", 3 * kCluster);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 3 * kCluster) && b.map(0, 40, kShared, object.get()));
    for (u64 page = 0; page < 40; page++) { // more than a batch
        OBJR_ASSERT(remap(b, page, page + 1, 1));
        b.store(page, 11);
    }
    Page& page = *b.page(0);
    OBJR_EXPECT_EQ(page.mappings(), 41);
    UnmapResult result = take_away(world, page, UnmapMode::revoke);
    OBJR_EXPECT(result.answer == Unmapped::success);
    OBJR_EXPECT_EQ(result.taken, 41);
    OBJR_EXPECT(names(b, 0, 1) && b.pte(1).is_none() && names(b, 39, 1)); // page 1 is in its linear place
    OBJR_EXPECT(names(a, 3 * kCluster - 2, 1));
    OBJR_EXPECT_EQ(present(a, 0, 3 * kCluster), 3 * kCluster - 1);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(b.load(1), 11);
    OBJR_EXPECT_EQ(a.load(3 * kCluster - 2), 11);
    Page& other = *a.page(0);
    result = take_away(world, other, UnmapMode::migrate);
    OBJR_EXPECT(result.answer == Unmapped::success);
    OBJR_EXPECT(names(a, 0, 3 * kCluster - 1)); // no migration entry: it would not know its place
    OBJR_EXPECT_EQ(a.load(0), 0);
}

OBJR_TEST(spec_C10_C14_try_to_unmap_in_clusters) {
    TestWorld world(test);
    Object object(test, world, "whole", 2 * kCluster);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 2 * kCluster));
    Page& page = *a.page(40);
    const bool clusters = world->scheme().traits.rules == Rules::linux_2_6_24 && !world->scheme().traits.tracks_entries;
    if (!clusters) { // the entry is found like any other
        OBJR_EXPECT(unmap_at(world, a, 40).answer == Unmapped::success);
        OBJR_EXPECT_EQ(present(a, 0, 2 * kCluster), 2 * kCluster - 1);
        return;
    }
    OBJR_EXPECT(unmap_once(world, page).answer == Unmapped::again); // all were young, not as a refusal
    OBJR_EXPECT(unmap_once(world, page).answer == Unmapped::again); // the first cluster
    OBJR_EXPECT_EQ(present(a, 0, 2 * kCluster), kCluster);
    OBJR_EXPECT(unmap_once(world, page).answer == Unmapped::success);
    OBJR_EXPECT_EQ(a.load(40), 40);
}

OBJR_TEST(spec_U4_locked_nonlinear_memory) {
    TestWorld world(test);
    Object object(test, world, "locked", 16);
    Process a(test, world);
    OBJR_ASSERT(fill_backwards(a, object, 16));
    OBJR_ASSERT(a.mm().advise(at(0), at(16), Advice::lock));
    Page& page = *a.page(3);
    OBJR_EXPECT_EQ(page.locked_mappings(), 1);
    const UnmapResult result = unmap_at(world, a, 3);
    OBJR_EXPECT(result.answer == Unmapped::fail && result.why == Refusal::locked);
    OBJR_EXPECT_EQ(present(a, 0, 16), 16);
    OBJR_ASSERT(remap(a, 3, 5, 0, Populate::yes)); // others take its place
    OBJR_EXPECT_EQ(page.locked_mappings(), 0);
    OBJR_EXPECT_EQ(a.page(3)->locked_mappings(), 2);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.mm().advise(at(2), at(6), Advice::unlock)); // splits; all three are nonlinear
    OBJR_EXPECT_EQ(object->i_mmap.nonlinear(), 3);
    OBJR_EXPECT_EQ(a.page(3)->locked_mappings(), 1);
    OBJR_ASSERT(remap(a, 0, 16, 4)); // over all of them
    OBJR_EXPECT_EQ(a.mm().resident(), 0);
    OBJR_EXPECT_EQ(a.load(0), 11);
}
