// SPDX-License-Identifier: GPL-2.0
// ErrorSequence: an error of a write-back that nobody waited for, for everybody who wants to know of it (Linux: lib/errseq.c).
//
// Who opens a file takes a sample, and asks later, with that sample, whether there was an error since. Each sample gets the last
// error once. An error that nobody has seen yet is also reported to who comes after it, so that none is lost.
//
// One word: the error in the low bits, a bit that says somebody has seen it, and above a count that makes an error differ
// from the one before, when that was seen. Errors that nobody has seen in between are one.
// Any context, no locks. A sample belongs to one caller at a time.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/types.h"

namespace objr {

class ErrorSequence {
public:
    // error: an errno, 1 .. 4095.
    void note(u32 error) {
        u64 seen = word_.load();
        u64 next;
        do {
            next = (seen & ~kErrorMask & ~kSeen) + ((seen & kSeen) != 0 ? kOne : 0) + (error & kErrorMask);
        } while (next != seen && !word_.compare_exchange(seen, next));
    }
    // To begin with. 0: also for who wants to hear of what nobody has seen yet.
    u64 sample() const {
        const u64 now = word_.load();
        return (now & kSeen) != 0 ? now : 0;
    }
    // The error since the sample was taken or last asked with, 0: none. The sample is brought up to date.
    u32 check(u64& sample) {
        u64 now = word_.load();
        if (now == sample) {
            return 0;
        }
        while ((now & kSeen) == 0 && !word_.compare_exchange(now, now | kSeen)) {
        }
        now |= kSeen;
        if (now == sample) {
            return 0;
        }
        sample = now;
        return static_cast<u32>(now & kErrorMask);
    }

private:
    static constexpr u64 kErrorMask = 4095;
    static constexpr u64 kSeen = 1ull << 12;
    static constexpr u64 kOne = 1ull << 13;
    Atomic<u64> word_{0};
};

} // namespace objr
