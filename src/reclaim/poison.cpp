// SPDX-License-Identifier: GPL-2.0
#include "objrmap/poison.h"

#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

// Out of all page tables, translations gone. Entries of the swap cache and of files are such that a fault looks at what they name.
static Status take_everywhere(World& world, Page& page, PoisonResult& result) {
    constexpr u32 kAttempts = 1000; // fork may be faster for a while
    const bool keeps_nothing = page.mapping().is_anon() && !SwapSpace::cached(page);
    for (u32 attempt = 0; page.mapped(); attempt++) {
        WalkCost cost;
        const UnmapResult unmapped =
            try_to_unmap(world, page, keeps_nothing ? UnmapMode::poison : UnmapMode::revoke, cost);
        result.taken += unmapped.taken;
        if (unmapped.why == Refusal::pinned) {
            return Errno{OBJR_EBUSY};
        }
        if (page.mapped() && attempt == kAttempts) {
            return Errno{OBJR_EAGAIN};
        }
        objr_cond_resched();
    }
    world.zap_grace.wait(); // dirty or not is known now
    return {};
}

// Its object lets it go, or knows what it has lost. True: nothing is lost.
static bool leave_object(World& world, Page& page) {
    if (FileMapping* file = page.mapping().file_mapping()) {
        return file->poison_page_locked(page);
    }
    bool recovered = page.mapping().is_none();
    if (SwapSpace::cached(page)) {
        recovered = world.swap.count_of(page) == 0 || !world.swap.must_write(page);
        if (recovered) {
            world.swap.remove_from_cache_locked(page);
        } else {
            world.swap.lose_locked(page);
        }
    }
    page.set_mapping(MappingWord());
    page.clear(PageFlag::dirty);
    return recovered;
}

static void tell(World& world, const Page& page, const PoisonResult& result) {
    objr_printk(OBJR_NOTICE, "memory failure: page %u, pfn 0x%llx: taken from %u mappings, %s\n",
                world.pool.number(page), world.pool.pfn(page).value, result.taken,
                result.recovered ? "recovered" : "its contents are lost");
}

Status poison_page(World& world, Page& page, PoisonResult& result) {
    result = {};
    if (page.has(PageFlag::poisoned)) {
        return Errno{OBJR_EEXIST};
    }
    OBJR_TRY_STATUS(take_everywhere(world, page, result));
    result.recovered = leave_object(world, page);
    world.pool.poison(page);
    tell(world, page, result);
    return {};
}

Status poison_free_page(World& world, Page& page) {
    if (page.has(PageFlag::poisoned)) {
        return Errno{OBJR_EEXIST};
    }
    if (!world.pool.poison_free(page)) {
        return Errno{OBJR_EAGAIN};
    }
    tell(world, page, {.taken = 0, .recovered = true});
    return {};
}

} // namespace objr
