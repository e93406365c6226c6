// SPDX-License-Identifier: GPL-2.0
//
// process.cpp: processes for tests, and the process MMU of include/shim/kernel.h on top of them.
#include "process.h"

#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

using namespace objr_host;

namespace objr_host {

struct ProcessState {
    objr_u32 pid;
    std::string comm;
    std::shared_mutex mmap_lock;
    std::mutex pte_lock;
    std::map<objr_u64, ProcessPte> ptes; // guarded by pte_lock; by page address
    std::atomic<bool> running{true}; // written under pte_lock
};

} // namespace objr_host

struct objr_region {
    std::atomic<unsigned> refs{1};
    std::shared_ptr<ProcessState> process;
};

namespace {

constexpr const char* kRegion = "region";

// What a fault hands through the core to objr_fault_install.
struct FaultToken {
    ProcessState& process;
    objr_u64 page;
    bool installed;
};

std::mutex table_lock;
std::map<objr_u32, std::weak_ptr<ProcessState>> table; // guarded by table_lock; running processes by pid
objr_u32 last_pid = 100; // guarded by table_lock
std::atomic<unsigned> regions{0};

objr_region* new_region(std::shared_ptr<ProcessState> process) {
    if (allocation_fails()) return nullptr;
    auto* region = new objr_region{1, std::move(process)};
    ledger_add(region, 0, kRegion);
    regions++;
    return region;
}

void check_no_rmap_lock(const char* what) {
    check_may_sleep(what);
    if (holds(OBJR_LOCK_I_MMAP) || holds(OBJR_LOCK_ANON))
        die("%s is called under a reverse-map lock, inside which the kernel's i_mmap_rwsem must not be taken. Held "
            "are\n%s",
            what, held_locks().c_str());
}

void drop_ptes(ProcessState& process, objr_u64 start, objr_u64 end) {
    std::lock_guard guard(process.pte_lock);
    process.ptes.erase(process.ptes.lower_bound(start), process.ptes.lower_bound(end));
}

constexpr objr_u64 page_of(objr_u64 address) { return address & ~(OBJR_PAGE_SIZE - 1); }

} // namespace

// ---- the seam ---------------------------------------------------------------------------------------------------------

extern "C" {

int objr_fault_install(void* token, objr_u64 address, objr_u64 pfn, int writable, int replace) {
    check_may_sleep("fault_install");
    if (kChecks && !holds(OBJR_LOCK_PAGE)) die("objr_fault_install is called without the page lock");
    if (token == nullptr) return 0; // a test without a process
    auto& fault = *static_cast<FaultToken*>(token);
    if (page_of(address) != fault.page) die("objr_fault_install for %llx in a fault at %llx", address, fault.page);
    if (allocation_fails()) return -OBJR_ENOMEM;
    std::lock_guard guard(fault.process.pte_lock);
    if (const auto old = fault.process.ptes.find(fault.page); old != fault.process.ptes.end() && !replace) {
        // Another thread's fault was first: the kernel keeps its PTE if it is of the same page.
        if (old->second.pfn != pfn)
            die("a translation of %llx to pfn %llx is installed over one to %llx, and nothing says replace: the kernel "
                "would "
                "keep the old one",
                address, pfn, old->second.pfn);
        return 0;
    }
    fault.process.ptes[fault.page] = {pfn, writable != 0, true, writable != 0};
    fault.installed = true;
    return 0;
}

objr_u64 objr_mm_of_pid(objr_u32 pid) {
    std::lock_guard guard(table_lock);
    const auto found = table.find(pid);
    return found == table.end() ? 0 : reinterpret_cast<objr_u64>(found->second.lock().get());
}

void objr_region_get(struct objr_region* region) {
    if (region != nullptr) region->refs++;
}

objr_u32 objr_region_harvest(struct objr_region* region, objr_u64 address, objr_harvest mode, objr_u64* pfn) {
    check_no_rmap_lock("region_harvest");
    if (region == nullptr) return 0;
    ProcessState& process = *region->process;
    std::lock_guard guard(process.pte_lock);
    const auto found = process.ptes.find(page_of(address));
    if (found == process.ptes.end()) return 0;
    const ProcessPte pte = found->second;
    *pfn = pte.pfn;
    if (mode == OBJR_HARVEST_AGE) found->second.young = false;
    if (mode == OBJR_HARVEST_TAKE && pte.young) process.ptes.erase(found);
    return OBJR_PTE_PRESENT | (pte.young ? OBJR_PTE_YOUNG : 0) | (pte.dirty ? OBJR_PTE_DIRTY : 0) |
           (pte.writable ? OBJR_PTE_WRITE : 0);
}

int objr_region_alive(const struct objr_region* region) { return region->process->running ? 1 : 0; }

objr_u64 objr_region_mm(const struct objr_region* region) {
    return region == nullptr ? 0 : reinterpret_cast<objr_u64>(region->process.get());
}

objr_u32 objr_region_owner(struct objr_region* region, char comm[16]) {
    check_may_sleep("region_owner");
    std::strcpy(comm, "-");
    if (region == nullptr) return 0;
    ProcessState& process = *region->process;
    std::lock_guard guard(process.pte_lock);
    if (!process.running) return 0;
    std::snprintf(comm, 16, "%s", process.comm.c_str());
    return process.pid;
}

void objr_region_put(struct objr_region* region) {
    check_may_sleep("region_put");
    if (region == nullptr || region->refs.fetch_sub(1) != 1) return;
    ledger_remove(region, 0, kRegion);
    regions--;
    delete region;
}

int objr_region_scan(struct objr_region* region, objr_u64 start, objr_u64 end,
                     int (*visit)(void* context, objr_u64 address, objr_u64 pfn, objr_u32 bits), void* context) {
    check_may_sleep("region_scan");
    if (region == nullptr) return 0;
    std::map<objr_u64, ProcessPte> seen;
    {
        std::lock_guard guard(region->process->pte_lock);
        auto& ptes = region->process->ptes;
        seen.insert(ptes.lower_bound(start), ptes.lower_bound(end));
    }
    for (const auto& [address, pte] : seen) {
        const objr_u32 bits = OBJR_PTE_PRESENT | (pte.young ? OBJR_PTE_YOUNG : 0) | (pte.dirty ? OBJR_PTE_DIRTY : 0) |
                              (pte.writable ? OBJR_PTE_WRITE : 0);
        if (const int result = visit(context, address, pte.pfn, bits); result != 0) return result;
    }
    return 0;
}

void objr_region_zap(struct objr_region* region, objr_u64 start, objr_u64 end, enum objr_held) {
    check_no_rmap_lock("region_zap");
    if (region != nullptr && start < end) drop_ptes(*region->process, start, end);
}
}

// ---- processes --------------------------------------------------------------------------------------------------------

namespace objr_host {

unsigned live_regions() { return regions; }

Process::Process(objr_world* world, std::string comm) : world_(world), state_(std::make_shared<ProcessState>()) {
    std::lock_guard guard(table_lock);
    state_->pid = ++last_pid;
    state_->comm = std::move(comm);
    table[state_->pid] = state_;
}

objr_u32 Process::pid() const { return state_->pid; }

const Process::MappedVma* Process::vma_at(objr_u64 address) const {
    auto after = vmas_.upper_bound(address);
    if (after == vmas_.begin()) return nullptr;
    const MappedVma& vma = std::prev(after)->second;
    return address < vma.end ? &vma : nullptr;
}

bool Process::all_mapped(objr_u64 start, objr_u64 end) const {
    while (start < end) {
        const MappedVma* vma = vma_at(start);
        if (vma == nullptr) return false;
        start = vma->end;
    }
    return true;
}

int Process::map(objr_u64 address, objr_u64 bytes, objr_u64 pgoff, objr_u32 flags, objr_object* object) {
    std::unique_lock guard(state_->mmap_lock);
    const auto after = vmas_.lower_bound(address);
    if (vma_at(address) != nullptr || (after != vmas_.end() && after->first < address + bytes)) return -OBJR_EEXIST;
    if (mm_ == nullptr)
        if (const int error = objr_mm_create(world_, &mm_); error != 0) return error;
    objr_region* region = new_region(state_);
    if (region == nullptr) return -OBJR_ENOMEM;
    if (const int error = objr_mm_map(mm_, address, address + bytes, pgoff, flags, object, region); error != 0) {
        objr_region_put(region);
        return error;
    }
    vmas_[address] = {address + bytes, pgoff, flags, object, region};
    return 0;
}

// may_split, then open of the second piece.
int Process::split(objr_u64 address) {
    const auto after = vmas_.upper_bound(address);
    if (after == vmas_.begin()) return 0;
    const auto vma = std::prev(after);
    if (vma->first == address || address >= vma->second.end) return 0;
    if (const int error = objr_mm_split(mm_, address); error != 0) return error;
    MappedVma upper = vma->second;
    upper.pgoff += (address - vma->first) >> OBJR_PAGE_SHIFT;
    objr_region_get(upper.region);
    vma->second.end = address;
    vmas_[address] = upper;
    return 0;
}

int Process::split_ends(objr_u64 start, objr_u64 end) {
    const int error = split(start);
    return error != 0 ? error : split(end);
}

// PTEs go first, then close for each piece. The range ends at boundaries.
void Process::drop_vmas(objr_u64 start, objr_u64 end) {
    drop_ptes(*state_, start, end);
    for (auto vma = vmas_.lower_bound(start); vma != vmas_.end() && vma->first < end; vma = vmas_.erase(vma)) {
        objr_mm_unmap(mm_, vma->first, vma->second.end);
        objr_region_put(vma->second.region);
    }
}

int Process::unmap(objr_u64 address, objr_u64 bytes) {
    std::unique_lock guard(state_->mmap_lock);
    if (const int error = split_ends(address, address + bytes); error != 0) return error;
    drop_vmas(address, address + bytes);
    return 0;
}

// As mremap(MREMAP_MAYMOVE | MREMAP_FIXED) of what is one mapping: open of the new place, PTEs move, mremap, close of the old.
int Process::move(objr_u64 from, objr_u64 to, objr_u64 bytes) {
    std::unique_lock guard(state_->mmap_lock);
    const MappedVma* vma = vma_at(from);
    if (vma == nullptr || from + bytes > vma->end) return -OBJR_EFAULT;
    if (const auto after = vmas_.lower_bound(to);
        vma_at(to) != nullptr || (after != vmas_.end() && after->first < to + bytes))
        return -OBJR_EEXIST;
    if (const int error = split_ends(from, from + bytes); error != 0) return error;

    objr_region* region = new_region(state_);
    if (region == nullptr) return -OBJR_ENOMEM;
    const auto shift_ptes = [this](objr_u64 start, objr_u64 end, objr_u64 target) {
        std::lock_guard pte_guard(state_->pte_lock);
        const std::map<objr_u64, ProcessPte> moving(state_->ptes.lower_bound(start), state_->ptes.lower_bound(end));
        state_->ptes.erase(state_->ptes.lower_bound(start), state_->ptes.lower_bound(end));
        for (const auto& [address, pte] : moving)
            state_->ptes[address - start + target] = pte;
    };
    shift_ptes(from, from + bytes, to);
    if (const int error = objr_mm_move(mm_, from, to, bytes, region); error != 0) {
        shift_ptes(to, to + bytes, from);
        objr_region_put(region);
        return error;
    }
    MappedVma moved = vmas_[from];
    vmas_.erase(from);
    drop_ptes(*state_, from, from + bytes);
    objr_mm_unmap(mm_, from, from + bytes); // close of the old place; the core has nothing there
    objr_region_put(moved.region);
    moved.end = to + bytes;
    moved.region = region;
    vmas_[to] = moved;
    return 0;
}

int Process::protect(objr_u64 address, objr_u64 bytes, objr_u32 flags) {
    std::unique_lock guard(state_->mmap_lock);
    if (!all_mapped(address, address + bytes)) return -OBJR_ENOMEM;
    if (const int error = split_ends(address, address + bytes); error != 0) return error;
    for (auto vma = vmas_.lower_bound(address); vma != vmas_.end() && vma->first < address + bytes; ++vma) {
        const objr_u32 rights = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC;
        const objr_u32 all = (vma->second.flags & ~rights) | (flags & rights);
        if (const int error = objr_mm_protect(mm_, vma->first, vma->second.end, all); error != 0) return error;
        vma->second.flags = all;
        // The kernel adjusts what PTEs are left: it takes write access, and gives it back to those that are dirty.
        std::lock_guard pte_guard(state_->pte_lock);
        for (auto pte = state_->ptes.lower_bound(vma->first); pte != state_->ptes.lower_bound(vma->second.end); ++pte)
            pte->second.writable = (flags & OBJR_VM_WRITE) && (pte->second.writable || pte->second.dirty);
        if (!(flags & OBJR_VM_READ))
            state_->ptes.erase(state_->ptes.lower_bound(vma->first), state_->ptes.lower_bound(vma->second.end));
    }
    return 0;
}

int Process::remap(objr_u64 address, objr_u64 bytes, objr_u64 pgoff, objr_u32 flags) {
    std::unique_lock guard(state_->mmap_lock);
    const MappedVma* vma = vma_at(address);
    if (vma == nullptr || address + bytes > vma->end || !(vma->flags & OBJR_VM_SHARED)) return -OBJR_EINVAL;
    return objr_mm_remap(mm_, address, bytes, pgoff, flags);
}

int Process::advise(objr_u64 address, objr_u64 bytes, objr_u32 advice) {
    {
        std::unique_lock guard(state_->mmap_lock);
        if (!all_mapped(address, address + bytes)) return -OBJR_ENOMEM;
        const bool now = objr_advice_changes_vmas(advice) || advice == OBJR_ADVISE_DONTNEED;
        const int error = now ? objr_mm_advise(mm_, address, bytes, advice, ~0ULL) : 0;
        if (error != 0 || advice > OBJR_ADVISE_UNLOCK) return error;
    }
    if (advice == OBJR_ADVISE_LOCK) return objr_mm_populate(mm_, address, bytes);
    const bool later = !objr_advice_changes_vmas(advice) && advice != OBJR_ADVISE_DONTNEED;
    return later ? objr_mm_advise(mm_, address, bytes, advice, 0) : 0;
}

// open of each child's VMA, then the kernel copies what PTEs the parent still has, writable ones included.
int Process::fork(Process& child) {
    std::unique_lock guard(state_->mmap_lock);
    std::unique_lock child_guard(child.state_->mmap_lock);
    if (mm_ == nullptr) return 0;
    if (const int error = objr_mm_create(world_, &child.mm_); error != 0) return error;
    for (const auto& [start, vma] : vmas_) {
        objr_region* region = new_region(child.state_);
        const int error = region == nullptr ? -OBJR_ENOMEM : objr_mm_fork(mm_, child.mm_, start, vma.end, region);
        if (error != 0) {
            // The kernel would go on with a VMA that only gives SIGBUS; here the whole fork fails, as a fork that runs out of
            // memory half-way: what was opened is closed again.
            objr_region_put(region);
            child.drop_vmas(0, ~0ULL);
            return error;
        }
        MappedVma copy = vma;
        copy.region = region;
        child.vmas_[start] = copy;
        std::scoped_lock pte_guard(state_->pte_lock, child.state_->pte_lock);
        child.state_->ptes.insert(state_->ptes.lower_bound(start), state_->ptes.lower_bound(vma.end));
    }
    return 0;
}

void Process::begin_exit() {
    std::scoped_lock both(table_lock, state_->pte_lock);
    table.erase(state_->pid);
    state_->running = false;
}

void Process::exit() {
    begin_exit();
    {
        std::unique_lock guard(state_->mmap_lock);
        if (mm_ != nullptr) drop_vmas(0, ~0ULL);
    }
    if (mm_ != nullptr) objr_mm_put(std::exchange(mm_, nullptr));
}

bool Process::translation(objr_u64 address, objr_u64* pfn) const {
    std::lock_guard guard(state_->pte_lock);
    const auto found = state_->ptes.find(page_of(address));
    if (found == state_->ptes.end()) return false;
    *pfn = found->second.pfn;
    return true;
}

void Process::plant(objr_u64 address, objr_u64 pfn) {
    std::lock_guard guard(state_->pte_lock);
    state_->ptes[page_of(address)] = {pfn, false, true, false};
}

// ---- the processor ----------------------------------------------------------------------------------------------------

int Process::fault(objr_u64 address, bool write) {
    for (int error = 0; error == 0;) {
        {
            std::shared_lock guard(state_->mmap_lock);
            const MappedVma* vma = vma_at(address);
            if (vma == nullptr) return -OBJR_EFAULT;
            if (!(vma->flags & (write ? OBJR_VM_WRITE : OBJR_VM_READ))) return -OBJR_EACCES;
            FaultToken token{*state_, page_of(address), false};
            const int result = objr_mm_fault(mm_, token.page, write ? OBJR_FAULT_WRITE : 0, vma->flags, &token);
            if (result != -OBJR_ENOBUFS) return result;
        }
        error = objr_wait_for_writeback(world_);
    }
    return -OBJR_ENOMEM;
}

Outcome Process::access(objr_u64 address, std::uint8_t* byte, bool write) {
    for (int tries = 0; tries < 1000; tries++) {
        {
            std::lock_guard guard(state_->pte_lock);
            const auto found = state_->ptes.find(page_of(address));
            if (found != state_->ptes.end() && (!write || found->second.writable)) {
                auto* const memory = reinterpret_cast<std::uint8_t*>(
                    (found->second.pfn << OBJR_PAGE_SHIFT) + (address - page_of(address)) + objr_direct_map_base);
                found->second.young = true;
                found->second.dirty |= write;
                if (write)
                    __atomic_store_n(memory, *byte, __ATOMIC_RELAXED);
                else
                    *byte = __atomic_load_n(memory, __ATOMIC_RELAXED);
                return Outcome::kOk;
            }
        }
        switch (const int error = fault(address, write); error) {
        case 0:
        case -OBJR_EAGAIN: break;
        case -OBJR_EFAULT:
        case -OBJR_EACCES: return Outcome::kSegv;
        default: return Outcome::kBus;
        }
    }
    die("process %u faults for ever at %llx: the fault succeeds, the translation does not serve the access", pid(),
        address);
}

Outcome Process::load(objr_u64 address, std::uint8_t* byte) { return access(address, byte, false); }

Outcome Process::store(objr_u64 address, std::uint8_t byte) { return access(address, &byte, true); }

} // namespace objr_host
