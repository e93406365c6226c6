// SPDX-License-Identifier: GPL-2.0
// `anonmm`: the reverse map that Hugh Dickins proposed in 2004 beside anon_vma. An anonymous page names an address space and the
// address there, which is the same in all that share it, since they have it by fork. So a walk looks at one address in each address
// space of a bundle, and Vmas are nothing to it: no lists of them, no work when they split or merge. It pays for that in mremap, which
// may take along no page that others need where it is: such a page is copied early (spec A4).
//
// The index of an anonymous page is its address in pages. mremap of a page with one mapping rewrites it, under Mm::tree_lock for write
// and the locks of both tables, not under the page lock: who reads it to find a mapping holds the tree_lock of the Mm in question.
//
// Locks: the bundle's (AnonMm::lock of its head), shared for walks, exclusive for who comes and goes; then Mm::tree_lock, one at a time.
// Which AnonMm a page names changes under its page lock and the lock of a table that maps it (here), or that will (adopt).
#include "objrmap/anon_mm.h"
#include "objrmap/world.h"
#include "rebuild.h"
#include "schemes.h"
#include "walk_lock.h"

namespace objr {

namespace {

AnonMm* named_by(const Page& page) { return page.mapping().anon_object<AnonMm>(); }

// ---- counting

// The page names anon_mm from now on, and counts there. If it has named another one, that has been given back.
void give_name(Page& page, AnonMm& anon_mm) {
    anon_mm.refs.fetch_add(AnonMm::kOnePage + (page.has(PageFlag::held) ? AnonMm::kOneUser : 0));
    page.set_mapping(MappingWord::anon(&anon_mm));
    page.set(PageFlag::counted);
}

void give_hold_back(Page& page) {
    if (page.has(PageFlag::held)) {
        put_anon_mm(*named_by(page), AnonMm::kOneUser);
    }
}

// With the last mapping. The flag goes when the word has been read: adopt may write it then.
void uncount(Page& page) {
    AnonMm* anon_mm = named_by(page);
    const bool counted = page.clear(PageFlag::counted);
    if (!OBJR_WARN_ON(!anon_mm || !counted)) {
        put_anon_mm(*anon_mm, AnonMm::kOnePage);
    }
}

// ---- from a page

// Only given while the object lives; should it have been recycled meanwhile, what it yields are candidates of another family.
AnonMm* get_named(const Page& page) {
    RcuGuard rcu;
    AnonMm* anon_mm = named_by(page);
    return anon_mm && anon_mm->refs.add_unless_zero() ? anon_mm : nullptr;
}

// The head of its bundle, locked; nullptr: contended.
OBJR_THREAD(no_thread_safety_analysis)
AnonMm* lock_bundle_shared(AnonMm& of, Locking locking, WalkCost& cost) {
    for (;;) {
        AnonMm& head = head_of(of);
        if (!lock_for_walk(head.lock, locking, cost)) {
            return nullptr;
        }
        if (head.is_head()) {
            return &head;
        }
        head.lock.unlock_shared();
    }
}

// ---- one question

class BundleWalk : Pinned {
public:
    BundleWalk(World& world, Page& page, AnonMm& named, Locking locking, CandidateVisitor& visitor, WalkCost& cost)
        : world_(world), page_(page), named_(named), locking_(locking), visitor_(visitor), cost_(cost) {}

    // The lock of head is held for reading.
    void run(AnonMm& head) {
        homeless_ = !named_.mm;
        if (!homeless_ && visit(named_, Why::named_mm) == Visit::stop) {
            return;
        }
        for (BundleMember& member : head.members) {
            if (&member != &named_ && visit(static_cast<AnonMm&>(member), Why::bundle) == Visit::stop) {
                return;
            }
        }
    }

private:
    Visit visit(AnonMm& anon_mm, Why why) OBJR_THREAD(no_thread_safety_analysis) {
        Mm& mm = *anon_mm.mm; // lives: it would have to leave the bundle first
        if (mm.vma_count() == 0) {
            return Visit::go_on;
        }
        if (!lock_for_walk(mm.tree_lock(), locking_, cost_)) {
            return Visit::stop;
        }
        const Vaddr address(read_once(page_.index) << kPageShift);
        Visit result = Visit::go_on;
        if (Vma* vma = mm.find(address); vma && vma->may_hold_anon()) { // else at most of a file
            move_home(anon_mm, address);
            result = visitor_.candidate(*vma, address, why);
        }
        mm.tree_lock().unlock_shared();
        return result;
    }

    // A page whose Mm has died goes to the first live one that maps it (spec A3). As long as its entry there is locked, it is mapped,
    // and nobody forsakes it.
    void move_home(AnonMm& anon_mm, Vaddr address) {
        PageTable* table = homeless_ ? anon_mm.mm->tables().leaf(address) : nullptr;
        if (!table) {
            return;
        }
        Guard guard(table->lock);
        if (const Pte pte = table->get(address); pte.is_present() && pte.pfn() == world_.pool.pfn(page_)) {
            give_hold_back(page_);
            uncount(page_);
            give_name(page_, anon_mm);
            homeless_ = false;
        }
    }

    World& world_;
    Page& page_;
    AnonMm& named_; // when the walk began
    const Locking locking_;
    CandidateVisitor& visitor_;
    WalkCost& cost_;
    bool homeless_ = false;
};

class AnonMmScheme final : public Scheme {
public:
    constexpr AnonMmScheme()
        : Scheme({.name = "anonmm",
                  .rules = Rules::linux_2_6_24,
                  .file_index = FileIndex::Kind::prio_tree,
                  .tracks_entries = false,
                  .tracks_moves = true,
                  .counts_mapped = true,
                  .copies_on_move = true}) {}

    // ---- pages

    // Who has taken the last mapping away may not have forsaken the page yet. It is about to, under a table lock, and waits for
    // nothing.
    void adopt(Page& page, Vma& vma, Vaddr address, Exclusivity) override {
        while (page.has(PageFlag::counted)) {
            __builtin_ia32_pause();
        }
        give_hold_back(page);
        write_once(page.index, address.value >> kPageShift);
        give_name(page, vma.mm->anon_mm());
    }

    void forsaken(Page& page) override { uncount(page); }

    void hold(Page& page) override {
        if (get_named(page)) { // else its last mapping is going at this moment
            page.set(PageFlag::held);
        }
    }

    void release(Page& page) override {
        give_hold_back(page);
        page.clear(PageFlag::held);
    }

    // Who shares an anonymous page has it at the same address. One that was swapped out and moved meanwhile gets a copy.
    bool can_share_at(const Page& page, Vaddr address) const override {
        return !page.mapped() || read_once(page.index) == address.value >> kPageShift;
    }

    void entry_moved(Page& page, Vma&, EntryPlace, EntryPlace to) override {
        if (page.mapping().is_anon()) {
            OBJR_WARN_ON(page.mappings() > 1); // mremap has copied what is shared
            write_once(page.index, to.address.value >> kPageShift);
        }
    }

    void visit(World& world, Page& page, Locking locking, CandidateVisitor& visitor, WalkCost& cost) override
        OBJR_THREAD(no_thread_safety_analysis) {
        AnonMm* named = get_named(page);
        if (!named) {
            cost.stop = StopReason::unmapped;
            return;
        }
        if (AnonMm* head = lock_bundle_shared(*named, locking, cost)) {
            BundleWalk(world, page, *named, locking, visitor, cost).run(*head);
            head->lock.unlock_shared();
        }
        put_anon_mm(*named, AnonMm::kOneUser);
    }

    // ---- live switch

    // A page can only be named with one address.
    Status prepare_rebuild(World& world, Rebuild& rebuild) override {
        constexpr u64 kSeen = 1; // addresses are page aligned
        auto* first = static_cast<u64*>(objr_kvzalloc(world.pool.size() * sizeof(u64)));
        if (!first) {
            return Errno{OBJR_ENOMEM};
        }
        Status status;
        rebuild.each_anon_page([&](Page& page, Vma&, Vaddr address) {
            u64& seen = first[world.pool.number(page)];
            if (seen == 0) {
                seen = address.value | kSeen;
            } else if (status && seen != (address.value | kSeen)) {
                status = Errno{OBJR_EBUSY};
                rebuild.reason()
                    .add("page ")
                    .decimal(world.pool.number(page))
                    .add(" is shared at ")
                    .hex(seen & ~kSeen)
                    .add(" and at ")
                    .hex(address.value)
                    .add(": write to it or unmap it at one of them, then switch again");
            }
        });
        objr_kvfree(first);
        return status;
    }

    // The oldest of those that map a page comes first.
    void rebuild(World&, Rebuild& rebuild) override {
        rebuild.each_anon_page([](Page& page, Vma& vma, Vaddr address) {
            if (!page.has(PageFlag::counted)) {
                page.index = address.value >> kPageShift;
                give_name(page, vma.mm->anon_mm());
            }
        });
    }

    void teardown(World& world) override {
        for (u32 n = 0; n < world.pool.size(); n++) {
            if (Page& page = world.pool.page(n); page.has(PageFlag::counted)) {
                uncount(page);
            }
        }
    }

    // ---- accounting

    ObjectName object_of(const Page& page) const override {
        RcuGuard rcu;
        const AnonMm* anon_mm = named_by(page);
        if (!anon_mm || anon_mm->refs.load() == 0) {
            return {nullptr, 0};
        }
        return {"anonmm", anon_mm->id.load()};
    }

    u64 bytes(const World& world) const override {
        return static_cast<u64>(world.counters.sum(Count::anon_mms)) * sizeof(AnonMm);
    }

    const char* check(World& world) const override;
};

// Every AnonMm that a mapped page names: its count against that of the pages, its place in its bundle.
const char* AnonMmScheme::check(World& world) const {
    const char* broken = nullptr;
    auto each_mapped = [&](auto&& f) {
        for (u32 n = 0; n < world.pool.size() && !broken; n++) {
            const Page& page = world.pool.page(n);
            if (page.mapped() && page.mapping().is_anon()) {
                AnonMm* anon_mm = named_by(page);
                broken = anon_mm && anon_mm->refs.load() != 0 ? f(page, *anon_mm)
                                                              : "B3: a mapped page names no anonmm that there is";
            } else if (!page.mapped() && page.has(PageFlag::counted)) {
                broken = "B3: a page that is not mapped counts for an anonmm";
            }
        }
    };
    each_mapped([](const Page& page, AnonMm& anon_mm) -> const char* {
        anon_mm.pages_seen = 0;
        return page.has(PageFlag::counted) ? nullptr : "B3: a mapped page does not count for its anonmm";
    });
    each_mapped([](const Page&, AnonMm& anon_mm) -> const char* {
        anon_mm.pages_seen++;
        return nullptr;
    });
    each_mapped([](const Page&, AnonMm& anon_mm) -> const char* {
        if (anon_mm.pages_seen != anon_mm.pages()) {
            return "B3: an anonmm counts other pages than those that name it";
        }
        AnonMm& head = head_of(anon_mm);
        SharedGuard guard(head.lock); // Mms without Vmas come and go
        if (anon_mm.mm && (&anon_mm.mm->anon_mm() != &anon_mm || !anon_mm.in_bundle.linked())) {
            return "B1: an anonmm with an Mm is not that of the Mm, or in no bundle";
        }
        return anon_mm.mm || !anon_mm.in_bundle.linked() ? nullptr : "B1: an anonmm without an Mm is in a bundle";
    });
    return broken;
}

constinit AnonMmScheme anonmm_scheme;

} // namespace

Scheme& anonmm() { return anonmm_scheme; }

} // namespace objr
