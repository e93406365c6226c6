// SPDX-License-Identifier: GPL-2.0
// Mmu: whoever executes on the page tables of an Mm, behind the three things the core asks of it.
//
// The module's tables are the truth; what an MMU has cached of them (a process's own PTEs, a TLB) may be dropped by it
// at any time. The core guarantees in turn: after zap() returns no access goes through a translation that was made before,
// and L3 of lock.h: module PTE first, zap second, reuse last.
#pragma once

#include "objrmap/result.h"
#include "objrmap/types.h"

namespace objr {

// What an MMU has seen through its cached translation of one page.
struct Translation {
    bool present = false;
    bool young = false;
    bool dirty = false;
};

// What becomes of what is harvested.
enum class Harvest : u32 {
    peek = OBJR_HARVEST_PEEK, // nothing is forgotten
    age =
        OBJR_HARVEST_AGE, // the use is; the translation stays, and a processor that has cached it will not note the next use
    take = OBJR_HARVEST_TAKE, // the use is, and the translation is dropped: the next use is seen
};

class Mmu {
public:
    // Drop every translation of [start, end). Sleeps; not under rmap locks. held: see objr_region_zap.
    virtual void zap(objr_region* region, Vaddr start, Vaddr end, objr_held held) = 0;
    // What it knows of address beyond the module's own PTE.
    virtual Translation harvest(objr_region* region, Vaddr address, Harvest mode) = 0;
    // Enter a translation for the fault that token stands for; replace: something else may be there. Under the page lock.
    virtual Status install(void* token, Vaddr address, Pfn pfn, bool writable, bool replace) = 0;

protected:
    ~Mmu() = default;
};

// The MMU of real processes: their own page tables, through the shim. Stateless; one for all.
Mmu& process_mmu();

} // namespace objr
