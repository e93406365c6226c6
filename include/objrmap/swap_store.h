// SPDX-License-Identifier: GPL-2.0
// SwapStore: where the contents of swapped pages are, by slot number (Linux: mm/page_io.c, drivers/block/zram). SwapSpace knows
// nothing of how it is done; this one keeps each page as it is, in a page of the kernel's.
//
// States of a slot's contents: none -> (write) kept -> (write) kept, newer -> (drop) none.
//
// Locking: none of its own. SwapSpace sees to it that one slot has one user at a time: the one with the page lock of its cached
// page, or the one who gives the slot back.
// Errors: a write that fails leaves what was kept before, a read that fails leaves the slot as it is.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/result.h"

namespace objr {

class SwapStore : Pinned {
public:
    // Sleeps. ENOMEM.
    Status create(u64 slots);
    // Nothing should be kept any more. Idempotent.
    void destroy();

    // Sleeps. ENOMEM.
    Status write(u64 slot, const void* page);
    // Sleeps. EIO: there is nothing of this slot.
    Status read(u64 slot, void* page);
    void drop(u64 slot); // any context; nothing kept is fine
    u64 bytes() const; // of kernel memory: contents and table

private:
    void** contents_ = nullptr; // [slot]: a page of the kernel's, nullptr: none
    u64 slots_ = 0; // immutable after create()
    Atomic<u64> kept_{0};
};

} // namespace objr
