// SPDX-License-Identifier: GPL-2.0
// Compressed memory: N MiB of it are the limit of what is taken from the kernel, and 4 N MiB of pages the limit of what it is
// taken for: data that shrinks better than to a quarter is rare, and a slot costs memory too.
//
// To free memory must not need much of it: what the compressor works in is there from the beginning, in a few places, one for each
// processor that comes at the same time.
#include "objrmap/atomic.h"
#include "objrmap/lock.h"
#include "objrmap/swap_store.h"

#include <new>

namespace objr {

namespace {

constexpr u64 kSlotsPerMb = 4 * (1u << 20) / kPageSize;
// Beyond this the allocator needs a whole page anyway.
constexpr u32 kMostCompressed = kPageSize / 4 * 3;

class Lz4Store final : public SwapStore {
public:
    explicit Lz4Store(u32 mb) : SwapStore(mb * kSlotsPerMb), limit_pages_((static_cast<u64>(mb) << 20) >> kPageShift) {}
    Status init(); // ENOMEM
    void destroy() override;
    Status write(u64 slot, const void* page) override;
    Status read(u64 slot, void* page) override;
    void drop(u64 slot) override;
    Usage usage() const override;
    bool half_full() const override { return 2 * objr_zs_get_total_pages(pool_) > limit_pages_; }

private:
    static constexpr u32 kWorkspaces = 4;
    struct Workspace {
        Mutex lock;
        u8 buffer[kPageSize]; // compressed contents
        u8 work[OBJR_LZ4_WORK_BYTES];
    };
    static constexpr u32 kFilled = ~0u;
    struct Entry {
        u64 word = 0; // object of the pool; kFilled: what every word of the page is
        u32 bytes = 0; // of the object; kPageSize: not compressed; 0: nothing is kept
    };

    Workspace& workspace() { return workspaces_[objr_cpu() % kWorkspaces]; }
    Result<Entry> keep(const void* data, u32 bytes);
    void replace(u64 slot, Entry entry);

    const u64 limit_pages_;
    objr_zs_pool* pool_ = nullptr;
    Entry* entries_ = nullptr; // [slot]
    Workspace* workspaces_ = nullptr;
    Atomic<u64> stored_{0}; // bytes of all objects
    Atomic<u64> incompressible_{0};
};

Status Lz4Store::init() {
    pool_ = objr_zs_create_pool();
    entries_ = static_cast<Entry*>(objr_kvzalloc(slots() * sizeof(Entry)));
    workspaces_ = static_cast<Workspace*>(objr_kvzalloc(kWorkspaces * sizeof(Workspace)));
    if (!pool_ || !entries_ || !workspaces_) {
        return Errno{OBJR_ENOMEM};
    }
    for (u32 i = 0; i < kWorkspaces; i++) {
        workspaces_[i].lock.init(OBJR_LOCK_COMPRESS);
    }
    return {};
}

void Lz4Store::destroy() {
    for (u64 slot = 0; entries_ && pool_ && slot < slots(); slot++) {
        drop(slot);
    }
    if (pool_) {
        objr_zs_destroy_pool(pool_);
    }
    objr_kvfree(entries_);
    objr_kvfree(workspaces_);
    objr_kvfree(this);
}

// Every word the same: word is that one.
bool is_filled(const void* page, u64& word) {
    const u64* words = static_cast<const u64*>(page);
    for (u64 i = 1; i < kPageSize / sizeof(u64); i++) {
        if (words[i] != words[0]) {
            return false;
        }
    }
    word = words[0];
    return true;
}

Result<Lz4Store::Entry> Lz4Store::keep(const void* data, u32 bytes) {
    const u64 object = objr_zs_malloc(pool_, bytes);
    if (object == 0) {
        return Errno{OBJR_ENOMEM};
    }
    if (objr_zs_get_total_pages(pool_) > limit_pages_) {
        objr_zs_free(pool_, object);
        return Errno{OBJR_ENOSPC};
    }
    objr_zs_write(pool_, object, data, bytes);
    return Entry{object, bytes};
}

void Lz4Store::replace(u64 slot, Entry entry) {
    drop(slot);
    entries_[slot] = entry;
    if (entry.bytes != kFilled) {
        stored_.fetch_add(entry.bytes);
        incompressible_.fetch_add(entry.bytes == kPageSize ? 1 : 0);
    }
}

Status Lz4Store::write(u64 slot, const void* page) {
    Entry entry{.bytes = kFilled};
    if (!is_filled(page, entry.word)) {
        Workspace& space = workspace();
        Guard guard(space.lock);
        const u32 bytes = objr_lz4_compress(page, kPageSize, space.buffer, kMostCompressed, space.work);
        entry = OBJR_TRY(bytes != 0 ? keep(space.buffer, bytes) : keep(page, kPageSize));
    }
    replace(slot, entry);
    return {};
}

Status Lz4Store::read(u64 slot, void* page) {
    const Entry entry = entries_[slot];
    if (entry.bytes == 0) {
        return Errno{OBJR_EIO};
    }
    if (entry.bytes == kFilled) {
        u64* words = static_cast<u64*>(page);
        for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
            words[i] = entry.word;
        }
        return {};
    }
    if (entry.bytes == kPageSize) {
        objr_zs_read(pool_, entry.word, page, kPageSize);
        return {};
    }
    Workspace& space = workspace();
    Guard guard(space.lock);
    objr_zs_read(pool_, entry.word, space.buffer, entry.bytes);
    const s32 bytes = objr_lz4_decompress(space.buffer, entry.bytes, page, kPageSize);
    return bytes == static_cast<s32>(kPageSize) ? Status() : Status(Errno{OBJR_EIO});
}

void Lz4Store::drop(u64 slot) {
    Entry& entry = entries_[slot];
    if (entry.bytes != 0 && entry.bytes != kFilled) {
        objr_zs_free(pool_, entry.word);
        stored_.fetch_sub(entry.bytes);
        incompressible_.fetch_sub(entry.bytes == kPageSize ? 1 : 0);
    }
    entry = {};
}

SwapStore::Usage Lz4Store::usage() const {
    return {.stored = stored_.load(),
            .incompressible = incompressible_.load(),
            .bytes =
                objr_zs_get_total_pages(pool_) * kPageSize + slots() * sizeof(Entry) + kWorkspaces * sizeof(Workspace)};
}

} // namespace

Result<SwapStore*> create_lz4_store(u32 mb) {
    void* memory = objr_kvzalloc(sizeof(Lz4Store));
    if (!memory) {
        return Errno{OBJR_ENOMEM};
    }
    Lz4Store* store = new (memory) Lz4Store(mb);
    if (Status status = store->init(); !status) {
        store->destroy();
        return status.error();
    }
    return static_cast<SwapStore*>(store);
}

} // namespace objr
