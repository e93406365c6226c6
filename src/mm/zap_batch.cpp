// SPDX-License-Identifier: GPL-2.0
#include "objrmap/zap_batch.h"

namespace objr {

void ZapBatch::add(Vma& vma, Vaddr address) {
    vma.mm->get();
    if (vma.region) {
        objr_region_get(vma.region);
    }
    entries_[count_++] = {vma.mm, vma.region, address};
}

void ZapBatch::flush() {
    for (u32 i = 0; i < count_; i++) {
        const Entry& entry = entries_[i];
        entry.mm->mmu().zap(entry.region, entry.address, entry.address + kPageSize, OBJR_MMAP_LOCK_NOT_HELD);
        if (entry.region) {
            objr_region_put(entry.region);
        }
        entry.mm->put();
    }
    count_ = 0;
}

} // namespace objr
