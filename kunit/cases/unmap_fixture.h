// SPDX-License-Identifier: GPL-2.0
// unmap_fixture.h: taking pages away from processes, for tests.
#pragma once

#include "fixture.h"

#include "objrmap/reclaim.h"

namespace objr::test {

// Once, as the command does it. The page is in use.
inline UnmapResult unmap_once(TestWorld& world, Page& page) {
    UnmapResult result;
    {
        SharedGuard quiesce(world->quiesce);
        if (!world->pool.try_get(page)) {
            return result;
        }
    }
    WalkCost cost;
    result = swap_out_page(*world, page, UnmapMode::reclaim, cost);
    SharedGuard quiesce(world->quiesce);
    world->pool.put(page);
    return result;
}

// The page that process has at its n-th page, until nobody's use of it stands in the way any more.
inline UnmapResult unmap_at(TestWorld& world, const Process& process, u64 n) {
    constexpr u32 kPatience = 256;
    UnmapResult result;
    Page* page = process.page(n);
    for (u32 i = 0; page && i < kPatience; i++) {
        result = unmap_once(world, *page);
        if (result.why != Refusal::young) {
            break;
        }
    }
    return result;
}

// Half of the present pages among the first `pages`.
inline void unmap_some(TestWorld& world, const Process& process, Random& random, u64 pages) {
    for (u64 n = 0; n < pages; n++) {
        if (random.below(2) == 0) {
            unmap_at(world, process, n);
        }
    }
}

} // namespace objr::test
