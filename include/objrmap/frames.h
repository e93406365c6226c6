// SPDX-License-Identifier: GPL-2.0
// What an operation does that finds the pool empty (Linux: mm/page_alloc.c:__alloc_pages_slowpath).
//
// Frames are made free by taking pages away from others, which needs locks that the operation may hold. So the pool never waits: it
// says ENOBUFS. The operation lets go of every lock of the module, has some frames made free for it alone, and begins anew with them
// in its hands: with_frames(). That it had them before it took its locks is why two that are at it cannot wait for each
// other, and why it ends: either it gets what it needs, or nothing more can be made free, which is ENOMEM.
//
// Ownership: frames that are set aside are in the state free (page.h) and on no list; they go back with their FrameReserve.
// Context: set_aside sleeps, under no lock of the module; allocate_locked anywhere.
#pragma once

#include "objrmap/page.h"
#include "objrmap/result.h"
#include "objrmap/vmscan.h"

namespace objr {

struct World;

class FrameReserve : Pinned {
public:
    FrameReserve(World& world, Patience patience) : world_(world), patience_(patience) {}
    ~FrameReserve();

    // A new page as Pool::allocate_locked gives it; one of these when the pool has none. ENOBUFS.
    Result<Page*> allocate_locked();
    // Have more frames than the last time. ENOMEM: no more can be made free; the log says why. ENOBUFS: see
    // Patience::outside. EINTR: the task is being killed.
    Status set_aside();

private:
    static constexpr u32 kFirst = 2; // a page to be read in, and a copy of it
    static constexpr u32 kMost = 256; // a fork that copies pinned pages

    World& world_;
    const Patience patience_;
    Page* frames_ = nullptr; // linked by their numbers, through Page::lru_next
    u32 count_ = 0;
    u32 wanted_ = 0;
};

// attempt() -> Status or Result: again and again, as long as it fails for want of a frame and one can be had.
template <class Attempt>
auto with_frames(FrameReserve& frames, Attempt&& attempt) -> decltype(attempt()) {
    for (;;) {
        auto result = attempt();
        if (result || result.error().value != OBJR_ENOBUFS) {
            return result;
        }
        if (Status status = frames.set_aside(); !status) {
            return status.error();
        }
    }
}

} // namespace objr
