// SPDX-License-Identifier: GPL-2.0
//
// grace_test.cpp: what happens between the end of an entry and the end of its translation (zap_grace.h). The Mmu of these tests calls
// the test in that while; the translation that is left is its hold on the frame.
#include "threads.h"

#include "objrmap/migrate.h"

#include <future>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

class HookedMmu final : public Mmu {
public:
    SoftMmu soft;
    std::function<void()> before_zap;

    void zap(objr_region* region, Vaddr start, Vaddr end, objr_held held) override {
        if (auto hook = std::exchange(before_zap, nullptr)) hook();
        soft.zap(region, start, end, held);
    }
    Translation harvest(objr_region* region, Vaddr address, objr::Harvest mode) override {
        return soft.harvest(region, address, mode);
    }
    Status install(void* token, Vaddr address, Pfn pfn, bool writable, bool replace) override {
        return soft.install(token, address, pfn, writable, replace);
    }
};

// An address space on it.
class HookedProcess {
public:
    HookedProcess(World& world, HookedMmu& mmu) : mmu_(mmu), mm_(*Mm::create(world, mmu)) {}
    ~HookedProcess() {
        static_cast<void>(mm_->unmap(Vaddr(kPageSize), mm_->address_end(), Translations::present));
        mm_->put();
    }
    Mm& mm() { return *mm_; }
    void store(u64 page, u64 value) { EXPECT_TRUE(mmu_.soft.store(*mm_, at(page), value)); }
    u64* frame(u64 page) {
        World& world = mm_->world();
        const Pte pte = mm_->tables().leaf(at(page))->get(at(page));
        return pte.is_present() ? static_cast<u64*>(world.pool.address(*world.pool.page_of(pte.pfn()))) : nullptr;
    }

private:
    HookedMmu& mmu_;
    Mm* mm_;
};

// Run work by another thread for as long as it takes, but give it only a while before going on.
class Meanwhile {
public:
    ~Meanwhile() { wait(); }
    template <class F>
    void start(F&& work) {
        done_ = std::async(std::launch::async, std::forward<F>(work));
        done_.wait_for(std::chrono::milliseconds(100));
    }
    void wait() {
        if (done_.valid()) done_.get();
    }

private:
    std::future<void> done_;
};

// A copy that two share is cut off with its file from one of them; the other is the last owner then and writes to it in place, which the
// first must not see.
TEST(ZapGrace, last_owner_waits_for_readers) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Object object(test, world, "grace", 1);
    {
        HookedMmu mmu;
        HookedProcess a(*world, mmu);
        Process b(test, world);
        ASSERT_TRUE(a.mm().map(at(0), at(1), 0, kReadWrite, object.get(), nullptr));
        a.store(0, 1);
        ASSERT_TRUE(Mm::fork(a.mm(), b.mm(), Vaddr(kPageSize), a.mm().address_end(), nullptr));
        const u64* frame = a.frame(0);
        ASSERT_NE(frame, nullptr);
        Meanwhile meanwhile;
        u64 seen = 0;
        mmu.before_zap = [&] {
            meanwhile.start([&] { static_cast<void>(b.try_store(0, 2)); });
            seen = *frame;
        };
        ASSERT_TRUE(object->truncate(0));
        meanwhile.wait();
        EXPECT_EQ(seen, 1U);
        expect_verified(world.handle());
    }
    object.close();
}

// A page of a shared file goes to another frame while somebody can yet write to it, whose entry shows another page already.
TEST(ZapGrace, migration_waits_for_writers) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Object object(test, world, "grace", 2);
    {
        HookedMmu mmu;
        HookedProcess a(*world, mmu);
        Process b(test, world);
        ASSERT_TRUE(a.mm().map(at(0), at(2), 0, kShared, object.get(), nullptr));
        ASSERT_TRUE(b.map(0, 2, kShared, object.get()));
        a.store(0, 1);
        u64* frame = a.frame(0);
        ASSERT_NE(frame, nullptr);
        Meanwhile meanwhile;
        mmu.before_zap = [&] {
            meanwhile.start([&] {
                SharedGuard quiesce(world->quiesce);
                Page* page = object->find_page(0);
                ASSERT_NE(page, nullptr);
                page->lock();
                const Result<Page*> fresh = migrate_page(*world, *page);
                EXPECT_TRUE(fresh);
                if (fresh) {
                    (*fresh)->unlock();
                    world->pool.put(**fresh);
                }
                page->unlock();
                world->pool.put(*page);
            });
            *frame = 77;
        };
        ASSERT_TRUE(a.mm().remap(at(0), kPageSize, 1, Populate::no));
        meanwhile.wait();
        EXPECT_EQ(b.load(0), 77U);
    }
    object.close();
}

// Who only waits for others that come and go all the time comes to an end.
TEST(ZapGrace, new_sections_do_not_hold_up) {
    ZapGrace grace;
    grace.init();
    Threads threads(std::chrono::milliseconds(200));
    for (int i = 0; i < 3; i++)
        threads.run([&](Random&) { ZapGrace::Section section(&grace); });
    std::atomic<u64> waits{0};
    threads.run([&](Random&) {
        grace.wait();
        waits++;
    });
    threads.join();
    EXPECT_GT(waits.load(), 10U);
}

} // namespace
