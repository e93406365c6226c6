// SPDX-License-Identifier: GPL-2.0
//
// process.h: processes without a kernel. They drive the core through shim/module.h in the order in which Linux calls a
// driver (src/shim/process_vma.c), and have PTEs of their own that cache the module's tables, as real ones do. A
// translation that the core forgot to drop is therefore used here, and seen.
//
// Terms: a Region is what one mmap made, with its own linear pgoff (struct objr_region of the seam). A process ends by
// exit(); its regions may outlive it, as identities.
//
// Invariants, each checked where it is stated:
//  1 objr_fault_install finds either nothing at the address or is told to replace (the kernel would ignore it silently)
//  2 objr_fault_install is called with a page lock held; the zaps and harvests are called with no rmap lock held
//  3 after exit() no region of the process is left once the core has let go
//
// Locking: mmap_lock as in the kernel (faults for read, changes for write); pte_lock, a leaf, for the PTEs: an access
// happens under it, so that a zap that has returned is a zap that no access can precede any more.
#pragma once

#include "shim/module.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

namespace objr_host {

class Process;

struct ProcessState; // what outlives the process: its PTEs (none after exit) and its identity

struct ProcessPte {
    objr_u64 pfn;
    bool writable;
    bool young;
    bool dirty;
};

enum class Outcome { kOk, kSegv, kBus };

class Process {
public:
    Process(objr_world* world, std::string comm);
    ~Process() { exit(); } // of a killed process, or of one that ends
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // 0 or -errno, as the system calls. Addresses and lengths are multiples of pages.
    int map(objr_u64 address, objr_u64 bytes, objr_u64 pgoff, objr_u32 flags, objr_object* object = nullptr);
    int unmap(objr_u64 address, objr_u64 bytes);
    int move(objr_u64 from, objr_u64 to, objr_u64 bytes);
    int protect(objr_u64 address, objr_u64 bytes, objr_u32 flags);
    // The ioctls of those names, for ranges that the kernel side lets through. advice: OBJR_ADVISE_*.
    int remap(objr_u64 address, objr_u64 bytes, objr_u64 pgoff, objr_u32 flags = 0);
    int advise(objr_u64 address, objr_u64 bytes, objr_u32 advice);
    // All of this process's memory appears in child, which is new.
    int fork(Process& child);
    // Nobody runs in it any more; what it maps is there yet.
    void begin_exit();
    void exit();

    // What the process's own tables have for address; and a mistake: an entry that the core knows nothing of.
    bool translation(objr_u64 address, objr_u64* pfn) const;
    void plant(objr_u64 address, objr_u64 pfn);

    Outcome load(objr_u64 address, std::uint8_t* byte);
    Outcome store(objr_u64 address, std::uint8_t byte);

    objr_u32 pid() const;
    objr_mm* mm() const { return mm_; }

private:
    struct MappedVma {
        objr_u64 end;
        objr_u64 pgoff;
        objr_u32 flags;
        objr_object* object;
        objr_region* region;
    };
    using Vmas = std::map<objr_u64, MappedVma>;

    Outcome access(objr_u64 address, std::uint8_t* byte, bool write);
    int fault(objr_u64 address, bool write);
    int split(objr_u64 address);
    int split_ends(objr_u64 start, objr_u64 end);
    void drop_vmas(objr_u64 start, objr_u64 end);
    bool all_mapped(objr_u64 start, objr_u64 end) const;
    const MappedVma* vma_at(objr_u64 address) const;

    objr_world* world_;
    objr_mm* mm_ = nullptr;
    Vmas vmas_; // guarded by state_->mmap_lock
    std::shared_ptr<ProcessState> state_;
};

// Regions that are still there, over all processes (invariant 3).
unsigned live_regions();

} // namespace objr_host
