// SPDX-License-Identifier: GPL-2.0
// Cache<T>: a typed slab cache (there is no plain new). Table<T>: numbered objects, id -> object, over the kernel's xarray.
#pragma once

#include <new>
#include <utility>

#include <generated/objr-kernel-sizes.h>

#include "objrmap/lock.h"
#include "objrmap/result.h"

namespace objr {

template <class T>
class Cache : Pinned {
public:
    // Sleeps. ENOMEM.
    Status create(const char* name) {
        cache_ = objr_kmem_cache_create(name, sizeof(T), alignof(T), 0, nullptr);
        return cache_ ? Status() : Status(Errno{OBJR_ENOMEM});
    }
    // Objects keep their type for an RCU grace period after free, and their constructed state between uses: they are
    // constructed once by `constructor`, and handed out as they were given back.
    Status create_typesafe(const char* name, void (*constructor)(void*)) {
        cache_ = objr_kmem_cache_create(name, sizeof(T), alignof(T), 1, constructor);
        return cache_ ? Status() : Status(Errno{OBJR_ENOMEM});
    }
    void destroy() {
        if (cache_) {
            objr_kmem_cache_destroy(cache_);
            cache_ = nullptr;
        }
    }

    // Sleeps. ENOMEM.
    template <class... Args>
    Result<T*> make(Args&&... args) {
        void* memory = objr_kmem_cache_alloc(cache_, OBJR_GFP_KERNEL);
        if (!memory) {
            return Errno{OBJR_ENOMEM};
        }
        return new (memory) T(std::forward<Args>(args)...);
    }
    Result<T*> take_constructed() {
        void* memory = objr_kmem_cache_alloc(cache_, OBJR_GFP_KERNEL);
        return memory ? Result<T*>(static_cast<T*>(memory)) : Result<T*>(Errno{OBJR_ENOMEM});
    }
    void free(T* object) { objr_kmem_cache_free(cache_, object); }

private:
    objr_kmem_cache* cache_ = nullptr;
};

// id -> T*. The table holds no reference; who owns the object keeps its id right. In place of an object there may be a number, of
// less than 63 bits: who looks for objects finds nothing there, but the place is taken.
template <class T>
class Table : Pinned {
public:
    void init() { objr_xa_init(xa_.raw()); }
    void destroy() { objr_xa_destroy(xa_.raw()); }
    Status insert(u64 id, T* object) {
        return Status::from_int(objr_xa_insert(xa_.raw(), id, object));
    } // EBUSY, ENOMEM
    void replace(u64 id, T* object) { objr_xa_replace(xa_.raw(), id, object); } // there is another
    void erase(u64 id) { objr_xa_erase(xa_.raw(), id); }
    T* find(u64 id) {
        void* entry = objr_xa_load(xa_.raw(), id);
        return is_number(entry) ? nullptr : static_cast<T*>(entry);
    }
    bool taken(u64 id) { return objr_xa_load(xa_.raw(), id) != nullptr; }
    // First object with an id in [id, last]; id is set to its own.
    T* find_from(u64& id, u64 last = ~0ull) { return static_cast<T*>(find_kind_from(id, last, false)); }
    // Likewise, the first number.
    bool find_number_from(u64& id, u64& number, u64 last = ~0ull) {
        void* entry = find_kind_from(id, last, true);
        number = reinterpret_cast<u64>(entry) >> 1;
        return entry != nullptr;
    }
    // One for the other, in one step; false: what is given is not there (any more). Any context.
    bool object_to_number(u64 id, T* object, u64 number) {
        return objr_xa_cmpxchg(xa_.raw(), id, object, entry_of(number)) != 0;
    }
    bool number_to_object(u64 id, u64 number, T* object) {
        return objr_xa_cmpxchg(xa_.raw(), id, entry_of(number), object) != 0;
    }
    bool erase_number(u64 id, u64 number) { return objr_xa_cmpxchg(xa_.raw(), id, entry_of(number), nullptr) != 0; }
    // Objects may be marked as long as they are in the table; replace keeps the mark. To find one costs what there are of them.
    void set_mark(u64 id) { objr_xa_set_mark(xa_.raw(), id); }
    void clear_mark(u64 id) { objr_xa_clear_mark(xa_.raw(), id); }
    T* find_marked_from(u64& id, u64 last = ~0ull) {
        return static_cast<T*>(objr_xa_find_marked(xa_.raw(), &id, last));
    }

private:
    static bool is_number(const void* entry) { return (reinterpret_cast<u64>(entry) & 1) != 0; }
    static void* entry_of(u64 number) { return reinterpret_cast<void*>(number << 1 | 1); }
    void* find_kind_from(u64& id, u64 last, bool number) {
        for (;; id++) {
            void* entry = objr_xa_find(xa_.raw(), &id, last);
            if (!entry || is_number(entry) == number) {
                return entry;
            }
            if (id == last) {
                return nullptr;
            }
        }
    }

    KernelObject<OBJR_SIZEOF_XARRAY, OBJR_ALIGNOF_XARRAY> xa_;
};

} // namespace objr
