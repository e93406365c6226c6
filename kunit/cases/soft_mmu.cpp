// SPDX-License-Identifier: GPL-2.0
#include "soft_mmu.h"

namespace objr::test {

Status SoftMmu::access(Mm& mm, Vaddr address, Access access, u64* value) {
    for (;;) {
        if (through_tlb(mm, address, access, value)) {
            return {};
        }
        faults_.fetch_add(1);
        OBJR_TRY_STATUS(mm.fault(address, access, this));
    }
}

// One attempt: by the TLB, else by a walk that fills it. False: a fault.
bool SoftMmu::through_tlb(Mm& mm, Vaddr address, Access access, u64* value) {
    SharedGuard quiesce(mm.world().quiesce); // of frames that have gone with their section nobody has a translation
    SharedGuard tables(mm.lock());
    Guard guard(tlb_lock_);
    Entry& entry = slot(address);
    bool hit = entry.page == address.value >> kPageShift && (access != Access::write || entry.write) &&
               (access != Access::exec || entry.exec);
    if (!hit && !walk(mm, address, access, entry)) {
        return false;
    }
    Pool& pool = mm.world().pool;
    Page* page = pool.page_of(entry.pfn);
    if (OBJR_WARN_ON(!page) || OBJR_WARN_ON(page->has(PageFlag::free))) {
        return false; // a translation to a page that is not the process's any more
    }
    u64* word = reinterpret_cast<u64*>(static_cast<u8*>(pool.address(*page)) + (address.value & ~kPageMask));
    if (access == Access::write) {
        write_once(*word, *value);
    } else {
        *value = read_once(*word);
    }
    return true;
}

bool SoftMmu::walk(Mm& mm, Vaddr address, Access access, Entry& entry) {
    const u64* table = static_cast<const u64*>(mm.tables().root());
    bool write = true;
    bool user = true;
    bool exec = true;
    for (u32 level = mm.tables().levels(); level >= 1; level--) {
        u64* word = const_cast<u64*>(&table[(address.value >> (kPageShift + 9 * (level - 1))) & 511]);
        for (;;) {
            Pte pte(read_once(*word));
            if (!pte.is_present()) {
                return false;
            }
            bool all_write = write && pte.writable();
            bool all_user = user && pte.user();
            bool all_exec = exec && pte.executable();
            u64 bits = Pte::kAccessed;
            if (level == 1) {
                if (!all_user || (access == Access::write && !all_write) || (access == Access::exec && !all_exec)) {
                    return false;
                }
                bits |= access == Access::write ? Pte::kDirty : 0;
            }
            // Set A and D in the entry that was checked, as the processor does: locked, and only if it is still the same.
            u64 expected = pte.word();
            if (!__atomic_compare_exchange_n(word, &expected, pte.with(bits).word(), false, __ATOMIC_SEQ_CST,
                                             __ATOMIC_RELAXED)) {
                continue;
            }
            write = all_write;
            user = all_user;
            exec = all_exec;
            if (level == 1) {
                entry = {address.value >> kPageShift, pte.pfn(), all_write && pte.with(bits).dirty(), all_exec};
            } else {
                table = reinterpret_cast<const u64*>((pte.word() & Pte::kPfnMask) + objr_direct_map_base);
            }
            break;
        }
    }
    return true;
}

void SoftMmu::zap(objr_region*, Vaddr start, Vaddr end, objr_held) {
    if (auto* const function = before_zap_.exchange(nullptr)) {
        function(before_argument_);
    }
    Guard guard(tlb_lock_);
    for (Entry& entry : tlb_) {
        if (entry.page >= start.value >> kPageShift && entry.page < end.value >> kPageShift) {
            entry = {};
        }
    }
}

// Uses are in the module's own entry; the TLB only keeps it from hearing of further ones.
Translation SoftMmu::harvest(objr_region*, Vaddr address, Harvest mode) {
    Guard guard(tlb_lock_);
    Entry& entry = slot(address);
    if (entry.page != address.value >> kPageShift) {
        return {};
    }
    bool dirty = entry.write;
    if (mode == Harvest::take) {
        entry = {};
    }
    return {true, false, dirty};
}

// The walk will find it.
Status SoftMmu::install(void*, Vaddr address, Pfn, bool, bool replace) {
    if (replace) {
        zap(nullptr, address, address + kPageSize, OBJR_MMAP_LOCK_HELD);
    }
    return {};
}

} // namespace objr::test
