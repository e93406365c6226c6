// SPDX-License-Identifier: GPL-2.0
// page_referenced: who has used a page since the last time somebody asked (Linux: mm/rmap.c:page_referenced, folio_referenced).
//
// Terms: a mapping is *young* when its accessed bit is set, in the module's entry or in the process's own. *Mapped* and
// *referenced* are different numbers; both are in the answer.
//
// Modes (spec M8):
//   exact  the process's own entry is harvested and dropped, so that the next use faults and counts: a page used by k of its
//          n mappers between two exact calls counts k. Every row of the answer is kept.
//   lazy   the module's entries only: no flush, nothing allocated, and locks that are not free are not waited for where the rules say
//          so. A use through a translation that the processor has kept is missed, as on x86 Linux.
//   peek   as exact, and nothing is changed.
//
// Rules, by those of the scheme:
//   linux_2_6_24  count = young entries + the page's flag (C6). A file page that is locked by another counts 1 without a walk
//                 (C7). The walk of a file stops with 1 at a Vma that is locked and may share (C9), and does not look into
//                 nonlinear ones (C13). [The term for the holder of the swap token is left out.]
//   linux_7       count = young entries; -1 if the walk found its lock taken; 1 if another has the page lock (M7). Vmas
//                 with advice random or sequential and those of exiting processes are passed by; a locked one ends the walk.
// Both stop when as many mappings were found as the page had (C8).
#pragma once

#include "objrmap/rmap.h"

namespace objr {

enum class ReferencedMode : u32 { exact, lazy, peek };

// Whether the caller holds the page lock.
enum class PageHeld { locked, unlocked };

struct ReferencedOptions {
    constexpr ReferencedOptions(ReferencedMode m, PageHeld h = PageHeld::locked)
        : mode(m), held(h), locking(m == ReferencedMode::lazy ? Locking::try_only : Locking::wait) {}
    ReferencedMode mode;
    PageHeld held;
    Locking locking; // of the rmap locks; 2.6.24 always waits
};

struct Referenced {
    static constexpr s32 kContended = -1;

    s32 count = 0; // what page_referenced of those rules answers
    u32 young = 0; // mappings that were found used
    u32 mappings = 0; // the page has, used or not
    bool flag = false; // the page's own; cleared but by peek, and where it was not walked
    bool at_locked = false; // a locked Vma ended the walk
    WalkCost cost;
};

// One mapping as it was seen, usable after the rmap locks are dropped.
struct UseRow {
    Mm* mm; // referenced
    objr_region* region; // referenced; nullptr: no process
    Vaddr start; // of the Vma
    Vaddr end;
    Vaddr address;
    Pte pte; // before the bit was taken
    bool young; // module's entry or the process's own
    bool dirty;
    u32 seen; // the last pass that met it
};

class UseRows : Pinned {
public:
    UseRows() = default;
    ~UseRows();
    void release(); // let go what the rows hold, and forget them. No lock is held
    u32 count() const { return shown_; }
    const UseRow& operator[](u32 n) const { return rows_[n]; }

private:
    friend class UseCounter;
    friend class ExactWalk;
    Status reserve(u32 rows); // keeps what there is. Sleeps. ENOMEM
    UseRow* find(const Mm& mm, Vaddr address);
    UseRow* add(const Mapping& mapping); // nullptr: no room

    UseRow* rows_ = nullptr;
    u32 room_ = 0;
    u32 used_ = 0;
    u32 shown_ = 0; // the first of them
};

// page: referenced; quiesce is held for read. rows: empty before; after exact and peek the mappings that were counted or could have
// been. Sleeps. ENOMEM: exact and peek only; nothing has been forgotten.
Result<Referenced> page_referenced(World& world, Page& page, const ReferencedOptions& options, UseRows& rows);

} // namespace objr
