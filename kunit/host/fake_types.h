// SPDX-License-Identifier: GPL-2.0
//
// fake_types.h: what stands behind the opaque storage that the core embeds for kernel types.
//
// Invariant 1: an initialised lock carries the magic number of its kind; every operation checks it, so that zeroed,
// foreign or freed memory is told from a lock. Kernel locks have no destructor; these need none either.
#pragma once

#include <cstdint>
#include <map>
#include <pthread.h>

#include <generated/objr-kernel-sizes.h>

#include "shim/kernel.h"

namespace objr_host {

enum class LockKind : std::uint8_t { kSpin, kMutex, kRwsem, kPercpuRwsem, kPage };

struct LockHead {
    std::uint32_t magic;
    std::uint8_t cls; // enum objr_lock_class
    LockKind kind;
};

inline constexpr std::uint32_t kLockMagic = 0x0b0ec7ed;

// Spin locks and mutexes alike: a spin lock that blocks gives the same order of events.
struct FakeMutex {
    LockHead head;
    pthread_mutex_t mutex;
};

struct FakeRwsem {
    LockHead head;
    pthread_rwlock_t lock;
};

// The kernel's allocates per-processor memory; so the fake allocates too, and a forgotten free is seen.
struct FakePercpuRwsem {
    LockHead head;
    pthread_rwlock_t* lock;
};

struct FakeXarray {
    std::uint64_t magic;
    pthread_mutex_t mutex;
    struct Entry {
        void* pointer;
        bool marked;
    };
    std::map<objr_u64, Entry> entries;
};

inline constexpr std::uint64_t kXarrayMagic = 0x0b0e0a44a7ed1234;

static_assert(sizeof(FakeMutex) <= OBJR_SIZEOF_SPINLOCK && alignof(FakeMutex) <= OBJR_ALIGNOF_SPINLOCK);
static_assert(sizeof(FakeMutex) <= OBJR_SIZEOF_MUTEX && alignof(FakeMutex) <= OBJR_ALIGNOF_MUTEX);
static_assert(sizeof(FakeRwsem) <= OBJR_SIZEOF_RWSEM && alignof(FakeRwsem) <= OBJR_ALIGNOF_RWSEM);
static_assert(sizeof(FakePercpuRwsem) <= OBJR_SIZEOF_PERCPU_RWSEM &&
              alignof(FakePercpuRwsem) <= OBJR_ALIGNOF_PERCPU_RWSEM);
static_assert(sizeof(FakeXarray) <= OBJR_SIZEOF_XARRAY && alignof(FakeXarray) <= OBJR_ALIGNOF_XARRAY);

} // namespace objr_host
