// SPDX-License-Identifier: GPL-2.0
// Taking a page from everybody, and proving it (spec U7).
#include "objrmap/migrate.h"
#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

// ---- the proof

namespace {

// One range after the other: the Vmas of an Mm are looked up under its tree_lock, which is dropped while the process's own tables are
// read. An Mm that comes meanwhile has a greater number than its parent and is met later.
class Scan : Pinned {
public:
    Scan(World& world, const Page& page) : world_(world), pfn_(world.pool.pfn(page)) {}

    Certificate run() {
        for (u64 id = 0; Mm* mm = world_.get_mm_from(id); id++) {
            certificate_.mms++;
            for (Range range{Vaddr(0), Vaddr(0), nullptr}; scan_next(*mm, range);) {
                scan_process(range);
                objr_cond_resched();
            }
            mm->put();
        }
        return certificate_;
    }

private:
    struct Range {
        Vaddr start;
        Vaddr end;
        objr_region* region; // referenced
    };

    // The module's tables of the first Vma behind range; sets range. False: there is none.
    bool scan_next(Mm& mm, Range& range) {
        SharedGuard guard(mm.tree_lock());
        const Vma* vma = mm.first_from(range.end);
        if (!vma) {
            return false;
        }
        range = {vma->start, vma->end, vma->region};
        if (range.region) {
            objr_region_get(range.region);
        }
        const PageTables& tables = mm.tables();
        for (auto part = tables.first_part(vma->start, vma->end); part.table;
             part = tables.first_part(part.end, vma->end)) {
            Guard table_guard(part.table->lock);
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                const Pte pte = part.table->get(at);
                certificate_.entries += pte.is_none() ? 0 : 1;
                certificate_.present += pte.is_present() && pte.pfn() == pfn_ ? 1 : 0;
            }
        }
        return true;
    }

    void scan_process(const Range& range) {
        if (!range.region) {
            return;
        }
        const int result = objr_region_scan(range.region, range.start.value, range.end.value, &Scan::visit, this);
        certificate_.skipped += result < 0 ? 1 : 0;
        objr_region_put(range.region);
    }

    // Under locks of the kernel.
    static int visit(void* context, objr_u64, objr_u64 pfn, objr_u32 bits) {
        Scan& scan = *static_cast<Scan*>(context);
        scan.certificate_.process_present += (bits & OBJR_PTE_PRESENT) != 0 && pfn == scan.pfn_.value ? 1 : 0;
        return 0;
    }

    World& world_;
    const Pfn pfn_;
    Certificate certificate_;
};

} // namespace

Certificate certify_unmapped(World& world, const Page& page) { return Scan(world, page).run(); }

// ---- to swap, where there is no frame

// Swap entries in place of migration entries; while the page is locked nobody comes past them. What fails leaves the page in the swap
// cache, where faults find it.
static Status revoke_to_swap(World& world, Page& page, RevokeResult& result) {
    if (!world.swap.enabled()) {
        return Errno{OBJR_ENOSPC};
    }
    FileMapping* object = page.mapping().file_mapping();
    if (!object && !SwapSpace::cached(page)) {
        OBJR_TRY_STATUS(world.swap.add_to_cache_locked(page));
    }
    constexpr u32 kAttempts = 100;
    Status status;
    for (u32 attempt = 0; page.mapped() && status; attempt++) {
        WalkCost cost;
        const UnmapResult unmapped = try_to_unmap(world, page, UnmapMode::revoke, cost);
        result.taken += unmapped.taken;
        if (unmapped.why == Refusal::pinned) {
            status = Errno{OBJR_EBUSY};
        } else if (attempt == kAttempts) {
            status = Errno{OBJR_EAGAIN};
        }
        objr_cond_resched();
    }
    if (status) {
        result.certificate = certify_unmapped(world, page);
        status = result.certificate.holds() ? Status() : Status(Errno{OBJR_EIO});
    }
    if (object) {
        OBJR_TRY_STATUS(status);
        OBJR_TRY_STATUS(object->move_to_swap_locked(page));
    } else if (world.swap.count_of(page) == 0) { // nobody has the entry
        world.swap.remove_from_cache_locked(page);
        return status;
    }
    if (status && world.swap.must_write(page)) {
        if (!world.swap.writes_at_once()) {
            result.to = RevokeResult::Destination::swap;
            result.to_be_written = true;
            result.entry = SwapSpace::entry_of(page);
            return status;
        }
        status = world.swap.write_locked(page);
    }
    if (status) {
        world.swap.remove_from_cache_locked(page);
        result.to = RevokeResult::Destination::swap;
    }
    return status;
}

// ---- revoke

Status revoke_page(World& world, Page& page, const Avoid& avoid, RevokeResult& result) {
    result = {};
    Migration migration(world, page);
    Status status = migration.start(avoid);
    if (!status && status.error().value == OBJR_ENOBUFS && avoid.first <= avoid.last) {
        status = migration.start({});
    }
    if (!status && status.error().value == OBJR_ENOBUFS && goes_to_swap(page)) {
        return revoke_to_swap(world, page, result);
    }
    OBJR_TRY_STATUS(status);
    status = migration.unmap();
    result.taken = migration.taken();
    OBJR_TRY_STATUS(status);
    result.certificate = certify_unmapped(world, page);
    if (!result.certificate.holds()) {
        return Errno{OBJR_EIO};
    }
    result.fresh = &migration.settle();
    result.to = RevokeResult::Destination::frame;
    return {};
}

} // namespace objr
