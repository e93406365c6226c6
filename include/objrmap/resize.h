// SPDX-License-Identifier: GPL-2.0
// Growing and shrinking of the pool under those who use it (Linux: mm/memory_hotplug.c:online_pages, offline_pages).
//
// Growing gets everything first, and makes it part of the pool while nothing runs. Shrinking closes the sections at the end: their free
// pages are given out no more, those in use move below (migration), and when all are free the frames go back to the kernel. Numbers
// and descriptors of all other pages stay as they are. What fails leaves the pool as large as it was.
#pragma once

#include "objrmap/result.h"

namespace objr {

struct World;

struct Resize {
    static constexpr u32 kNone = ~0u;

    u32 before = 0; // MiB
    u64 possible = 0; // growing: the most MiB that the machine has memory for now
    u32 got = 0; // growing: MiB that could be had
    u64 staying = 0; // shrinking: pages that can go nowhere, if that is why
    u32 moved = 0; // shrinking: pages
    u32 in_the_way = kNone; // EBUSY: the number of the first page that cannot be moved
};

// The pool has mb MiB after it. No lock is held; sleeps. EINVAL: not 1 to Pool::kMaxMb; ENOMEM: growing, the kernel has not so much
// memory; shrinking, the rest has not enough free frames; EBUSY; EAGAIN: pages come and go too fast; EINPROGRESS: somebody else does
// it now; EINTR.
Status resize_pool(World& world, u32 mb, Resize& result);

} // namespace objr
