// SPDX-License-Identifier: GPL-2.0
// Compaction: pages in use to the beginning of the pool, free frames to its end (Linux: mm/compaction.c:compact_zone).
#include "objrmap/migrate.h"
#include "objrmap/world.h"

namespace objr {

namespace {

enum class Step { nothing, moved, skipped, no_frame };

// The page is referenced. It may be on its way to somebody, or from him: who holds its lock is not waited for.
Step move_down_locked(World& world, Page& page, u32 number) {
    const Result<Page*> fresh = migrate_page(world, page, {number, ~0u});
    if (fresh) {
        (*fresh)->unlock();
        world.pool.put(**fresh);
        return Step::moved;
    }
    return fresh.error().value == OBJR_ENOBUFS ? Step::no_frame : Step::skipped;
}

Step move_down(World& world, u32 number) {
    SharedGuard quiesce(world.quiesce);
    if (number == 0 || number >= world.pool.size()) {
        return Step::nothing;
    }
    Page& page = world.pool.page(number);
    if (!world.pool.try_get(page)) {
        return Step::nothing; // free
    }
    Step step = Step::skipped;
    if (page.try_lock()) {
        step = move_down_locked(world, page, number);
        page.unlock();
    }
    world.pool.put(page);
    return step;
}

} // namespace

// What has been moved lies below the page that is looked at next, or it would not have been moved there: nothing is moved for ever.
Status compact_pool(World& world, Compaction& result) {
    constexpr u32 kAttempts = 4;
    result = {};
    Status status;
    for (u32 number = world.pool.size(); number-- != 0 && status;) {
        Step step = Step::skipped;
        for (u32 attempt = 0; attempt < kAttempts && step == Step::skipped; attempt++) {
            step = move_down(world, number);
            objr_cond_resched();
        }
        if (step == Step::no_frame) {
            break;
        }
        result.moved += step == Step::moved ? 1 : 0;
        result.skipped += step == Step::skipped ? 1 : 0;
        if (objr_fatal_signal_pending() != 0) {
            status = Errno{OBJR_EINTR};
        }
    }
    result.free_sections = world.pool.free_sections_at_end();
    return status;
}

} // namespace objr
