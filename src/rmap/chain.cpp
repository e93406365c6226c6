// SPDX-License-Identifier: GPL-2.0
// `chain`: the reverse map of today's Linux (mm/rmap.c: anon_vma_chain, since 2.6.34). Every Vma has an AnonVma of its own for the
// pages that it alone has, and AVCs to those of its ancestors, whose pages it may have inherited. A page that a child has copied is
// found without a look at its relatives (spec M2); fork pays for it, with one AVC for each ancestor that may have pages yet.
//
// Locks: the root's AnonVma::lock, shared for walks, exclusive for changes (M4). Vma::chain: Mm::lock for write, or for read with
// Mm::upper_lock where the first AVC comes (prepare_anon).
#include "objrmap/anon_vma.h"
#include "objrmap/world.h"
#include "rebuild.h"
#include "schemes.h"

namespace objr {

namespace {

using ChainList = List<AnonVmaChain, &AnonVmaChain::same_vma>;

AnonVmaChain& avc_of(IntervalNode& node) { return container_of<&AnonVmaChain::node>(node); }

// ---- one link. The root's lock is held for write.

void set_interval(AnonVmaChain& avc) {
    avc.node.first = avc.vma->pgoff;
    avc.node.last = avc.vma->last_pgoff();
}

void link(AnonVmaChain& avc, Vma& vma, AnonVma& anon_vma, AnonVmaChain* behind) {
    avc.vma = &vma;
    avc.anon_vma = &anon_vma;
    set_interval(avc);
    if (behind && behind->node.first == avc.node.first) {
        anon_vma.tree.insert_after(behind->node, avc.node);
    } else {
        anon_vma.tree.insert(avc.node);
    }
    anon_vma.vma_count.fetch_add(1);
    vma.chain.push_front(avc); // newest first
}

Result<AnonVmaChain*> new_avc(World& world) {
    AnonVmaChain* avc = OBJR_TRY(world.avc_cache.make());
    world.counters.add(Count::anon_vma_chains);
    return avc;
}

void free_avc(World& world, AnonVmaChain* avc) {
    world.counters.sub(Count::anon_vma_chains);
    world.avc_cache.free(avc);
}

void free_avcs(World& world, ChainList& list) {
    while (AnonVmaChain* avc = list.pop_front()) {
        free_avc(world, avc);
    }
}

// As many as there are in `like`, into list. ENOMEM: list is empty.
Status get_avcs(World& world, const ChainList& like, ChainList& list) {
    for (const AnonVmaChain& avc : like) {
        static_cast<void>(avc);
        Result<AnonVmaChain*> fresh = new_avc(world);
        if (!fresh) {
            free_avcs(world, list);
            return fresh.error();
        }
        list.push_back(**fresh);
    }
    return {};
}

// A relative may be taken for one's own only while nobody uses it and nobody descends from it but one (spec M3): else pages of
// different owners would meet there, and repeated fork would make it grow without end.
bool may_reuse(const AnonVma& anon_vma) { return anon_vma.active == 0 && anon_vma.children < 2; }

class Chain final : public Scheme {
public:
    constexpr Chain()
        : Scheme({.name = "chain",
                  .rules = Rules::linux_7,
                  .file_index = FileIndex::Kind::interval_tree,
                  .tracks_entries = false,
                  .tracks_moves = false,
                  .counts_mapped = false,
                  .copies_on_move = false}) {}

    // ---- Vmas

    Status prepare_anon(Vma& vma) override {
        if (vma.anon()) {
            return {};
        }
        World& world = vma.mm->world();
        AnonVmaChain* avc = OBJR_TRY(new_avc(world));
        // Who has inherited from others would bring their pages in: only a Vma with one AVC lends its AnonVma.
        AnonVma* anon_vma = mergeable_anon_vma(
            vma, [](const Vma& neighbour) { return neighbour.chain.front() == neighbour.chain.back(); });
        bool fresh = !anon_vma;
        if (fresh) {
            Result<AnonVma*> made = new_anon_vma(world);
            if (!made) {
                free_avc(world, avc);
                return made.error();
            }
            anon_vma = *made;
        }
        bool joined = false;
        {
            Guard guard(anon_vma->root->lock);
            Guard upper(vma.mm->upper_lock());
            if (!vma.anon_vma) { // else another fault of this Mm was faster
                link(*avc, vma, *anon_vma, nullptr);
                anon_vma->active++;
                __atomic_store_n(&vma.anon_vma, anon_vma, __ATOMIC_RELEASE);
                joined = true;
            }
        }
        if (!joined) {
            free_avc(world, avc);
            if (fresh) {
                put_anon_vma(world, anon_vma);
            }
        }
        return {};
    }

    Status forked(Vma& child, Vma& parent) override {
        if (!parent.anon_vma) {
            return {};
        }
        World& world = child.mm->world();
        ChainList spare; // one for each of the parent's, and one for its own
        OBJR_TRY_STATUS(get_avcs(world, parent.chain, spare));
        Result<AnonVmaChain*> own_avc = new_avc(world);
        AnonVma* root = parent.anon_vma->root;
        Result<AnonVma*> own = own_avc ? new_anon_vma(world, root) : Result<AnonVma*>(own_avc.error());
        if (!own) {
            if (own_avc) {
                free_avc(world, *own_avc);
            }
            free_avcs(world, spare);
            return own.error();
        }
        bool reused;
        {
            Guard guard(root->lock);
            clone_chain(child, parent, spare);
            reused = child.anon_vma != nullptr;
            if (!reused) {
                (*own)->parent = parent.anon_vma;
                (*own)->children = 0;
                parent.anon_vma->children++;
                child.anon_vma = *own;
                link(**own_avc, child, **own, nullptr);
            }
            child.anon_vma->active++;
        }
        if (reused) {
            free_avc(world, *own_avc);
            put_anon_vma(world, *own);
        }
        return {};
    }

    void unlinked(Vma& vma) override {
        if (vma.chain.empty()) {
            return;
        }
        World& world = vma.mm->world();
        AnonVma* root = vma.chain.front()->anon_vma->root;
        root->refs.fetch_add(1); // it may be the last of its family
        ChainList gone;
        {
            Guard guard(root->lock);
            unlink_all(vma, gone);
            if (vma.anon_vma) {
                vma.anon_vma->active--;
                vma.anon_vma = nullptr;
            }
        }
        while (AnonVmaChain* avc = gone.pop_front()) { // newest first: the root goes last
            if (avc->anon_vma) {
                put_anon_vma(world, avc->anon_vma);
            }
            free_avc(world, avc);
        }
        put_anon_vma(world, root);
    }

    // ---- changes of a range: out of the trees, and in again under the new pgoffs

    void begin_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.chain.empty()) {
            return;
        }
        vma.chain.front()->anon_vma->root->lock.lock();
        for (AnonVmaChain& avc : vma.chain) {
            avc.anon_vma->tree.erase(avc.node);
        }
    }

    void end_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.chain.empty()) {
            return;
        }
        for (AnonVmaChain& avc : vma.chain) {
            set_interval(avc);
            avc.anon_vma->tree.insert(avc.node);
        }
        vma.chain.front()->anon_vma->root->lock.unlock();
    }

    Status prepare_split(Vma& fresh, Vma& old) override { return get_avcs(old.mm->world(), old.chain, fresh.chain); }

    void split(Vma& fresh, Vma& old) override {
        ChainList spare;
        spare.splice_back(fresh.chain);
        clone_chain(fresh, old, spare);
        if (old.anon_vma) {
            fresh.anon_vma = old.anon_vma;
            fresh.anon_vma->active++;
        }
    }

    // Who has inherited keeps apart from who has not: their AVCs differ.
    bool can_merge(const Vma& left, const Vma& right) const override {
        if (left.anon_vma == right.anon_vma) {
            return true;
        }
        const Vma& owner = left.anon_vma ? left : right;
        return (!left.anon_vma || !right.anon_vma) && owner.chain.front() == owner.chain.back();
    }
    bool right_survives(const Vma&, const Vma& right) const override { return right.anon_vma != nullptr; }

    // The lists of both are the same, or gone has none: survivor keeps every AnonVma alive.
    void merged(Vma& survivor, Vma& gone) override {
        if (gone.anon_vma) {
            OBJR_WARN_ON(gone.anon_vma != survivor.anon_vma);
            gone.anon_vma->active--;
            gone.anon_vma = nullptr;
        }
        World& world = gone.mm->world();
        while (AnonVmaChain* avc = gone.chain.pop_front()) {
            avc->anon_vma->tree.erase(avc->node);
            avc->anon_vma->vma_count.fetch_sub(1);
            free_avc(world, avc);
        }
    }

    // ---- pages

    void adopt(Page& page, Vma& vma, Vaddr address, Exclusivity exclusivity) override {
        AnonVma* anon_vma = vma.anon();
        if (exclusivity == Exclusivity::uncertain) {
            anon_vma = anon_vma->root; // every relative looks there (spec M5)
        }
        page.index = vma.pgoff_of(address);
        page.set_mapping(MappingWord::anon(anon_vma));
    }

    void claim(Page& page, Vma& vma) override { page.set_mapping(MappingWord::anon(vma.anon())); }

    void visit(World& world, Page& page, Locking locking, CandidateVisitor& visitor, WalkCost& cost) override
        OBJR_THREAD(no_thread_safety_analysis) {
        AnonVma* anon_vma = get_anon_vma_of(page);
        if (!anon_vma) {
            cost.stop = StopReason::unmapped;
            return;
        }
        if (lock_family_shared(*anon_vma, locking, cost)) {
            anon_vma->tree.visit(page.index, page.index, [&](IntervalNode& node) {
                Vma& vma = *avc_of(node).vma;
                Vaddr address;
                return !vma.address_of(page.index, &address) ||
                       visitor.candidate(vma, address, Why::anon_tree) == Visit::go_on;
            });
            anon_vma->root->lock.unlock_shared();
        }
        put_anon_vma(world, anon_vma);
    }

    // ---- live switch: the first Vma of a family is its root, each other one its child

    Status prepare_rebuild(World& world, Rebuild& rebuild) override {
        Status status;
        rebuild.each_anon_vma_owner([&](Vma& vma) {
            const u32 avcs = &Rebuild::family_of(vma) == &vma ? 1 : 2;
            status = status ? rebuild.reserve_anon_vma() : status;
            for (u32 i = 0; i < avcs && status; i++) {
                Result<AnonVmaChain*> avc = new_avc(world);
                status = avc ? Status() : Status(avc.error());
                if (avc) {
                    rebuild.avcs.push_back(**avc);
                }
            }
        });
        return status;
    }

    void rebuild(World&, Rebuild& rebuild) override {
        auto own = [&rebuild](Vma& vma, AnonVma* root) {
            AnonVma* anon_vma = rebuild.take_anon_vma();
            if (root) {
                anon_vma->root = root;
                anon_vma->parent = root;
                anon_vma->children = 0;
                root->children++;
                root->refs.fetch_add(1);
                link(*rebuild.avcs.pop_front(), vma, *root, nullptr);
            }
            link(*rebuild.avcs.pop_front(), vma, *anon_vma, nullptr);
            vma.anon_vma = anon_vma;
            anon_vma->active++;
        };
        rebuild.each_anon_vma_owner([&](Vma& vma) {
            Vma& first = Rebuild::family_of(vma);
            if (!first.anon_vma) {
                own(first, nullptr);
            }
            if (&vma != &first) {
                own(vma, first.anon_vma);
            }
        });
        rebuild.each_anon_page([](Page& page, Vma& vma, Vaddr address) {
            const bool sole = page.mappings() <= 1 && !page.has(PageFlag::swapcache);
            page.index = vma.pgoff_of(address);
            page.set_mapping(MappingWord::anon(sole ? vma.anon_vma : vma.anon_vma->root));
        });
    }

    void end_rebuild(World& world, Rebuild& rebuild) override { free_avcs(world, rebuild.avcs); }

    void teardown(World& world) override {
        each_vma(world, [this](Vma& vma) { unlinked(vma); });
    }

    // ---- accounting

    ObjectName object_of(const Page& page) const override { return name_of_anon_vma(page); }
    u64 bytes(const World& world) const override {
        return static_cast<u64>(world.counters.sum(Count::anon_vmas)) * sizeof(AnonVma) +
               static_cast<u64>(world.counters.sum(Count::anon_vma_chains)) * sizeof(AnonVmaChain);
    }

private:
    // Give fresh an AVC to each AnonVma that like has one to, in the same order; in fork the first that may be reused becomes its
    // own. fresh.anon_vma is that, or nullptr; `active` is the caller's. The root's lock is held for write.
    static void clone_chain(Vma& fresh, Vma& like, ChainList& spare) {
        const bool forked = fresh.mm != like.mm;
        for (AnonVmaChain* avc = like.chain.back(); avc;
             avc = like.chain.prev(*avc)) { // oldest first, since link puts to the front
            AnonVmaChain* copy = spare.pop_front();
            link(*copy, fresh, *avc->anon_vma, avc->node.linked() ? avc : nullptr);
            if (forked && !fresh.anon_vma && may_reuse(*avc->anon_vma)) {
                fresh.anon_vma = avc->anon_vma;
            }
        }
    }

    // Take vma's AVCs out of their trees, into gone, newest first; those whose AnonVma has Vmas yet without it.
    static void unlink_all(Vma& vma, ChainList& gone) {
        while (AnonVmaChain* avc = vma.chain.pop_front()) {
            AnonVma* anon_vma = avc->anon_vma;
            anon_vma->tree.erase(avc->node);
            if (anon_vma->vma_count.fetch_sub(1) == 1) {
                anon_vma->parent->children--; // it goes
            } else {
                avc->anon_vma = nullptr;
            }
            gone.push_back(*avc);
        }
    }
};

constinit Chain chain_scheme;

} // namespace

Scheme& chain() { return chain_scheme; }

} // namespace objr
