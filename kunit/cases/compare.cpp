// SPDX-License-Identifier: GPL-2.0
// compare.cpp: the reverse maps side by side: one recorded workload, replayed in a fresh World under each scheme. At every rest in
// it each scheme's answers are compared with a forward scan of the page tables, the contents with the model, and then
// the schemes with each other (spec U1).
//
// Frames differ from World to World, so a page is known by who maps it: the *leader* of a position (process, page of the test
// region) is the first position that maps the same page. Two Worlds are equal if all leaders are.
//
// Once more the workload runs with the scheme switched at every rest, live: the answers are still the same.
//
// `anonmm` may differ where a page sits at more than one address: it has copied that page early (spec A4), so its groups are parts
// of the others'.
#include "cases.h"
#include "fixture.h"
#include "model.h"

#include "objrmap/text.h"

#include <new>

using namespace objr;
using namespace objr::test;

// Every scheme of the core is one that the runners make their cases of.
OBJR_TEST(runner_knows_every_scheme) {
#define OBJR_NAME_OF(scheme, unused) #scheme,
    static constexpr const char* kKnown[] = {OBJR_SCHEMES(OBJR_NAME_OF, )};
#undef OBJR_NAME_OF
    for (u32 n = 0; const char* name = scheme_name(n); n++) {
        bool known = false;
        for (const char* candidate : kKnown) {
            known = known || same_text(candidate, name);
        }
        OBJR_EXPECT(known);
    }
    OBJR_EXPECT(objr_test_has_scheme("classic"));
    OBJR_EXPECT(!objr_test_has_scheme("no such scheme"));
}

namespace {

constexpr u32 kP = Model::kProcesses;
constexpr u32 kN = Model::kPages;
constexpr u32 kPositions = kP * kN;
constexpr u32 kObject = Model::kObjectPages;

// ---- the workload

enum class Do : u8 {
    map, // process, first page, pages
    shared, // process, first page, pages, pgoff of the object
    view, // the same, private
    fork, // parent, child, which is started anew
    store, // process, page
    load, // process, page
    touch, // process, first page, pages: load them all
    unmap, // process, first page, pages
    move, // process, first page, pages, to
    remap, // process, first page, pages, pgoff: nonlinear, made present
    place, // the same, left to the faults
    truncate, // -, pages of the object
    exit, // process
    rest, // compare
};

struct Op {
    Do what;
    u8 process;
    u8 a = 0;
    u8 b = 0;
    u8 c = 0;
};

constexpr Op kWorkload[] = {
    // A founder with memory of its own, a window of the object, a private view of it.
    {Do::map, 0, 0, 8},
    {Do::shared, 0, 12, 8, 0},
    {Do::view, 0, 24, 6, 4},
    {Do::store, 0, 0},
    {Do::store, 0, 1},
    {Do::store, 0, 2},
    {Do::store, 0, 3},
    {Do::store, 0, 4},
    {Do::store, 0, 6},
    {Do::store, 0, 13},
    {Do::store, 0, 15},
    {Do::store, 0, 25}, // a copy of a file page
    {Do::load, 0, 26},
    {Do::load, 0, 28},
    {Do::load, 0, 7},
    {Do::rest, 0},
    // Four generations, and a sibling.
    {Do::fork, 0, 1},
    {Do::fork, 1, 2},
    {Do::fork, 2, 3},
    {Do::fork, 0, 4},
    {Do::touch, 1, 12, 3},
    {Do::touch, 2, 13, 3},
    {Do::touch, 3, 15, 1},
    {Do::load, 4, 12},
    {Do::touch, 4, 24, 6},
    {Do::rest, 0},
    // Copies at every level, by parents and by children.
    {Do::store, 1, 0},
    {Do::store, 2, 1},
    {Do::store, 3, 0},
    {Do::store, 0, 2},
    {Do::store, 3, 6},
    {Do::store, 2, 25}, // of a page that was copied from the file already
    {Do::store, 4, 26}, // of the file's
    {Do::store, 4, 5}, // untouched before the forks
    {Do::store, 1, 5},
    {Do::rest, 0},
    // The object at different offsets in different processes, and twice in one.
    {Do::unmap, 3, 12, 8},
    {Do::shared, 3, 32, 4, 1},
    {Do::shared, 4, 40, 8, 8},
    {Do::shared, 4, 34, 4, 0},
    {Do::shared, 2, 44, 2, 3},
    {Do::touch, 3, 32, 4},
    {Do::touch, 4, 34, 4},
    {Do::touch, 2, 44, 2},
    {Do::store, 4, 43},
    {Do::store, 3, 32},
    {Do::store, 2, 15},
    {Do::rest, 0},
    // Moves: of a page of one's own beside shared ones, of a window, of a private view; a hole.
    {Do::store, 4, 3},
    {Do::move, 4, 3, 2, 21},
    {Do::move, 3, 32, 4, 8},
    {Do::move, 1, 24, 3, 36},
    {Do::unmap, 2, 3, 1},
    {Do::load, 4, 22},
    {Do::store, 3, 9},
    {Do::rest, 0},
    // The generations in the middle leave; what they shared with others stays.
    {Do::exit, 1},
    {Do::exit, 2},
    {Do::rest, 0},
    {Do::store, 3, 1}, // alone with it now, or not: the founder's
    {Do::store, 0, 4},
    // Children of the moved and of the youngest.
    {Do::fork, 4, 1},
    {Do::fork, 3, 2},
    {Do::store, 1, 21},
    {Do::store, 2, 0},
    {Do::store, 2, 7},
    {Do::load, 1, 43},
    {Do::rest, 0},
    // Nonlinear windows: one turned around, two that show the same, one in a fork.
    {Do::remap, 0, 14, 1, 11},
    {Do::remap, 0, 15, 1, 10},
    {Do::place, 0, 16, 3, 1},
    {Do::load, 0, 17},
    {Do::store, 0, 14},
    {Do::remap, 2, 8, 2, 8},
    {Do::place, 1, 40, 2, 10},
    {Do::store, 1, 41},
    {Do::rest, 0},
    {Do::exit, 3},
    {Do::fork, 0, 3},
    {Do::touch, 3, 12, 8},
    {Do::remap, 3, 13, 2, 0},
    {Do::store, 3, 18},
    {Do::move, 3, 12, 8, 31},
    {Do::unmap, 0, 15, 1},
    {Do::rest, 0},
    // The object shrinks and grows again: private copies beyond the end go too.
    {Do::truncate, 0, 6},
    {Do::rest, 0},
    {Do::truncate, 0, kObject},
    {Do::store, 4, 41},
    {Do::store, 0, 27},
    {Do::touch, 1, 40, 8},
    {Do::exit, 4},
    {Do::fork, 2, 4},
    {Do::store, 4, 6},
    {Do::rest, 0},
};

constexpr u32 count_of(Do what) {
    u32 count = 0;
    for (const Op& op : kWorkload) {
        count += op.what == what ? 1 : 0;
    }
    return count;
}
constexpr u32 kRests = count_of(Do::rest);
constexpr u32 kForks = count_of(Do::fork);

// ---- one replay

constexpr u16 kNobody = 0xffff;

struct Leaders {
    u16 of[kPositions];
    bool is_anon[kPositions];
};

struct Costs {
    const char* scheme;
    u64 walks, candidates, hits, false_hits; // of one query for every mapped page at every rest
    u64 bytes, pages, vmas; // memory of the map beyond that of an empty one, mapped pages, Vmas: sums over all rests
    u64 fork_bytes, fork_allocations; // sums over all forks; of the map, of everything
};

// Whether the scheme stays the one it begins with, or is another after every rest.
enum class Switching { never, at_rests };

class Replay : Pinned {
public:
    Replay(objr_test* test, const char* scheme, Switching switching, Leaders* rests, Costs& costs)
        : test_(test), switching_(switching), rests_(rests), costs_(costs), world_(test, 2, 4, scheme),
          empty_(world_ ? world_->scheme().bytes(*world_) : 0), object_(test, world_, "compared", kObject),
          processes_(test, world_, kP) {
        costs_.scheme = scheme;
    }
    void run();

private:
    void step(const Op& op, u64 value);
    void map(const Op& op, FileMapping* file, u32 flags);
    void fork(const Op& op);
    void remap(const Op& op, Populate populate);
    void load(u32 p, u32 page);
    void rest(Leaders& leaders);
    void switch_scheme();
    void scan(Leaders& leaders);
    void compare_answer(Page& page, u32 first, const Leaders& leaders);
    void compare_unmapped();
    void compare_contents();
    void fail(const char* what);
    u32 position_of(const Mapping& mapping) const;

    objr_test* const test_;
    const Switching switching_;
    Leaders* const rests_;
    Costs& costs_;
    TestWorld world_;
    const u64 empty_; // bytes of the map before there is anything to map
    Object object_;
    Processes processes_;
    Model model_;
    u32 step_ = 0;
    Page* pages_[kPositions]; // by the forward scan
};

void Replay::fail(const char* what) {
    objr_test_log(test_, "scheme %s, step %u of the workload", costs_.scheme, step_);
    objr_test_fail(test_, __FILE__, __LINE__, what);
}

void Replay::run() {
    u32 rests = 0;
    for (const Op& op : kWorkload) {
        if (objr_test_failed(test_)) {
            return;
        }
        step_++;
        if (op.what == Do::rest) {
            rest(rests_[rests]);
            if (switching_ == Switching::at_rests) {
                switch_scheme();
                rest(rests_[rests]); // nothing has changed
            }
            rests++;
        } else {
            step(op, step_ * 1000);
        }
    }
    for (u32 p = 0; p < kP; p++) {
        for (u32 page = 0; page < kN; page++) {
            if (model_.slots[p][page].mapped) {
                load(p, page);
            }
        }
    }
}

void Replay::step(const Op& op, u64 value) {
    Process& process = processes_[op.process];
    switch (op.what) {
    case Do::map: return map(op, nullptr, kReadWrite);
    case Do::shared: return map(op, object_.get(), kShared);
    case Do::view: return map(op, object_.get(), kReadWrite);
    case Do::fork: return fork(op);
    case Do::store: process.store(op.a, value); return model_.write(op.process, op.a, value);
    case Do::load: return load(op.process, op.a);
    case Do::touch:
        for (u32 page = op.a; page < op.a + op.b; page++) {
            load(op.process, page);
        }
        return;
    case Do::unmap:
        if (!process.unmap(op.a, op.a + op.b)) {
            return fail("unmap");
        }
        for (u32 page = op.a; page < op.a + op.b; page++) {
            model_.unmap(op.process, page);
        }
        return;
    case Do::move:
        if (!process.mm().move(at(op.a), at(op.c), op.b * kPageSize, nullptr)) {
            return fail("move");
        }
        for (u32 i = 0; i < op.b; i++) {
            model_.move(op.process, op.a + i, op.c + i);
        }
        return;
    case Do::remap: return remap(op, Populate::yes);
    case Do::place: return remap(op, Populate::no);
    case Do::truncate:
        if (!object_->truncate(op.a * kPageSize)) {
            return fail("truncate");
        }
        return model_.truncate(op.a);
    case Do::exit: processes_.restart(op.process); return model_.exit(op.process);
    case Do::rest: return;
    }
}

void Replay::map(const Op& op, FileMapping* file, u32 flags) {
    if (!processes_[op.process].map(op.a, op.a + op.b, flags, file, op.c)) {
        return fail("map");
    }
    for (u32 i = 0; i < op.b; i++) {
        model_.map(op.process, op.a + i,
                   {.mapped = true,
                    .rights = OBJR_VM_READ | OBJR_VM_WRITE,
                    .object = file != nullptr,
                    .shared = flags == kShared,
                    .pgoff = op.c + i});
    }
}

void Replay::fork(const Op& op) {
    processes_.restart(op.a);
    model_.exit(op.a);
    const u64 before = world_->scheme().bytes(*world_);
    objr_test_fail_nth_allocation(0);
    const Status status = processes_[op.process].fork_to(processes_[op.a]);
    costs_.fork_allocations += objr_test_allocations();
    costs_.fork_bytes += world_->scheme().bytes(*world_) - before;
    if (!status) {
        return fail("fork");
    }
    model_.fork(op.process, op.a);
}

void Replay::remap(const Op& op, Populate populate) {
    if (!processes_[op.process].mm().remap(at(op.a), op.b * kPageSize, op.c, populate)) {
        return fail("remap");
    }
    for (u32 i = 0; i < op.b; i++) {
        model_.slots[op.process][op.a + i].pgoff = op.c + i;
    }
}

void Replay::load(u32 p, u32 page) {
    if (processes_[p].load(page) != model_.value(model_.slots[p][page])) {
        fail("a load saw other data than the model");
    }
}

// ---- comparing

u32 Replay::position_of(const Mapping& mapping) const {
    for (u32 p = 0; p < kP; p++) {
        if (&processes_[p].mm() == mapping.vma.mm) {
            const u64 page = (mapping.address - kBase) >> kPageShift;
            return page < kN ? p * kN + static_cast<u32>(page) : kPositions;
        }
    }
    return kPositions;
}

// The forward scan: every page table, and who is the first with each page.
void Replay::scan(Leaders& leaders) {
    for (u32 i = 0; i < kPositions; i++) {
        pages_[i] = processes_[i / kN].page(i % kN);
        leaders.of[i] = kNobody;
        leaders.is_anon[i] = pages_[i] && pages_[i]->mapping().is_anon();
        for (u32 first = 0; pages_[i] && leaders.of[i] == kNobody; first++) {
            leaders.of[i] = static_cast<u16>(pages_[first] == pages_[i] ? first : kNobody);
        }
    }
}

// The reverse map's answer for a page against the forward scan's.
void Replay::compare_answer(Page& page, u32 first, const Leaders& leaders) {
    u32 expected = 0;
    for (u32 i = first; i < kPositions; i++) {
        expected += leaders.of[i] == first ? 1 : 0;
    }
    u32 found = 0;
    u32 last = 0;
    u64 seen_twice = 0;
    u64 seen[(kPositions + 63) / 64] = {};
    WalkCost whole;
    SharedGuard quiesce(world_->quiesce);
    PageLock lock(page);
    rmap_walk(*world_, page, EarlyStop::no, whole, [&](const Mapping& mapping) {
        last = position_of(mapping);
        if (last < kPositions && leaders.of[last] == first) {
            found++;
            seen_twice |= seen[last / 64] & (1ull << last % 64);
            seen[last / 64] |= 1ull << last % 64;
        }
        return Visit::go_on;
    });
    if (found != expected || whole.hits != expected || seen_twice != 0 || page.mappings() != expected) {
        fail("the reverse map's answer is not that of the page tables");
    }
    WalkCost cost;
    rmap_walk(*world_, page, EarlyStop::yes, cost, [](const Mapping&) { return Visit::go_on; });
    costs_.walks++;
    costs_.candidates += cost.candidates;
    costs_.hits += cost.hits;
    costs_.false_hits += cost.false_hits;
    if (cost.hits != expected) {
        fail("a walk that may stop early finds other mappings");
    }
}

// Pages in use that nobody maps: the cache's.
void Replay::compare_unmapped() {
    for (u32 n = 0; n < world_->pool.size(); n++) {
        Page& page = world_->pool.page(n);
        if (!page.has(PageFlag::free) && !page.mapped() && count_mappers(*world_, page) != 0) {
            fail("a page without mappings has mappers");
        }
    }
}

void Replay::compare_contents() {
    for (u32 i = 0; i < kPositions; i++) {
        if (!pages_[i]) {
            continue;
        }
        const Model::Slot& slot = model_.slots[i / kN][i % kN];
        const u64 value = *static_cast<const u64*>(world_->pool.address(*pages_[i]));
        if (!slot.mapped || value != model_.value(slot)) {
            fail("a page holds other data than the model");
        }
    }
}

void Replay::rest(Leaders& leaders) {
    scan(leaders);
    for (u32 i = 0; i < kPositions && !objr_test_failed(test_); i++) {
        if (leaders.of[i] == i) {
            compare_answer(*pages_[i], i, leaders);
        }
    }
    costs_.bytes += world_->scheme().bytes(*world_) - empty_;
    costs_.pages += static_cast<u64>(world_->counters.sum(Count::mapped_pages));
    costs_.vmas += static_cast<u64>(world_->counters.sum(Count::vmas));
    compare_unmapped();
    compare_contents();
    if (!world_.verify()) {
        fail("verify");
    }
}

// To the next one; `anonmm` refuses what it cannot express, and then it is the one after.
void Replay::switch_scheme() {
    u32 n = 0;
    while (!world_.is(scheme_name(n))) {
        n++;
    }
    for (bool done = false; !done && !objr_test_failed(test_);) {
        n = scheme_name(n + 1) ? n + 1 : 0;
        char reason[160] = {};
        const int result = objr_set_scheme(world_.handle(), scheme_name(n), reason, sizeof(reason));
        done = result == 0;
        if (!done && !(result == -OBJR_EBUSY && same_text(scheme_name(n), "anonmm"))) {
            objr_test_log(test_, "switching to %s: %d, %s", scheme_name(n), result, reason);
            fail("a switch");
        }
    }
}

// Whether the anonymous page at a position is also at another address (of another process).
bool at_two_addresses(const Leaders& leaders, u32 position) {
    if (!leaders.is_anon[position]) {
        return false;
    }
    for (u32 i = 0; i < kPositions; i++) {
        if (leaders.of[i] == leaders.of[position] && i % kN != position % kN) {
            return true;
        }
    }
    return false;
}

enum class EarlyCopies { none, some };

// ours against a scheme's that copies nothing early.
void compare_leaders(objr_test* test, const Costs& costs, EarlyCopies copies, u32 rest, const Leaders& ours,
                     const Leaders& theirs) {
    const bool copies_early = copies == EarlyCopies::some;
    for (u32 i = 0; i < kPositions; i++) {
        if (copies_early && at_two_addresses(theirs, i)) {
            // Ours is mapped as well, and with nobody but those who map theirs.
            const bool part = ours.of[i] != kNobody && theirs.of[ours.of[i]] == theirs.of[i];
            if (part) {
                continue;
            }
        } else if (ours.of[i] == theirs.of[i]) {
            continue;
        }
        objr_test_log(test, "scheme %s, rest %u: process %u page %u has leader %u, expected %u", costs.scheme, rest,
                      i / kN, i % kN, ours.of[i], theirs.of[i]);
        objr_test_fail(test, __FILE__, __LINE__, "two schemes have different sets of mappers");
        return;
    }
}

constexpr u32 kMostSchemes = 8;

struct Comparison {
    Leaders rests[kMostSchemes][kRests];
    Costs costs[kMostSchemes];
};

// One that copies nothing early.
const char* reference_scheme() { return same_text(scheme_name(0), "anonmm") ? scheme_name(1) : scheme_name(0); }

void replay(objr_test* test, const char* scheme, Switching switching, Leaders* rests, Costs& costs) {
    void* memory = objr_kvzalloc(sizeof(Replay)); // too large for a kernel stack
    OBJR_ASSERT(memory != nullptr);
    Replay* replay = new (memory) Replay(test, scheme, switching, rests, costs);
    if (!objr_test_failed(test)) {
        replay->run();
    }
    replay->~Replay();
    objr_kvfree(memory);
}

void log_costs(objr_test* test, const Costs& costs) {
    OBJR_TEST_LOG("%s: %llu walks, %llu candidates, %llu hits, %llu false", costs.scheme, costs.walks, costs.candidates,
                  costs.hits, costs.false_hits);
    OBJR_TEST_LOG(
        "%s: %llu bytes of map for a page, %llu for a Vma; a fork takes %llu of them and %llu.%llu allocations",
        costs.scheme, costs.bytes / costs.pages, costs.bytes / costs.vmas, costs.fork_bytes / kForks,
        costs.fork_allocations / kForks, costs.fork_allocations * 10 / kForks % 10);
}

// What the texts promise of the costs.
void expect_costs(objr_test* test, const Costs& costs) {
    OBJR_EXPECT_EQ(costs.hits + costs.false_hits, costs.candidates);
    if (same_text(costs.scheme, "pte_chain")) {
        OBJR_EXPECT_EQ(costs.candidates, costs.hits); // spec H4
    }
    if (same_text(costs.scheme, "classic")) {
        OBJR_EXPECT_EQ(costs.fork_bytes, 0); // spec C4
    }
}

// The workload under every scheme, side by side.
void compare_schemes(objr_test* test, Comparison& all) {
    u32 count = 0;
    u32 reference = 0;
    for (; const char* name = scheme_name(count); count++) {
        OBJR_ASSERT(count < kMostSchemes);
        replay(test, name, Switching::never, all.rests[count], all.costs[count]);
        OBJR_PROPAGATE();
        log_costs(test, all.costs[count]);
        expect_costs(test, all.costs[count]);
        reference = same_text(name, reference_scheme()) ? count : reference;
    }
    for (u32 n = 0; n < count; n++) {
        const bool copies = same_text(all.costs[n].scheme, "anonmm");
        for (u32 rest = 0; rest < kRests; rest++) {
            compare_leaders(test, all.costs[n], copies ? EarlyCopies::some : EarlyCopies::none, rest,
                            all.rests[n][rest], all.rests[reference][rest]);
        }
    }
}

// The workload under schemes that change, beginning with each, beside one that stays.
void compare_switching(objr_test* test, Comparison& all) {
    replay(test, reference_scheme(), Switching::never, all.rests[0], all.costs[0]);
    for (u32 n = 0; const char* name = scheme_name(n); n++) {
        all.costs[1] = {};
        replay(test, name, Switching::at_rests, all.rests[1], all.costs[1]);
        OBJR_PROPAGATE();
        for (u32 rest = 0; rest < kRests; rest++) {
            compare_leaders(test, all.costs[1], EarlyCopies::some, rest, all.rests[1][rest], all.rests[0][rest]);
        }
    }
}

void with_comparison(objr_test* test, void (*run)(objr_test*, Comparison&)) {
    auto* comparison = static_cast<Comparison*>(objr_kvzalloc(sizeof(Comparison)));
    OBJR_ASSERT(comparison != nullptr);
    run(test, *comparison);
    objr_kvfree(comparison);
}

} // namespace

OBJR_TEST(spec_U1_answers_equal_forward_scan) { with_comparison(test, compare_schemes); }
OBJR_TEST(spec_U1_switching_changes_no_answer) { with_comparison(test, compare_switching); }
