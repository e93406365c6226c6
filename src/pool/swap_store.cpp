// SPDX-License-Identifier: GPL-2.0
#include "objrmap/swap_store.h"

namespace objr {

Status SwapStore::create(u64 slots) {
    contents_ = static_cast<void**>(objr_kvzalloc(slots * sizeof(void*)));
    if (!contents_) {
        return Errno{OBJR_ENOMEM};
    }
    slots_ = slots;
    return {};
}

void SwapStore::destroy() {
    for (u64 slot = 0; slot < slots_; slot++) {
        drop(slot);
    }
    objr_kvfree(contents_);
    contents_ = nullptr;
    slots_ = 0;
}

Status SwapStore::write(u64 slot, const void* page) {
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

Status SwapStore::read(u64 slot, void* page) {
    if (!contents_[slot]) {
        return Errno{OBJR_EIO};
    }
    objr_copy_page(page, contents_[slot]);
    return {};
}

void SwapStore::drop(u64 slot) {
    if (contents_[slot]) {
        objr_free_pages(contents_[slot], 0);
        contents_[slot] = nullptr;
        kept_.fetch_sub(1);
    }
}

u64 SwapStore::bytes() const { return kept_.load() * kPageSize + slots_ * sizeof(void*); }

} // namespace objr
