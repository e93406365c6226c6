// SPDX-License-Identifier: GPL-2.0
// The page lock: one bit, with the kernel's bit wait queues behind it (Linux: mm/filemap.c:folio_lock).
#include "objrmap/page.h"

#include <bit>

namespace objr {

static constexpr unsigned long kLockBit = static_cast<unsigned long>(PageFlag::locked);

bool Page::try_lock() {
    if (set(PageFlag::locked)) {
        return false;
    }
    objr_page_lock_acquire(1);
    return true;
}

void Page::lock() {
    objr_might_sleep();
    objr_page_lock_acquire(0);
    if (set(PageFlag::locked)) {
        objr_wait_on_bit_lock(flags_.raw(), std::countr_zero(kLockBit));
    }
}

void Page::unlock() {
    objr_page_lock_release();
    clear(PageFlag::locked);
    objr_wake_up_bit(flags_.raw(), std::countr_zero(kLockBit));
}

} // namespace objr
