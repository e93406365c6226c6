// SPDX-License-Identifier: GPL-2.0
// The way out to a swap file, in steps between which everything may happen; and the way back of all at once (Linux:
// mm/vmscan.c:pageout, mm/swapfile.c:try_to_unuse).
#include "objrmap/frames.h"
#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

// ---- out

namespace {

// A page of the swap cache, locked and referenced, for a scope under quiesce. None: the entry has no page in memory.
class CachedPage : Pinned {
public:
    CachedPage(World& world, SwapEntry entry)
        : world_(world), quiesce_(world.quiesce), page_(world.swap.find_page(entry)) {
        if (page_) {
            page_->lock();
            if (!SwapSpace::cached(*page_, entry)) {
                let_go();
            }
        }
    }
    ~CachedPage() { let_go(); }
    explicit operator bool() const { return page_ != nullptr; }
    Page& operator*() const { return *page_; }
    // Nobody maps it, somebody has its entry: it may leave memory.
    bool idle() const { return !page_->mapped() && world_.swap.count_of(*page_) != 0; }

private:
    void let_go() {
        if (page_) {
            page_->unlock();
            world_.pool.put(*page_);
            page_ = nullptr;
        }
    }

    World& world_;
    SharedGuard<PercpuRwSem> quiesce_;
    Page* page_;
};

} // namespace

// The first step. True: the contents are in the buffer.
static bool begin_write(World& world, SwapEntry entry, SwapSpace::Write& write) {
    CachedPage page(world, entry);
    if (!page || !page.idle()) {
        return false;
    }
    if (world.swap.must_write(*page)) {
        write = world.swap.begin_write_locked(*page);
        return true;
    }
    world.swap.remove_from_cache_locked(*page);
    return false;
}

// The last one. Dirty again, mapped again, or gone altogether: then what was written was for nothing.
static void end_write(World& world, const SwapSpace::Write& write, Status written) {
    CachedPage page(world, write.entry);
    world.swap.end_write(write, written);
    if (page && page.idle() && !world.swap.must_write(*page)) {
        world.swap.remove_from_cache_locked(*page);
    }
}

Status write_out(World& world, SwapEntry entry) {
    Guard guard(world.swap.write_lock());
    SwapSpace::Write write{};
    if (!begin_write(world, entry, write)) {
        return {};
    }
    const Status written = world.swap.write_slot(write);
    end_write(world, write, written);
    return written;
}

UnmapResult swap_out_page(World& world, Page& page, UnmapMode mode, WalkCost& cost) {
    UnmapResult result;
    {
        SharedGuard quiesce(world.quiesce);
        PageLock lock(page);
        result = unmap_page(world, page, mode, cost);
    }
    if (result.why == Refusal::to_be_written) {
        result.why = write_out(world, result.entry) ? Refusal::none : Refusal::not_written;
    }
    return result;
}

// ---- back in

// All of one address space, once.
static Status swap_in_all(Mm& mm, SwapoffResult& result) {
    for (Vaddr at = mm.next_swapped(Vaddr(0)); at < mm.address_end(); at = mm.next_swapped(at)) {
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        const Status status = mm.swap_in(at);
        if (status) {
            result.pages++;
        } else if (status.error().value != OBJR_ENOENT && status.error().value != OBJR_EFAULT) {
            result.mm_id = mm.id();
            result.address = at;
            return status;
        }
        at += kPageSize;
        objr_cond_resched();
    }
    return {};
}

// What is cut off meanwhile needs not come back.
static Status swap_in_object(FileMapping& object, SwapoffResult& result) {
    SwapEntry entry{};
    for (u64 pgoff = 0; object.swapped_pages() != 0 && object.swapped_from(pgoff, entry); pgoff++) {
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        FrameReserve frames(object.world(), Patience::files);
        const Status status = with_frames(frames, [&] {
            SharedGuard quiesce(object.world().quiesce);
            return object.bring_in(pgoff, frames);
        });
        if (status) {
            result.pages++;
        } else if (status.error().value != OBJR_ENOENT) {
            result.object_id = object.id();
            result.pgoff = pgoff;
            return status;
        }
        objr_cond_resched();
    }
    return {};
}

// Every address space and every object, once.
static Status swap_in_round(World& world, SwapoffResult& result) {
    Status status;
    for (u64 id = 0; Mm* mm = status ? world.get_mm_from(id) : nullptr; id++) {
        status = swap_in_all(*mm, result);
        mm->put();
    }
    for (u64 id = 0; FileMapping* file = status ? world.hold_file_from(id) : nullptr; id++) {
        status = swap_in_object(*file, result);
        file->let_go();
    }
    return status;
}

// How many slots are in use whose pages are not in memory, at this instant.
static u64 slots_without_page(World& world) {
    const u64 cached = world.counters.number(Count::swapcache_pages);
    const u64 slots = world.swap.used() + world.swap.kept();
    return slots - min(slots, cached);
}

// An entry may move behind the walk, in mremap; one that fork copies is in an Mm that comes later. So it is walked again until no slot
// is used. What is neither in page tables nor in objects is on its way somewhere.
Status swapoff(World& world, SwapoffResult& result) {
    constexpr u32 kPatience = 250; // ticks in which nothing changes, although there is something
    Status status;
    if (world.swapoffs.exchange(1) != 0) {
        return Errno{OBJR_EBUSY};
    }
    // At the most. What cannot succeed is not begun: while it goes on others cannot have slots.
    const u64 room = world.pool.free_pages() + world.counters.number(Count::file_pages);
    if (slots_without_page(world) > room) {
        world.swapoffs.store_release(0);
        return Errno{OBJR_ENOMEM};
    }
    world.swap.set_enabled(false);
    for (u32 futile = 0; status && (world.swap.kept() != 0 || world.swap.used() != 0); objr_cond_resched()) {
        {
            SharedGuard quiesce(world.quiesce);
            world.swap.give_up_all();
        }
        const u64 before = result.pages;
        const u64 used = world.swap.used();
        status = swap_in_round(world, result);
        if (result.pages != before || world.swap.used() < used) {
            futile = 0;
        } else if (++futile == kPatience) {
            status = Errno{OBJR_EAGAIN};
        } else {
            objr_sleep_a_tick();
        }
    }
    if (!status) {
        world.swap.set_enabled(true);
    }
    world.swapoffs.store_release(0);
    return status;
}

Status swapon(World& world) {
    if (world.swapoffs.exchange(1) != 0) {
        return Errno{OBJR_EBUSY};
    }
    world.swap.set_enabled(true);
    world.swapoffs.store_release(0);
    return {};
}

} // namespace objr
