// SPDX-License-Identifier: GPL-2.0
// swap_file.h: a file in memory to swap to, for tests.
#pragma once

#include "fixture.h"
#include "memory_backing.h"

namespace objr::test {

// A swap file of 1 MiB, and a world on it.
class SwapFile : Pinned {
public:
    static constexpr u64 kBytes = 1u << 20;
    explicit SwapFile(objr_test* test) : file_(objr_memory_file_create("swapfile", kBytes, kBytes, 9)) {
        if (!file_) {
            objr_test_fail(test, __FILE__, __LINE__, "no file could be made");
        }
    }
    ~SwapFile() { objr_memory_file_destroy(file_); }
    objr_params params() const {
        return {.pool_mb = 1, .levels = 4, .swap_file = file_ ? objr_memory_file_open(file_, 1) : nullptr};
    }
    objr_memory_file* get() const { return file_; }
    void fail(objr_memory_file_op op, int error, u32 after = 0) const {
        objr_memory_file_fail(file_, op, error, after);
    }
    u8 exchange(u64 position, u8 byte) const {
        u8 before = 0;
        objr_memory_file_read(file_, position, &before, 1);
        objr_memory_file_write(file_, position, &byte, 1);
        return before;
    }

private:
    objr_memory_file* file_;
};

} // namespace objr::test
