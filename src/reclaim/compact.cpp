// SPDX-License-Identifier: GPL-2.0
// Compaction: pages in use to the beginning of the pool, free frames to its end (Linux: mm/compaction.c:compact_zone).
#include "objrmap/migrate.h"
#include "objrmap/world.h"

namespace objr {

// The page is referenced. It may be on its way to somebody, or from him: who holds its lock is not waited for.
static MovedDown move_down_locked(World& world, Page& page, u32 below) {
    const Result<Page*> fresh = migrate_page(world, page, {below, ~0u});
    if (fresh) {
        (*fresh)->unlock();
        world.pool.put(**fresh);
        return MovedDown::moved;
    }
    return fresh.error().value == OBJR_ENOBUFS ? MovedDown::no_frame : MovedDown::skipped;
}

static MovedDown try_move_down(World& world, u32 number, u32 below) {
    SharedGuard quiesce(world.quiesce);
    if (below == 0 || number >= world.pool.size()) {
        return MovedDown::nothing;
    }
    Page& page = world.pool.page(number);
    if (!world.pool.try_get(page)) {
        return MovedDown::nothing; // free
    }
    MovedDown step = MovedDown::skipped;
    if (page.try_lock()) {
        step = move_down_locked(world, page, below);
        page.unlock();
    }
    world.pool.put(page);
    return step;
}

MovedDown move_down(World& world, u32 number, u32 below) {
    constexpr u32 kAttempts = 4;
    MovedDown step = MovedDown::skipped;
    for (u32 attempt = 0; attempt < kAttempts && step == MovedDown::skipped; attempt++) {
        step = try_move_down(world, number, below);
        objr_cond_resched();
    }
    return step;
}

// What has been moved lies below the page that is looked at next, or it would not have been moved there: nothing is moved for ever.
Status compact_pool(World& world, Compaction& result) {
    result = {};
    Status status;
    for (u32 number = world.pool.size(); number-- != 0 && status;) {
        const MovedDown step = move_down(world, number, number);
        if (step == MovedDown::no_frame) {
            break;
        }
        result.moved += step == MovedDown::moved ? 1 : 0;
        result.skipped += step == MovedDown::skipped ? 1 : 0;
        if (objr_fatal_signal_pending() != 0) {
            status = Errno{OBJR_EINTR};
        }
    }
    result.free_sections = world.pool.free_sections_at_end();
    return status;
}

} // namespace objr
