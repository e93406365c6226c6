// SPDX-License-Identifier: GPL-2.0
// fixture.h: what test bodies of the core begin with: a World of their own that is verified and must be empty at the end, and
// processes in it that run on a SoftMmu.
#pragma once

#include "inject.h"
#include "memory_backing.h"
#include "soft_mmu.h"
#include "test.h"

#include "objrmap/frames.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"
#include "shim/module.h"

namespace objr::test {

inline constexpr u32 kReadWrite = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE;
inline constexpr u32 kReadOnly = OBJR_VM_READ | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE;
inline constexpr u32 kShared = kReadWrite | OBJR_VM_SHARED;
inline constexpr Vaddr kBase{0x7f0000000000};

// Address of the n-th page of the usual test region.
inline Vaddr at(u64 page) { return kBase + page * kPageSize; }

// A World for the time of a test. At its end everything must have gone back, and verify must have nothing to say.
class TestWorld : Pinned {
public:
    // scheme nullptr: the one the runner wants this run to be made under, else the default.
    explicit TestWorld(objr_test* test, u32 pool_mb = 1, u32 levels = 4, const char* scheme = nullptr, u32 swap_mb = 1);
    TestWorld(objr_test* test, const objr_params& params);
    ~TestWorld();

    explicit operator bool() const { return world_ != nullptr; }
    World& operator*() const { return *world_; }
    World* operator->() const { return world_; }
    objr_world* handle() const { return reinterpret_cast<objr_world*>(world_); }
    bool is(const char* scheme) const; // the reverse map it runs on
    // The full forward and reverse check; failures are the test's.
    bool verify();
    u32 used_pages() const { return world_->pool.size() - world_->pool.free_pages(); }

private:
    objr_test* test_;
    World* world_ = nullptr;
};

// A process: an Mm and the processor it runs on. Exits at the end of its scope.
class Process : Pinned {
public:
    Process(objr_test* test, TestWorld& world);
    ~Process() { exit(); }

    bool alive() const { return mm_ != nullptr; }
    Mm& mm() const { return *mm_; }
    SoftMmu& cpu() { return cpu_; }
    // Map [first, first + pages) and lock what the pool has left there: nothing can be taken away from this process.
    bool devour(u64 first, u64 pages);
    // Map pages [first, last) of the test region.
    Status map(u64 first, u64 last, u32 flags = kReadWrite, FileMapping* file = nullptr, u64 pgoff = 0);
    Status unmap(u64 first, u64 last) { return mm_->unmap(at(first), at(last), Translations::present); }
    // child must have nothing mapped.
    Status fork_to(Process& child) { return Mm::fork(*mm_, *child.mm_, Vaddr(kPageSize), mm_->address_end(), nullptr); }
    void exit();
    void before_next_zap(void (*function)(void*), void* argument); // see SoftMmu

    // By page number; offset 0 of the page. Loads answer ~0 and fail the test if the access faults for good.
    u64 load(u64 page);
    void store(u64 page, u64 value);
    s32 try_load(u64 page); // 0 or -errno
    s32 try_store(u64 page, u64 value);

    Pte pte(u64 page) const; // the leaf entry now
    Page* page(u64 page) const; // what it maps, nullptr: nothing present
    Vma* vma(u64 page) const { return mm_->find(at(page)); }

private:
    objr_test* test_;
    TestWorld& world_;
    SoftMmu cpu_;
    Mm* mm_ = nullptr;
};

// More processes than a stack has room for, numbered.
class Processes : Pinned {
public:
    Processes(objr_test* test, TestWorld& world, u32 count);
    ~Processes();

    explicit operator bool() const { return all_ != nullptr; } // else the test has failed
    Process& operator[](u32 n) const { return all_[n]; }
    u32 count() const { return count_; }
    void restart(u32 n); // exits; a new one takes its number

private:
    objr_test* test_;
    TestWorld& world_;
    Process* all_;
    u32 count_;
};

// A named object for the time of a test, held by a descriptor.
class Object : Pinned {
public:
    Object(objr_test* test, TestWorld& world, const char* name, u64 pages);
    explicit Object(FileMapping* file) : file_(file) {}
    ~Object() { close(); }
    void close();
    FileMapping* operator->() const { return file_; }
    FileMapping* get() const { return file_; }

private:
    FileMapping* file_ = nullptr;
};

// How many mappings a walk finds, with what it cost.
u32 count_mappers(World& world, Page& page, WalkCost* cost = nullptr);

// A repeatable stream of numbers (xorshift64*).
class Random {
public:
    explicit Random(u64 seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
    u64 next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1dull;
    }
    u64 below(u64 n) { return (next() >> 11) % n; }

private:
    u64 state_;
};

} // namespace objr::test
