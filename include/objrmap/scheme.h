// SPDX-License-Identifier: GPL-2.0
// Scheme: one way to get from a page to the Vmas that may map it. The rest of the core tells it what happens to Vmas and
// pages, and asks it one question: which (Vma, address) are candidates for this page? A candidate is not a mapping; the
// caller looks at the page table (spec P4).
//
//   chain      today's Linux: anon_vma_chain and interval trees (chain.cpp)
//   classic    Linux 2.6.24: anon_vma lists, priority search trees (classic.cpp)
//   anonmm     Dickins 2004: a page knows one mm and its address there (anonmm.cpp)
//   pte_chain  Linux 2.5, LegoOS: a page knows its page-table entries (pte_chain.cpp)
//
// What all share is not theirs: files have a FileIndex under every scheme, pages are counted in rmap.cpp. The events below come
// from rmap.h, which does the part of the file and then calls the scheme; what a scheme has no use for it leaves as it is here.
//
// Locking of the events: by their comment. "Change" = between begin_change and end_change. Of the question: the page is
// referenced and locked.
#pragma once

#include "objrmap/file_index.h"
#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/pte.h"
#include "objrmap/result.h"
#include "objrmap/vma.h"

namespace objr {

struct World;
struct PageTable;
class Rebuild;

enum class Visit { go_on, stop };

// Why a walk ended.
enum class StopReason : u32 {
    end, // every candidate was visited
    mapcount, // all mappings were found
    unmapped, // the page had none to begin with
    visitor, // the caller wanted no more
    contended, // a lock was not free at once, and the caller did not want to wait (spec M6)
};

// What a walk cost: the ledger of one question.
struct WalkCost {
    u64 candidates =
        0; // (Vma, address) pairs looked at; a nonlinear Vma counts once for each mapping in it, at least once
    u64 hits = 0; // present PTEs of this page
    u64 false_hits = 0; // candidates that were none
    u64 levels = 0; // page tables read
    u64 lock_waits = 0; // rmap locks that were not free at once
    u64 scanned = 0; // entries of nonlinear Vmas that were read (spec C13)
    StopReason stop = StopReason::end;
};

// Why a (Vma, address) is a candidate, for `explain`.
enum class Why : u32 {
    anon_list, // in the list of the page's anon_vma
    anon_tree, // in the interval tree of the page's anon_vma, which overlaps its index
    named_mm, // of the mm that the page names
    bundle, // of an mm in the bundle of that one
    entry, // the page's chain points to an entry there
    file_index, // in the index of the page's file, which overlaps its index
    nonlinear, // maps the page's file nonlinearly: anything may be anywhere
};

enum class Locking { wait, try_only };

// What a walk does with a candidate. Called under the scheme's locks.
class CandidateVisitor {
public:
    virtual Visit candidate(Vma& vma, Vaddr address, Why why) = 0;
    // A nonlinear Vma: the visitor looks for the page in all of it.
    virtual Visit nonlinear(Vma& vma) = 0;

protected:
    ~CandidateVisitor() = default;
};

// Whether a page that is about to be mapped can have no other user: neither a mapping nor a swap entry elsewhere.
enum class Exclusivity { exclusive, uncertain };

// Which text the users of the map follow where the texts differ (referenced: C6-C9 or M7; try_to_unmap: C10 or M9).
enum class Rules { linux_2_6_24, linux_7 };

// Memory that mappings made under spin locks may need, got before (spec H2). Only pte_chain takes any.
class MapReserve : Pinned {
public:
    explicit MapReserve(World& world) : world_(world) {}
    ~MapReserve();
    // Enough for `mappings` more. Sleeps. ENOMEM.
    Status fill(u32 mappings = 1);
    // Enough for one mapping more of a page that is locked.
    Status fill_for(const Page& page);
    // Whether one more mapping can be made.
    bool ready() const;
    void* take(); // of the scheme; there is one
    void give(void* block); // of the scheme

private:
    World& world_;
    void* blocks_ = nullptr; // linked through their first word
    u32 count_ = 0;
};

// One page-table entry, by its place. The table is locked by whoever has one.
struct EntryPlace {
    PageTable& table;
    Vaddr address;
};

// The object of an anonymous page, for people.
struct ObjectName {
    const char* kind; // nullptr: it has none now
    u32 id;
};

class Scheme {
public:
    struct Traits {
        const char* name;
        Rules rules;
        FileIndex::Kind file_index;
        bool tracks_entries; // wants entry_set, entry_cleared, entry_moved; visit() is asked for file pages too
        bool tracks_moves; // wants entry_moved
        bool counts_mapped; // wants forsaken
        bool copies_on_move; // shared anonymous pages are copied before mremap moves them (spec A4)
        bool walks_unlocked = false; // the question about an anonymous page needs no page lock
    };
    const Traits traits;

    const char* name() const { return traits.name; }

    // ---- Vmas. Mm::lock is held for write, but for prepare_anon: read is enough there. Both Mms' locks in forked.
    // Before the first anonymous page of vma. Sleeps. ENOMEM.
    virtual Status prepare_anon(Vma&) { return {}; }
    // child is a copy of a part of parent in another Mm. Sleeps. ENOMEM: child is in nothing.
    virtual Status forked(Vma& /*child*/, Vma& /*parent*/) { return {}; }
    virtual void unlinked(Vma&) {}

    // ---- changes of a linked Vma's range: between begin and end the caller may change start, end, pgoff and move PTEs; walks
    // wait. begin takes the scheme's locks, end lets them go.
    virtual void begin_change(Vma&) {}
    virtual void end_change(Vma&) {}
    // Before begin: get what split will need. Sleeps. ENOMEM.
    virtual Status prepare_split(Vma& /*fresh*/, Vma& /*old*/) { return {}; }
    // In a change of old: fresh has got a part of its range. Cannot fail.
    virtual void split(Vma& /*fresh*/, Vma& /*old*/) {}
    // Whether two neighbours that are alike otherwise may become one.
    virtual bool can_merge(const Vma& /*left*/, const Vma& /*right*/) const { return true; }
    // Which of the two must go on: true = right.
    virtual bool right_survives(const Vma& /*left*/, const Vma& /*right*/) const { return false; }
    // In a change of survivor: gone has lost its range to it.
    virtual void merged(Vma& /*survivor*/, Vma& /*gone*/) {}

    // ---- pages
    // An anonymous page without mappings is about to be mapped at address: set its mapping and index (spec P2). Its page lock is
    // held; under a table lock.
    virtual void adopt(Page&, Vma&, Vaddr, Exclusivity) = 0;
    // The only user of a mapped anonymous page writes to it through vma: it may move to vma's own object (spec M5). Page locked;
    // under a table lock.
    virtual void claim(Page&, Vma&) {}
    // An anonymous page has lost its last mapping. Under a table lock.
    virtual void forsaken(Page&) {}
    // Contents, mappings and identity of `from` go over to `to` (migration): copy mapping and index. Both are locked, and from has
    // no present mapping. Its migration entries are to's from now on: the events below may name either page for them.
    // Inline, as all that is not pure here: no object then has the table of functions of Scheme itself, which needs the C++ runtime.
    virtual void transfer(World&, Page& from, Page& to) {
        to.index = read_once(from.index);
        to.set_mapping(from.mapping());
    }
    // Between hold and release the object of an anonymous page can be walked even when the page is not mapped (migration).
    // Page locked and mapped at hold.
    virtual void hold(Page&) {}
    virtual void release(Page&) {}
    // page_referenced has been here: what is kept for the page may be made smaller (spec H3). Page locked.
    virtual void collapse(World&, Page&) {}
    // Whether a page of the swap cache may be mapped at this address beside those who map it now; else who swaps it in makes a copy
    // (spec A4). Page locked, and a swap entry of it is where it would be mapped.
    virtual bool can_share_at(const Page&, Vaddr) const { return true; }

    // ---- entries: present and migration entries alike. Under the lock of the entry's table; traits say who wants them.
    virtual void entry_set(Page&, EntryPlace, MapReserve&) {}
    virtual void entry_cleared(Page&, EntryPlace) {}
    virtual void entry_moved(Page&, Vma&, EntryPlace /*from*/, EntryPlace /*to*/) {}

    // ---- the question: of anonymous pages, and of all if it tracks entries. Sleeps unless try_only. Each candidate once.
    virtual void visit(World& world, Page& page, Locking locking, CandidateVisitor& visitor, WalkCost& cost) = 0;

    // ---- live switch, quiesce held for write: nothing else runs. See rebuild.h.
    // Get everything that rebuild will need, change nothing. ENOMEM; EBUSY: refused, the reason is in rebuild.
    virtual Status prepare_rebuild(World&, Rebuild&) = 0;
    // Build the map of all that is mapped from what was got. Cannot fail.
    virtual void rebuild(World&, Rebuild&) = 0;
    // Give back what prepare_rebuild got and rebuild did not use.
    virtual void end_rebuild(World&, Rebuild&) {}
    // Take the whole map down; pages keep a mapping of no object. Cannot fail.
    virtual void teardown(World&) = 0;

    // ---- when the World comes and goes with this scheme
    virtual Status start(World&) { return {}; } // sleeps; ENOMEM
    virtual void stop(World&) {}

    // ---- accounting
    virtual ObjectName object_of(const Page&) const { return {nullptr, 0}; }
    virtual u64 bytes(const World&) const = 0; // memory of the anonymous half of the map, now
    virtual const char* check(World&) const { return nullptr; } // its own structures; quiesce held for write
    virtual void* new_block(World&) { return nullptr; } // of MapReserve; sleeps
    virtual void free_block(World&, void*) {}

protected:
    constexpr explicit Scheme(const Traits& t) : traits(t) {}
    ~Scheme() = default;
};

// The scheme of that name, nullptr: there is none.
Scheme* find_scheme(const char* name);
// Name of the n-th, nullptr behind the last. The first is the default.
const char* scheme_name(u32 n);

} // namespace objr
