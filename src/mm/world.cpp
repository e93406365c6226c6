// SPDX-License-Identifier: GPL-2.0
#include "objrmap/world.h"

#include "objrmap/vmscan.h"

#include <new>

namespace objr {

static void construct_anon_vma(void* memory) {
    AnonVma* anon_vma = new (memory) AnonVma;
    anon_vma->lock.init(OBJR_LOCK_ANON);
}

static void construct_anon_mm(void* memory) {
    AnonMm* anon_mm = new (memory) AnonMm;
    anon_mm->lock.init(OBJR_LOCK_ANON);
}

static constexpr u32 kMaxWatermark = 50; // percent
static constexpr u32 kMaxSwapMb = 1u << 20;

static bool params_are_good(const objr_params& params) {
    if (!find_scheme(params.scheme)) {
        objr_printk(OBJR_ERR, "scheme=%s is not known; there is:\n", params.scheme);
        for (u32 i = 0; scheme_name(i); i++) {
            objr_printk(OBJR_ERR, "  scheme=%s\n", scheme_name(i));
        }
        return false;
    }
    if (params.pool_mb == 0 || params.pool_mb > Pool::kMaxMb) {
        objr_printk(OBJR_ERR, "pool_mb=%u is out of range: take 1 to %u MiB\n", params.pool_mb, Pool::kMaxMb);
        return false;
    }
    if (params.swap_mb > kMaxSwapMb) {
        objr_printk(OBJR_ERR, "swap of %u MiB is out of range: take 0 (none) to %u MiB\n", params.swap_mb, kMaxSwapMb);
        return false;
    }
    if (params.low_watermark > params.high_watermark || params.high_watermark > kMaxWatermark) {
        objr_printk(OBJR_ERR, "watermarks of %u and %u percent do not go: take 0 <= low <= high <= %u\n",
                    params.low_watermark, params.high_watermark, kMaxWatermark);
        return false;
    }
    if (params.levels != 4 && params.levels != 5) {
        objr_printk(OBJR_ERR, "page tables of %u levels are not known: 4 or 5\n", params.levels);
        return false;
    }
    return true;
}

Result<World*> World::create(const objr_params& params) {
    const bool good = params_are_good(params);
    void* memory = good ? objr_kvzalloc(sizeof(World)) : nullptr;
    if (!memory) {
        if (params.swap_file) {
            objr_backing_put(params.swap_file);
        }
        return Errno{good ? OBJR_ENOMEM : OBJR_EINVAL};
    }
    World* world = new (memory) World;
    world->set_scheme(*find_scheme(params.scheme));
    world->levels = params.levels;
    if (Status status = world->init(params); !status) {
        world->destroy();
        return status.error();
    }
    return world;
}

Status World::init(const objr_params& params) {
    registry.init(OBJR_LOCK_REGISTRY);
    zap_grace.init();
    mms.init();
    files.init();
    anon_vmas.init();
    OBJR_TRY_STATUS(
        swap.create(pool, counters, {params.swap_kind, params.swap_mb, params.swap_file})); // consumes the file
    OBJR_TRY_STATUS(Status::from_int(quiesce.init(OBJR_LOCK_QUIESCE)));
    has_quiesce_ = true;
    OBJR_TRY_STATUS(mm_cache.create("mm"));
    OBJR_TRY_STATUS(vma_cache.create("vma"));
    OBJR_TRY_STATUS(table_cache.create("page_table"));
    OBJR_TRY_STATUS(file_cache.create("file_mapping"));
    OBJR_TRY_STATUS(anon_vma_cache.create_typesafe("anon_vma", construct_anon_vma));
    OBJR_TRY_STATUS(avc_cache.create("anon_vma_chain"));
    OBJR_TRY_STATUS(anon_mm_cache.create_typesafe("anon_mm", construct_anon_mm));
    OBJR_TRY_STATUS(chain_block_cache.create("pte_chain"));
    OBJR_TRY_STATUS(pool.create(params.pool_mb));
    low_percent_ = params.low_watermark;
    high_percent_ = params.high_watermark;
    set_watermarks();
    OBJR_TRY_STATUS(scheme().start(*this));
    started_ = true;
    return params.daemons != 0 ? start_daemons() : Status();
}

void World::set_watermarks() {
    constexpr u32 kReadaheadShare = 16; // of the pool is free at least while neighbours are read
    const u64 size = pool.size();
    const u32 low = static_cast<u32>(size * low_percent_ / 100);
    low_pages.store(low);
    high_pages.store(static_cast<u32>(size * high_percent_ / 100));
    swap.set_readahead_floor(max(low, pool.size() / kReadaheadShare));
}

// ---- the two threads

static void balance(World& world) {
    ScanLedger ledger;
    const u32 free = world.pool.free_pages();
    const u32 wanted = max(world.high_pages.load(), world.reclaimd.waiting()); // a page at least for each who waits
    if (free < wanted) {
        reclaim_pages(world, wanted - free, Scanner::daemon, ledger);
    }
    if (ledger[Fate::dirty] != 0) {
        world.writebackd.kick();
    }
}

// What is dirty now; what becomes so meanwhile is for the next round, else one need never end. What fails is left alone for a while. As
// long as nothing is left but files that somebody else writes just now, and he has not got on, this is waited for: it is what was
// asked for.
static void write_back(World& world) {
    constexpr u64 kBatch = 256;
    const s64 before = world.counters.sum(Count::writebacks);
    u64 left = world.counters.number(Count::dirty_pages);
    while (left != 0) {
        bool busy = false;
        const u64 written = write_back_some(world, min(left, kBatch), &busy);
        left -= min(left, written);
        if (written != 0) {
            objr_cond_resched();
        } else if (busy && world.counters.sum(Count::writebacks) == before) {
            objr_sleep_a_tick();
        } else {
            break;
        }
    }
}

Status World::start_daemons() {
    OBJR_TRY_STATUS(writebackd.start("objr_writebackd", write_back, *this));
    return reclaimd.start("objr_reclaimd", balance, *this);
}

void World::stop_daemons() {
    reclaimd.stop();
    writebackd.stop();
}

void World::destroy() {
    stop_daemons();
    u64 id = 0;
    if (OBJR_WARN_ON(mms.find_from(id)) || OBJR_WARN_ON(files.find_from(id = 0))) {
        return; // in use: leaked rather than freed under a user
    }
    swap.destroy();
    if (started_) {
        scheme().stop(*this);
    }
    pool.destroy();
    anon_mm_cache.destroy();
    chain_block_cache.destroy();
    avc_cache.destroy();
    anon_vma_cache.destroy();
    file_cache.destroy();
    table_cache.destroy();
    vma_cache.destroy();
    mm_cache.destroy();
    anon_vmas.destroy();
    files.destroy();
    mms.destroy();
    if (has_quiesce_) {
        quiesce.destroy();
    }
    this->~World();
    objr_kvfree(this);
}

Mm* World::get_mm_from(u64& id) {
    Guard guard(registry);
    for (; Mm* mm = mms.find_from(id); id++) {
        if (mm->try_get()) {
            return mm;
        }
    }
    return nullptr;
}

FileMapping* World::hold_file_from(u64& id, Files which) {
    Guard guard(registry);
    for (; FileMapping* file = files.find_from(id); id++) {
        if (which == Files::all || file->dirty_pages() != 0) {
            file->hold();
            return file;
        }
    }
    return nullptr;
}

} // namespace objr
