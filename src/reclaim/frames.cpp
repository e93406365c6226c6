// SPDX-License-Identifier: GPL-2.0
#include "objrmap/frames.h"

#include "objrmap/world.h"

namespace objr {

FrameReserve::~FrameReserve() {
    while (frames_) {
        Page& page = *frames_;
        frames_ = page.lru_next == Page::kNoLink ? nullptr : &world_.pool.page(page.lru_next);
        world_.pool.put_aside_back(page);
    }
    world_.keep_watermarks();
}

Result<Page*> FrameReserve::allocate_locked() {
    Result<Page*> page = world_.pool.allocate_locked();
    if (!page && frames_) {
        Page& mine = *frames_;
        frames_ = mine.lru_next == Page::kNoLink ? nullptr : &world_.pool.page(mine.lru_next);
        count_--;
        world_.pool.allocate_set_aside(mine);
        return &mine;
    }
    return page;
}

// What is made free may be taken by somebody else before we have it: then once more, as long as something is made free.
Status FrameReserve::set_aside() {
    constexpr u32 kRounds = 1000;
    const u32 before = count_;
    wanted_ = wanted_ == 0 ? kFirst : 2 * wanted_;
    if (wanted_ > kMost) {
        return Errno{OBJR_ENOMEM};
    }
    Status status;
    for (u32 round = 0; count_ < wanted_ && round < kRounds && status; round++) {
        if (Page* page = world_.pool.set_aside()) {
            page->lru_next = frames_ ? world_.pool.number(*frames_) : Page::kNoLink;
            frames_ = page;
            count_++;
        } else {
            status = make_room(world_, patience_);
        }
    }
    return count_ > before ? Status() : !status ? status : Status(Errno{OBJR_ENOMEM});
}

} // namespace objr
