// SPDX-License-Identifier: GPL-2.0
// The MMU of real processes: their own page tables, reached through the shim, are a cache of the module's.
#include "objrmap/mmu.h"

namespace objr {

namespace {

class ProcessMmu final : public Mmu {
public:
    void zap(objr_region* region, Vaddr start, Vaddr end, objr_held held) override {
        objr_region_zap(region, start.value, end.value, held);
    }

    Translation harvest(objr_region* region, Vaddr address, Harvest mode) override {
        u64 pfn = 0;
        u32 bits = objr_region_harvest(region, address.value, static_cast<objr_harvest>(mode), &pfn);
        return {(bits & OBJR_PTE_PRESENT) != 0, (bits & OBJR_PTE_YOUNG) != 0, (bits & OBJR_PTE_DIRTY) != 0};
    }

    Status install(void* token, Vaddr address, Pfn pfn, bool writable, bool replace) override {
        return Status::from_int(objr_fault_install(token, address.value, pfn.value, writable ? 1 : 0, replace ? 1 : 0));
    }
};

constinit ProcessMmu process;

} // namespace

Mmu& process_mmu() { return process; }

} // namespace objr
