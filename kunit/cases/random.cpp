// SPDX-License-Identifier: GPL-2.0
// random.cpp: random sequences of operations on a handful of processes, compared with the model after each step: contents of every
// page that is present, faults where the model has them, verify. In some, the scheme is switched now and then. The seed and the step
// are in every failure.
#include "fixture.h"
#include "model.h"
#include "unmap_fixture.h"

#include "objrmap/migrate.h"
#include "objrmap/referenced.h"
#include "objrmap/text.h"

#include <new>

using namespace objr;
using namespace objr::test;

namespace {

constexpr u32 kP = Model::kProcesses;
constexpr u32 kN = Model::kPages;

class Sequence : Pinned {
public:
    Sequence(objr_test* test, u64 seed, u32 levels)
        : test_(test), seed_(seed), random_(seed), world_(test, 2, levels),
          object_(test, world_, "random", Model::kObjectPages) {
        model_ = static_cast<Model*>(objr_kvzalloc(sizeof(Model)));
        if (!model_) {
            fail("no memory for the model");
            return;
        }
        new (model_) Model;
        for (Process*& process : processes_) {
            process = start();
        }
    }
    ~Sequence() {
        for (Process*& process : processes_) {
            stop(process);
        }
        objr_kvfree(model_);
    }

    // switch_every: steps from one live switch of the scheme to the next, 0: none.
    void run(u32 steps, u32 switch_every) {
        for (step_ = 0; step_ < steps && !objr_test_failed(test_); step_++) {
            one_step();
            compare_present();
            if (switch_every != 0 && step_ % switch_every == switch_every - 1) {
                switch_scheme();
                compare_present();
            }
            if (step_ % 64 == 63) {
                compare_all();
                world_.verify();
            }
        }
        compare_all();
    }

private:
    Process* start() {
        void* memory = objr_kvzalloc(sizeof(Process));
        return memory ? new (memory) Process(test_, world_) : nullptr;
    }
    static void stop(Process*& process) {
        if (process) {
            process->~Process();
            objr_kvfree(process);
            process = nullptr;
        }
    }

    void fail(const char* what) {
        objr_test_log(test_, "random sequence: seed %llu, step %u, operation %s\n", seed_, step_, operation_);
        objr_test_fail(test_, __FILE__, __LINE__, what);
    }
    void expect(bool condition, const char* what) {
        if (!condition) {
            fail(what);
        }
    }

    struct Range {
        u32 first, last; // half-open
    };
    Range any_range() {
        const u32 first = static_cast<u32>(random_.below(kN));
        return {first, first + 1 + static_cast<u32>(random_.below(min(kN - first, 12u)))};
    }
    bool range_is(u32 p, Range range, bool mapped) const {
        for (u32 page = range.first; page < range.last; page++) {
            if (model_->slots[p][page].mapped != mapped) {
                return false;
            }
        }
        return true;
    }

    void one_step() {
        const u32 p = static_cast<u32>(random_.below(kP));
        switch (random_.below(24)) {
        case 0:
        case 1: return map(p);
        case 2: return unmap(p);
        case 3: return fork(p);
        case 4: return exit(p);
        case 5: return move(p);
        case 6: return protect(p);
        case 7: return truncate();
        case 8: return remap(p);
        case 9:
        case 10:
        case 11: return take(p);
        case 12: return lock(p);
        case 13: return use_the_map(p, static_cast<u32>(random_.below(kN)));
        case 14:
        case 15: return load(p, static_cast<u32>(random_.below(kN)));
        case 22:
        case 23: return consume(p);
        default: return store(p, static_cast<u32>(random_.below(kN)));
        }
    }

    void switch_scheme() {
        operation_ = "switch";
        u32 count = 0;
        while (scheme_name(count)) {
            count++;
        }
        const char* name = scheme_name(static_cast<u32>(random_.below(count)));
        char reason[160] = {};
        const int result = objr_set_scheme(world_.handle(), name, reason, sizeof(reason));
        // It cannot have one page at two addresses.
        expect(result == 0 || (result == -OBJR_EBUSY && same_text(name, "anonmm")), "a switch failed");
    }

    void map(u32 p) {
        operation_ = "map";
        const Range range = any_range();
        Model::Slot slot;
        slot.mapped = true;
        slot.rights = OBJR_VM_READ | (random_.below(5) == 0 ? 0 : OBJR_VM_WRITE);
        slot.object = random_.below(3) == 0;
        slot.shared = slot.object && random_.below(2) == 0;
        const u32 room = Model::kObjectPages - min(range.last - range.first, Model::kObjectPages);
        const u32 pgoff = static_cast<u32>(random_.below(room + 1));
        const u32 flags = slot.rights | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE | (slot.shared ? OBJR_VM_SHARED : 0);
        const Status status =
            processes_[p]->map(range.first, range.last, flags, slot.object ? object_.get() : nullptr, pgoff);
        if (!range_is(p, range, false)) {
            return expect(status.as_int() == -OBJR_EEXIST, "map over something did not say EEXIST");
        }
        expect(static_cast<bool>(status), "map failed");
        for (u32 page = range.first; page < range.last; page++) {
            slot.pgoff = pgoff + page - range.first;
            model_->map(p, page, slot);
        }
    }

    void unmap(u32 p) {
        operation_ = "unmap";
        const Range range = any_range();
        expect(static_cast<bool>(processes_[p]->unmap(range.first, range.last)), "unmap failed");
        for (u32 page = range.first; page < range.last; page++) {
            model_->unmap(p, page);
        }
    }

    void fork(u32 p) {
        operation_ = "fork";
        const u32 child = static_cast<u32>(random_.below(kP));
        if (child == p) {
            return;
        }
        stop(processes_[child]);
        model_->exit(child);
        processes_[child] = start();
        if (!processes_[child]) {
            return fail("no memory for a process");
        }
        expect(static_cast<bool>(processes_[p]->fork_to(*processes_[child])), "fork failed");
        model_->fork(p, child);
    }

    void exit(u32 p) {
        operation_ = "exit";
        stop(processes_[p]);
        processes_[p] = start();
        if (!processes_[p]) {
            return fail("no memory for a process");
        }
        model_->exit(p);
    }

    void move(u32 p) {
        operation_ = "move";
        const Range from = any_range();
        const u32 length = from.last - from.first;
        const u32 to = static_cast<u32>(random_.below(kN - length + 1));
        const Status status = processes_[p]->mm().move(at(from.first), at(to), length * kPageSize, nullptr);
        if (from.first < to + length && to < from.last) {
            return expect(status.as_int() == -OBJR_EINVAL, "move onto itself did not say EINVAL");
        }
        if (!range_is(p, from, true)) {
            return expect(status.as_int() == -OBJR_EFAULT, "move of a hole did not say EFAULT");
        }
        if (!range_is(p, {to, to + length}, false)) {
            return expect(status.as_int() == -OBJR_EEXIST, "move over something did not say EEXIST");
        }
        expect(static_cast<bool>(status), "move failed");
        for (u32 i = 0; i < length; i++) {
            model_->move(p, from.first + i, to + i);
        }
    }

    void protect(u32 p) {
        operation_ = "protect";
        const Range range = any_range();
        const u32 rights = static_cast<u32>(random_.below(4)); // none, read, write, both
        expect(static_cast<bool>(processes_[p]->mm().protect(at(range.first), at(range.last), rights)),
               "protect failed");
        for (u32 page = range.first; page < range.last; page++) {
            if (model_->slots[p][page].mapped) {
                model_->slots[p][page].rights = rights;
            }
        }
    }

    // Some of what is present leaves the page tables; nothing of it is lost.
    void take(u32 p) {
        operation_ = "take";
        const Range range = any_range();
        for (u32 n = range.first; n < range.last; n++) {
            Page* page = processes_[p]->page(n);
            const bool locked = page && page->has(PageFlag::mlocked);
            const UnmapResult result = page ? unmap_once(world_, *page) : UnmapResult();
            expect(!locked || result.answer != Unmapped::success, "a locked page was unmapped");
            expect(result.answer != Unmapped::success || !processes_[p]->pte(n).is_present(),
                   "an unmapped page is present");
        }
    }

    // Asked who uses it, made clean, moved to another frame: nobody sees anything of it.
    void consume(u32 p) {
        operation_ = "consume";
        const Range range = any_range();
        for (u32 n = range.first; n < range.last; n++) {
            if (Page* page = processes_[p]->page(n)) {
                const u32 before = page->mappings();
                consume_page(*page);
                Page* now = processes_[p]->page(n);
                // A nonlinear view of the object gets it back with the next fault.
                const bool all = now && now->mappings() == before;
                expect(all || model_->slots[p][n].object, "a mapping was lost");
            }
        }
    }

    void consume_page(Page& page) {
        SharedGuard quiesce(world_->quiesce);
        world_->pool.get(page);
        {
            PageLock lock(page);
            const u64 what = random_.below(6);
            UseRows rows;
            if (what < 3) {
                const u32 mappings = page.mappings();
                const Result<Referenced> uses = page_referenced(*world_, page, static_cast<ReferencedMode>(what), rows);
                expect(uses && (*uses).young <= mappings, "more uses than mappings");
            } else if (what == 3) {
                page_mkclean(*world_, page);
                expect(page_mkclean(*world_, page) == 0, "not clean after it was made clean");
            } else if (const Result<Page*> fresh = migrate_page(*world_, page)) {
                expect(!page.mapped(), "a page is mapped that has gone to another frame");
                fresh->unlock();
                world_->pool.put(**fresh);
            } else {
                fail("a page could not be moved");
            }
        }
        world_->pool.put(page);
    }

    // The first error of bringing a range in, as a lock does: what is private and may be written is copied then.
    s32 populated(u32 p, Range range) {
        s32 result = 0;
        for (u32 page = range.first; page < range.last; page++) {
            const Model::Slot& slot = model_->slots[p][page];
            const bool write = (slot.rights & OBJR_VM_WRITE) != 0 && !slot.shared;
            const s32 answer = expected(slot, write);
            result = result == 0 ? answer : result;
            if (answer == 0 && write) {
                model_->write(p, page, model_->value(slot));
            }
        }
        return result;
    }

    void lock(u32 p) {
        operation_ = "lock";
        const Range range = any_range();
        const Advice advice = random_.below(2) == 0 ? Advice::lock : Advice::unlock;
        const s32 result = processes_[p]->mm().advise(at(range.first), at(range.last), advice).as_int();
        if (!range_is(p, range, true)) {
            return expect(result == -OBJR_ENOMEM, "advice on a hole did not say ENOMEM");
        }
        expect(result == (advice == Advice::lock ? populated(p, range) : 0), "a lock did not answer as the model");
    }

    // Also to pages that the object does not have.
    void remap(u32 p) {
        operation_ = "remap";
        const Range range = remappable(p);
        const u32 pgoff = static_cast<u32>(random_.below(Model::kObjectPages + 2));
        const Populate populate = random_.below(2) == 0 ? Populate::yes : Populate::no;
        const Status status =
            processes_[p]->mm().remap(at(range.first), (range.last - range.first) * kPageSize, pgoff, populate);
        for (u32 page = range.first; page < range.last; page++) {
            if (!model_->slots[p][page].shared) {
                return expect(status.as_int() == -OBJR_EINVAL, "remap of what shares no file did not say EINVAL");
            }
        }
        expect(static_cast<bool>(status), "remap failed");
        for (u32 page = range.first; page < range.last; page++) {
            model_->slots[p][page].pgoff = pgoff + page - range.first;
        }
    }
    // Most ranges are in nobody's shared view: better take one that begins in one, and mostly keeps to it.
    Range remappable(u32 p) {
        Range range = any_range();
        for (u32 i = 0; i < kN && !model_->slots[p][range.first].shared; i++) {
            range = {(range.first + 1) % kN, (range.first + 1) % kN + 1};
        }
        const u32 most = range.first + 1 + static_cast<u32>(random_.below(8));
        range.last = max(range.last, range.first + 1);
        while (range.last < min(most, kN) && (model_->slots[p][range.last].shared || random_.below(8) == 0)) {
            range.last++;
        }
        return range;
    }

    // Who asks the reverse map for a page: the process does not notice, nor that a page of the object is taken from all.
    void use_the_map(u32 p, u32 n) {
        operation_ = "use of the map";
        Page* page = processes_[p]->page(n);
        SharedGuard quiesce(world_->quiesce);
        if (!page || !world_->pool.try_get(*page)) {
            return;
        }
        {
            PageLock lock(*page);
            WalkCost cost;
            UseRows rows;
            switch (random_.below(4)) {
            case 0: page_mkclean(*world_, *page); break;
            case 1: static_cast<void>(page_referenced(*world_, *page, ReferencedMode::exact, rows)); break;
            case 2: static_cast<void>(page_referenced(*world_, *page, ReferencedMode::lazy, rows)); break;
            default:
                if (page->mapping().is_file()) {
                    expect(try_to_unmap(*world_, *page, UnmapMode::revoke, cost).answer == Unmapped::success,
                           "a page of the object could not be taken from everybody");
                }
            }
        }
        world_->pool.put(*page);
    }

    void truncate() {
        operation_ = "truncate";
        const u32 pages =
            random_.below(3) == 0 ? static_cast<u32>(random_.below(Model::kObjectPages + 1)) : Model::kObjectPages;
        expect(static_cast<bool>(object_->truncate(pages * kPageSize)), "truncate failed");
        model_->truncate(pages);
    }

    // What an access must answer, 0 or -errno.
    s32 expected(const Model::Slot& slot, bool write) const {
        if (!slot.mapped) {
            return -OBJR_EFAULT;
        }
        if (slot.rights == 0 || (write && (slot.rights & OBJR_VM_WRITE) == 0)) {
            return -OBJR_EACCES;
        }
        if (slot.object && slot.pgoff >= model_->object_pages) {
            return -OBJR_EIO;
        }
        return 0;
    }

    void load(u32 p, u32 page) {
        operation_ = "load";
        const Model::Slot& slot = model_->slots[p][page];
        u64 value = 0;
        const s32 result = processes_[p]->cpu().load(processes_[p]->mm(), at(page), &value).as_int();
        expect(result == expected(slot, false), "a load did not answer as the model");
        expect(result != 0 || value == model_->value(slot), "a load saw other data than the model");
    }

    void store(u32 p, u32 page) {
        operation_ = "store";
        const Model::Slot& slot = model_->slots[p][page];
        const u64 value = random_.next();
        const s32 result = processes_[p]->try_store(page, value);
        expect(result == expected(slot, true), "a store did not answer as the model");
        if (result == 0) {
            model_->write(p, page, value);
        }
    }

    // Every page that is in the tables, without touching it.
    void compare_present() {
        for (u32 p = 0; p < kP && !objr_test_failed(test_); p++) {
            for (u32 page = 0; page < kN; page++) {
                const Model::Slot& slot = model_->slots[p][page];
                Page* present = processes_[p]->page(page);
                if (!present) {
                    continue;
                }
                expect(slot.mapped, "a page is present where the model has nothing");
                const u64 value = *static_cast<const u64*>(world_->pool.address(*present));
                expect(value == model_->value(slot), "a page holds other data than the model");
            }
        }
    }

    // Every page, by loads.
    void compare_all() {
        for (u32 p = 0; p < kP && !objr_test_failed(test_); p++) {
            for (u32 page = 0; page < kN; page++) {
                load(p, page);
            }
        }
    }

    objr_test* const test_;
    const u64 seed_;
    Random random_;
    TestWorld world_;
    Object object_;
    Model* model_ = nullptr;
    Process* processes_[kP] = {};
    u32 step_ = 0;
    const char* operation_ = "start";
};

// Guest and host differ in speed by a factor of hundreds: kRandomSteps is what each can do in half a second or less, since it is done under
// each scheme.
constexpr u32 kRandomSteps = __STDC_HOSTED__ ? 1000 : 150;

void run_sequence(objr_test* test, u64 seed, u32 levels, u32 switch_every = 0) {
    void* memory = objr_kvzalloc(sizeof(Sequence)); // too large for a kernel stack
    OBJR_ASSERT(memory != nullptr);
    Sequence* sequence = new (memory) Sequence(test, seed, levels);
    if (!objr_test_failed(test)) {
        sequence->run(kRandomSteps, switch_every);
    }
    sequence->~Sequence();
    objr_kvfree(memory);
}

} // namespace

OBJR_TEST(random_against_model_1) { run_sequence(test, 1, 4); }
OBJR_TEST(random_against_model_2) { run_sequence(test, 20080124, 4); }
OBJR_TEST(random_against_model_3) { run_sequence(test, 0xfeedface, 5); }
OBJR_TEST(random_against_model_switching) { run_sequence(test, 20240921, 4, 15); }
