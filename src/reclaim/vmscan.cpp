// SPDX-License-Identifier: GPL-2.0
#include "objrmap/vmscan.h"

#include "objrmap/reclaim.h"
#include "objrmap/referenced.h"
#include "objrmap/text.h"
#include "objrmap/world.h"

namespace objr {

const char* name_of(Fate fate) {
    switch (fate) {
    case Fate::freed: return "freed";
    case Fate::referenced: return "used";
    case Fate::activated: return "used more than once";
    case Fate::deactivated: return "active";
    case Fate::locked: return "locked";
    case Fate::pinned: return "pinned";
    case Fate::dirty: return "newer than their files";
    case Fate::no_swap: return "without a swap slot";
    case Fate::not_written: return "not taken by the swap store";
    case Fate::busy: return "busy";
    case Fate::kNumber: break;
    }
    return "unknown";
}

const char* word_of(Fate fate) {
    switch (fate) {
    case Fate::freed: return "freed";
    case Fate::referenced: return "used";
    case Fate::activated: return "activated";
    case Fate::deactivated: return "deactivated";
    case Fate::locked: return "locked";
    case Fate::pinned: return "pinned";
    case Fate::dirty: return "dirty";
    case Fate::no_swap: return "no_swap";
    case Fate::not_written: return "not_written";
    case Fate::busy: return "busy";
    case Fate::kNumber: break;
    }
    return "unknown";
}

namespace {

// Whether uses are looked at.
enum class Urgency { second_chance, take_used };

class Scan : Pinned {
public:
    Scan(World& world, Scanner scanner, ScanLedger& ledger) : world_(world), scanner_(scanner), ledger_(ledger) {}

    u32 run(u32 wanted);

private:
    u32 pass(u32 wanted, Urgency urgency);
    void age_active(Urgency urgency);
    Fate look_at(Page& page, Urgency urgency);
    Fate look_at_locked(Page& page, Urgency urgency);
    Fate take(Page& page, Urgency urgency);
    Fate take_file(Page& page);
    bool second_chance(Page& page, Fate& fate);
    s32 uses(Page& page);
    void note(Fate fate) {
        ledger_.fates[static_cast<u32>(fate)]++;
        ledger_.scanned++;
        scanned_++;
    }

    World& world_;
    const Scanner scanner_;
    ScanLedger& ledger_;
    u32 scanned_ = 0;
    static constexpr u32 kMostFailures = 64; // the swap file's disk is full, or fails: no more is tried
    u32 failures_ = 0; // of writes to it
    bool to_write_ = false; // what was looked at last is in the swap cache, and its contents are to go to the file
    SwapEntry entry_{};
};

// ---- rounds

// The first pass forgets uses, so that the second one takes what was not used between. The third takes what is used all the time.
u32 Scan::run(u32 wanted) {
    u32 freed = 0;
    for (Urgency urgency : {Urgency::second_chance, Urgency::second_chance, Urgency::take_used}) {
        if (freed == 0) { // with something to go on with, what is used keeps its place
            freed += pass(wanted - freed, urgency);
        }
    }
    world_.counters.add(Count::reclaim_scanned, scanned_);
    world_.counters.add(Count::reclaimed_pages, freed);
    return freed;
}

u32 Scan::pass(u32 wanted, Urgency urgency) {
    constexpr u32 kActiveEach = 2; // an active page for so many inactive ones
    u32 freed = 0;
    for (u32 left = world_.pool.inactive_pages() + world_.pool.active_pages(); left != 0 && freed < wanted; left--) {
        if (world_.pool.inactive_pages() < kActiveEach * world_.pool.active_pages() || urgency == Urgency::take_used) {
            age_active(urgency);
        }
        Page* page = world_.pool.next_inactive();
        if (!page) {
            break;
        }
        Fate fate = look_at(*page, urgency);
        if (world_.pool.put(*page)) {
            fate = Fate::freed;
        } else if (fate == Fate::freed) {
            fate = Fate::busy; // whoever looks at it just now will free it
        }
        freed += fate == Fate::freed ? 1 : 0;
        note(fate);
        if (objr_fatal_signal_pending() != 0) {
            break;
        }
        objr_cond_resched();
    }
    return freed;
}

void Scan::age_active(Urgency urgency) {
    Page* page = world_.pool.next_active();
    if (!page) {
        return;
    }
    bool used = false;
    if (urgency == Urgency::second_chance) {
        SharedGuard quiesce(world_.quiesce);
        if (page->try_lock()) {
            used = uses(*page) > 0;
            page->unlock();
        }
    }
    if (!used) {
        world_.pool.deactivate(*page);
    }
    note(used ? Fate::referenced : Fate::deactivated);
    world_.pool.put(*page);
}

// ---- one page

Fate Scan::look_at(Page& page, Urgency urgency) {
    Fate fate;
    to_write_ = false;
    {
        SharedGuard quiesce(world_.quiesce);
        if (!page.try_lock()) {
            return Fate::busy;
        }
        fate = look_at_locked(page, urgency);
        page.unlock();
    }
    if (to_write_) { // to a swap file: under no lock
        fate = write_out(world_, entry_) ? Fate::freed : Fate::not_written;
        failures_ += fate == Fate::freed ? 0 : 1;
    }
    return fate;
}

Fate Scan::look_at_locked(Page& page, Urgency urgency) {
    if (page.locked_mappings() != 0) {
        world_.pool.make_unevictable(page);
        return Fate::locked;
    }
    if (page.pinned()) {
        return Fate::pinned;
    }
    const FileMapping* file = page.mapping().file_mapping();
    if (!file && (!page.mapping().is_anon() || (!page.mapped() && !SwapSpace::cached(page)))) {
        return Fate::busy; // it is new, or its last mapping has just gone
    }
    if (goes_to_swap(page) && !SwapSpace::cached(page) && !world_.swap.has_room()) {
        return Fate::no_swap; // without asking who has used it
    }
    if (goes_to_swap(page) && failures_ >= kMostFailures &&
        (!SwapSpace::cached(page) || world_.swap.must_write(page))) {
        return Fate::not_written;
    }
    if (file && page.has(PageFlag::maybe_dirty)) { // a write cleans it under those who map it
        return Fate::dirty;
    }
    Fate fate;
    if (urgency == Urgency::second_chance && second_chance(page, fate)) {
        return fate;
    }
    return take(page, urgency);
}

// Uses since the last time, which are forgotten: those that the module's tables show and those of the processes' own.
s32 Scan::uses(Page& page) {
    UseRows none;
    if (page.mapped()) {
        harvest_accessed(world_, page, Harvest::age);
    }
    const Result<Referenced> answer = page_referenced(world_, page, ReferencedMode::lazy, none);
    const Referenced seen = *answer; // lazy: never an error
    ledger_.candidates += seen.cost.candidates;
    ledger_.hits += seen.cost.hits;
    return seen.count;
}

// True: it stays for now. By the rules of the scheme's kernel: there (2.6.24) any use makes it active; here the first is remembered, and
// the second one, or one by more than one user, does.
bool Scan::second_chance(Page& page, Fate& fate) {
    const bool was_referenced = page.has(PageFlag::referenced);
    const s32 used = uses(page);
    if (used == 0) {
        return false;
    }
    if (used < 0) { // somebody works on the map: next time
        fate = Fate::busy;
        return true;
    }
    const bool classic = world_.scheme().traits.rules == Rules::linux_2_6_24;
    if (classic || was_referenced || used > 1) {
        world_.pool.activate(page);
        fate = Fate::activated;
    } else {
        page.set(PageFlag::referenced);
        fate = Fate::referenced;
    }
    return true;
}

Fate Scan::take(Page& page, Urgency urgency) {
    WalkCost cost;
    const FileMapping* file = page.mapping().file_mapping();
    const bool to_swap = goes_to_swap(page);
    // A swap file takes nothing from a fault: a page that must be written is left where it is, for the daemon.
    if (to_swap && scanner_ != Scanner::daemon && !world_.swap.writes_at_once() &&
        (!SwapSpace::cached(page) || world_.swap.must_write(page))) {
        return Fate::not_written;
    }
    UnmapResult result =
        unmap_page(world_, page, urgency == Urgency::take_used ? UnmapMode::take_used : UnmapMode::reclaim, cost);
    if (file && to_swap && result.answer == Unmapped::success) {
        result = swap_out_object_page(world_, page);
    }
    ledger_.candidates += cost.candidates;
    ledger_.hits += cost.hits;
    switch (result.why) {
    case Refusal::locked: return Fate::locked;
    case Refusal::young: world_.pool.activate(page); return Fate::activated;
    case Refusal::pinned: return Fate::pinned;
    case Refusal::no_slot: return Fate::no_swap;
    case Refusal::not_written: return Fate::not_written;
    case Refusal::to_be_written:
        to_write_ = scanner_ == Scanner::daemon;
        entry_ = result.entry;
        return Fate::not_written;
    case Refusal::none: break;
    }
    if (result.answer != Unmapped::success) {
        return Fate::busy;
    }
    return to_swap ? Fate::freed : take_file(page);
}

// It is in no page table any more. Who has a reference to it may be about to write to it, or to map it.
Fate Scan::take_file(Page& page) {
    if (page.has(PageFlag::maybe_dirty)) {
        return Fate::dirty;
    }
    return page.mapping().file_mapping()->evict_locked(page) ? Fate::freed : Fate::busy;
}

} // namespace

u32 reclaim_pages(World& world, u32 wanted, Scanner scanner, ScanLedger& ledger) {
    return Scan(world, scanner, ledger).run(wanted);
}

u64 reclaim_and_wait(World& world, u64 wanted, ScanLedger& ledger) {
    constexpr u32 kTries = 3;
    u64 freed = 0;
    for (u32 attempt = 0; attempt < kTries && freed < wanted && objr_fatal_signal_pending() == 0; attempt++) {
        for (u32 here = 1; here != 0 && freed < wanted; freed += here) {
            here = reclaim_pages(world, static_cast<u32>(min<u64>(wanted - freed, ~0u)), Scanner::daemon, ledger);
        }
        if (freed < wanted && !world.writebackd.wait_for_round()) {
            break;
        }
    }
    return freed;
}

bool too_dirty(World& world) {
    if (world.pool.free_pages() > world.low_pages.load()) {
        return false;
    }
    const u64 dirty = world.counters.number(Count::dirty_pages);
    if (dirty > world.pool.size() / 4) {
        world.writebackd.kick();
    }
    return dirty > world.pool.size() / 2;
}

void throttle(World& world) {
    constexpr u32 kMostTicks = 50;
    const s64 writebacks = world.counters.sum(Count::writebacks);
    for (u32 tick = 0; tick < kMostTicks && world.counters.sum(Count::writebacks) == writebacks && too_dirty(world) &&
                       objr_fatal_signal_pending() == 0;
         tick++) {
        objr_sleep_a_tick();
    }
}

Status wait_for_writeback(World& world) {
    constexpr u32 kRounds = 3; // in which nothing is written, before there is no hope
    const s64 writebacks = world.counters.sum(Count::writebacks);
    const auto helped = [&] {
        return world.counters.sum(Count::writebacks) != writebacks || world.pool.free_pages() != 0;
    };
    for (u32 round = 0; round < kRounds && !helped(); round++) {
        OBJR_TRY_STATUS(world.writebackd.wait_for_round());
        // What has failed is tried again when its pause is over: an error may pass. Others may make it fail again, and pause, meanwhile.
        for (const u64 until = world.write_back_pause.load(); !helped() && objr_ktime_get_ns() < until;) {
            if (objr_fatal_signal_pending() != 0) {
                return Errno{OBJR_EINTR};
            }
            objr_sleep_a_tick();
        }
    }
    return helped() ? Status() : Status(Errno{OBJR_ENOMEM});
}

// ---- for somebody who needs a page

// Which fates stood in the way, in words.
static void say_why(const World& world, const ScanLedger& ledger) {
    if (objr_printk_ratelimit() == 0) {
        return;
    }
    WordsOf<200> why;
    for (u32 i = static_cast<u32>(Fate::referenced); i < static_cast<u32>(Fate::kNumber); i++) {
        const Fate fate = static_cast<Fate>(i);
        if (ledger[fate] != 0 && fate != Fate::deactivated) {
            why.words.add(why.words.c_str()[0] != '\0' ? ", " : "").decimal(ledger[fate]).add(" ").add(name_of(fate));
        }
    }
    objr_printk(OBJR_WARN,
                "all %u pages of the pool are in use and none can be taken away (%u in locked memory; looks at the "
                "others: %s): give a "
                "larger pool_mb, more swap, or lock less\n",
                world.pool.size(), world.pool.unevictable_pages(),
                why.words.c_str()[0] != '\0' ? why.words.c_str() : "none");
}

// Is something in the way that may soon be no more? What others have set aside for themselves comes back, used or not.
static bool may_change(const World& world, const ScanLedger& ledger) {
    return world.pool.pages_set_aside() + ledger[Fate::busy] + ledger[Fate::dirty] + ledger[Fate::not_written] +
               ledger[Fate::referenced] + ledger[Fate::activated] +
               (world.swap.kept() != 0 ? ledger[Fate::no_swap] : 0) !=
           0;
}

Status make_room(World& world, Patience patience) {
    constexpr u32 kBatch = 32; // so that not everybody who comes next must scan too
    constexpr u32 kTries = 3; // what was written may be dirty again before it is taken
    ScanLedger ledger;
    world.counters.add(Count::direct_reclaims);
    const s64 reclaimed = world.counters.sum(Count::reclaimed_pages);
    for (u32 attempt = 0; attempt < kTries; attempt++) {
        ledger = {};
        if (reclaim_pages(world, kBatch, Scanner::faulter, ledger) != 0 || world.pool.free_pages() != 0) {
            return {};
        }
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        if (!world.reclaimd.runs() || !may_change(world, ledger)) {
            break;
        }
        OBJR_TRY_STATUS(world.reclaimd.wait_for_round());
        if (world.counters.sum(Count::reclaimed_pages) != reclaimed) {
            return {}; // others may have been faster, but it goes on
        }
        if (patience == Patience::files && ledger[Fate::dirty] != 0 && world.pool.free_pages() == 0) {
            const Status status = wait_for_writeback(world);
            if (!status && status.error().value != OBJR_ENOMEM) {
                return status;
            }
        }
    }
    if (world.pool.free_pages() != 0) {
        return {};
    }
    if (patience == Patience::outside && ledger[Fate::dirty] != 0) {
        return Errno{OBJR_ENOBUFS};
    }
    say_why(world, ledger);
    return Errno{OBJR_ENOMEM};
}

} // namespace objr
