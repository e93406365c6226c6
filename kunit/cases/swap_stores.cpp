// SPDX-License-Identifier: GPL-2.0
// swap_stores.cpp: the map of slots and the stores by themselves (spec U5).
#include "inject.h"
#include "memory_backing.h"
#include "page_kinds.h"

using namespace objr;
using namespace objr::test;

namespace {

// A store and a page to write from and to read into, for the time of a test.
class Store : Pinned {
public:
    Store(objr_test* test, const SwapConfig& config) {
        Result<SwapStore*> store = SwapStore::create(config);
        page_ = objr_alloc_pages(0);
        if (!store || !*store || !page_) {
            objr_test_fail(test, __FILE__, __LINE__, "no store could be made");
            return;
        }
        store_ = *store;
    }
    ~Store() {
        if (store_) {
            store_->destroy();
        }
        if (page_) {
            objr_free_pages(page_, 0);
        }
    }
    explicit operator bool() const { return store_ && page_; }
    SwapStore* operator->() const { return store_; }
    Status write(u64 slot, PageKind kind, u64 seed) {
        fill_page(page_, kind, seed);
        return store_->write(slot, page_);
    }
    bool holds(u64 slot, PageKind kind, u64 seed) {
        fill_page(page_, PageKind::noise, ~seed);
        return store_->read(slot, page_) && page_holds(page_, kind, seed);
    }
    s32 read(u64 slot) { return store_->read(slot, page_).as_int(); }

private:
    SwapStore* store_ = nullptr;
    void* page_ = nullptr;
};

PageKind kind_of_slot(u64 slot) { return static_cast<PageKind>(slot % kPageKinds); }

constexpr SwapConfig kLz4{OBJR_SWAP_LZ4, 1, nullptr};

} // namespace

// Against an array of flags: the next free one behind the last that was taken and kept, and round.
OBJR_TEST(swap_slots_against_naive) {
    static constexpr u64 kSizes[] = {1, 63, 64, 65, 4096, 4097, 5000};
    for (const u64 size : kSizes) {
        SlotMap map;
        u8* taken = static_cast<u8*>(objr_kvzalloc(size));
        OBJR_ASSERT(taken && map.create(size, SlotMap::Begin::all));
        Random random(size);
        u64 cursor = 0;
        u64 used = 0;
        bool right = true;
        for (u32 step = 0; right && step < 3 * size + 100; step++) {
            const u64 any = random.below(size);
            if (used != 0 && random.below(step < 2 * size ? 8 : 2) == 0 && taken[any]) {
                map.give(any);
                taken[any] = 0;
                used--;
                cursor -= any + 1 == cursor ? 1 : 0;
                continue;
            }
            u64 expected = cursor % size;
            for (u64 n = 0; n < size && taken[expected]; n++) {
                expected = (expected + 1) % size;
            }
            const u64 slot = map.take();
            right = slot == (used == size ? SlotMap::kNone : expected);
            if (slot != SlotMap::kNone) {
                taken[slot] = 1;
                used++;
                cursor = slot + 1;
            }
        }
        OBJR_EXPECT(right);
        map.destroy();
        objr_kvfree(taken);
    }
}

OBJR_TEST(spec_U5_lz4_keeps_every_kind) {
    constexpr u64 kSlots = 200;
    Store store(test, kLz4);
    OBJR_ASSERT(store);
    OBJR_EXPECT_EQ(store->slots(), 1024);
    OBJR_EXPECT(store->writes_at_once());
    for (u64 slot = 0; slot < kSlots; slot++) {
        OBJR_ASSERT(store.write(slot, kind_of_slot(slot), slot));
    }
    const SwapStore::Usage usage = store->usage();
    OBJR_EXPECT(usage.incompressible >= kSlots / kPageKinds && usage.incompressible < kSlots * 3 / kPageKinds);
    OBJR_EXPECT(usage.stored > usage.incompressible * kPageSize && usage.stored < kSlots * kPageSize / 2);
    for (u64 slot = 0; slot < kSlots; slot++) {
        OBJR_EXPECT(store.holds(slot, kind_of_slot(slot), slot));
    }
    for (u64 slot = 0; slot < kSlots; slot++) { // each becomes another kind
        OBJR_ASSERT(store.write(slot, kind_of_slot(slot + 1 + slot % 3), slot + 1000));
    }
    for (u64 slot = 0; slot < kSlots; slot++) {
        OBJR_EXPECT(store.holds(slot, kind_of_slot(slot + 1 + slot % 3), slot + 1000));
        store->drop(slot);
        OBJR_EXPECT_EQ(store.read(slot), -OBJR_EIO);
    }
    store->drop(7); // nothing is kept
    OBJR_EXPECT_EQ(store->usage().stored, 0);
    OBJR_EXPECT_EQ(store->usage().incompressible, 0);
}

// The limit is one of memory taken. At it nothing is lost, and what is given back can be taken again.
OBJR_TEST(spec_U5_lz4_limit) {
    Store store(test, kLz4);
    OBJR_ASSERT(store);
    u64 slot = 0;
    Status status;
    while (status && slot < store->slots()) {
        status = store.write(slot, PageKind::noise, slot);
        slot += status ? 1 : 0;
    }
    OBJR_EXPECT_EQ(status.as_int(), -OBJR_ENOSPC);
    OBJR_EXPECT(slot > 200 && slot <= 256);
    OBJR_EXPECT_EQ(store.write(3, PageKind::noise, 1).as_int(), -OBJR_ENOSPC);
    OBJR_EXPECT(store.holds(3, PageKind::noise, 3)); // what was there before
    OBJR_EXPECT(store.write(slot, PageKind::zero, 0)); // needs nothing
    for (u64 i = 0; i < slot; i++) {
        OBJR_EXPECT(store.holds(i, PageKind::noise, i));
    }
    store->drop(5);
    store->drop(6);
    OBJR_EXPECT(store.write(5, PageKind::noise, 77));
    OBJR_EXPECT(store.holds(5, PageKind::noise, 77));
}

OBJR_TEST(spec_U5_lz4_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("no failing allocations here");
    }
    bool reached = true;
    for (u32 n = 1; reached && n < 20; n++) {
        objr_test_fail_nth_allocation(n);
        Result<SwapStore*> store = SwapStore::create(kLz4);
        reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(store.as_int(), reached ? -OBJR_ENOMEM : 0);
        if (store) {
            store->destroy();
        }
    }
    OBJR_EXPECT(!reached);
    Store store(test, kLz4);
    OBJR_ASSERT(store && store.write(1, PageKind::text, 1));
    objr_test_fail_nth_allocation(1);
    const s32 result = store.write(1, PageKind::noise, 2).as_int();
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(result, -OBJR_ENOMEM);
    OBJR_EXPECT(store.holds(1, PageKind::text, 1));
}

OBJR_TEST(swap_file_sizes) {
    static constexpr struct {
        u64 bytes;
        u64 slots;
    } kSizes[] = {
        {0, 0}, {4096, 0}, {(1u << 20) - 1, 0}, {1u << 20, 256}, {(1u << 20) + 4095, 256}, {(1u << 20) + 4096, 257}};
    for (const auto& size : kSizes) {
        objr_memory_file* file = objr_memory_file_create("swapfile", size.bytes, 0, 1);
        objr_backing* backing = file ? objr_memory_file_open(file, 1) : nullptr;
        OBJR_ASSERT(backing);
        Result<SwapStore*> store = SwapStore::create({.file = backing});
        OBJR_EXPECT_EQ(store.as_int(), size.slots != 0 ? 0 : -OBJR_EINVAL);
        if (store) {
            OBJR_EXPECT_EQ(store->slots(), size.slots);
            OBJR_EXPECT(!store->writes_at_once());
            store->destroy();
        }
        objr_memory_file_destroy(file); // fails the test if the store keeps it
    }
}
