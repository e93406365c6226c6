// SPDX-License-Identifier: GPL-2.0
// Scheme: one way to get from a page to the Vmas that may map it. The rest of the core tells it what happens to Vmas and
// pages, and asks it one question: which (Vma, address) are candidates for this page? A candidate is not a mapping; the
// caller looks at the page table (spec P4).
//
// `classic` is Linux 2.6.24: anon_vma lists and a priority search tree for each file. The interface is made for what
// others need too: events may allocate where they say "sleeps", and they may fail there.
//
// Locking of the events: by their comment. Of the question: the page is referenced; a file page is also locked.
#pragma once

#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/result.h"
#include "objrmap/vma.h"

namespace objr {

struct World;

enum class Visit { go_on, stop };

// Why a walk ended.
enum class StopReason : u32 {
    end, // every candidate was visited
    mapcount, // all mappings were found
    unmapped, // the page had none to begin with
    visitor, // the caller wanted no more
};

// What a walk cost: the ledger of one question.
struct WalkCost {
    u64 candidates = 0; // (Vma, address) pairs looked at
    u64 hits = 0; // present PTEs of this page
    u64 false_hits = 0; // candidates that were none
    u64 levels = 0; // page tables read
    u64 lock_waits = 0; // rmap locks that were not free at once
    StopReason stop = StopReason::end;
};

// What the walk does with a candidate. Called under the scheme's lock, held shared.
class CandidateVisitor {
public:
    virtual Visit candidate(Vma& vma, Vaddr address) = 0;

protected:
    ~CandidateVisitor() = default;
};

class Scheme {
public:
    virtual const char* name() const = 0;

    // ---- Vmas. Mm::lock is held for write, but for prepare_anon: read is enough there. Both Mms' locks in forked.
    // Before the first anonymous page of vma. Sleeps. ENOMEM.
    virtual Status prepare_anon(Vma& vma) = 0;
    virtual void linked(Vma& vma) = 0;
    // child is a copy of parent's range in another Mm. Sleeps. ENOMEM: child is in nothing.
    virtual Status forked(Vma& child, Vma& parent) = 0;
    virtual void unlinked(Vma& vma) = 0;

    // ---- changes of a linked Vma's range: between begin and end the caller may change start, end, pgoff and move PTEs; walks wait.
    virtual void begin_change(Vma& vma) = 0;
    virtual void end_change(Vma& vma) = 0;
    // Before begin: get what split will need. Sleeps. ENOMEM.
    virtual Status prepare_split(Vma& fresh, Vma& old) = 0;
    // Within begin/end of old: fresh has got a part of its range. Cannot fail.
    virtual void split(Vma& fresh, Vma& old) = 0;
    // Within begin/end of survivor: gone has lost its range to it. Their objects are the same, or gone has none.
    virtual void merged(Vma& survivor, Vma& gone) = 0;

    // ---- pages
    // A new anonymous page is about to be mapped at address: sets its mapping and index.
    virtual void adopt(Page& page, Vma& vma, Vaddr address) = 0;

    // ---- the question. Sleeps. Each candidate once.
    virtual void visit_candidates(World& world, Page& page, CandidateVisitor& visitor, WalkCost& cost) = 0;

    // ---- accounting
    // Identity of the object of an anon page, for people: its number, 0 if it is gone.
    virtual u32 anon_id(const Page& page) const = 0;

protected:
    ~Scheme() = default;
};

// The scheme of that name, nullptr: there is none.
Scheme* find_scheme(const char* name);
// Name of the n-th, nullptr behind the last.
const char* scheme_name(u32 n);

} // namespace objr
