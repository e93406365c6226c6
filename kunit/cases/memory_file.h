// SPDX-License-Identifier: GPL-2.0
// memory_file.h: real files for test bodies.
#pragma once

#include "fixture.h"

namespace objr::test {

// A file of memory for the time of a test, with descriptors bound to it.
class MemoryFile : Pinned {
public:
    MemoryFile(objr_test* test, const char* name, u64 bytes) : test_(test) {
        file_ = objr_memory_file_create(name, bytes, 16 * kPageSize, kSeed);
        if (!file_) {
            objr_test_fail(test, __FILE__, __LINE__, "no memory for a file");
        }
    }
    ~MemoryFile() {
        objr_test* test = test_;
        if (file_) {
            OBJR_EXPECT_EQ(objr_memory_file_users(file_), 0);
            objr_memory_file_destroy(file_);
        }
    }
    // A new descriptor.
    FileMapping* open(World& world, bool writable) {
        Result<FileMapping*> file = FileMapping::of_file(world, objr_memory_file_open(file_, writable ? 1 : 0));
        return file ? *file : nullptr;
    }
    // What a load of 8 bytes at page should see of the untouched file.
    static u64 pattern(u64 page) {
        u64 value = 0;
        for (u64 i = 0; i < 8; i++) {
            value |= static_cast<u64>(objr_memory_file_byte(kSeed, page * kPageSize + i)) << (8 * i);
        }
        return value;
    }
    u64 word(u64 page) {
        u64 value = 0;
        objr_memory_file_read(file_, page * kPageSize, &value, sizeof(value));
        return value;
    }
    objr_memory_file* get() const { return file_; }

private:
    static constexpr u32 kSeed = 42;
    objr_test* test_;
    objr_memory_file* file_ = nullptr;
};

} // namespace objr::test
