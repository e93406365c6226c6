// SPDX-License-Identifier: GPL-2.0
// World: one pool and everything on it; what a loaded module has one of, and a test makes for itself. There are no
// other globals.
//
// Locking: `quiesce` is held for read by every operation that touches pages, page tables or the reverse map, for write by who
// wants to see all of it at rest (verify). `registry` guards who comes and goes in mms and files; to use what one finds there,
// take a reference with try_get under it. anon_vmas: see AnonVma (type-stable).
#pragma once

#include "objrmap/anon_mm.h"
#include "objrmap/anon_vma.h"
#include "objrmap/counters.h"
#include "objrmap/daemon.h"
#include "objrmap/file_mapping.h"
#include "objrmap/memory.h"
#include "objrmap/mm.h"
#include "objrmap/pool.h"
#include "objrmap/pte_chain.h"
#include "objrmap/scheme.h"
#include "objrmap/swap.h"
#include "objrmap/zap_grace.h"

namespace objr {

struct World : Pinned {
    // params as in shim/module.h. EINVAL with a log line; ENOMEM.
    static Result<World*> create(const objr_params& params);
    void destroy();

    Pool pool;
    Counters counters;
    SwapSpace swap;
    PercpuRwSem quiesce;
    ZapGrace zap_grace;
    // Changes under quiesce for write: who holds quiesce for read sees one scheme.
    Scheme& scheme() const { return *scheme_.load(); }
    void set_scheme(Scheme& scheme) { scheme_.store(&scheme); }
    PteChains* pte_chains = nullptr; // of pte_chain, if that is the scheme; changes with it
    u32 levels = 4; // immutable

    // ---- free pages: below low_pages reclaimd takes pages away until there are high_pages. They follow the size of the pool.
    Atomic<u32> low_pages{0};
    Atomic<u32> high_pages{0};
    void set_watermarks(); // the pool has got its size: at create, or under quiesce for write
    Daemon reclaimd;
    Daemon writebackd;
    Status start_daemons(); // ENOMEM
    void stop_daemons(); // idempotent
    // After pages were taken from the pool. Any context.
    void keep_watermarks() {
        if (pool.free_pages() < low_pages.load()) {
            reclaimd.kick();
        }
    }

    Mutex registry;
    Table<Mm> mms; // by id; registry
    Table<FileMapping> files; // by id; registry
    Table<AnonVma> anon_vmas; // by id
    Atomic<u32> last_id{0}; // of mms, files, anon_vmas and vmas alike: an id names one object for ever

    Cache<Mm> mm_cache;
    Cache<Vma> vma_cache;
    Cache<PageTable> table_cache;
    Cache<FileMapping> file_cache;
    Cache<AnonVma> anon_vma_cache;
    Cache<AnonVmaChain> avc_cache;
    Cache<AnonMm> anon_mm_cache;
    Cache<ChainBlock> chain_block_cache;

    u32 next_id() { return last_id.fetch_add(1) + 1; }
    // The Mm, file with this id or the first one behind; referenced; nullptr: none. Sets id.
    Mm* get_mm_from(u64& id);
    enum class Files { all, dirty };
    FileMapping* hold_file_from(u64& id, Files which = Files::all); // held, not used
    Atomic<u64> write_back_from{0}; // id of the file that write_back_some begins with: a hint
    Atomic<u32> swapoffs{0}; // 1: swapoff() or swapon() is at work
    Atomic<u64> write_back_pause{0}; // ns; until then a file is left alone whose write-back has failed

private:
    Status init(const objr_params& params);
    Atomic<Scheme*> scheme_{nullptr};
    u32 low_percent_ = 0; // immutable after init
    u32 high_percent_ = 0; // immutable after init
    bool has_quiesce_ = false; // immutable after init
    bool started_ = false; // the scheme; immutable after init
};

} // namespace objr
