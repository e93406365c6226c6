// SPDX-License-Identifier: GPL-2.0
//
// shim_cases.cpp: the promises of shim/kernel.h, kept by the real kernel side and by the hosted one alike.
#include "inject.h"
#include "memory_backing.h"
#include "test.h"

#include <generated/objr-kernel-sizes.h>
#include <initializer_list>

namespace {

bool all_bytes(const void* memory, objr_u64 bytes, objr_u8 value) {
    const auto* at = static_cast<const objr_u8*>(memory);
    for (objr_u64 i = 0; i < bytes; i++) {
        if (at[i] != value) {
            return false;
        }
    }
    return true;
}

bool aligned(const void* memory, objr_u64 to) { return reinterpret_cast<objr_u64>(memory) % to == 0; }

struct Counter {
    objr_u64 constructed;
    objr_u64 used;
};

void construct_counter(void* memory) {
    auto* counter = static_cast<Counter*>(memory);
    counter->constructed = 0x600d;
    counter->used = 0;
}

} // namespace

// ---- memory -----------------------------------------------------------------------------------------------------------

OBJR_TEST(shim_cache_zeroes) {
    objr_kmem_cache* cache = objr_kmem_cache_create("test_zeroes", 200, 64, 0, nullptr);
    OBJR_ASSERT(cache != nullptr);
    for (const objr_gfp gfp : {OBJR_GFP_KERNEL, OBJR_GFP_ATOMIC, OBJR_GFP_KERNEL}) {
        void* object = objr_kmem_cache_alloc(cache, gfp);
        OBJR_EXPECT(object != nullptr);
        if (object != nullptr) {
            OBJR_EXPECT(aligned(object, 64));
            OBJR_EXPECT(all_bytes(object, 200, 0));
            __builtin_memset(object, 0xff, 200);
            objr_kmem_cache_free(cache, object);
        }
    }
    objr_kmem_cache_destroy(cache);
}

OBJR_TEST(shim_cache_constructs) {
    objr_kmem_cache* cache =
        objr_kmem_cache_create("test_constructs", sizeof(Counter), alignof(Counter), 1, construct_counter);
    OBJR_ASSERT(cache != nullptr);
    for (int round = 0; round < 3; round++) {
        auto* counter = static_cast<Counter*>(objr_kmem_cache_alloc(cache, OBJR_GFP_KERNEL));
        OBJR_EXPECT(counter != nullptr);
        if (counter != nullptr) {
            OBJR_EXPECT_EQ(counter->constructed, 0x600d);
            // Type-stable: a reader in an RCU section may still look at it, so it is constructed, not zeroed.
            objr_rcu_read_lock();
            objr_kmem_cache_free(cache, counter);
            objr_rcu_read_unlock();
        }
    }
    objr_kmem_cache_destroy(cache);
}

// Two worlds have caches of one name; a world that comes after another too.
OBJR_TEST(shim_cache_twice) {
    for (const int typesafe : {0, 1, 1}) {
        objr_kmem_cache* one = objr_kmem_cache_create("test_twice", 64, 8, typesafe, nullptr);
        objr_kmem_cache* two = objr_kmem_cache_create("test_twice", 64, 8, typesafe, nullptr);
        OBJR_EXPECT(one != nullptr);
        OBJR_EXPECT(two != nullptr);
        objr_kmem_cache_destroy(one);
        objr_kmem_cache_destroy(two);
    }
}

OBJR_TEST(shim_kvzalloc) {
    for (const objr_u64 bytes : {1ULL, 4096ULL, 3ULL << 20}) {
        void* memory = objr_kvzalloc(bytes);
        OBJR_ASSERT(memory != nullptr);
        OBJR_EXPECT(all_bytes(memory, bytes, 0));
        __builtin_memset(memory, 0xff, bytes);
        objr_kvfree(memory);
    }
    objr_kvfree(nullptr);
}

OBJR_TEST(shim_pages) {
    for (const objr_u32 order : {0U, 3U, 6U}) {
        const objr_u64 bytes = OBJR_PAGE_SIZE << order;
        void* memory = objr_alloc_pages(order);
        OBJR_ASSERT(memory != nullptr);
        OBJR_EXPECT(aligned(memory, bytes));
        OBJR_EXPECT(all_bytes(memory, bytes, 0));
        OBJR_EXPECT(reinterpret_cast<objr_u64>(memory) >= objr_direct_map_base);
        __builtin_memset(memory, 0xff, bytes);
        objr_free_pages(memory, order);
    }
    // More than any machine gives in one piece is an answer, not a report.
    OBJR_EXPECT(objr_alloc_pages(40) == nullptr);
}

OBJR_TEST(shim_table_pages) {
    int descriptors[2];
    for (const int root : {0, 1}) {
        void* table = objr_table_alloc(root, &descriptors[root]);
        OBJR_ASSERT(table != nullptr);
        OBJR_EXPECT(aligned(table, root ? 2 * OBJR_PAGE_SIZE : OBJR_PAGE_SIZE));
        OBJR_EXPECT(all_bytes(table, OBJR_PAGE_SIZE, 0));
        OBJR_EXPECT_EQ(objr_table_descriptor(table), &descriptors[root]);
        OBJR_EXPECT(reinterpret_cast<objr_u64>(table) >= objr_direct_map_base);
        __builtin_memset(table, 0xff, OBJR_PAGE_SIZE);
        objr_table_free(table, root);
    }
}

OBJR_TEST(shim_page_contents) {
    void* from = objr_alloc_pages(0);
    void* to = objr_alloc_pages(0);
    OBJR_EXPECT(from != nullptr && to != nullptr);
    if (from != nullptr && to != nullptr) {
        __builtin_memset(from, 0x5a, OBJR_PAGE_SIZE);
        objr_copy_page(to, from);
        OBJR_EXPECT(all_bytes(to, OBJR_PAGE_SIZE, 0x5a));
        objr_clear_page(to);
        OBJR_EXPECT(all_bytes(to, OBJR_PAGE_SIZE, 0));
        OBJR_EXPECT(all_bytes(from, OBJR_PAGE_SIZE, 0x5a));
    }
    if (from != nullptr) {
        objr_free_pages(from, 0);
    }
    if (to != nullptr) {
        objr_free_pages(to, 0);
    }
}

// ---- locks ------------------------------------------------------------------------------------------------------------

namespace {

struct Locks {
    alignas(OBJR_ALIGNOF_MUTEX) objr_u8 mutex[OBJR_SIZEOF_MUTEX];
    alignas(OBJR_ALIGNOF_PERCPU_RWSEM) objr_u8 percpu[OBJR_SIZEOF_PERCPU_RWSEM];
    alignas(OBJR_ALIGNOF_RWSEM) objr_u8 sem[2][OBJR_SIZEOF_RWSEM];
    alignas(OBJR_ALIGNOF_SPINLOCK) objr_u8 spin[2][OBJR_SIZEOF_SPINLOCK];
};

void use_locks(objr_test* test, Locks& locks) {
    objr_percpu_down_write(locks.percpu);
    objr_percpu_up_write(locks.percpu);
    objr_percpu_down_read(locks.percpu);

    objr_down_read(locks.sem[0]);
    OBJR_EXPECT_EQ(objr_down_write_trylock(locks.sem[0]), 0);
    objr_up_read(locks.sem[0]);
    objr_down_write(locks.sem[0]);
    OBJR_EXPECT_EQ(objr_down_read_trylock(locks.sem[0]), 0);
    objr_down_write_nested(locks.sem[1]);
    objr_mutex_lock(locks.mutex);

    objr_spin_lock(locks.spin[0]);
    OBJR_EXPECT_EQ(objr_spin_trylock(locks.spin[0]), 0);
    objr_spin_lock_nested(locks.spin[1]);
    objr_spin_unlock(locks.spin[1]);
    OBJR_EXPECT_EQ(objr_spin_trylock(locks.spin[1]), 1);
    objr_spin_unlock(locks.spin[1]);
    objr_spin_unlock(locks.spin[0]);

    objr_mutex_unlock(locks.mutex);
    objr_up_write(locks.sem[1]);
    OBJR_EXPECT_EQ(objr_down_read_trylock(locks.sem[1]), 1);
    objr_up_read(locks.sem[1]);
    OBJR_EXPECT_EQ(objr_down_write_trylock(locks.sem[1]), 1);
    objr_up_write(locks.sem[1]);
    objr_up_write(locks.sem[0]);
    objr_percpu_up_read(locks.percpu);
}

} // namespace

OBJR_TEST(shim_locks) {
    auto* locks = static_cast<Locks*>(objr_kvzalloc(sizeof(Locks)));
    OBJR_ASSERT(locks != nullptr);
    const int error = objr_percpu_init_rwsem(locks->percpu, OBJR_LOCK_QUIESCE);
    OBJR_EXPECT_EQ(error, 0);
    if (error == 0) {
        objr_mutex_init(locks->mutex, OBJR_LOCK_REGISTRY);
        for (int i = 0; i < 2; i++) {
            objr_init_rwsem(locks->sem[i], OBJR_LOCK_MM);
            objr_spin_lock_init(locks->spin[i], OBJR_LOCK_TABLE);
        }
        use_locks(test, *locks);
        objr_percpu_free_rwsem(locks->percpu);
    }
    objr_kvfree(locks);
}

OBJR_TEST(shim_page_lock) {
    constexpr int kBit = 3;
    unsigned long word = 1UL << 1;

    // Free: taken at once.
    objr_page_lock_acquire(0);
    objr_wait_on_bit_lock(&word, kBit);
    OBJR_EXPECT_EQ(word, (1UL << kBit) | (1UL << 1));
    // A second page's lock is only ever tried for.
    objr_page_lock_acquire(1);
    objr_page_lock_release();
    objr_page_lock_release();
    __atomic_fetch_and(&word, ~(1UL << kBit), __ATOMIC_RELEASE);
    objr_wake_up_bit(&word, kBit);
    OBJR_EXPECT_EQ(word, 1UL << 1);
}

// ---- xarray -----------------------------------------------------------------------------------------------------------

namespace {

void use_xarray(objr_test* test, void* xa) {
    alignas(8) static int entries[4];
    constexpr objr_u64 kFar = ~0ULL - 1;
    objr_u64 index = 0;

    OBJR_EXPECT_EQ(objr_xa_load(xa, 0), nullptr);
    OBJR_EXPECT_EQ(objr_xa_find(xa, &index, ~0ULL), nullptr);
    OBJR_EXPECT_EQ(objr_xa_insert(xa, 5, &entries[0]), 0);
    OBJR_EXPECT_EQ(objr_xa_insert(xa, kFar, &entries[1]), 0);
    OBJR_EXPECT_EQ(objr_xa_insert(xa, 0, &entries[2]), 0);
    OBJR_EXPECT_EQ(objr_xa_insert(xa, 5, &entries[3]), -OBJR_EBUSY);
    OBJR_EXPECT_EQ(objr_xa_load(xa, 5), &entries[0]);

    index = 1;
    OBJR_EXPECT_EQ(objr_xa_find(xa, &index, 4), nullptr);
    OBJR_EXPECT_EQ(objr_xa_find(xa, &index, 5), &entries[0]);
    OBJR_EXPECT_EQ(index, 5);
    index = 6;
    OBJR_EXPECT_EQ(objr_xa_find(xa, &index, ~0ULL), &entries[1]);
    OBJR_EXPECT_EQ(index, kFar);

    objr_xa_set_mark(xa, 6); // nothing there
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 0), ~0ULL), nullptr);
    objr_xa_set_mark(xa, 5);
    objr_xa_set_mark(xa, kFar);
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 1), 4), nullptr);
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 1), ~0ULL), &entries[0]);
    OBJR_EXPECT_EQ(index, 5);
    objr_xa_clear_mark(xa, kFar);
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 6), ~0ULL), nullptr);

    objr_xa_replace(xa, 5, &entries[3]);
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 0), 5), &entries[3]); // it is kept
    OBJR_EXPECT_EQ(objr_xa_load(xa, 5), &entries[3]);
    objr_xa_erase(xa, 5);
    objr_xa_erase(xa, 5);
    OBJR_EXPECT_EQ(objr_xa_load(xa, 5), nullptr);
    OBJR_EXPECT_EQ(objr_xa_insert(xa, 5, &entries[3]), 0);
    OBJR_EXPECT_EQ(objr_xa_load(xa, 5), &entries[3]);
    OBJR_EXPECT_EQ(objr_xa_find_marked(xa, &(index = 0), ~0ULL), nullptr); // it has gone with the entry
    for (const objr_u64 last : {0ULL, 5ULL, kFar}) {
        objr_xa_erase(xa, last);
    }
    index = 0;
    OBJR_EXPECT_EQ(objr_xa_find(xa, &index, ~0ULL), nullptr);
}

} // namespace

OBJR_TEST(shim_xarray) {
    struct Holder {
        alignas(OBJR_ALIGNOF_XARRAY) objr_u8 xa[OBJR_SIZEOF_XARRAY];
    };
    auto* holder = static_cast<Holder*>(objr_kvzalloc(sizeof(Holder)));
    OBJR_ASSERT(holder != nullptr);
    objr_xa_init(holder->xa);
    use_xarray(test, holder->xa);
    objr_xa_destroy(holder->xa);
    objr_kvfree(holder);
}

// ---- time and text ----------------------------------------------------------------------------------------------------

OBJR_TEST(shim_clock) {
    const objr_u64 before = objr_ktime_get_ns();
    objr_might_sleep();
    objr_cond_resched();
    OBJR_EXPECT(objr_ktime_get_ns() >= before);
    OBJR_EXPECT(objr_cpu() < 8192);
}

OBJR_TEST(shim_text) {
    objr_out* out = objr_test_out_create(64);
    OBJR_ASSERT(out != nullptr);
    OBJR_EXPECT_EQ(objr_test_out_text(out)[0], '\0');
    objr_out_printf(out, "%s=%u 0x%llx %c %lld", "name", 7U, 0xfffULL, 'y', -3LL);
    OBJR_EXPECT_TEXT(objr_test_out_text(out), "name=7 0xfff y -3");
    objr_out_printf(out, "%s", ", more");
    OBJR_EXPECT_TEXT(objr_test_out_text(out), "-3, more");
    objr_test_out_clear(out);
    OBJR_EXPECT_EQ(objr_test_out_text(out)[0], '\0');
    objr_out_printf(out, "again");
    OBJR_EXPECT_TEXT(objr_test_out_text(out), "again");
    objr_test_out_destroy(out);
}

OBJR_TEST(shim_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    objr_test_fail_nth_allocation(2);
    void* first = objr_kvzalloc(8);
    void* second = objr_alloc_pages(0);
    void* third = objr_table_alloc(0, nullptr);
    const unsigned tried = objr_test_allocations();
    objr_test_fail_nth_allocation(0);

    OBJR_EXPECT(first != nullptr);
    OBJR_EXPECT(second == nullptr);
    OBJR_EXPECT(third != nullptr);
    OBJR_EXPECT_EQ(tried, 3);
    objr_kvfree(first);
    if (second != nullptr) {
        objr_free_pages(second, 0);
    }
    if (third != nullptr) {
        objr_table_free(third, 0);
    }
}

// ---- the tests' own file ----------------------------------------------------------------------------------------------

namespace {

constexpr objr_u32 kSeed = 11;
constexpr objr_u64 kFileSize = 2 * OBJR_PAGE_SIZE + 100;

void use_memory_file(objr_test* test, objr_memory_file* file, objr_backing* one, objr_backing* two, void* page) {
    auto* bytes = static_cast<objr_u8*>(page);
    char name[8];

    OBJR_EXPECT_EQ(objr_backing_key(one), objr_backing_key(two));
    OBJR_EXPECT_EQ(objr_backing_writable(one), 1);
    OBJR_EXPECT_EQ(objr_backing_writable(two), 0);
    OBJR_EXPECT_EQ(objr_backing_size(one), kFileSize);
    objr_backing_name(one, name, sizeof(name));
    OBJR_EXPECT_TEXT(name, "a-long-");

    __builtin_memset(page, 0xee, OBJR_PAGE_SIZE);
    OBJR_EXPECT_EQ(objr_backing_fill(one, 2, page), 0);
    OBJR_EXPECT_EQ(bytes[99], objr_memory_file_byte(kSeed, 2 * OBJR_PAGE_SIZE + 99));
    OBJR_EXPECT(all_bytes(bytes + 100, OBJR_PAGE_SIZE - 100, 0));
    OBJR_EXPECT_EQ(objr_backing_fill(one, ~0ULL, page), 0);
    OBJR_EXPECT(all_bytes(page, OBJR_PAGE_SIZE, 0));

    OBJR_EXPECT_EQ(objr_backing_write(one, 4090, "hello", 5), 0);
    OBJR_EXPECT_EQ(objr_memory_file_read(file, 4092, page, 3), 3);
    OBJR_EXPECT_EQ(bytes[0], 'l');
    OBJR_EXPECT_EQ(bytes[2], 'o');

    // What is cut off does not come back.
    OBJR_EXPECT_EQ(objr_backing_truncate(one, 4093), 0);
    OBJR_EXPECT_EQ(objr_backing_truncate(one, kFileSize), 0);
    OBJR_EXPECT_EQ(objr_backing_fill(two, 0, page), 0);
    OBJR_EXPECT_EQ(bytes[4092], 'l');
    OBJR_EXPECT_EQ(bytes[4093], 0);
    OBJR_EXPECT_EQ(objr_backing_truncate(one, ~0ULL), -OBJR_ENOSPC);
    OBJR_EXPECT_EQ(objr_memory_file_size(file), kFileSize);
}

void use_failing_file(objr_test* test, objr_memory_file* file, objr_backing* backing, void* page) {
    objr_memory_file_fail(file, OBJR_MEMORY_FILL, OBJR_EIO, 1);
    OBJR_EXPECT_EQ(objr_backing_fill(backing, 0, page), 0);
    OBJR_EXPECT_EQ(objr_backing_fill(backing, 0, page), -OBJR_EIO);
    OBJR_EXPECT_EQ(objr_backing_fill(backing, 1, page), -OBJR_EIO);
    objr_memory_file_fail(file, OBJR_MEMORY_FILL, 0, 0);
    OBJR_EXPECT_EQ(objr_backing_fill(backing, 0, page), 0);
    OBJR_EXPECT_EQ(objr_memory_file_calls(file, OBJR_MEMORY_FILL), 4);

    objr_memory_file_fail(file, OBJR_MEMORY_WRITE, OBJR_ENOSPC, 0);
    OBJR_EXPECT_EQ(objr_backing_write(backing, 0, "x", 1), -OBJR_ENOSPC);
    objr_memory_file_fail(file, OBJR_MEMORY_SYNC, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(objr_backing_sync(backing, 0, ~0ULL, 0), -OBJR_EIO);
    objr_memory_file_fail(file, OBJR_MEMORY_TRUNCATE, OBJR_EPERM, 0);
    OBJR_EXPECT_EQ(objr_backing_truncate(backing, 0), -OBJR_EPERM);
    OBJR_EXPECT_EQ(objr_memory_file_size(file), kFileSize);
}

} // namespace

OBJR_TEST(shim_memory_file) {
    void* page = objr_alloc_pages(0);
    OBJR_ASSERT(page != nullptr);
    objr_memory_file* file = objr_memory_file_create("a-long-name", kFileSize, 1 << 20, kSeed);
    OBJR_EXPECT(file != nullptr);
    if (file != nullptr) {
        objr_backing* one = objr_memory_file_open(file, 1);
        objr_backing* two = objr_memory_file_open(file, 0);
        OBJR_EXPECT(one != nullptr && two != nullptr);
        OBJR_EXPECT_EQ(objr_memory_file_users(file), 2);
        if (one != nullptr && two != nullptr) {
            use_memory_file(test, file, one, two, page);
        }
        for (objr_backing* backing : {one, two}) {
            if (backing != nullptr) {
                objr_backing_put(backing);
            }
        }
        OBJR_EXPECT_EQ(objr_memory_file_users(file), 0);
        objr_memory_file_destroy(file);
    }
    objr_free_pages(page, 0);
}

OBJR_TEST(shim_memory_file_errors) {
    void* page = objr_alloc_pages(0);
    OBJR_ASSERT(page != nullptr);
    objr_memory_file* file = objr_memory_file_create("errors", kFileSize, kFileSize, kSeed);
    objr_backing* backing = file != nullptr ? objr_memory_file_open(file, 1) : nullptr;
    OBJR_EXPECT(backing != nullptr);
    if (backing != nullptr) {
        use_failing_file(test, file, backing, page);
        objr_backing_put(backing);
    }
    objr_memory_file_destroy(file);
    objr_free_pages(page, 0);
}
