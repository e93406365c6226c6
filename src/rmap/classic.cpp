// SPDX-License-Identifier: GPL-2.0
// `classic`: the reverse map of Linux 2.6.24 (mm/rmap.c, lib/prio_tree.c there): one list of Vmas for each anonymous family, one
// priority search tree for each file. A fault sets two words of the page and allocates nothing (spec C3); a fork does a constant
// amount of work for each Vma (C4); a walk pays for it, by looking at relatives that do not map the page.
//
// Locks: AnonVma::lock and FileMapping::i_mmap_lock, shared for walks, exclusive for changes; i_mmap_lock first.
#include "objrmap/anon_vma.h"
#include "objrmap/file_mapping.h"
#include "objrmap/scheme.h"
#include "objrmap/world.h"

namespace objr {

namespace {

// ---- anonymous families

// Take the lock for reading and say whether it had to be waited for.
OBJR_THREAD(no_thread_safety_analysis) // one of the two ways holds it already
void lock_shared_counting(RwSem& lock, WalkCost& cost) {
    if (!lock.try_lock_shared()) {
        cost.lock_waits++;
        lock.lock_shared();
    }
}

void put_anon_vma(World& world, AnonVma* anon_vma) {
    if (anon_vma->refs.fetch_sub(1) == 1) {
        world.anon_vmas.erase(anon_vma->id.load());
        world.counters.sub(Count::anon_vmas);
        world.anon_vma_cache.free(anon_vma);
    }
}

Result<AnonVma*> new_anon_vma(World& world) {
    AnonVma* anon_vma = OBJR_TRY(world.anon_vma_cache.take_constructed());
    anon_vma->id.store(world.next_id());
    if (Status status = world.anon_vmas.insert(anon_vma->id.load(), anon_vma); !status) {
        world.anon_vma_cache.free(anon_vma);
        return status.error();
    }
    world.counters.add(Count::anon_vmas);
    anon_vma->refs.store(1);
    return anon_vma;
}

// From a page to its family, referenced; nullptr: it has none now (spec C5, M6). The reference is only given while the object is
// alive; should it have been recycled in between, its candidates are not mappings of this page.
AnonVma* get_anon_vma_of(Page& page) {
    RcuGuard rcu;
    AnonVma* anon_vma = page.mapping().anon_vma();
    if (!anon_vma || !page.mapped() || !anon_vma->refs.add_unless_zero()) {
        return nullptr;
    }
    return anon_vma;
}

void join(AnonVma& anon_vma, Vma& vma) {
    vma.anon_vma = &anon_vma;
    anon_vma.vmas.push_back(vma);
    anon_vma.vma_count.fetch_add(1);
}

// Two Vmas that could be one but for their rights may share a family (spec C1; Linux: anon_vma_compatible).
bool could_be_one(const Vma& left, const Vma& right) {
    constexpr u32 kRights = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC;
    return left.end == right.start && left.file == right.file && ((left.flags ^ right.flags) & ~kRights) == 0 &&
           left.pgoff + left.pages() == right.pgoff;
}

AnonVma* neighbours_anon_vma(const Vma& vma) {
    if (Vma* right = vma.mm->next(vma); right && could_be_one(vma, *right) && right->anon()) {
        return right->anon();
    }
    if (Vma* left = vma.mm->prev(vma); left && could_be_one(*left, vma) && left->anon()) {
        return left->anon();
    }
    return nullptr;
}

// ---- file index

void set_range(Vma& vma) {
    vma.i_mmap_node.first = vma.pgoff;
    vma.i_mmap_node.last = vma.last_pgoff();
}

class Classic final : public Scheme {
public:
    const char* name() const override { return "classic"; }

    Status prepare_anon(Vma& vma) override {
        if (vma.anon()) {
            return {};
        }
        World& world = vma.mm->world();
        AnonVma* anon_vma = neighbours_anon_vma(vma);
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

    void linked(Vma& vma) override {
        if (vma.file) {
            Guard guard(vma.file->i_mmap_lock);
            set_range(vma);
            vma.file->i_mmap.insert(vma.i_mmap_node);
        }
    }

    Status forked(Vma& child, Vma& parent) override {
        if (child.file) {
            Guard guard(child.file->i_mmap_lock);
            set_range(child);
            if (child.i_mmap_node.same_pair(parent.i_mmap_node)) {
                child.file->i_mmap.insert_sibling(child.i_mmap_node, parent.i_mmap_node);
            } else {
                child.file->i_mmap.insert(child.i_mmap_node);
            }
        }
        if (parent.anon_vma) {
            Guard guard(parent.anon_vma->lock);
            join(*parent.anon_vma, child);
        }
        return {};
    }

    void unlinked(Vma& vma) override {
        if (vma.file) {
            Guard guard(vma.file->i_mmap_lock);
            vma.file->i_mmap.erase(vma.i_mmap_node);
        }
        if (AnonVma* anon_vma = vma.anon_vma) {
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
    }

    void begin_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.file) {
            vma.file->i_mmap_lock.lock();
            vma.file->i_mmap.erase(vma.i_mmap_node);
        }
        if (vma.anon_vma) {
            vma.anon_vma->lock.lock();
        }
    }

    void end_change(Vma& vma) override OBJR_THREAD(no_thread_safety_analysis) {
        if (vma.anon_vma) {
            vma.anon_vma->lock.unlock();
        }
        if (vma.file) {
            set_range(vma);
            vma.file->i_mmap.insert(vma.i_mmap_node);
            vma.file->i_mmap_lock.unlock();
        }
    }

    Status prepare_split(Vma&, Vma&) override { return {}; }

    void split(Vma& fresh, Vma& old) override {
        if (fresh.file) {
            set_range(fresh);
            fresh.file->i_mmap.insert(fresh.i_mmap_node);
        }
        if (old.anon_vma) {
            fresh.anon_vma = old.anon_vma;
            old.anon_vma->vmas.insert_after(old, fresh);
            old.anon_vma->vma_count.fetch_add(1);
        }
    }

    void merged(Vma& survivor, Vma& gone) override {
        if (gone.file) {
            gone.file->i_mmap.erase(gone.i_mmap_node);
        }
        if (gone.anon_vma) {
            survivor.anon_vma->vmas.erase(gone);
            survivor.anon_vma->vma_count.fetch_sub(1);
            gone.anon_vma = nullptr;
        }
    }

    void adopt(Page& page, Vma& vma, Vaddr address) override {
        page.index = vma.pgoff_of(address);
        page.set_mapping(MappingWord::anon(vma.anon_vma));
    }

    void visit_candidates(World& world, Page& page, CandidateVisitor& visitor, WalkCost& cost) override {
        MappingWord mapping = page.mapping();
        if (mapping.is_anon()) {
            visit_anon(world, page, visitor, cost);
        } else if (mapping.is_file()) {
            visit_file(*mapping.file_mapping(), page, visitor, cost);
        }
    }

    u32 anon_id(const Page& page) const override {
        RcuGuard rcu;
        AnonVma* anon_vma = page.mapping().anon_vma();
        return anon_vma && anon_vma->refs.load() != 0 ? anon_vma->id.load() : 0;
    }

private:
    static void visit_anon(World& world, Page& page, CandidateVisitor& visitor, WalkCost& cost)
        OBJR_THREAD(no_thread_safety_analysis) {
        AnonVma* anon_vma = get_anon_vma_of(page);
        if (!anon_vma) {
            cost.stop = StopReason::unmapped;
            return;
        }
        lock_shared_counting(anon_vma->lock, cost);
        for (Vma& vma : anon_vma->vmas) {
            Vaddr address;
            if (vma.address_of(page.index, &address) && visitor.candidate(vma, address) == Visit::stop) {
                break;
            }
        }
        anon_vma->lock.unlock_shared();
        put_anon_vma(world, anon_vma);
    }

    static void visit_file(FileMapping& file, Page& page, CandidateVisitor& visitor, WalkCost& cost)
        OBJR_THREAD(no_thread_safety_analysis) {
        lock_shared_counting(file.i_mmap_lock, cost);
        file.i_mmap.visit(page.index, page.index, [&](PrioNode& node) {
            Vma& vma = container_of<&Vma::i_mmap_node>(node);
            Vaddr address;
            return !vma.address_of(page.index, &address) || visitor.candidate(vma, address) == Visit::go_on;
        });
        file.i_mmap_lock.unlock_shared();
    }
};

constinit Classic classic;

} // namespace

// ---- the schemes there are

static Scheme* const kSchemes[] = {&classic};

static bool same(const char* a, const char* b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

Scheme* find_scheme(const char* name) {
    for (Scheme* scheme : kSchemes) {
        if (same(scheme->name(), name)) {
            return scheme;
        }
    }
    return nullptr;
}

const char* scheme_name(u32 n) { return n < sizeof(kSchemes) / sizeof(kSchemes[0]) ? kSchemes[n]->name() : nullptr; }

} // namespace objr
