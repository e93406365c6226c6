// SPDX-License-Identifier: GPL-2.0
// `pte_chain`: the reverse map of Linux 2.5 (mm/rmap.c there), and of LegoOS: a page knows its page-table entries themselves. A walk
// costs what there are mappings and nothing else, of files too; every fork, exit and fault pays for it, page by page (spec H4).
// The structure: pte_chain.h.
//
// The walk comes from the chain to the table, against the order of the locks. So it collects a few entries under the chain's lock,
// lets it go, and looks at them under Mm::tree_lock as any walk does: they have become candidates.
#include "objrmap/pte_chain.h"

#include "objrmap/world.h"
#include "rebuild.h"
#include "schemes.h"
#include "walk_lock.h"

namespace objr {

namespace {

// f(u32 page, EntryPlace) for each entry that names a page: present and migration entries.
template <class F>
void each_naming_entry(World& world, F&& f) {
    each_entry(world, [&](Vma&, EntryPlace place, Pte pte) {
        const Page* page = pte.is_present() || pte.is_migration() ? world.pool.page_of(pte.pfn()) : nullptr;
        if (page) {
            f(world.pool.number(*page), place);
        }
    });
}

u64 hash_of(u32 page, ChainEntry entry) {
    u64 mixed = entry.address() * 0x9e3779b97f4a7c15ull + page;
    mixed = (mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9ull;
    return mixed ^ (mixed >> 32);
}

class PteChain final : public Scheme {
public:
    constexpr PteChain()
        : Scheme({.name = "pte_chain",
                  .rules = Rules::linux_2_6_24,
                  .file_index = FileIndex::Kind::prio_tree,
                  .tracks_entries = true,
                  .tracks_moves = true,
                  .counts_mapped = false,
                  .copies_on_move = false}) {}

    // ---- changes of a range: entries stay with their page; only a walk that has collected some must be over

    void begin_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) { chains_of(vma).moves.lock(); }
    void end_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) { chains_of(vma).moves.unlock(); }

    // ---- pages

    void adopt(Page& page, Vma& vma, Vaddr address, Exclusivity) override {
        page.index = vma.pgoff_of(address);
        page.set_mapping(MappingWord::anon(nullptr));
    }

    void transfer(World& world, Page& from, Page& to) override {
        to.index = from.index;
        to.set_mapping(from.mapping());
        world.pte_chains->move(world.pool.number(from), world.pool.number(to));
    }

    void collapse(World& world, Page& page) override {
        if (ChainBlock* block = world.pte_chains->collapse(world.pool.number(page))) {
            free_block(world, block);
        }
    }

    // ---- entries

    // A present entry names the page itself; a migration entry may be another's already.
    void entry_set(Page& page, EntryPlace place, MapReserve& reserve) override {
        World& world = place.table.mm->world();
        const bool present = place.table.get(place.address).is_present();
        world.pte_chains->add(world.pool.number(page), ChainEntry::of(place),
                              present ? PteChains::Moved::forget : PteChains::Moved::follow, [&reserve] {
                                  return OBJR_WARN_ON(!reserve.ready()) ? nullptr
                                                                        : static_cast<ChainBlock*>(reserve.take());
                              });
    }

    void entry_cleared(Page& page, EntryPlace place) override {
        World& world = place.table.mm->world();
        const auto [found, emptied] = world.pte_chains->remove(world.pool.number(page), ChainEntry::of(place));
        OBJR_WARN_ON(!found);
        if (emptied) {
            free_block(world, emptied);
        }
    }

    void entry_moved(Page& page, Vma& vma, EntryPlace from, EntryPlace to) override {
        World& world = vma.mm->world();
        OBJR_WARN_ON(!world.pte_chains->replace(world.pool.number(page), ChainEntry::of(from), ChainEntry::of(to)));
    }

    // ---- the question

    void visit(World& world, Page& page, Locking locking, CandidateVisitor& visitor, WalkCost& cost) override {
        ChainWalk walk(*world.pte_chains, world.pool.number(page));
        Batch batch;
        while (visit_some(*world.pte_chains, walk, batch, locking, visitor, cost) == Visit::go_on) {
            batch.let_go();
        }
    }

    // ---- live switch

    Status prepare_rebuild(World& world, Rebuild& rebuild) override {
        PteChains* chains = OBJR_TRY(PteChains::create(world.pool));
        rebuild.scheme_data = chains;
        auto* entries = static_cast<u32*>(objr_kvzalloc(static_cast<u64>(world.pool.size()) * sizeof(u32)));
        if (!entries) {
            return Errno{OBJR_ENOMEM};
        }
        u64 blocks = 0;
        each_naming_entry(world, [&](u32 page, EntryPlace) {
            const u32 before = entries[page]++;
            blocks += before == 1 || (before > 1 && before % ChainBlock::kEntries == 0) ? 1 : 0;
        });
        objr_kvfree(entries);
        for (; blocks != 0; blocks--) {
            void* memory = new_block(world);
            if (!memory) {
                return Errno{OBJR_ENOMEM};
            }
            push(chains->spare, static_cast<ChainBlock*>(memory));
        }
        return {};
    }

    void rebuild(World& world, Rebuild& rebuild) override {
        world.pte_chains = static_cast<PteChains*>(rebuild.scheme_data);
        rebuild.scheme_data = nullptr;
        PteChains& chains = *world.pte_chains;
        each_naming_entry(world, [&](u32 page, EntryPlace place) {
            chains.add(page, ChainEntry::of(place), PteChains::Moved::forget, [&] {
                ChainBlock* block = pop(chains.spare);
                OBJR_WARN_ON(!block);
                return block;
            });
        });
        rebuild.each_anon_page([](Page& page, Vma& vma, Vaddr address) { page.index = vma.pgoff_of(address); });
    }

    void end_rebuild(World& world, Rebuild& rebuild) override {
        if (auto* chains = static_cast<PteChains*>(rebuild.scheme_data)) {
            destroy(world, chains);
        }
    }

    void teardown(World& world) override {
        destroy(world, world.pte_chains);
        world.pte_chains = nullptr;
    }

    Status start(World& world) override {
        world.pte_chains = OBJR_TRY(PteChains::create(world.pool));
        return {};
    }
    void stop(World& world) override { teardown(world); }

    // ---- accounting

    u64 bytes(const World& world) const override { // while it may be switched
        return PteChains::bytes(world.pool.size()) +
               static_cast<u64>(world.counters.sum(Count::pte_chain_blocks)) * sizeof(ChainBlock);
    }

    // The entries of all chains against those of all tables, by a sum of hashes: equal sets have equal sums, and no pointer of a
    // chain that is wrong is followed.
    const char* check(World& world) const override {
        PteChains& chains = *world.pte_chains;
        u64 sum = 0;
        u64 blocks = 0;
        for (u32 n = 0; n < world.pool.size(); n++) {
            if (const char* broken = chains.check(n, &blocks)) {
                return broken;
            }
            chains.each(n, [&](ChainEntry entry) { sum += hash_of(n, entry); });
        }
        each_naming_entry(
            world, [&](u32 page, EntryPlace place) { sum -= hash_of(chains.owner(page), ChainEntry::of(place)); });
        if (sum != 0) {
            return "H2: chains have entries that do not name their page, have one twice, or miss one";
        }
        return static_cast<s64>(blocks) == world.counters.sum(Count::pte_chain_blocks)
                   ? nullptr
                   : "S1: pte_chain_blocks counts others than those in chains";
    }

    void* new_block(World& world) override {
        Result<ChainBlock*> block = world.chain_block_cache.make();
        if (!block) {
            return nullptr;
        }
        world.counters.add(Count::pte_chain_blocks);
        return *block;
    }

    void free_block(World& world, void* block) override {
        world.counters.sub(Count::pte_chain_blocks);
        world.chain_block_cache.free(static_cast<ChainBlock*>(block));
    }

private:
    static PteChains& chains_of(const Vma& vma) { return *vma.mm->world().pte_chains; }

    // What was collected at once.
    struct Batch : Pinned {
        static constexpr u32 kRoom = 16;
        ChainWalk::Found found[kRoom];
        u32 count = 0;

        ~Batch() { let_go(); }
        // Not under `moves`: the last reference of an Mm may be one of these.
        void let_go() {
            while (count != 0) {
                found[--count].mm->put();
            }
        }
    };

    // stop: the walk is at its end, or the visitor wants no more.
    static Visit visit_some(PteChains& chains, ChainWalk& walk, Batch& batch, Locking locking,
                            CandidateVisitor& visitor, WalkCost& cost) OBJR_THREAD(no_thread_safety_analysis) {
        if (!lock_for_walk(chains.moves, locking, cost)) {
            return Visit::stop;
        }
        batch.count = walk.collect(batch.found, Batch::kRoom);
        Visit next = batch.count != 0 ? Visit::go_on : Visit::stop;
        for (u32 i = 0; i < batch.count && next == Visit::go_on; i++) {
            next = look_at(batch.found[i], locking, visitor, cost);
        }
        chains.moves.unlock_shared();
        return next;
    }

    // What was collected is a candidate if there is a Vma yet: the entry may be gone, and with it all around it, but its Mm.
    static Visit look_at(const ChainWalk::Found& found, Locking locking, CandidateVisitor& visitor, WalkCost& cost)
        OBJR_THREAD(no_thread_safety_analysis) {
        RwSem& lock = found.mm->tree_lock();
        if (!lock_for_walk(lock, locking, cost)) {
            return Visit::stop;
        }
        Vma* vma = found.mm->find(found.address);
        const Visit next = vma ? visitor.candidate(*vma, found.address, Why::entry) : Visit::go_on;
        lock.unlock_shared();
        return next;
    }

    static void push(ChainBlock*& list, ChainBlock* block) {
        block->next = list;
        list = block;
    }
    static ChainBlock* pop(ChainBlock*& list) {
        ChainBlock* block = list;
        if (block) {
            list = block->next;
        }
        return block;
    }

    void destroy(World& world, PteChains* chains) {
        for (u32 n = 0; n < world.pool.size(); n++) {
            free_blocks(world, chains->take_all(n));
        }
        free_blocks(world, chains->spare);
        PteChains::destroy(chains);
    }
    void free_blocks(World& world, ChainBlock* list) {
        while (list) {
            free_block(world, pop(list));
        }
    }
};

constinit PteChain pte_chain_scheme;

} // namespace

Scheme& pte_chain() { return pte_chain_scheme; }

} // namespace objr
