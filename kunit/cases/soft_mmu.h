// SPDX-License-Identifier: GPL-2.0
// SoftMmu: a processor in software: it executes loads and stores on the page tables of one Mm by the rules of the processor
// manual (Intel SDM vol. 3, 4.6 to 4.10): walks by physical addresses, checks P, US, RW, NX, sets A on the way and D at the leaf,
// faults else. It has a TLB, and believes it: a translation that the core forgets to drop shows as a wrong access.
//
// Locking: tlb_lock_ guards the TLB and is held over each access through it, so that zap() returns only when no access
// through an old translation is under way. Walks hold Mm::lock for read: software cannot be stopped between two instructions.
#pragma once

#include "objrmap/mm.h"
#include "objrmap/world.h"

namespace objr::test {

class SoftMmu final : public Mmu {
public:
    SoftMmu() { tlb_lock_.init(OBJR_LOCK_POOL); }

    // Load or store 8 bytes at address (8-byte aligned). The error is that of Mm::fault.
    Status load(Mm& mm, Vaddr address, u64* value) { return access(mm, address, Access::read, value); }
    Status store(Mm& mm, Vaddr address, u64 value) { return access(mm, address, Access::write, &value); }
    Status fetch(Mm& mm, Vaddr address, u64* value) { return access(mm, address, Access::exec, value); }
    u64 faults() const { return faults_.load(); }
    // Called once, by whoever zaps next, before he does: entries are changed by then, and the translations are still there.
    void before_next_zap(void (*function)(void*), void* argument) {
        before_argument_ = argument;
        before_zap_.store_release(function);
    }

    void zap(objr_region* region, Vaddr start, Vaddr end, objr_held held) override;
    Translation harvest(objr_region* region, Vaddr address, Harvest mode) override;
    Status install(void* token, Vaddr address, Pfn pfn, bool writable, bool replace) override;

private:
    static constexpr u32 kEntries = 64;
    struct Entry {
        u64 page = ~0ull; // virtual page number
        Pfn pfn;
        bool write = false; // RW was set and D is
        bool exec = false;
    };

    Status access(Mm& mm, Vaddr address, Access access, u64* value);
    bool through_tlb(Mm& mm, Vaddr address, Access access, u64* value);
    bool walk(Mm& mm, Vaddr address, Access access, Entry& entry);
    Entry& slot(Vaddr address) { return tlb_[(address.value >> kPageShift) % kEntries]; }

    SpinLock tlb_lock_;
    Entry tlb_[kEntries];
    Atomic<u64> faults_{0};
    Atomic<void (*)(void*)> before_zap_{nullptr};
    void* before_argument_ = nullptr;
};

} // namespace objr::test
