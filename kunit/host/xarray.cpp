// SPDX-License-Identifier: GPL-2.0
//
// xarray.cpp: the xarray of include/shim/kernel.h, on std::map. Each entry stands in the ledger: one that is never erased
// is a leak.
#include "fake_types.h"
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include <new>

using namespace objr_host;

namespace {

constexpr const char* kEntry = "xarray entry";

class Locked {
public:
    explicit Locked(void* storage) : xa_(*static_cast<FakeXarray*>(storage)) {
        if (xa_.magic != kXarrayMagic) die("%p is used as an xarray but was never initialised", storage);
        pthread_mutex_lock(&xa_.mutex);
    }
    ~Locked() { pthread_mutex_unlock(&xa_.mutex); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

    std::map<objr_u64, FakeXarray::Entry>& entries() { return xa_.entries; }

private:
    FakeXarray& xa_;
};

} // namespace

extern "C" {

void objr_xa_init(void* xa) {
    auto* fake = new (xa) FakeXarray{kXarrayMagic, {}, {}};
    pthread_mutex_init(&fake->mutex, nullptr);
}

void objr_xa_destroy(void* xa) {
    Locked locked(xa);
    for (const auto& entry : locked.entries())
        ledger_remove(&entry, 0, kEntry);
    locked.entries().clear();
}

void* objr_xa_load(void* xa, objr_u64 index) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    return found == locked.entries().end() ? nullptr : found->second.pointer;
}

int objr_xa_insert(void* xa, objr_u64 index, void* entry) {
    check_may_sleep("xa_insert");
    if (entry == nullptr || (reinterpret_cast<std::uintptr_t>(entry) & 3) != 0)
        die("xa_insert of %p: an entry is a pointer aligned to 4 bytes and not NULL", entry);
    Locked locked(xa);
    if (locked.entries().contains(index)) return -OBJR_EBUSY;
    if (allocation_fails()) return -OBJR_ENOMEM;
    const auto place = locked.entries().emplace(index, FakeXarray::Entry{entry, false}).first;
    ledger_add(&*place, sizeof *place, kEntry);
    return 0;
}

void objr_xa_replace(void* xa, objr_u64 index, void* entry) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    if (found == locked.entries().end()) die("xa_replace at %llu, where there is nothing", index);
    found->second.pointer = entry;
}

int objr_xa_cmpxchg(void* xa, objr_u64 index, void* old, void* entry) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    if (old == nullptr) die("xa_cmpxchg at %llu, of nothing", index);
    if (found == locked.entries().end() || found->second.pointer != old) return 0;
    if (entry != nullptr) {
        found->second.pointer = entry;
    } else {
        ledger_remove(&*found, 0, kEntry);
        locked.entries().erase(found);
    }
    return 1;
}

void objr_xa_erase(void* xa, objr_u64 index) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    if (found == locked.entries().end()) return;
    ledger_remove(&*found, 0, kEntry);
    locked.entries().erase(found);
}

void* objr_xa_find(void* xa, objr_u64* index, objr_u64 last) {
    Locked locked(xa);
    const auto found = locked.entries().lower_bound(*index);
    if (found == locked.entries().end() || found->first > last) return nullptr;
    *index = found->first;
    return found->second.pointer;
}

void objr_xa_set_mark(void* xa, objr_u64 index) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    if (found != locked.entries().end()) found->second.marked = true;
}

void objr_xa_clear_mark(void* xa, objr_u64 index) {
    Locked locked(xa);
    const auto found = locked.entries().find(index);
    if (found != locked.entries().end()) found->second.marked = false;
}

void* objr_xa_find_marked(void* xa, objr_u64* index, objr_u64 last) {
    Locked locked(xa);
    for (auto at = locked.entries().lower_bound(*index); at != locked.entries().end() && at->first <= last; ++at) {
        if (at->second.marked) {
            *index = at->first;
            return at->second.pointer;
        }
    }
    return nullptr;
}
}
