// SPDX-License-Identifier: GPL-2.0
//
// memory.cpp: caches, pages and page tables of include/shim/kernel.h, each object a heap block of its own, so that the
// address sanitizer sees every one.
//
// A cache that is typesafe or has a constructor keeps what is given back and hands out the latest first: the shortest
// way for a stale pointer to meet a recycled object. Kept objects of a typesafe cache may be read (that is their point),
// those of other caches are poisoned.
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

using namespace objr_host;

struct objr_kmem_cache {
    std::string name;
    std::size_t size;
    std::size_t align;
    bool typesafe;
    void (*ctor)(void*);
    std::mutex lock;
    std::vector<void*> kept; // guarded by lock
    std::unordered_set<void*> used; // guarded by lock
    bool keeps() const { return typesafe || ctor != nullptr; }
};

namespace {

constexpr const char* kCache = "kmem cache";
constexpr const char* kKv = "kvzalloc memory";
constexpr const char* kPages = "pages";
constexpr const char* kTable = "page table";
constexpr const char* kRootTable = "root page table";
constexpr objr_u32 kMaxOrder = 10; // of the kernel's page allocator on x86-64

void* aligned(std::size_t bytes, std::size_t align) {
    void* memory = nullptr;
    if (posix_memalign(&memory, align < sizeof(void*) ? sizeof(void*) : align, bytes) != 0) return nullptr;
    return memory;
}

void* zeroed(std::size_t bytes, std::size_t align) {
    void* memory = aligned(bytes, align);
    if (memory != nullptr) std::memset(memory, 0, bytes);
    return memory;
}

// What stands beside a page table: a root is the first page of an 8 KiB block, any other table the second, so that one in
// the place of the other is not aligned as a processor needs it. The other page of the block holds this, poisoned.
struct TableHeader {
    std::uint64_t magic;
    void* descriptor;
};
constexpr std::uint64_t kTableMagic = 0x0b0e7ab1e7ab1e00;

TableHeader* header_of(const void* table) {
    return reinterpret_cast<TableHeader*>(reinterpret_cast<std::uintptr_t>(table) ^ OBJR_PAGE_SIZE);
}

void check_page(const void* page, const char* what) {
    if (page == nullptr || reinterpret_cast<std::uintptr_t>(page) % OBJR_PAGE_SIZE != 0)
        die("%s is called with %p, which is not the start of a page", what, page);
}

} // namespace

extern "C" {

objr_u64 objr_direct_map_base = 0;

struct objr_kmem_cache* objr_kmem_cache_create(const char* name, objr_u32 size, objr_u32 align, int typesafe,
                                               void (*ctor)(void*)) {
    check_may_sleep("kmem_cache_create");
    if (allocation_fails()) return nullptr;
    auto* cache = new objr_kmem_cache{name, size, align, typesafe != 0, ctor, {}, {}, {}};
    ledger_add(cache, 0, kCache);
    return cache;
}

void objr_kmem_cache_destroy(struct objr_kmem_cache* cache) {
    if (cache == nullptr) return;
    check_may_sleep("kmem_cache_destroy");
    if (!cache->used.empty())
        die("kmem cache %s is destroyed with %zu objects in use, one of them at %p", cache->name.c_str(),
            cache->used.size(), *cache->used.begin());
    for (void* object : cache->kept) {
        ASAN_UNPOISON_MEMORY_REGION(object, cache->size);
        std::free(object);
    }
    ledger_remove(cache, 0, kCache);
    delete cache;
}

void* objr_kmem_cache_alloc(struct objr_kmem_cache* cache, enum objr_gfp gfp) {
    if (gfp == OBJR_GFP_KERNEL) check_may_sleep("kmem_cache_alloc(GFP_KERNEL)");
    if (allocation_fails()) return nullptr;
    if (!kChecks && !cache->keeps()) return zeroed(cache->size, cache->align);

    std::lock_guard guard(cache->lock);
    void* object;
    if (!cache->kept.empty()) {
        object = cache->kept.back();
        cache->kept.pop_back();
        ASAN_UNPOISON_MEMORY_REGION(object, cache->size);
    } else {
        object = aligned(cache->size, cache->align);
        if (object == nullptr) return nullptr;
        if (cache->ctor != nullptr) cache->ctor(object);
    }
    if (cache->ctor == nullptr) std::memset(object, 0, cache->size);
    if constexpr (kChecks) cache->used.insert(object);
    ledger_add(object, cache->size, cache->name.c_str());
    return object;
}

void objr_kmem_cache_free(struct objr_kmem_cache* cache, void* object) {
    if (!kChecks && !cache->keeps()) {
        std::free(object);
        return;
    }
    check_no_lock_in(object, cache->size);
    ledger_remove(object, cache->size, cache->name.c_str());
    std::lock_guard guard(cache->lock);
    if (kChecks && cache->used.erase(object) == 0)
        die("%p is given back to kmem cache %s, but came from another one of this name", object, cache->name.c_str());
    if (!cache->keeps()) {
        std::free(object);
        return;
    }
    if (!cache->typesafe) ASAN_POISON_MEMORY_REGION(object, cache->size);
    cache->kept.push_back(object);
}

void* objr_kvzalloc(objr_u64 bytes) {
    check_may_sleep("kvzalloc");
    if (allocation_fails()) return nullptr;
    void* memory = std::calloc(1, bytes);
    if (memory != nullptr) ledger_add(memory, bytes, kKv);
    return memory;
}

void objr_kvfree(const void* memory) {
    if (memory == nullptr) return;
    ledger_remove(memory, 0, kKv);
    std::free(const_cast<void*>(memory));
}

objr_u64 objr_mb_for_pool(void) { return 2048; }

void* objr_alloc_pages(objr_u32 order) {
    check_may_sleep("alloc_pages");
    if (order > kMaxOrder || allocation_fails()) return nullptr;
    const std::size_t bytes = OBJR_PAGE_SIZE << order;
    void* memory = zeroed(bytes, bytes);
    if (memory != nullptr) ledger_add(memory, bytes, kPages);
    return memory;
}

void objr_free_pages(void* memory, objr_u32 order) {
    if (memory == nullptr) return;
    check_no_lock_in(memory, OBJR_PAGE_SIZE << order);
    ledger_remove(memory, OBJR_PAGE_SIZE << order, kPages);
    std::free(memory);
}

void* objr_table_alloc(int root, void* descriptor) {
    check_may_sleep("table_alloc");
    if (allocation_fails()) return nullptr;
    char* const block = static_cast<char*>(zeroed(2 * OBJR_PAGE_SIZE, 2 * OBJR_PAGE_SIZE));
    if (block == nullptr) return nullptr;
    void* const table = root ? block : block + OBJR_PAGE_SIZE;
    *header_of(table) = {kTableMagic, descriptor};
    ASAN_POISON_MEMORY_REGION(header_of(table), OBJR_PAGE_SIZE);
    ledger_add(table, OBJR_PAGE_SIZE, root ? kRootTable : kTable);
    return table;
}

void objr_table_free(void* table, int root) {
    if (table == nullptr) return;
    ledger_remove(table, OBJR_PAGE_SIZE, root ? kRootTable : kTable);
    void* const block = root ? table : static_cast<void*>(header_of(table));
    ASAN_UNPOISON_MEMORY_REGION(header_of(table), OBJR_PAGE_SIZE);
    std::free(block);
}

__attribute__((no_sanitize("address"))) void* objr_table_descriptor(const void* table) {
    const TableHeader* const header = header_of(table);
    if (header->magic != kTableMagic) die("%p is not a page table", table);
    return header->descriptor;
}

void objr_clear_page(void* page) {
    check_page(page, "clear_page");
    std::memset(page, 0, OBJR_PAGE_SIZE);
}

void objr_copy_page(void* to, const void* from) {
    check_page(to, "copy_page");
    check_page(from, "copy_page");
    std::memcpy(to, from, OBJR_PAGE_SIZE);
}
}
