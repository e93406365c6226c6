// SPDX-License-Identifier: GPL-2.0
// The verifier's look at the swap space: swap PTEs, and entries in objects, which verify_objects.cpp counts, against the counts of
// slots; slots against the pages of the swap cache.
#include "verify.h"

namespace objr {

// A swap PTE, counted for its slot.
bool Verifier::check_swap_entry(const Mm& mm, const Vma& vma, Vaddr address, Pte pte) {
    const SwapEntry entry = pte.swap_entry();
    if (entry.type != 0 || entry.offset >= world_.swap.slots()) {
        return OBJR_BAD("W2: mm %u has the swap entry 0x%llx at 0x%llx, of a slot that there is not", mm.id(),
                        pte.word(), address.value);
    }
    if (!vma.copies_on_write()) {
        return OBJR_BAD("W2: mm %u has a swap entry at 0x%llx, in shared vma %u", mm.id(), address.value, vma.id);
    }
    swap_counts_[entry.offset]++;
    return true;
}

bool Verifier::check_slot(u64 offset) {
    const SwapSpace::Slot slot = world_.swap.slot(offset);
    const u32 found = swap_counts_[offset];
    if (slot.free) {
        return found == 0 || OBJR_BAD("W2: slot %llu is free, %u swap PTEs name it", offset, found);
    }
    (slot.kept ? kept_slots_ : swapped_pages_)++;
    if (slot.ending) { // its contents are still on their way to a file
        return (found == 0 && !slot.page) ||
               OBJR_BAD("W3: slot %llu is ending, %u swap PTEs name it and %s page is cached", offset, found,
                        slot.page ? "a" : "no");
    }
    swapcache_pages_ += slot.page ? 1 : 0;
    if (slot.count != found) {
        return OBJR_BAD("W2: slot %llu counts %u swap PTEs, the page tables have %u", offset, slot.count, found);
    }
    if (!slot.page && !((slot.stored || slot.lost) && slot.count != 0)) {
        return OBJR_BAD("W3: slot %llu has no cached page, %u swap PTEs, and its contents are %s", offset, slot.count,
                        slot.stored ? "stored" : "nowhere");
    }
    if (slot.kept && (slot.count != 0 || !slot.page || !slot.stored || slot.page->has(PageFlag::dirty))) {
        return OBJR_BAD("W5: slot %llu is kept, but %u swap PTEs name it, %s page is cached and its contents are %s",
                        offset, slot.count, slot.page ? "a" : "no", slot.stored ? "stored" : "not");
    }
    if (slot.page && slot.count == 0 && !(slot.kept && slot.page->mapped())) {
        return OBJR_BAD("W4: page %u is kept in the swap cache, slot %llu, for no swap PTE",
                        world_.pool.number(*slot.page), offset);
    }
    return !slot.page || SwapSpace::cached(*slot.page, SwapEntry{0, offset}) ||
           OBJR_BAD("W1: slot %llu has page %u, which says %s", offset, world_.pool.number(*slot.page),
                    SwapSpace::cached(*slot.page) ? "another slot" : "it is in none");
}

// A used page that says it is in the swap cache.
bool Verifier::check_cached_page(Page& page) {
    const u32 n = world_.pool.number(page);
    const SwapEntry entry = SwapSpace::entry_of(page);
    if (entry.type != 0 || entry.offset >= world_.swap.slots() || world_.swap.slot(entry.offset).page != &page) {
        return OBJR_BAD("W1: page %u says it is in slot %llu of the swap cache, which does not have it", n,
                        entry.offset);
    }
    return tallies_[n].private_writable == 0 ||
           OBJR_BAD("W5: page %u can be written through a private mapping, %u swap PTEs need it as it is", n,
                    swap_counts_[entry.offset]);
}

bool Verifier::check_swap() {
    for (u64 offset = 0; offset < world_.swap.slots(); offset++) {
        if (!check_slot(offset)) {
            return false;
        }
        objr_cond_resched();
    }
    return check_counter("swapped_pages", Count::swapped_pages, swapped_pages_) &&
           check_counter("swap_slots_kept", Count::swap_kept, kept_slots_) &&
           check_counter("swapcache_pages", Count::swapcache_pages, swapcache_pages_) &&
           (world_.swap.used() == swapped_pages_ ||
            OBJR_BAD("S1: the swap space says %llu slots in use, there are %llu", world_.swap.used(),
                     swapped_pages_)) &&
           (world_.swap.kept() == kept_slots_ ||
            OBJR_BAD("S1: the swap space says %llu slots kept, there are %llu", world_.swap.kept(), kept_slots_));
}

} // namespace objr
