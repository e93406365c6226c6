// SPDX-License-Identifier: GPL-2.0
// SwapStore: where the contents of swapped pages are, by slot number (Linux: mm/page_io.c, drivers/block/zram). SwapSpace knows
// nothing of how it is done. There are three:
//   plain  each page as it is, in a page of the kernel's
//   lz4    compressed, packed by the kernel's allocator for such things; what does not become smaller by a quarter is kept as it
//          is, and a page that repeats one word needs nothing but its place in the table
//   file   the blocks of a regular file
//
// States of a slot's contents: none -> (write) stored -> (write) stored, newer -> (drop) none.
//
// Locking: none of its own, as to slots. SwapSpace sees to it that one slot has one user at a time: the one with the page lock of
// its cached page, the one who writes it from the buffer, or the one who gives it back.
// Errors: a write that fails leaves what was stored before, or, in a file, nothing that a read should be made of; a read that fails
// leaves the slot as it is.
#pragma once

#include "objrmap/result.h"
#include "shim/module.h"

namespace objr {

// What a world is to swap to.
struct SwapConfig {
    u32 kind = OBJR_SWAP_PLAIN;
    u32 mb = 0; // plain: of pages; lz4: of memory taken
    objr_backing* file = nullptr; // file: consumed in every case
};

class SwapStore : Pinned {
public:
    // The store and its number of slots; nullptr: no swap. Sleeps. ENOMEM; EINVAL with a line in the log.
    static Result<SwapStore*> create(const SwapConfig& config);
    // Nothing should be stored any more. The store is gone after it.
    virtual void destroy() = 0;

    u64 slots() const { return slots_; }
    // Writes wait for nothing but the kernel's memory: they may be made under a page lock. Else under no lock at all.
    virtual bool writes_at_once() const { return true; }
    // Sleeps. ENOMEM, ENOSPC: the store is full; EIO.
    virtual Status write(u64 slot, const void* page) = 0;
    // Sleeps. EIO: there is nothing of this slot, or it cannot be read; ENOMEM.
    virtual Status read(u64 slot, void* page) = 0;
    // These slots may be read soon. Sleeps.
    virtual void prefetch(u64, u64) {}
    virtual void drop(u64 slot) = 0; // any context; nothing stored is fine

    struct Usage {
        u64 stored = 0; // bytes that the contents take where they are
        u64 incompressible = 0; // slots whose contents are kept as they are, though that was not wanted
        u64 bytes = 0; // of kernel memory: contents and tables
    };
    virtual Usage usage() const = 0;
    // It has a limit besides its slots, and has come half the way. Any context.
    virtual bool half_full() const { return false; }

protected:
    explicit SwapStore(u64 slots) : slots_(slots) {}
    ~SwapStore() = default;

private:
    const u64 slots_;
};

// Of SwapStore::create.
Result<SwapStore*> create_plain_store(u32 mb);
Result<SwapStore*> create_lz4_store(u32 mb);
Result<SwapStore*> create_file_store(objr_backing* file); // consumes it

} // namespace objr
