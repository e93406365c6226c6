// SPDX-License-Identifier: GPL-2.0
// From the MMU's accessed bits to the module's. An MMU is asked under no rmap lock (rule L4), so this goes in rounds: a walk notes
// some mappings, their MMUs are asked, a second walk marks the entries of those that were used, wherever they still are.
#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

namespace {

class Round : Pinned {
public:
    Round(World& world, Page& page) : world_(world), page_(page) {}
    ~Round() {
        for (u32 i = 0; i < count_; i++) {
            if (entries_[i].region) {
                objr_region_put(entries_[i].region);
            }
            entries_[i].mm->put();
        }
    }

    // Note mappings, without the first `skip`. False: there were no more than these.
    bool note(u32 skip) {
        bool more = false;
        WalkCost cost;
        rmap_walk(world_, page_, EarlyStop::yes, cost, [&](const Mapping& mapping) {
            if (skip != 0) {
                skip--;
                return Visit::go_on;
            }
            if (count_ == kEntries) {
                more = true;
                return Visit::stop;
            }
            add(mapping);
            return Visit::go_on;
        });
        return more;
    }

    // Returns how many were used.
    u32 ask(Harvest mode) {
        u32 used = 0;
        for (u32 i = 0; i < count_; i++) {
            Entry& entry = entries_[i];
            entry.used = entry.mm->mmu().harvest(entry.region, entry.address, mode).young;
            used += entry.used ? 1 : 0;
        }
        return used;
    }

    void mark() {
        WalkCost cost;
        rmap_walk(world_, page_, EarlyStop::yes, cost, [&](const Mapping& mapping) {
            if (!mapping.pte.young() && was_used(mapping)) {
                mapping.table.set_bits(mapping.address, Pte::kAccessed);
            }
            return Visit::go_on;
        });
    }

    static constexpr u32 kEntries = 16;

private:
    struct Entry {
        Mm* mm;
        objr_region* region;
        Vaddr address;
        bool used;
    };

    void add(const Mapping& mapping) {
        mapping.vma.mm->get();
        if (mapping.vma.region) {
            objr_region_get(mapping.vma.region);
        }
        entries_[count_++] = {mapping.vma.mm, mapping.vma.region, mapping.address, false};
    }

    bool was_used(const Mapping& mapping) const {
        for (u32 i = 0; i < count_; i++) {
            const Entry& entry = entries_[i];
            if (entry.used && entry.mm == mapping.vma.mm && entry.address == mapping.address) {
                return true;
            }
        }
        return false;
    }

    World& world_;
    Page& page_;
    Entry entries_[kEntries];
    u32 count_ = 0;
};

} // namespace

u32 harvest_accessed(World& world, Page& page, Harvest mode) {
    u32 used = 0;
    bool more = true;
    for (u32 done = 0; more; done += Round::kEntries) {
        Round round(world, page);
        more = round.note(done);
        if (u32 here = round.ask(mode); here != 0) {
            used += here;
            round.mark();
        }
    }
    return used;
}

} // namespace objr
