// SPDX-License-Identifier: GPL-2.0
//
// compress.cpp: compressed memory of include/shim/kernel.h. The compressor and the hash are the same as the kernel's, in their
// libraries for user space; each object of the pool is a heap block of its own.
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include "shim/kernel.h"

#define XXH_INLINE_ALL
#include <lz4.h>
#include <xxhash.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

using namespace objr_host;

struct objr_zs_pool {
    std::atomic<std::uint64_t> objects{0};
    std::atomic<std::uint64_t> bytes{0};
};

namespace {

constexpr const char* kPool = "zs pool";
constexpr const char* kObject = "zs object";

struct Object {
    std::size_t bytes;
    unsigned char data[];
};

Object* object_of(objr_u64 handle, objr_u32 bytes) {
    auto* object = reinterpret_cast<Object*>(handle);
    if (bytes != 0 && object->bytes != bytes)
        die("an object of compressed memory has %zu bytes, not %u", object->bytes, bytes);
    return object;
}

} // namespace

extern "C" {

struct objr_zs_pool* objr_zs_create_pool(void) {
    check_may_sleep("zs_create_pool");
    if (allocation_fails()) return nullptr;
    auto* pool = new objr_zs_pool;
    ledger_add(pool, 0, kPool);
    return pool;
}

void objr_zs_destroy_pool(struct objr_zs_pool* pool) {
    check_may_sleep("zs_destroy_pool");
    if (pool->objects != 0)
        die("a pool of compressed memory is destroyed with %zu objects in it", std::size_t(pool->objects));
    ledger_remove(pool, 0, kPool);
    delete pool;
}

objr_u64 objr_zs_malloc(struct objr_zs_pool* pool, objr_u32 bytes) {
    check_may_sleep("zs_malloc");
    if (bytes == 0 || bytes > OBJR_PAGE_SIZE) die("an object of compressed memory of %u bytes", bytes);
    if (allocation_fails()) return 0;
    auto* object = static_cast<Object*>(std::malloc(sizeof(Object) + bytes));
    if (object == nullptr) return 0;
    object->bytes = bytes;
    ledger_add(object, bytes, kObject);
    pool->objects++;
    pool->bytes += bytes;
    return reinterpret_cast<objr_u64>(object);
}

void objr_zs_free(struct objr_zs_pool* pool, objr_u64 handle) {
    Object* object = object_of(handle, 0);
    pool->objects--;
    pool->bytes -= object->bytes;
    ledger_remove(object, object->bytes, kObject);
    std::free(object);
}

void objr_zs_write(struct objr_zs_pool*, objr_u64 handle, const void* data, objr_u32 bytes) {
    std::memcpy(object_of(handle, bytes)->data, data, bytes);
}

void objr_zs_read(struct objr_zs_pool*, objr_u64 handle, void* data, objr_u32 bytes) {
    std::memcpy(data, object_of(handle, bytes)->data, bytes);
}

objr_u64 objr_zs_get_total_pages(struct objr_zs_pool* pool) {
    return (pool->bytes + OBJR_PAGE_SIZE - 1) / OBJR_PAGE_SIZE;
}

objr_u32 objr_lz4_compress(const void* from, objr_u32 bytes, void* to, objr_u32 room, void* work) {
    std::memset(work, 0xa5, OBJR_LZ4_WORK_BYTES); // the core may not count on what it holds
    const int written = LZ4_compress_default(static_cast<const char*>(from), static_cast<char*>(to),
                                             static_cast<int>(bytes), static_cast<int>(room));
    return static_cast<objr_u32>(written);
}

objr_s32 objr_lz4_decompress(const void* from, objr_u32 bytes, void* to, objr_u32 room) {
    return LZ4_decompress_safe(static_cast<const char*>(from), static_cast<char*>(to), static_cast<int>(bytes),
                               static_cast<int>(room));
}

objr_u64 objr_xxh64(const void* data, objr_u64 bytes) { return XXH64(data, bytes, 0); }
}
