// SPDX-License-Identifier: GPL-2.0
#include "objrmap/resize.h"

#include "objrmap/migrate.h"
#include "objrmap/vmscan.h"
#include "objrmap/world.h"

namespace objr {

namespace {

// One size at a time.
class Turn : Pinned {
public:
    explicit Turn(Pool& pool) : pool_(pool), ours_(pool.try_begin_resize()) {}
    ~Turn() {
        if (ours_) {
            pool_.end_resize();
        }
    }
    explicit operator bool() const { return ours_; }

private:
    Pool& pool_;
    const bool ours_;
};

Status grow(World& world, u32 mb, Resize& result) {
    result.possible = result.before + objr_mb_for_pool();
    if (mb > result.possible) {
        return Errno{OBJR_ENOMEM};
    }
    OBJR_TRY_STATUS(world.pool.prepare_growth(mb, &result.got));
    Guard quiesce(world.quiesce);
    world.pool.grow();
    world.set_watermarks();
    return {};
}

// Down to a frame below `first`; if there is none, pages are taken away until there is.
MovedDown make_room_and_move(World& world, u32 number, u32 first) {
    constexpr u32 kTries = 16; // others take what has been made free
    constexpr u32 kBatch = 32;
    MovedDown step = move_down(world, number, first);
    for (u32 i = 0; i < kTries && step == MovedDown::no_frame; i++) {
        ScanLedger ledger;
        if (reclaim_and_wait(world, kBatch, ledger) == 0) {
            break;
        }
        step = move_down(world, number, first);
    }
    return step;
}

// Every page from number first on goes below it. In the order of their numbers, so that the one that is named is the first in the way.
Status empty_from(World& world, u32 first, Resize& result) {
    Status status;
    for (u32 number = first; number < world.pool.size(); number++) {
        const MovedDown step = make_room_and_move(world, number, first);
        result.moved += step == MovedDown::moved ? 1 : 0;
        if (step == MovedDown::no_frame) {
            return Errno{OBJR_ENOMEM};
        }
        if (step == MovedDown::skipped && status) {
            result.in_the_way = number;
            status = Errno{OBJR_EBUSY};
        }
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        objr_cond_resched();
    }
    return status;
}

// What is on its way to somebody now is somebody's in the next round.
Status empty_until_free(World& world, u32 first, Resize& result) {
    constexpr u32 kRounds = 16;
    Status status;
    for (u32 round = 0; round < kRounds && !world.pool.closed_are_free(); round++) {
        status = empty_from(world, first, result);
        if (!status && status.error().value != OBJR_EBUSY) {
            break;
        }
    }
    return world.pool.closed_are_free() ? Status() : status ? Status(Errno{OBJR_EAGAIN}) : status;
}

// Once nothing runs nobody can poison a free page any more. False: somebody has.
bool cut_off_closed(World& world) {
    Guard quiesce(world.quiesce);
    if (!world.pool.closed_are_free()) {
        return false;
    }
    world.pool.shrink();
    world.set_watermarks();
    return true;
}

// How many pages neither leave the pool nor are free, at this instant and at the least: those in locked Vmas, or anonymous ones for which
// swap has no room.
u64 staying_pages(World& world) {
    const u64 cached = world.counters.number(Count::swapcache_pages); // these have a slot
    const u64 room = world.swap.enabled() ? world.swap.slots() - world.swap.used() + cached : 0;
    const u64 anon = world.counters.number(Count::anon_pages);
    const u64 locked = world.counters.number(Count::locked_pages);
    return max(locked, anon - min(anon, room)) + world.pool.poisoned_pages();
}

Status shrink(World& world, u32 mb, Resize& result) {
    Pool& pool = world.pool;
    if (const u64 staying = staying_pages(world); staying > (static_cast<u64>(mb) << Section::kOrder)) {
        result.staying = staying;
        return Errno{OBJR_ENOMEM};
    }
    const u32 before = pool.sections();
    pool.close_from(mb << Section::kOrder);
    do {
        if (Status status = empty_until_free(world, mb << Section::kOrder, result); !status) {
            pool.reopen();
            return status;
        }
    } while (!cut_off_closed(world));
    pool.give_back(mb, before);
    return {};
}

} // namespace

Status resize_pool(World& world, u32 mb, Resize& result) {
    result = {};
    result.before = world.pool.sections();
    if (mb == 0 || mb > Pool::kMaxMb) {
        return Errno{OBJR_EINVAL};
    }
    Turn turn(world.pool);
    if (!turn) {
        return Errno{OBJR_EINPROGRESS};
    }
    result.before = world.pool.sections();
    if (mb == result.before) {
        return {};
    }
    return mb > result.before ? grow(world, mb, result) : shrink(world, mb, result);
}

} // namespace objr
