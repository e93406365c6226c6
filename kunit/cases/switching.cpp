// SPDX-License-Identifier: GPL-2.0
// switching.cpp: spec U1: from one reverse map to another while there is something in it.
#include "fixture.h"
#include "text_fixture.h"

#include "objrmap/text.h"

using namespace objr;
using namespace objr::test;

namespace {

constexpr u32 kPages = 24;
constexpr u32 kFamily = 5;

u32 scheme_count() {
    u32 n = 0;
    while (scheme_name(n)) {
        n++;
    }
    return n;
}

// The guest, emulated and with all its checks, does not try each pair, but each scheme from and to.
bool is_tried(u32 from, u32 to) { return __STDC_HOSTED__ != 0 || to == (from + 1) % scheme_count(); }

Status switch_to(World& world, const char* name) {
    WordsOf<120> reason;
    return switch_scheme(world, *find_scheme(name), reason.words);
}

// A family over three generations: pages that are shared by all, by some, by nobody, of an object and of a private view of it.
class Family : Pinned {
public:
    Family(objr_test* test, TestWorld& world)
        : test_(test), world_(world), object_(test, world, "switched", 8), processes_(test, world, kFamily) {}

    void grow() {
        objr_test* test = test_;
        Process& founder = processes_[0];
        OBJR_ASSERT(founder.map(0, 8) && founder.map(8, 16, kShared, object_.get(), 0) &&
                    founder.map(16, 24, kReadWrite, object_.get(), 0));
        for (u64 page = 0; page < kPages; page++) {
            founder.store(page, 1000 + page);
        }
        OBJR_ASSERT(founder.fork_to(processes_[1]) && founder.fork_to(processes_[2]));
        processes_[1].store(1, 1);
        processes_[2].store(2, 2);
        OBJR_ASSERT(processes_[1].fork_to(processes_[3]) && processes_[3].fork_to(processes_[4]));
        processes_[3].store(17, 3);
        processes_[4].store(3, 4);
        processes_[4].store(9, 5);
        processes_[1].exit(); // the generation in the middle
        OBJR_ASSERT(processes_[2].unmap(4, 6));
    }

    // Every entry of every process, in order.
    void note(Pte (&entries)[kFamily][kPages]) {
        for (u32 n = 0; n < kFamily; n++) {
            for (u32 page = 0; page < kPages; page++) {
                entries[n][page] = processes_[n].alive() ? processes_[n].pte(page) : Pte();
            }
        }
    }
    // How many mappings the reverse map finds of each page, against the page's own count.
    void expect_found() {
        objr_test* test = test_;
        for (u32 n = 0; n < kFamily; n++) {
            for (u32 page = 0; page < kPages && processes_[n].alive(); page++) {
                if (Page* present = processes_[n].page(page)) {
                    OBJR_EXPECT_EQ(count_mappers(*world_, *present), present->mappings());
                }
            }
        }
    }
    Process& operator[](u32 n) { return processes_[n]; }

private:
    objr_test* test_;
    TestWorld& world_;
    Object object_;
    Processes processes_;
};

struct Entries {
    Pte pte[kFamily][kPages];
};

} // namespace

OBJR_TEST(spec_U1_switch_changes_no_entry) {
    TestWorld world(test, 1, 4, "chain");
    Family family(test, world);
    OBJR_PROPAGATE();
    family.grow();
    OBJR_PROPAGATE();
    auto* before = static_cast<Entries*>(objr_kvzalloc(2 * sizeof(Entries)));
    OBJR_ASSERT(before != nullptr);
    Entries* after = before + 1;
    family.note(before->pte);
    for (u32 from = 0; from < scheme_count(); from++) {
        for (u32 to = 0; to < scheme_count(); to++) {
            OBJR_EXPECT(switch_to(*world, scheme_name(from)));
            OBJR_EXPECT(switch_to(*world, scheme_name(to)));
            OBJR_EXPECT(world.is(scheme_name(to)));
            world.verify();
            family.expect_found();
            family.note(after->pte);
            OBJR_EXPECT_EQ(__builtin_memcmp(before, after, sizeof(Entries)), 0);
        }
    }
    objr_kvfree(before);
}

// What was made under one scheme goes on under the next: fork, copy, split, exit.
OBJR_TEST(spec_U1_life_goes_on_after_a_switch) {
    for (u32 from = 0; from < scheme_count(); from++) {
        for (u32 to = 0; to < scheme_count(); to++) {
            if (!is_tried(from, to)) {
                continue;
            }
            TestWorld world(test, 1, 4, scheme_name(from));
            Family family(test, world);
            Process late(test, world);
            OBJR_PROPAGATE();
            family.grow();
            OBJR_ASSERT(switch_to(*world, scheme_name(to)));
            OBJR_ASSERT(family[4].fork_to(late));
            late.store(0, 77);
            family[0].store(0, 78);
            late.store(20, 79);
            OBJR_EXPECT(late.unmap(2, 3));
            OBJR_EXPECT(family[0].mm().protect(at(5), at(7), OBJR_VM_READ));
            OBJR_EXPECT_EQ(family[4].load(0), 1000);
            OBJR_EXPECT_EQ(family[3].load(17), 3);
            OBJR_EXPECT_EQ(late.load(9), 5);
            world.verify();
            family.expect_found();
            family[0].exit();
            OBJR_EXPECT_EQ(late.load(1), 1);
            world.verify();
        }
    }
}

OBJR_TEST(spec_U1_switch_without_memory) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    for (u32 from = 0; from < scheme_count(); from++) {
        for (u32 to = 0; to < scheme_count(); to++) {
            if (!is_tried(from, to)) {
                continue;
            }
            TestWorld world(test, 1, 4, scheme_name(from));
            Family family(test, world);
            OBJR_PROPAGATE();
            family.grow();
            for (unsigned n = 1; from != to; n++) {
                objr_test_fail_nth_allocation(n);
                const Status status = switch_to(*world, scheme_name(to));
                const bool reached = objr_test_allocations() >= n;
                objr_test_fail_nth_allocation(0);
                OBJR_EXPECT(world.is(scheme_name(reached ? from : to)));
                OBJR_EXPECT_EQ(status.as_int(), reached ? -OBJR_ENOMEM : 0);
                world.verify();
                if (!reached || objr_test_failed(test)) {
                    break;
                }
            }
        }
    }
}

OBJR_TEST(spec_U1_switch_with_nothing_mapped) {
    for (u32 to = 0; to < scheme_count(); to++) {
        TestWorld world(test, 1, 4, "chain");
        Object object(test, world, "empty", 4);
        Process a(test, world);
        OBJR_ASSERT(a.map(0, 4) && a.map(8, 12, kShared, object.get(), 0)); // not touched
        OBJR_EXPECT(switch_to(*world, scheme_name(to)));
        world.verify();
        a.store(0, 1);
        a.store(8, 1);
        OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0)), 1);
        OBJR_EXPECT_EQ(count_mappers(*world, *a.page(8)), 1);
    }
}

OBJR_TEST(scheme_names_are_checked) {
    TestWorld world(test, 1, 4, "chain");
    OBJR_PROPAGATE();
    char reason[120];
    OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), "classical", reason, sizeof(reason)), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(reason, "classical");
    OBJR_EXPECT_TEXT(reason, "classic");
    OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), "", reason, sizeof(reason)), -OBJR_EINVAL);
    OBJR_EXPECT(world.is("chain"));
}
