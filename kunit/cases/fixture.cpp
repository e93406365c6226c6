// SPDX-License-Identifier: GPL-2.0
#include "fixture.h"

#include "objrmap/text.h"

#include <new>

namespace objr::test {

// ---- TestWorld

static const char* scheme_of(const objr_test* test) {
    const char* wanted = objr_test_scheme(test);
    return wanted ? wanted : scheme_name(0);
}

TestWorld::TestWorld(objr_test* test, u32 pool_mb, u32 levels, const char* scheme, u32 swap_mb)
    : TestWorld(test, {.pool_mb = pool_mb, .levels = levels, .scheme = scheme, .swap_mb = swap_mb}) {}

TestWorld::TestWorld(objr_test* test, const objr_params& params) : test_(test) {
    objr_params used = params;
    used.scheme = params.scheme ? params.scheme : scheme_of(test);
    Result<World*> world = World::create(used);
    if (world) {
        world_ = *world;
        world_->swap.set_readahead_floor(~0u); // none: tests count what is read
    } else {
        objr_test_fail(test, __FILE__, __LINE__, "no world could be made");
    }
}

TestWorld::~TestWorld() {
    if (!world_) {
        return;
    }
    verify();
    objr_test* test = test_;
    OBJR_EXPECT_EQ(world_->pool.free_pages() + world_->pool.poisoned_pages(), world_->pool.size());
    for (Count count :
         {Count::anon_pages, Count::file_pages, Count::mapped_pages, Count::mappings, Count::swapcache_pages,
          Count::swapped_pages, Count::locked_pages, Count::vmas, Count::anon_vmas, Count::anon_vma_chains,
          Count::anon_mms, Count::pte_chain_blocks, Count::file_mappings, Count::mms, Count::table_pages}) {
        OBJR_EXPECT_EQ(world_->counters.sum(count), 0);
    }
    world_->destroy();
}

bool TestWorld::is(const char* scheme) const { return same_text(world_->scheme().name(), scheme); }

bool TestWorld::verify() {
    objr_out* out = objr_test_out_create(1024);
    if (!out) {
        objr_test_fail(test_, __FILE__, __LINE__, "no memory for the verifier's answer");
        return false;
    }
    int result = objr_show_verify(handle(), out);
    if (result != 0) {
        objr_test_fail(test_, __FILE__, __LINE__, objr_test_out_text(out));
    }
    objr_test_out_destroy(out);
    return result == 0;
}

// ---- Process

Process::Process(objr_test* test, TestWorld& world) : test_(test), world_(world) {
    Result<Mm*> mm = Mm::create(*world, cpu_);
    if (mm) {
        mm_ = *mm;
    } else {
        objr_test_fail(test, __FILE__, __LINE__, "no mm could be made");
    }
}

void Process::exit() {
    if (mm_) {
        static_cast<void>(mm_->unmap(Vaddr(0), mm_->address_end(), Translations::present));
        while (mm_->references() != 1) { // a walk by another thread has yet to zap on our processor
            objr_sleep_a_tick();
        }
        mm_->put();
        mm_ = nullptr;
    }
}

Status Process::map(u64 first, u64 last, u32 flags, FileMapping* file, u64 pgoff) {
    return mm_->map(at(first), at(last), file ? pgoff : at(first).value >> kPageShift, flags, file, nullptr);
}

bool Process::devour(u64 first, u64 pages) {
    return map(first, first + pages) &&
           mm_->advise(at(first), at(first + pages), Advice::lock).as_int() == -OBJR_ENOMEM;
}

s32 Process::try_load(u64 page) {
    u64 value;
    return cpu_.load(*mm_, at(page), &value).as_int();
}

s32 Process::try_store(u64 page, u64 value) { return cpu_.store(*mm_, at(page), value).as_int(); }

void Process::before_next_zap(void (*function)(void*), void* argument) { cpu_.before_next_zap(function, argument); }

u64 Process::load(u64 page) {
    u64 value = ~0ull;
    objr_test* test = test_;
    OBJR_EXPECT_EQ(cpu_.load(*mm_, at(page), &value).as_int(), 0);
    return value;
}

void Process::store(u64 page, u64 value) {
    objr_test* test = test_;
    OBJR_EXPECT_EQ(cpu_.store(*mm_, at(page), value).as_int(), 0);
}

Pte Process::pte(u64 page) const {
    SharedGuard guard(mm_->lock());
    PageTable* table = mm_->tables().leaf(at(page));
    if (!table) {
        return Pte();
    }
    Guard table_guard(table->lock);
    return table->get(at(page));
}

Page* Process::page(u64 page) const {
    Pte entry = pte(page);
    return entry.is_present() ? world_->pool.page_of(entry.pfn()) : nullptr;
}

// ---- Processes

Processes::Processes(objr_test* test, TestWorld& world, u32 count)
    : test_(test), world_(world), all_(static_cast<Process*>(objr_kvzalloc(count * sizeof(Process)))), count_(count) {
    for (u32 n = 0; all_ && n < count; n++) {
        new (&all_[n]) Process(test, world);
    }
    if (!all_) {
        objr_test_fail(test, __FILE__, __LINE__, "no memory for the processes");
    }
}

Processes::~Processes() {
    for (u32 n = 0; all_ && n < count_; n++) {
        all_[n].~Process();
    }
    objr_kvfree(all_);
}

void Processes::restart(u32 n) {
    all_[n].~Process();
    new (&all_[n]) Process(test_, world_);
}

// ---- Object

Object::Object(objr_test* test, TestWorld& world, const char* name, u64 pages) {
    const objr_owner owner = {.uid = 0, .gid = 0, .is_root = 1};
    Result<FileMapping*> file = FileMapping::of_name(*world, name, pages * kPageSize, OBJR_OBJECT_CREATE, owner);
    if (file) {
        file_ = *file;
    } else {
        objr_test_fail(test, __FILE__, __LINE__, "no object could be made");
    }
}

void Object::close() {
    if (file_) {
        file_->put();
        file_ = nullptr;
    }
}

// ---- walks

u32 count_mappers(World& world, Page& page, WalkCost* cost) {
    WalkCost own;
    u32 found = 0;
    SharedGuard quiesce(world.quiesce);
    PageLock lock(page);
    rmap_walk(world, page, EarlyStop::no, cost ? *cost : own, [&](const Mapping&) {
        found++;
        return Visit::go_on;
    });
    return found;
}

} // namespace objr::test

extern "C" int objr_test_has_scheme(const char* name) { return objr::find_scheme(name) != nullptr; }
