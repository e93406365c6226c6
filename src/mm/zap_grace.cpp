// SPDX-License-Identifier: GPL-2.0
#include "objrmap/zap_grace.h"

namespace objr {

// A section that matters has taken its entry before the caller saw that it was gone, under the same table lock: it is counted by now, or
// has ended. New sections count for the other epoch, so that they cannot hold up who waits for the old ones; twice, since one may
// have read the epoch long before it counts.
void ZapGrace::wait() {
    constexpr u32 kLooks = 1000; // most sections are over by then
    if (active_[0].load_acquire() == 0 && active_[1].load_acquire() == 0) {
        return;
    }
    Guard guard(lock_);
    for (u32 turn = 0; turn < 2; turn++) {
        const u32 old = epoch_.fetch_add(1) & 1;
        for (u32 looks = 0; active_[old].load_acquire() != 0; looks++) {
            looks < kLooks ? objr_cond_resched() : objr_sleep_a_tick();
        }
    }
}

} // namespace objr
