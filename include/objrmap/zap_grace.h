// SPDX-License-Identifier: GPL-2.0
// ZapGrace: waiting until translations are gone whose entries have gone before (Linux: synchronize_srcu; a page's references held by
// struct mmu_gather serve there).
//
// Whoever takes an entry out of a page table without the lock of its page leaves a while in which the page is not counted as mapped and
// can still be reached through a translation, until he has zapped that. This while is a section. Who has seen a page in no page
// table, or in one's own only, waits here before he believes that nobody else reaches its frame: then he may copy it, or write to it.
//
// Sections with the page lock held (a walk, a fault) need not be told: who waits has that lock.
//
// Locking: `lock_` is held by who waits, under page locks. In a section nobody waits for a page lock, nor here.
// Context: wait() sleeps; enter and leave are for any context.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/lock.h"
#include "objrmap/types.h"

namespace objr {

class ZapGrace : Pinned {
public:
    void init() { lock_.init(OBJR_LOCK_ZAP_GRACE); }

    class Section : Pinned {
    public:
        // nullptr: no translation is left behind, nobody needs to wait.
        explicit Section(ZapGrace* grace) : grace_(grace), epoch_(grace ? grace->enter() : 0) {}
        ~Section() {
            if (grace_) {
                grace_->leave(epoch_);
            }
        }

    private:
        ZapGrace* const grace_;
        const u32 epoch_;
    };

    // Until every section that has begun before has ended.
    void wait();

private:
    u32 enter() {
        const u32 epoch = epoch_.load() & 1;
        active_[epoch].fetch_add(1);
        return epoch;
    }
    void leave(u32 epoch) { active_[epoch].fetch_sub(1); }

    Atomic<u32> epoch_{0}; // written under lock_
    Atomic<u32> active_[2]; // sections that have begun in even epochs, in odd ones
    Mutex lock_;
};

} // namespace objr
