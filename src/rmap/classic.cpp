// SPDX-License-Identifier: GPL-2.0
// `classic`: the reverse map of Linux 2.6.24 (mm/rmap.c, lib/prio_tree.c there): one list of Vmas for each anonymous family, one
// priority search tree for each file. A fault sets two words of the page and allocates nothing (spec C3); a fork does a constant
// amount of work for each Vma (C4); a walk pays for it, by looking at relatives that do not map the page.
//
// Locks: AnonVma::lock, shared for walks, exclusive for changes.
#include "objrmap/anon_vma.h"
#include "objrmap/world.h"
#include "rebuild.h"
#include "schemes.h"

namespace objr {

namespace {

void join(AnonVma& anon_vma, Vma& vma) {
    vma.anon_vma = &anon_vma;
    anon_vma.vmas.push_back(vma);
    anon_vma.vma_count.fetch_add(1);
}

class Classic final : public Scheme {
public:
    constexpr Classic()
        : Scheme({.name = "classic",
                  .rules = Rules::linux_2_6_24,
                  .file_index = FileIndex::Kind::prio_tree,
                  .tracks_entries = false,
                  .tracks_moves = false,
                  .counts_mapped = false,
                  .copies_on_move = false,
                  .walks_unlocked = true}) {}

    // ---- Vmas

    Status prepare_anon(Vma& vma) override {
        if (vma.anon()) {
            return {};
        }
        World& world = vma.mm->world();
        AnonVma* anon_vma = mergeable_anon_vma(vma, [](const Vma&) { return true; });
        bool fresh = !anon_vma;
        if (fresh) {
            anon_vma = OBJR_TRY(new_anon_vma(world));
        }
        bool joined = false;
        {
            Guard guard(anon_vma->lock);
            Guard upper(vma.mm->upper_lock());
            if (!vma.anon_vma) { // else another fault of this Mm was faster
                anon_vma->vmas.push_back(vma);
                anon_vma->vma_count.fetch_add(1);
                __atomic_store_n(&vma.anon_vma, anon_vma, __ATOMIC_RELEASE);
                joined = true;
            }
        }
        if (!joined && fresh) {
            put_anon_vma(world, anon_vma);
        }
        return {};
    }

    Status forked(Vma& child, Vma& parent) override {
        if (parent.anon_vma) {
            Guard guard(parent.anon_vma->lock);
            join(*parent.anon_vma, child);
        }
        return {};
    }

    void unlinked(Vma& vma) override {
        AnonVma* anon_vma = vma.anon_vma;
        if (!anon_vma) {
            return;
        }
        bool last;
        {
            Guard guard(anon_vma->lock);
            anon_vma->vmas.erase(vma);
            last = anon_vma->vma_count.fetch_sub(1) == 1;
            vma.anon_vma = nullptr;
        }
        if (last) {
            put_anon_vma(vma.mm->world(), anon_vma);
        }
    }

    void begin_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.anon_vma) {
            vma.anon_vma->lock.lock();
        }
    }

    void end_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.anon_vma) {
            vma.anon_vma->lock.unlock();
        }
    }

    void split(Vma& fresh, Vma& old) override {
        if (old.anon_vma) {
            fresh.anon_vma = old.anon_vma;
            old.anon_vma->vmas.insert_after(old, fresh);
            old.anon_vma->vma_count.fetch_add(1);
        }
    }

    bool can_merge(const Vma& left, const Vma& right) const override {
        return left.anon_vma == right.anon_vma || !left.anon_vma || !right.anon_vma;
    }
    bool right_survives(const Vma&, const Vma& right) const override { return right.anon_vma != nullptr; }

    void merged(Vma& survivor, Vma& gone) override {
        if (gone.anon_vma) {
            survivor.anon_vma->vmas.erase(gone);
            survivor.anon_vma->vma_count.fetch_sub(1);
            gone.anon_vma = nullptr;
        }
    }

    // ---- pages

    void adopt(Page& page, Vma& vma, Vaddr address, Exclusivity) override {
        page.index = vma.pgoff_of(address);
        page.set_mapping(MappingWord::anon(vma.anon()));
    }

    void visit(World& world, Page& page, Locking locking, CandidateVisitor& visitor, WalkCost& cost) override
        OBJR_THREAD(no_thread_safety_analysis) {
        AnonVma* anon_vma = get_anon_vma_of(page);
        if (!anon_vma) {
            cost.stop = StopReason::unmapped;
            return;
        }
        if (lock_family_shared(*anon_vma, locking, cost)) {
            for (Vma& vma : anon_vma->vmas) {
                Vaddr address;
                if (vma.address_of(page.index, &address) &&
                    visitor.candidate(vma, address, Why::anon_list) == Visit::stop) {
                    break;
                }
            }
            anon_vma->lock.unlock_shared();
        }
        put_anon_vma(world, anon_vma);
    }

    // ---- live switch: each family a list

    Status prepare_rebuild(World&, Rebuild& rebuild) override {
        Status status;
        rebuild.each_anon_vma_owner([&](Vma& vma) {
            if (status && &Rebuild::family_of(vma) == &vma) {
                status = rebuild.reserve_anon_vma();
            }
        });
        return status;
    }

    void rebuild(World&, Rebuild& rebuild) override {
        rebuild.each_anon_vma_owner([&](Vma& vma) {
            Vma& first = Rebuild::family_of(vma);
            if (!first.anon_vma) {
                join(*rebuild.take_anon_vma(), first);
            }
            if (&vma != &first) {
                join(*first.anon_vma, vma);
            }
        });
        rebuild.each_anon_page([](Page& page, Vma& vma, Vaddr address) {
            page.index = vma.pgoff_of(address);
            page.set_mapping(MappingWord::anon(vma.anon_vma));
        });
    }

    void teardown(World& world) override {
        each_vma(world, [this](Vma& vma) { unlinked(vma); });
    }

    // ---- accounting

    ObjectName object_of(const Page& page) const override { return name_of_anon_vma(page); }
    u64 bytes(const World& world) const override {
        return static_cast<u64>(world.counters.sum(Count::anon_vmas)) * sizeof(AnonVma);
    }
};

constinit Classic classic_scheme;

} // namespace

Scheme& classic() { return classic_scheme; }

} // namespace objr
