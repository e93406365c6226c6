// SPDX-License-Identifier: GPL-2.0
//
// host_test.cpp: does the fake kernel find what it is there to find?
#include "fake_types.h"
#include "host.h"
#include "inject.h"
#include "ledger.h"
#include "lock_checker.h"
#include "out.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

namespace {

using namespace objr_host;

template <int Size>
struct Room {
    alignas(8) unsigned char bytes[Size];
    void* at() { return bytes; }
};
using SpinRoom = Room<OBJR_SIZEOF_SPINLOCK>;
using MutexRoom = Room<OBJR_SIZEOF_MUTEX>;
using RwsemRoom = Room<OBJR_SIZEOF_RWSEM>;
using PercpuRoom = Room<OBJR_SIZEOF_PERCPU_RWSEM>;
using XarrayRoom = Room<OBJR_SIZEOF_XARRAY>;

class HostLocks : public testing::Test {
protected:
    void SetUp() override {
        if (!kChecks) GTEST_SKIP() << "built for measuring, without checks";
        GTEST_FLAG_SET(death_test_style, "fast");
        die_without_trace = true;
        objr_init_rwsem(mm.at(), OBJR_LOCK_MM);
        objr_init_rwsem(anon.at(), OBJR_LOCK_ANON);
        objr_spin_lock_init(table.at(), OBJR_LOCK_TABLE);
        objr_spin_lock_init(table2.at(), OBJR_LOCK_TABLE);
        objr_spin_lock_init(pool.at(), OBJR_LOCK_POOL);
    }
    void TearDown() override { die_without_trace = false; }

    RwsemRoom mm, anon;
    SpinRoom table, table2, pool;
};
using HostLocksDeathTest = HostLocks;

TEST_F(HostLocks, right_order_passes) {
    objr_down_read(mm.at());
    objr_page_lock_acquire(0);
    objr_page_lock_acquire(1);
    objr_down_write(anon.at());
    objr_spin_lock(table.at());
    objr_spin_lock_nested(table2.at());
    objr_spin_lock(pool.at());
    objr_spin_unlock(pool.at());
    objr_spin_unlock(table2.at());
    objr_spin_unlock(table.at());
    objr_up_write(anon.at());
    objr_page_lock_release();
    objr_page_lock_release();
    objr_up_read(mm.at());
    EXPECT_EQ(held_locks(), "");
}

TEST_F(HostLocks, tries_are_free_and_tell_the_truth) {
    objr_spin_lock(pool.at());
    EXPECT_EQ(objr_spin_trylock(table.at()), 1);
    EXPECT_EQ(objr_down_read_trylock(mm.at()), 1);
    std::thread([&] {
        EXPECT_EQ(objr_spin_trylock(table.at()), 0);
        EXPECT_EQ(objr_down_write_trylock(mm.at()), 0);
        EXPECT_EQ(objr_down_read_trylock(mm.at()), 1);
        objr_up_read(mm.at());
    }).join();
    objr_up_read(mm.at());
    objr_spin_unlock(table.at());
    objr_spin_unlock(pool.at());
}

TEST_F(HostLocksDeathTest, rule_1_order) {
    EXPECT_DEATH(
        {
            objr_down_write(anon.at());
            objr_down_read(mm.at());
        },
        "rule 1: a mm lock is taken inside a anon lock");
}

TEST_F(HostLocksDeathTest, rule_2_second_of_a_class) {
    EXPECT_DEATH(
        {
            objr_spin_lock(table.at());
            objr_spin_lock(table2.at());
        },
        "rule 2");
    EXPECT_DEATH(
        {
            objr_page_lock_acquire(0);
            objr_page_lock_acquire(0);
        },
        "rule 2");
}

TEST_F(HostLocksDeathTest, rule_3_recursion) {
    EXPECT_DEATH(
        {
            objr_down_read(mm.at());
            objr_down_read(mm.at());
        },
        "rule 3");
}

TEST_F(HostLocksDeathTest, rule_4_sleeping) {
    objr_spin_lock(table.at());
    EXPECT_DEATH((void)objr_kvzalloc(8), "rule 4: kvzalloc may sleep");
    objr_spin_unlock(table.at());
    objr_rcu_read_lock();
    EXPECT_DEATH(objr_down_read(mm.at()), "rule 4");
    objr_rcu_read_unlock();
}

TEST_F(HostLocksDeathTest, rule_5_release) {
    EXPECT_DEATH(objr_up_read(mm.at()), "rule 5");
    EXPECT_DEATH(objr_rcu_read_unlock(), "rule 5");
}

TEST_F(HostLocksDeathTest, rule_6_freed_with_a_lock_held) {
    void* memory = objr_alloc_pages(0);
    objr_spin_lock_init(memory, OBJR_LOCK_TABLE);
    EXPECT_DEATH(
        {
            objr_spin_lock(memory);
            objr_free_pages(memory, 0);
        },
        "rule 6");
    objr_free_pages(memory, 0);
}

TEST_F(HostLocksDeathTest, not_initialised) {
    SpinRoom zero{};
    EXPECT_DEATH(objr_spin_lock(zero.at()), "never initialised");
    EXPECT_DEATH(objr_mutex_lock(table.at()), "never initialised as one of this kind");
}

TEST(HostLock, bit_lock_waits_for_the_bit) {
    unsigned long word = 4;
    std::thread other([&] { objr_wait_on_bit_lock(&word, 2); });
    __atomic_fetch_and(&word, ~4UL, __ATOMIC_RELEASE);
    objr_wake_up_bit(&word, 2);
    other.join();
    EXPECT_EQ(word, 4UL);
}

TEST(HostMemory, cache_without_ctor_gives_zeroes) {
    objr_kmem_cache* cache = objr_kmem_cache_create("zeroes", 100, 64, 0, nullptr);
    auto* object = static_cast<unsigned char*>(objr_kmem_cache_alloc(cache, OBJR_GFP_KERNEL));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(object) % 64, 0U);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(object[i], 0);
    objr_kmem_cache_free(cache, object);
    objr_kmem_cache_destroy(cache);
}

TEST(HostMemory, typesafe_cache_recycles_at_once_and_keeps_state) {
    objr_kmem_cache* cache =
        objr_kmem_cache_create("typesafe", 8, 8, 1, [](void* object) { *static_cast<objr_u64*>(object) = 7; });
    auto* object = static_cast<objr_u64*>(objr_kmem_cache_alloc(cache, OBJR_GFP_ATOMIC));
    EXPECT_EQ(*object, 7U);
    *object = 8;
    objr_kmem_cache_free(cache, object);
    EXPECT_EQ(*object, 8U) << "a stale reader may look";
    EXPECT_EQ(objr_kmem_cache_alloc(cache, OBJR_GFP_ATOMIC), object);
    EXPECT_EQ(*object, 8U);
    objr_kmem_cache_free(cache, object);
    objr_kmem_cache_destroy(cache);
}

TEST(HostMemoryDeathTest, cache_with_objects_and_double_free) {
    if (!kChecks) GTEST_SKIP() << "built for measuring, without checks";
    objr_kmem_cache* cache = objr_kmem_cache_create("left", 8, 8, 0, nullptr);
    void* object = objr_kmem_cache_alloc(cache, OBJR_GFP_KERNEL);
    EXPECT_DEATH(objr_kmem_cache_destroy(cache), "kmem cache left is destroyed with 1 objects in use");
    objr_kmem_cache_free(cache, object);
    EXPECT_DEATH(objr_kmem_cache_free(cache, object), "freed twice");
    objr_kmem_cache_destroy(cache);
}

TEST(HostMemory, tables_are_aligned_by_kind_and_carry_their_descriptor) {
    int one, two;
    void* root = objr_table_alloc(1, &one);
    void* leaf = objr_table_alloc(0, &two);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(root) % 8192, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(leaf) % 8192, 4096U);
    EXPECT_EQ(objr_table_descriptor(root), &one);
    EXPECT_EQ(objr_table_descriptor(leaf), &two);
    objr_table_free(root, 1);
    objr_table_free(leaf, 0);
}

TEST(HostMemory, leaks_are_seen_by_name) {
    if (!kChecks) GTEST_SKIP() << "built for measuring, without checks";
    const std::uint64_t before = ledger_now();
    void* memory = objr_kvzalloc(3);
    ASSERT_EQ(ledger_after(before).size(), 1U);
    EXPECT_EQ(ledger_after(before)[0].what, "kvzalloc memory");
    EXPECT_EQ(ledger_after(before)[0].bytes, 3U);
    objr_kvfree(memory);
    EXPECT_TRUE(ledger_after(before).empty());
}

TEST(HostMemory, the_nth_allocation_fails_once) {
    FailNthAllocation fail(2);
    void* first = objr_kvzalloc(1);
    EXPECT_FALSE(fail.reached());
    EXPECT_EQ(objr_alloc_pages(0), nullptr);
    EXPECT_TRUE(fail.reached());
    void* third = objr_alloc_pages(1);
    EXPECT_NE(third, nullptr);
    objr_kvfree(first);
    objr_free_pages(third, 1);
    PercpuRoom percpu;
    EXPECT_EQ(objr_percpu_init_rwsem(percpu.at(), OBJR_LOCK_QUIESCE), 0);
    objr_percpu_free_rwsem(percpu.at());
}

TEST(HostXarray, is_a_sorted_map) {
    XarrayRoom xa;
    objr_xa_init(xa.at());
    alignas(8) int a, b;
    EXPECT_EQ(objr_xa_insert(xa.at(), 5, &a), 0);
    EXPECT_EQ(objr_xa_insert(xa.at(), 5, &b), -OBJR_EBUSY);
    EXPECT_EQ(objr_xa_insert(xa.at(), ~0ULL, &b), 0);
    EXPECT_EQ(objr_xa_load(xa.at(), 5), &a);
    EXPECT_EQ(objr_xa_load(xa.at(), 6), nullptr);
    objr_u64 index = 0;
    EXPECT_EQ(objr_xa_find(xa.at(), &index, 4), nullptr);
    EXPECT_EQ(objr_xa_find(xa.at(), &index, ~0ULL), &a);
    EXPECT_EQ(index, 5U);
    index++;
    EXPECT_EQ(objr_xa_find(xa.at(), &index, ~0ULL), &b);
    objr_xa_erase(xa.at(), 5);
    objr_xa_erase(xa.at(), 5);
    EXPECT_EQ(objr_xa_load(xa.at(), 5), nullptr);
    objr_xa_destroy(xa.at());
}

TEST(HostText, printf_and_log) {
    objr_out out;
    objr_out_printf(&out, "%s %5d %llx\n", "a", 3, 0xabcULL);
    EXPECT_EQ(out.text, "a     3 abc\n");
    objr_printk(OBJR_WARN, "pool of %u", 3U);
    EXPECT_EQ(take_log(), "log warning: pool of 3\n");
}

} // namespace
