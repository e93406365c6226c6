// SPDX-License-Identifier: GPL-2.0
// The choice of a store, and the plain one.
#include "objrmap/swap_store.h"

#include "objrmap/atomic.h"

#include <new>

namespace objr {

namespace {

class PlainStore final : public SwapStore {
public:
    PlainStore(u64 slots, void** contents) : SwapStore(slots), contents_(contents) {}
    void destroy() override;
    Status write(u64 slot, const void* page) override;
    Status read(u64 slot, void* page) override;
    void drop(u64 slot) override;
    Usage usage() const override;

private:
    void** const contents_; // [slot]: a page of the kernel's, nullptr: none
    Atomic<u64> kept_{0};
};

void PlainStore::destroy() {
    for (u64 slot = 0; slot < slots(); slot++) {
        drop(slot);
    }
    objr_kvfree(contents_);
    objr_kvfree(this);
}

Status PlainStore::write(u64 slot, const void* page) {
    if (!contents_[slot]) {
        void* memory = objr_alloc_pages(0);
        if (!memory) {
            return Errno{OBJR_ENOMEM};
        }
        contents_[slot] = memory;
        kept_.fetch_add(1);
    }
    objr_copy_page(contents_[slot], page);
    return {};
}

Status PlainStore::read(u64 slot, void* page) {
    if (!contents_[slot]) {
        return Errno{OBJR_EIO};
    }
    objr_copy_page(page, contents_[slot]);
    return {};
}

void PlainStore::drop(u64 slot) {
    if (contents_[slot]) {
        objr_free_pages(contents_[slot], 0);
        contents_[slot] = nullptr;
        kept_.fetch_sub(1);
    }
}

SwapStore::Usage PlainStore::usage() const {
    const u64 stored = kept_.load() * kPageSize;
    return {.stored = stored, .incompressible = 0, .bytes = stored + slots() * sizeof(void*)};
}

} // namespace

Result<SwapStore*> create_plain_store(u32 mb) {
    constexpr u64 kSlotsPerMb = (1u << 20) / kPageSize;
    const u64 slots = mb * kSlotsPerMb;
    void** contents = static_cast<void**>(objr_kvzalloc(slots * sizeof(void*)));
    void* memory = objr_kvzalloc(sizeof(PlainStore));
    if (!contents || !memory) {
        objr_kvfree(contents);
        objr_kvfree(memory);
        return Errno{OBJR_ENOMEM};
    }
    return new (memory) PlainStore(slots, contents);
}

Result<SwapStore*> SwapStore::create(const SwapConfig& config) {
    if (config.file) {
        return create_file_store(config.file);
    }
    if (config.mb == 0) {
        return static_cast<SwapStore*>(nullptr);
    }
    return config.kind == OBJR_SWAP_LZ4 ? create_lz4_store(config.mb) : create_plain_store(config.mb);
}

} // namespace objr
