// SPDX-License-Identifier: GPL-2.0
#include "objrmap/unmap_nonlinear.h"

#include "objrmap/world.h"

namespace objr {

namespace {

constexpr u64 kClusterPages = 32;
constexpr u64 kClusterBytes = kClusterPages * kPageSize;
static_assert(PageTable::kEntries % kClusterPages == 0, "a cluster is in one leaf table");

Vaddr cluster_end(Vaddr address) { return Vaddr((address.value | (kClusterBytes - 1)) + 1); }

// Pages whose entries were taken, locked until no translation to them is left. Few, since each is a lock held.
struct Taken {
    static constexpr u32 kPages = 16;
    Page* pages[kPages];
    u32 count = 0;
    bool full() const { return count == kPages; }
};

// Some entries of one Vma, found under the rmap lock and kept by their place.
struct Cluster {
    Mm* mm; // referenced
    objr_region* region; // referenced; nullptr: no process
    Vaddr start;
    Vaddr end;
    u32 present; // bits: pages that were mapped
    u32 used; // of these, used as the MMU says

    u32 bit(Vaddr address) const { return 1u << ((address - start) >> kPageShift); }
};

class Sweep : Pinned {
public:
    Sweep(World& world, Page& page, FileMapping& file, LockedVmas locked, WalkCost& cost)
        : world_(world), page_(page), file_(file), locked_(locked), cost_(cost), budget_(page.mappings()) {}
    ClusterResult run();

private:
    bool spared(const Vma& vma) const { return locked_ == LockedVmas::spare && vma.has(VmFlag::locked); }
    void survey();
    bool next(Cluster& cluster);
    bool next_in(Vma& vma, Cluster& cluster);
    u32 present_in(const Vma& vma, Vaddr start, Vaddr end);
    void ask(Cluster& cluster);
    void empty(const Cluster& cluster);
    Vaddr take_some(const Cluster& cluster, Vaddr start);
    Vaddr take_entries(Vma& vma, const Cluster& cluster, Vaddr start, Taken& taken);
    bool take_entry(Vma& vma, PageTable& table, Vaddr address, Taken& taken);
    void reset_cursors();
    static void let_go(const Cluster& cluster);

    World& world_;
    Page& page_;
    FileMapping& file_;
    const LockedVmas locked_;
    WalkCost& cost_;
    u32 budget_; // how much effort the page is worth
    u64 horizon_ = 0; // pages
    u64 longest_ = 0; // pages
    u64 clusters_left_ = 0; // of all Vmas; a bound, should others set the cursors back
    bool aged_ = false; // take_some has cleared accessed bits
    ClusterResult result_;
};

// ---- rounds

// How far the round is that goes on here.
void Sweep::survey() {
    SharedGuard guard(file_.i_mmap_lock);
    file_.i_mmap.visit_nonlinear([this](const Vma& vma) {
        if (result_.state == ClusterResult::State::nothing) {
            result_.state = ClusterResult::State::all_locked;
        }
        if (!spared(vma)) {
            result_.state = ClusterResult::State::tried;
            horizon_ = max(horizon_, read_once(vma.nonlinear_cursor));
            longest_ = max(longest_, vma.pages());
            clusters_left_ += vma.pages() / kClusterPages + 2;
        }
        return true;
    });
    horizon_ = min(max(horizon_, kClusterPages), longest_);
}

ClusterResult Sweep::run() {
    survey();
    if (result_.state != ClusterResult::State::tried || budget_ == 0) {
        return result_;
    }
    for (;; horizon_ = min(horizon_ + kClusterPages, longest_)) {
        for (Cluster cluster; next(cluster);) {
            ask(cluster);
            empty(cluster);
            let_go(cluster);
            if (result_.taken >= budget_) {
                return result_;
            }
            objr_cond_resched();
        }
        if (horizon_ == longest_) {
            reset_cursors();
            return result_;
        }
    }
}

void Sweep::reset_cursors() {
    SharedGuard guard(file_.i_mmap_lock);
    file_.i_mmap.visit_nonlinear([](Vma& vma) {
        write_once(vma.nonlinear_cursor, 0ull);
        return true;
    });
}

// ---- one cluster after the other

// The next one this side of the horizon that maps something. Cursors move past it.
bool Sweep::next(Cluster& cluster) {
    SharedGuard guard(file_.i_mmap_lock);
    return !file_.i_mmap.visit_nonlinear([&](Vma& vma) { return spared(vma) || !next_in(vma, cluster); });
}

bool Sweep::next_in(Vma& vma, Cluster& cluster) {
    const u64 most = min(horizon_, vma.pages());
    for (u64 cursor = read_once(vma.nonlinear_cursor); cursor < most && clusters_left_ != 0;) {
        clusters_left_--;
        const Vaddr start = vma.start + (cursor << kPageShift);
        const Vaddr end = min(cluster_end(start), vma.end);
        cursor = (end - vma.start) >> kPageShift;
        write_once(vma.nonlinear_cursor, cursor);
        if (const u32 present = present_in(vma, start, end); present != 0) {
            vma.mm->get();
            if (vma.region) {
                objr_region_get(vma.region);
            }
            cluster = {vma.mm, vma.region, start, end, present, 0};
            return true;
        }
    }
    return false;
}

u32 Sweep::present_in(const Vma& vma, Vaddr start, Vaddr end) {
    PageTable* table = vma.mm->tables().leaf(start, &cost_.levels);
    u32 present = 0;
    if (table) {
        Guard guard(table->lock);
        for (Vaddr at = start; at < end; at += kPageSize) {
            cost_.scanned++;
            present |= table->get(at).is_present() ? 1u << ((at - start) >> kPageShift) : 0;
        }
    }
    return present;
}

void Sweep::let_go(const Cluster& cluster) {
    if (cluster.region) {
        objr_region_put(cluster.region);
    }
    cluster.mm->put();
}

// The MMU may know of uses that the module's entries do not show; it is asked under no rmap lock.
void Sweep::ask(Cluster& cluster) {
    for (Vaddr at = cluster.start; at < cluster.end; at += kPageSize) {
        if ((cluster.present & cluster.bit(at)) != 0 &&
            cluster.mm->mmu().harvest(cluster.region, at, Harvest::peek).young) {
            cluster.used |= cluster.bit(at);
        }
    }
}

// ---- taking

void Sweep::empty(const Cluster& cluster) {
    for (Vaddr start = cluster.start; start < cluster.end;) {
        start = take_some(cluster, start);
    }
}

// As many as can be let go at once; returns where it stopped. The Vma is looked for anew: it may have gone meanwhile.
Vaddr Sweep::take_some(const Cluster& cluster, Vaddr start) {
    Taken taken;
    Vaddr stop = cluster.end;
    objr_region* region = nullptr;
    aged_ = false;
    {
        SharedGuard guard(file_.i_mmap_lock);
        SharedGuard tree(cluster.mm->tree_lock());
        Vma* vma = cluster.mm->find(start);
        if (vma && vma->file == &file_ && vma->has(VmFlag::nonlinear) && !spared(*vma)) {
            stop = take_entries(*vma, cluster, start, taken);
            region = vma->region;
            if (region) {
                objr_region_get(region);
            }
        }
    }
    if (taken.count != 0 || aged_) {
        cluster.mm->mmu().zap(region, start, stop, OBJR_MMAP_LOCK_NOT_HELD);
    }
    for (u32 n = 0; n < taken.count; n++) {
        Page& page = *taken.pages[n];
        if (&page != &page_) {
            page.unlock();
        }
        world_.pool.put(page);
    }
    if (region) {
        objr_region_put(region);
    }
    result_.taken += taken.count;
    return stop;
}

Vaddr Sweep::take_entries(Vma& vma, const Cluster& cluster, Vaddr start, Taken& taken) {
    const Vaddr end = min(cluster.end, vma.end);
    PageTable* table = vma.mm->tables().leaf(start);
    if (!table) {
        return end;
    }
    Guard guard(table->lock);
    Vaddr at = start;
    for (; at < end && !taken.full(); at += kPageSize) {
        const Pte pte = table->get(at);
        if (!pte.is_present()) {
            continue;
        }
        if (pte.young() || (cluster.used & cluster.bit(at)) != 0) {
            table->take_bits(at, Pte::kAccessed);
            aged_ = true;
        } else {
            take_entry(vma, *table, at, taken);
        }
    }
    return at;
}

// The table is locked. False: the page is locked by somebody else.
bool Sweep::take_entry(Vma& vma, PageTable& table, Vaddr address, Taken& taken) {
    Page* page = world_.pool.page_of(table.get(address).pfn());
    if (OBJR_WARN_ON(!page || page->mapping().is_anon()) || (page != &page_ && !page->try_lock())) {
        return false;
    }
    const Pte old = table.exchange(address, vma.entry_without(*page, address));
    rmap_note_dirty(*page, old);
    rmap_munlock(world_, *page, old);
    rmap_unmap(world_, *page, {table, address});
    vma.mm->resident_add(-1);
    taken.pages[taken.count++] = page;
    return true;
}

} // namespace

ClusterResult try_to_unmap_nonlinear(World& world, Page& page, LockedVmas locked, WalkCost& cost) {
    OBJR_WARN_ON(!page.locked());
    FileMapping* file = page.mapping().file_mapping();
    return file ? Sweep(world, page, *file, locked, cost).run() : ClusterResult();
}

} // namespace objr
