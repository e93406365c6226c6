// SPDX-License-Identifier: GPL-2.0
// trees.cpp: lists, red-black trees and priority search trees against naive models; the cost of a query; vm_sets.
//
// Random tests run a fixed list of seeds and name the failing one. The guest (emulated, with KASAN) gets fewer steps.
#include "cases/test.h"

#include "objrmap/interval_tree.h"
#include "objrmap/intrusive.h"
#include "objrmap/prio_tree.h"
#include "objrmap/rbtree.h"

#include <new>

using namespace objr;

namespace {

#ifdef __KERNEL__
constexpr u32 kScale = 4;
#else
constexpr u32 kScale = 10;
#endif

constexpr u64 kMost = ~u64{0};

// Sebastiano Vigna's splitmix64.
class Random {
public:
    explicit Random(u64 seed) : state_(seed) {}

    u64 wide() {
        u64 z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    u64 below(u64 bound) { return wide() % bound; }
    u64 any_width() { return wide() >> below(64); } // all magnitudes alike

private:
    u64 state_;
};

// Objects in one piece of kernel memory. ok() tells whether there was any.
template <class T>
class Array {
public:
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may well be a pointer
    explicit Array(u32 count) : memory_(static_cast<T*>(objr_kvzalloc(u64{count} * sizeof(T)))) {
        for (u32 i = 0; memory_ && i < count; i++)
            new (&memory_[i]) T;
    }
    ~Array() { objr_kvfree(memory_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    bool ok() const { return memory_; }
    T& operator[](u64 i) { return memory_[i]; }

private:
    T* memory_;
};

// What check() said, as a failure of the test.
bool sound(objr_test* test, const char* broken) {
    if (!broken) return true;
    objr_test_fail(test, __FILE__, __LINE__, broken);
    return false;
}

// ---- lists ------------------------------------------------------------------------------------------------------

struct Item {
    u32 value = 0;
    ListNode other; // so that the offset of the next one is not that of the first field
    ListNode link;
};
using Items = List<Item, &Item::link>;

constinit Items unused_list;

// The list holds exactly these values, forwards and backwards.
bool holds(Items& list, const u32* values, u32 count) {
    u32 n = 0;
    for (const Item& item : list) {
        if (n >= count || item.value != values[n]) return false;
        n++;
    }
    if (n != count) return false;
    for (const Item* item = list.back(); item; item = list.prev(*item)) {
        if (n == 0 || item->value != values[--n]) return false;
    }
    for (const Item* item = list.front(); item; item = list.next(*item)) {
        if (n >= count || item->value != values[n++]) return false;
    }
    return n == count && list.empty() == (count == 0) && !list.check();
}

// One seed: random insertions and removals in two lists, beside arrays of the same order.
void list_against_naive(objr_test* test, u64 seed) {
    constexpr u32 kItems = 32;
    Random random(seed);
    Array<Item> items(kItems);
    OBJR_ASSERT(items.ok());
    Items list;
    u32 model[kItems];
    u32 count = 0;
    for (u32 i = 0; i < kItems; i++)
        items[i].value = i;

    for (u32 step = 0; step < 200 * kScale; step++) {
        Item& item = items[random.below(kItems)];
        u32 at = 0;
        if (item.link.linked()) {
            while (model[at] != item.value)
                at++;
            Items::erase(item);
            OBJR_ASSERT(!item.link.linked());
            count--;
            for (u32 i = at; i < count; i++)
                model[i] = model[i + 1];
        } else {
            at = static_cast<u32>(random.below(count + 1));
            const bool behind = random.below(2);
            if (at == 0 && (count == 0 || behind))
                list.push_front(item);
            else if (at == count && behind)
                list.push_back(item);
            else if (at == count || (at > 0 && behind))
                Items::insert_after(items[model[at - 1]], item);
            else
                Items::insert_before(items[model[at]], item);
            for (u32 i = count; i > at; i--)
                model[i] = model[i - 1];
            model[at] = item.value;
            count++;
        }
        OBJR_ASSERT(holds(list, model, count));
    }
    list.clear();
    OBJR_EXPECT(list.empty());
}

} // namespace

OBJR_TEST(tree_list) {
    OBJR_EXPECT(unused_list.empty());
    OBJR_EXPECT(!unused_list.front() && !unused_list.back() && !unused_list.pop_front());
    OBJR_EXPECT(holds(unused_list, nullptr, 0));

    Items list;
    Items second;
    Item items[6];
    for (u32 i = 0; i < 6; i++)
        items[i].value = i;
    for (Item& item : items)
        list.push_back(item);
    OBJR_EXPECT(&container_of<&Item::link>(items[3].link) == &items[3]);
    OBJR_EXPECT(list.front() == &items[0] && list.back() == &items[5]);

    for (Item& item : list.safe()) {
        if (item.value % 2) Items::erase(item);
    }
    const u32 even[] = {0, 2, 4};
    OBJR_EXPECT(holds(list, even, 3));

    second.push_front(items[5]);
    second.splice_back(list);
    const u32 spliced[] = {5, 0, 2, 4};
    OBJR_EXPECT(holds(second, spliced, 4) && holds(list, nullptr, 0));
    list.splice_back(unused_list);
    OBJR_EXPECT(holds(list, nullptr, 0));

    list.move_back(items[2]);
    const u32 left[] = {5, 0, 4};
    OBJR_EXPECT(holds(second, left, 3) && list.front() == &items[2]);
    OBJR_EXPECT(list.pop_front() == &items[2] && list.empty() && !items[2].link.linked());
    second.clear();
    for (const Item& item : items)
        OBJR_EXPECT(!item.link.linked() && !item.other.linked());
}

OBJR_TEST(tree_list_against_naive) {
    for (u64 seed = 1; seed <= 10; seed++) {
        list_against_naive(test, seed);
        if (objr_test_failed(test)) {
            OBJR_TEST_LOG("seed %llu", seed);
            return;
        }
    }
}

// ---- red-black trees --------------------------------------------------------------------------------------------

namespace {

// A region with an address order and, in `plain`, the same order without augmentation.
struct Region {
    u64 start = 0;
    u64 end = 0;
    RbNode plain;
    u64 greatest_end = 0;
    RbNode link;
};

struct GreatestEnd {
    static constexpr u64 Region::*kStored = &Region::greatest_end;
    static u64 compute(const Region& region, const Region* left, const Region* right) {
        u64 value = region.end;
        if (left) value = max(value, left->greatest_end);
        if (right) value = max(value, right->greatest_end);
        return value;
    }
};

using Regions = RbTree<Region, &Region::link, GreatestEnd>;
using PlainRegions = RbTree<Region, &Region::plain>;

bool starts_before(const Region& a, const Region& b) { return a.start < b.start; }

// Both trees, and a sorted array of the regions that are in them.
struct RegionModel {
    static constexpr u32 kMost = 160;

    explicit RegionModel(u64 seed) : random(seed), regions(kMost), spare(kMost), order(kMost) {
        for (u32 i = 0; spare.ok() && i < kMost; i++)
            spare[i] = i;
    }

    // Index of the first region for which start is not less (or, with equal ones passed over, is greater).
    u32 position(u64 start, bool pass_equal) {
        u32 at = 0;
        while (at < count && (order[at]->start < start || (pass_equal && order[at]->start == start)))
            at++;
        return at;
    }

    void insert(u64 start, u64 end) {
        Region& region = regions[spare[kMost - 1 - count]];
        region.start = start;
        region.end = end;
        const u32 at = position(start, true);
        const u64 way = random.below(3);
        if (way == 1 && at > 0)
            tree.insert_after(*order[at - 1], region);
        else if (way == 2 && at < count)
            tree.insert_before(*order[at], region);
        else
            tree.insert(region, starts_before);
        plain.insert(region, starts_before);
        for (u32 i = count; i > at; i--)
            order[i] = order[i - 1];
        order[at] = &region;
        count++;
    }

    void erase(u32 at) {
        Region& region = *order[at];
        tree.erase(region);
        plain.erase(region);
        count--;
        for (u32 i = at; i < count; i++)
            order[i] = order[i + 1];
        spare[kMost - 1 - count] = static_cast<u32>(&region - &regions[0]);
    }

    // Another object, with another end, takes the place of the one at this position.
    void replace(u32 at, u64 end) {
        if (count == kMost) return;
        Region& old = *order[at];
        Region& fresh = regions[spare[kMost - 1 - count]];
        fresh.start = old.start;
        fresh.end = end;
        tree.replace(old, fresh);
        plain.replace(old, fresh);
        order[at] = &fresh;
        spare[kMost - 1 - count] = static_cast<u32>(&old - &regions[0]);
    }

    // Both trees hold exactly the regions of the array, in its order.
    bool same() {
        u32 n = 0;
        for (Region* at = tree.first(); at; at = Regions::next(*at)) {
            if (n >= count || order[n++] != at) return false;
        }
        if (n != count) return false;
        for (Region* at = tree.last(); at; at = Regions::prev(*at)) {
            if (n == 0 || order[--n] != at) return false;
        }
        for (Region* at = plain.first(); at; at = PlainRegions::next(*at)) {
            if (n >= count || order[n++] != at) return false;
        }
        return n == count && tree.empty() == (count == 0);
    }

    Random random;
    Array<Region> regions;
    Array<u32> spare; // the last kMost - count are free
    Array<Region*> order;
    u32 count = 0;
    Regions tree;
    PlainRegions plain;
};

void rbtree_against_naive(objr_test* test, u64 seed) {
    RegionModel model(seed);
    OBJR_ASSERT(model.regions.ok() && model.spare.ok() && model.order.ok());
    Random& random = model.random;
    const u32 target = static_cast<u32>(1 + random.below(RegionModel::kMost - 1));
    const u64 span = 1 + random.any_width();

    for (u32 step = 0; step < 300 * kScale; step++) {
        const u64 dice = random.below(100);
        const bool grow = dice < (model.count < target ? 60 : 40);
        if (model.count == 0 || (grow && model.count < RegionModel::kMost))
            model.insert(random.below(span), random.below(1000));
        else if (dice < 85)
            model.erase(static_cast<u32>(random.below(model.count)));
        else if (dice < 92)
            model.replace(static_cast<u32>(random.below(model.count)), random.below(1000));
        else {
            Region& region = *model.order[random.below(model.count)];
            region.end = random.below(1000);
            model.tree.refresh(region);
        }

        const u64 start = random.below(span);
        const u32 at = model.position(start, false);
        const Region* found = model.tree.lower_bound([start](const Region& region) { return region.start < start; });
        OBJR_ASSERT(found == (at < model.count ? model.order[at] : nullptr));
        if (step % 8 && model.count > 12) continue;
        OBJR_ASSERT(sound(test, model.tree.check(starts_before)));
        OBJR_ASSERT(sound(test, model.plain.check(starts_before)));
        OBJR_ASSERT(model.same());
    }
    while (model.count)
        model.erase(static_cast<u32>(random.below(model.count)));
    OBJR_EXPECT(model.tree.empty() && model.plain.empty());
}

} // namespace

OBJR_TEST(tree_rbtree_against_naive) {
    for (u64 seed = 1; seed <= 12; seed++) {
        rbtree_against_naive(test, seed);
        if (objr_test_failed(test)) {
            OBJR_TEST_LOG("seed %llu", seed);
            return;
        }
    }
}

// Ascending, descending and alternating insertion; the depth stays within the bound that R2 and R3 promise.
OBJR_TEST(tree_rbtree_depth) {
    constexpr u32 kRegions = 1024;
    Array<Region> regions(kRegions);
    OBJR_ASSERT(regions.ok());
    for (u32 shape = 0; shape < 3; shape++) {
        PlainRegions tree;
        for (u32 i = 0; i < kRegions; i++) {
            regions[i].start = shape == 0 ? i : shape == 1 ? kRegions - i : i % 2 ? i : 2 * kRegions - i;
            tree.insert(regions[i], starts_before);
        }
        OBJR_EXPECT(sound(test, tree.check(starts_before)));
        u32 deepest = 0;
        for (const Region* at = tree.first(); at; at = PlainRegions::next(*at)) {
            u32 depth = 0;
            for (const Region* above = at; above; above = PlainRegions::parent(*above))
                depth++;
            deepest = max(deepest, depth);
        }
        OBJR_EXPECT(deepest <= 20); // 2 log2(1025)
        while (Region* region = tree.first())
            tree.erase(*region);
    }
}

// ---- priority search trees --------------------------------------------------------------------------------------

namespace {

struct Mapping {
    u64 seen_by = 0; // the last query that found it
    PrioNode node;
};

// How the pairs of a random test are made.
enum class Shape : u32 {
    kManyEqual,
    kEqualStart,
    kNested,
    kAnything,
    kTopOfRange,
    kSinglePoints,
    kWidePoints,
    kFewStarts,
    kToTheEnd,
    kPowersOfTwo,
    kCount,
};

u64 end_of(u64 first, u64 pages) { return pages <= kMost - first ? first + pages : kMost; }

void make_pair(Random& random, Shape shape, PrioNode& node) {
    u64 a = 0;
    u64 b = 0;
    switch (shape) {
    case Shape::kManyEqual:
        a = random.below(64);
        b = a + random.below(12);
        break;
    case Shape::kEqualStart:
        a = 7;
        b = a + random.below(200);
        break;
    case Shape::kNested:
        a = random.below(500);
        b = 1000 - a;
        break;
    case Shape::kTopOfRange:
        a = kMost - random.below(50);
        b = end_of(a, random.below(60));
        break;
    case Shape::kSinglePoints: a = b = random.below(64); break;
    case Shape::kWidePoints: a = b = random.wide(); break;
    case Shape::kFewStarts:
        a = random.below(4) << 62;
        b = end_of(a, random.any_width());
        break;
    case Shape::kToTheEnd:
        a = random.any_width();
        b = kMost - random.any_width();
        break;
    case Shape::kPowersOfTwo:
        a = u64{1} << random.below(64);
        b = end_of(a, (u64{1} << random.below(64)) - 1);
        break;
    default:
        a = random.wide();
        b = random.wide();
        break;
    }
    node.first = min(a, b);
    node.last = max(a, b);
}

// A tree, and the mappings that are in it without any order.
struct MappingModel {
    static constexpr u32 kMost = 256;

    explicit MappingModel(u64 seed) : random(seed), mappings(kMost), live(kMost) {
        for (u32 i = 0; live.ok() && i < kMost; i++)
            live[i] = &mappings[i];
    }

    PrioNode& any() { return live[random.below(count)]->node; }

    void insert(Shape shape) {
        PrioNode& node = live[count++]->node;
        make_pair(random, shape, node);
        tree.insert(node);
    }

    void fork() {
        PrioNode& parent = any();
        PrioNode& child = live[count++]->node;
        child.first = parent.first;
        child.last = parent.last;
        tree.insert_sibling(child, parent);
    }

    void erase() {
        const u64 at = random.below(count);
        Mapping* mapping = live[at];
        tree.erase(mapping->node);
        live[at] = live[--count];
        live[count] = mapping;
    }

    // A range near what is there, or anywhere; often a single point.
    void make_query(u64& a, u64& b) {
        a = count && random.below(2) ? any().first : random.any_width();
        b = count && random.below(2) ? any().last : end_of(a, random.below(30));
        if (random.below(3) == 0) b = a;
        if (a > b) {
            const u64 c = a;
            a = b;
            b = c;
        }
    }

    Random random;
    Array<Mapping> mappings;
    Array<Mapping*> live; // the first count are in the tree
    u32 count = 0;
    u64 queries = 0;
    PrioTree tree;
};

// One query: every mapping that overlaps, each once, and no other; no more tree nodes looked at than promised; a visit that
// is to stop stops.
void query_against_naive(objr_test* test, MappingModel& model) {
    u64 a = 0;
    u64 b = 0;
    model.make_query(a, b);
    model.queries++;
    u64 expected = 0;
    u64 pairs = 0;
    for (u32 i = 0; i < model.count; i++) {
        const PrioNode& node = model.live[i]->node;
        expected += node.overlaps(a, b);
        pairs += node.overlaps(a, b) && node.in_tree();
    }
    u64 found = 0;
    u64 wrong = 0;
    u64 visited = 0;
    const bool all = model.tree.visit(
        a, b,
        [&](PrioNode& node) {
            Mapping& mapping = container_of<&Mapping::node>(node);
            wrong += mapping.seen_by == model.queries || !node.overlaps(a, b);
            mapping.seen_by = model.queries;
            found++;
            return true;
        },
        &visited);
    OBJR_ASSERT(all && wrong == 0);
    OBJR_ASSERT_EQ(found, expected);
    OBJR_ASSERT(visited <= 1 + 2 * (static_cast<u64>(model.tree.index_bits()) + pairs));
    if (expected < 2) return;
    const u64 limit = 1 + model.random.below(expected - 1);
    found = 0;
    OBJR_ASSERT(!model.tree.visit(a, b, [&](PrioNode&) { return ++found < limit; }));
    OBJR_ASSERT_EQ(found, limit);
}

void prio_tree_against_naive(objr_test* test, u64 seed, Shape shape) {
    MappingModel model(seed);
    OBJR_ASSERT(model.mappings.ok() && model.live.ok());
    Random& random = model.random;
    const u32 target = static_cast<u32>(1 + random.below(MappingModel::kMost - 1));

    for (u32 step = 0; step < 150 * kScale; step++) {
        const u64 dice = random.below(100);
        const bool full = model.count == MappingModel::kMost;
        if (model.count == 0 || (!full && dice < (model.count < target ? 50 : 30)))
            model.insert(shape);
        else if (!full && dice < 65)
            model.fork();
        else
            model.erase();
        OBJR_ASSERT_EQ(model.tree.size(), model.count);
        if (step % 4 == 0 || model.count < 10) {
            query_against_naive(test, model);
            OBJR_PROPAGATE();
        }
        if (step % 16 == 0 || model.count < 10) OBJR_ASSERT(sound(test, model.tree.check()));
        if (random.below(1000) != 0) continue;
        while (model.count) {
            model.erase();
            if (model.count % 16 == 0) OBJR_ASSERT(sound(test, model.tree.check()));
        }
        OBJR_ASSERT(model.tree.empty() && model.tree.index_bits() == 0);
    }
    while (model.count)
        model.erase();
    OBJR_EXPECT(model.tree.empty() && sound(test, model.tree.check()));
    for (u32 i = 0; i < MappingModel::kMost; i++)
        OBJR_ASSERT(!model.mappings[i].node.linked());
}

} // namespace

OBJR_TEST(spec_C16_prio_tree_against_naive) {
    for (u64 seed = 1; seed <= 2; seed++) {
        for (u32 shape = 0; shape < static_cast<u32>(Shape::kCount); shape++) {
            prio_tree_against_naive(test, seed, Shape{shape});
            if (objr_test_failed(test)) {
                OBJR_TEST_LOG("seed %llu shape %u", seed, shape);
                return;
            }
        }
    }
}

// The smallest trees, and both ends of the range of offsets.
OBJR_TEST(spec_C16_prio_tree_edges) {
    PrioTree tree;
    PrioNode zero;
    PrioNode whole;
    PrioNode top;
    whole.last = kMost;
    top.first = top.last = kMost;
    u64 visited = 0;
    const auto hits = [&](u64 a, u64 b) {
        u32 n = 0;
        tree.visit(
            a, b,
            [&](PrioNode&) {
                n++;
                return true;
            },
            &visited);
        return n;
    };

    OBJR_EXPECT_EQ(hits(0, kMost), 0);
    OBJR_EXPECT_EQ(visited, 0);
    tree.insert(zero);
    OBJR_EXPECT_EQ(tree.index_bits(), 0);
    OBJR_EXPECT_EQ(hits(0, 0), 1);
    OBJR_EXPECT_EQ(hits(1, kMost), 0);

    // A long mapping at 0 makes no path longer; a far one does.
    tree.insert(whole);
    OBJR_EXPECT_EQ(tree.index_bits(), 0);
    tree.insert(top);
    OBJR_EXPECT_EQ(tree.index_bits(), 64);
    OBJR_EXPECT(sound(test, tree.check()));
    OBJR_EXPECT_EQ(hits(0, 0), 2);
    OBJR_EXPECT_EQ(hits(1, 1), 1);
    OBJR_EXPECT_EQ(hits(kMost, kMost), 2);
    OBJR_EXPECT_EQ(hits(0, kMost), 3);

    tree.erase(whole);
    OBJR_EXPECT_EQ(hits(1, kMost - 1), 0);
    OBJR_EXPECT(sound(test, tree.check()));
    tree.erase(top);
    tree.erase(zero);
    OBJR_EXPECT(tree.empty() && tree.index_bits() == 0);
}

// Growth of index_bits, one bit at a time and by leaps, over trees of every small size, keeps every node in its place.
OBJR_TEST(spec_C16_prio_tree_expands) {
    constexpr u32 kMappings = 40;
    Array<Mapping> mappings(kMappings);
    OBJR_ASSERT(mappings.ok());
    constexpr int kLeaps[] = {1, 3, 20, 63};
    for (int leap : kLeaps) {
        PrioTree tree;
        Random random(static_cast<u64>(leap));
        u32 count = 0;
        for (int bit = 0; bit < 64 && count + 3 <= kMappings; bit += leap) {
            for (u32 i = 0; i < 3; i++) {
                PrioNode& node = mappings[count++].node;
                node.first = (u64{1} << bit) + (i ? random.wide() & ((u64{1} << bit) - 1) : 0);
                node.last = end_of(node.first, random.any_width());
                tree.insert(node);
                OBJR_ASSERT(sound(test, tree.check()));
                OBJR_ASSERT_EQ(tree.index_bits(), bit + 1);
            }
        }
        while (count)
            tree.erase(mappings[--count].node);
        OBJR_EXPECT(tree.empty());
    }
}

// ---- the cost of a query ------------------------------------------------------------------------------------------

namespace {

struct Cost {
    u64 most = 0;
    u64 sum = 0;
    u64 found = 0;
};

// Stab a tree over [0, span) at random.
Cost stab(const PrioTree& tree, u64 span, u32 queries) {
    Random random(span);
    Cost cost;
    for (u32 i = 0; i < queries; i++) {
        const u64 at = random.below(span);
        u64 visited = 0;
        tree.visit(
            at, at,
            [&](PrioNode&) {
                cost.found++;
                return true;
            },
            &visited);
        cost.most = max(cost.most, visited);
        cost.sum += visited;
    }
    return cost;
}

u32 log2_up(u64 value) {
    u32 bits = 0;
    while (bits < 63 && (u64{1} << bits) < value)
        bits++;
    return bits;
}

// n windows of 16 pages, side by side (many VMAs of one file), inserted in random order: every stab finds one.
Cost cost_of_windows(objr_test* test, u32 n, u32 queries) {
    constexpr u64 kWindow = 16;
    Random random(n);
    Array<Mapping> mappings(n);
    Array<u32> order(n);
    PrioTree tree;
    if (!mappings.ok() || !order.ok()) {
        objr_test_fail(test, __FILE__, __LINE__, "no memory for the mappings");
        return {};
    }
    for (u32 i = 0; i < n; i++) {
        const u64 other = random.below(i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    for (u32 i = 0; i < n; i++) {
        PrioNode& node = mappings[i].node;
        node.first = order[i] * kWindow;
        node.last = node.first + kWindow - 1;
        tree.insert(node);
    }
    OBJR_EXPECT(sound(test, tree.check()));
    const Cost cost = stab(tree, n * kWindow, queries);
    OBJR_EXPECT_EQ(cost.found, queries);
    return cost;
}

} // namespace

OBJR_TEST(spec_C16_stabbing_cost) {
    constexpr u32 kQueries = 200 * kScale;
    u64 before = 0;
    for (u32 n = 100; n <= 10000 * kScale; n *= 10) {
        const Cost cost = cost_of_windows(test, n, kQueries);
        OBJR_PROPAGATE();
        const u64 average = cost.sum * 100 / kQueries;
        OBJR_TEST_LOG("stab, n=%u disjoint windows, 1 found: nodes visited %llu.%02llu on average, %llu at most", n,
                      average / 100, average % 100, cost.most);
        // 4 bits of offset in each window
        OBJR_EXPECT(cost.most <= 1 + 2 * (log2_up(n) + 4 + 1));
        // Ten times the windows: 3.3 levels more, at most 4 as levels are whole bits; two nodes on each; in hundredths.
        if (before) OBJR_EXPECT(average <= before + 800);
        before = average;
    }
}

// All mappings start at one page and differ in length only: the overflow to sizes. The longest is found at once.
OBJR_TEST(spec_C16_stabbing_cost_equal_start) {
    constexpr u32 kMappings = 1000 * kScale;
    Array<Mapping> mappings(kMappings);
    OBJR_ASSERT(mappings.ok());
    PrioTree tree;
    for (u32 i = 0; i < kMappings; i++) {
        mappings[i].node.first = 4711;
        mappings[i].node.last = 4711 + u64{i};
        tree.insert(mappings[i].node);
    }
    OBJR_EXPECT(sound(test, tree.check()));
    for (u32 found = 1; found <= 10; found++) {
        u64 visited = 0;
        u32 n = 0;
        const u64 at = 4711 + kMappings - found;
        tree.visit(
            at, at,
            [&](PrioNode&) {
                n++;
                return true;
            },
            &visited);
        OBJR_EXPECT_EQ(n, found);
        OBJR_EXPECT(visited <= 1 + 2 * found);
    }
}

// ---- vm_sets --------------------------------------------------------------------------------------------------------

namespace {

// A number that changes when another tree node comes to stand anywhere in the tree.
u64 fingerprint(const PrioTree& tree) {
    u64 hash = 0;
    tree.visit(0, kMost, [&](PrioNode& node) {
        if (node.in_tree()) hash = hash * 0x100000001b3 + reinterpret_cast<u64>(&node);
        return true;
    });
    return hash;
}

} // namespace

OBJR_TEST(spec_C4_vm_set_sibling) {
    constexpr u32 kOthers = 60;
    constexpr u32 kChildren = 100 * kScale;
    Array<Mapping> others(kOthers);
    Array<Mapping> children(kChildren);
    OBJR_ASSERT(others.ok() && children.ok());
    PrioTree tree;
    Random random(4);
    for (u32 i = 0; i < kOthers; i++) {
        make_pair(random, Shape::kNested, others[i].node);
        tree.insert(others[i].node);
    }
    PrioNode parent;
    parent.first = 300;
    parent.last = 301;
    tree.insert(parent);
    const u64 nodes = tree.nodes();
    const u64 size = tree.size();
    const u64 shape = fingerprint(tree);

    // Forks, of the parent and of children: the tree stays as it is, node by node.
    for (u32 i = 0; i < kChildren; i++) {
        PrioNode& child = children[i].node;
        PrioNode& existing = i % 2 ? children[random.below(i)].node : parent;
        child.first = parent.first;
        child.last = parent.last;
        tree.insert_sibling(child, existing);
        OBJR_ASSERT(child.member());
    }
    OBJR_EXPECT_EQ(tree.nodes(), nodes);
    OBJR_EXPECT_EQ(tree.size(), size + kChildren);
    OBJR_EXPECT_EQ(fingerprint(tree), shape);
    OBJR_ASSERT(sound(test, tree.check()));

    // All of them are found, at the price of one tree node.
    u32 in_set = 0;
    u64 visited = 0;
    u64 visited_alone = 0;
    tree.visit(
        301, 301,
        [&](PrioNode& node) {
            in_set += node.same_pair(parent);
            return true;
        },
        &visited);
    OBJR_EXPECT_EQ(in_set, kChildren + 1);

    // The parent leaves first: a child takes its place. Then all the others, in some order; the place never moves.
    tree.erase(parent);
    OBJR_EXPECT(!parent.linked());
    for (u32 i = 0; i < kChildren; i++) {
        OBJR_ASSERT_EQ(tree.nodes(), nodes);
        if (i % 16 == 0) OBJR_ASSERT(sound(test, tree.check()));
        tree.erase(children[(i * 7 + 3) % kChildren].node);
    }
    OBJR_EXPECT_EQ(tree.nodes(), nodes - 1);
    OBJR_EXPECT_EQ(tree.size(), size - 1);
    OBJR_EXPECT(sound(test, tree.check()));

    tree.insert(parent);
    OBJR_EXPECT_EQ(fingerprint(tree), shape);
    tree.visit(
        301, 301, [](PrioNode&) { return true; }, &visited_alone);
    OBJR_EXPECT_EQ(visited, visited_alone);
    tree.erase(parent);
    for (u32 i = 0; i < kOthers; i++)
        tree.erase(others[i].node);
    OBJR_EXPECT(tree.empty());
}

// ---- check() finds what it is there for -------------------------------------------------------------------------------

OBJR_TEST(tree_rbtree_check_finds_defects) {
    Array<Region> regions(7);
    Regions tree;
    OBJR_ASSERT(regions.ok());
    for (u32 i = 0; i < 7; i++) {
        regions[i].start = u64{10} * i;
        regions[i].end = u64{10} * i + 5;
        tree.insert(regions[i], starts_before);
    }
    OBJR_EXPECT(!tree.check(starts_before));
    regions[2].start = 55;
    OBJR_ASSERT(tree.check(starts_before));
    OBJR_EXPECT_TEXT(tree.check(starts_before), "R4");
    regions[2].start = 20;
    regions[6].end = 1000;
    OBJR_ASSERT(tree.check(starts_before));
    OBJR_EXPECT_TEXT(tree.check(starts_before), "R5");
    tree.refresh(regions[6]);
    OBJR_EXPECT(!tree.check(starts_before));
}

OBJR_TEST(spec_C16_check_finds_defects) {
    PrioTree prio;
    Array<PrioNode> nodes(8);
    PrioNode sibling;
    OBJR_ASSERT(nodes.ok());
    for (u32 i = 0; i < 8; i++) {
        nodes[i].first = u64{100} * i;
        nodes[i].last = u64{100} * i + 99;
        prio.insert(nodes[i]);
    }
    sibling.first = nodes[3].first;
    sibling.last = nodes[3].last;
    prio.insert_sibling(sibling, nodes[3]);
    OBJR_EXPECT(!prio.check());
    nodes[0].last = 5000; // not the root: that is nodes[7]
    OBJR_ASSERT(prio.check());
    OBJR_EXPECT_TEXT(prio.check(), "T2");
    nodes[0].last = 99;
    nodes[0].first = 1; // still on the left
    OBJR_EXPECT(!prio.check());
    nodes[0].first = 1023;
    OBJR_ASSERT(prio.check());
    OBJR_EXPECT_TEXT(prio.check(), "T3");
    nodes[0].first = 0;
    sibling.last++;
    OBJR_ASSERT(prio.check());
    OBJR_EXPECT_TEXT(prio.check(), "T4");
    sibling.last--;
    nodes[7].first = u64{1} << 40;
    OBJR_ASSERT(prio.check());
    OBJR_EXPECT_TEXT(prio.check(), "T6");
    nodes[7].first = 700;
    OBJR_EXPECT(!prio.check());
}

// ---- interval trees

namespace {

constexpr u32 kIntervals = 200;

void intervals_against_naive(objr_test* test, u64 seed) {
    Random random(seed);
    Array<IntervalNode> nodes(kIntervals);
    OBJR_ASSERT(nodes.ok());
    IntervalTree tree;
    u64 linked = 0;
    for (u32 step = 0; step < 300 * kScale && !objr_test_failed(test); step++) {
        IntervalNode& node = nodes[random.below(kIntervals)];
        if (node.linked()) {
            tree.erase(node);
            linked--;
        } else {
            node.first = random.below(2) ? random.any_width() : random.below(100);
            const u64 length = random.below(2) ? random.any_width() : random.below(10);
            node.last = node.first + min(length, kMost - node.first);
            tree.insert(node);
            linked++;
        }
        const u64 a = random.below(2) ? random.any_width() : random.below(100);
        const u64 b = a + min(random.below(20), kMost - a);
        u64 expected = 0;
        for (u32 i = 0; i < kIntervals; i++) {
            expected += nodes[i].linked() && nodes[i].first <= b && a <= nodes[i].last ? 1 : 0;
        }
        u64 found = 0;
        u64 before = 0;
        tree.visit(a, b, [&](IntervalNode& hit) {
            OBJR_EXPECT(hit.first <= b && a <= hit.last && hit.first >= before);
            before = hit.first;
            found++;
            return true;
        });
        OBJR_EXPECT_EQ(found, expected);
        OBJR_EXPECT_EQ(tree.size(), linked);
        OBJR_EXPECT(tree.check() == nullptr);
        if (objr_test_failed(test)) {
            OBJR_TEST_LOG("interval tree: seed %llu, step %u", seed, step);
        }
    }
    for (u32 i = 0; i < kIntervals; i++) {
        if (nodes[i].linked()) {
            tree.erase(nodes[i]);
        }
    }
    OBJR_EXPECT(tree.empty());
}

} // namespace

OBJR_TEST(spec_M1_interval_tree_against_naive) {
    for (u64 seed = 1; seed <= 4; seed++) {
        intervals_against_naive(test, seed);
    }
}

// Equal intervals come as they were put: a walk meets the child of a fork behind its parent.
OBJR_TEST(spec_M1_interval_tree_keeps_the_order) {
    IntervalTree tree;
    IntervalNode nodes[4];
    for (IntervalNode& node : nodes) {
        node.first = 5;
        node.last = 9;
    }
    tree.insert(nodes[0]);
    tree.insert(nodes[3]);
    tree.insert_after(nodes[0], nodes[1]);
    tree.insert_after(nodes[1], nodes[2]);
    u32 n = 0;
    const bool all = tree.visit(9, 9, [&](IntervalNode& node) { return &node == &nodes[n] && ++n != 0; });
    OBJR_EXPECT(all);
    OBJR_EXPECT_EQ(n, 4);
    nodes[2].last = 4; // not as it should be
    OBJR_EXPECT(tree.check() != nullptr);
    nodes[2].last = 9;
    for (IntervalNode& node : nodes) {
        tree.erase(node);
    }
}
