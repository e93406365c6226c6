// SPDX-License-Identifier: GPL-2.0
// The schemes there are, and the live switch from one to another. Steps and rules: rebuild.h.
#include "objrmap/rmap.h"
#include "rebuild.h"
#include "schemes.h"

namespace objr {

// ---- the schemes there are

static Scheme& (*const kSchemes[])() = {chain, classic, anonmm, pte_chain};

Scheme* find_scheme(const char* name) {
    for (auto scheme : kSchemes) {
        if (same_text(scheme().name(), name)) {
            return &scheme();
        }
    }
    return nullptr;
}

const char* scheme_name(u32 n) { return n < sizeof(kSchemes) / sizeof(kSchemes[0]) ? kSchemes[n]().name() : nullptr; }

// ---- what is to be rebuilt

static void* scratch(u64 entries) { return objr_kvzalloc(entries * sizeof(void*)); }

Rebuild::~Rebuild() {
    while (reserved_) {
        put_anon_vma(world_, take_anon_vma());
    }
    by_family_.destroy();
    objr_kvfree(first_of_page_);
    objr_kvfree(first_of_slot_);
}

Vma& Rebuild::family_of(Vma& vma) {
    Vma* top = &vma;
    while (top->family != top) {
        top->family = top->family->family; // halve the path
        top = top->family;
    }
    return *top;
}

void Rebuild::unite(Vma& a, Vma& b) {
    Vma& first = family_of(a);
    Vma& second = family_of(b);
    if (first.id < second.id) {
        second.family = &first;
    } else {
        first.family = &second;
    }
}

void Rebuild::meet(Vma*& seen, Vma& vma) {
    if (seen) {
        unite(*seen, vma);
    } else {
        seen = &vma;
    }
}

// By their line of forks, which no scan would tell.
Status Rebuild::unite_relatives() {
    Status status;
    each_vma(world_, [&](Vma& vma) {
        vma.family = vma.may_hold_anon() ? &vma : nullptr;
        if (!vma.family || !status) {
            return;
        }
        if (Vma* relative = by_family_.find(vma.family_id)) {
            unite(*relative, vma);
        } else {
            status = by_family_.insert(vma.family_id, &vma);
        }
    });
    return status;
}

Status Rebuild::scan() {
    first_of_page_ = static_cast<Vma**>(scratch(world_.pool.size()));
    first_of_slot_ = static_cast<Vma**>(scratch(max<u64>(world_.swap.slots(), 1)));
    if (!first_of_page_ || !first_of_slot_) {
        return Errno{OBJR_ENOMEM};
    }
    OBJR_TRY_STATUS(unite_relatives());
    each_entry(world_, [this](Vma& vma, EntryPlace, Pte pte) {
        if (pte.is_swap()) {
            meet(first_of_slot_[pte.swap_entry().offset], vma);
            return;
        }
        Page* page = pte.is_present() ? world_.pool.page_of(pte.pfn()) : nullptr;
        if (!page || !page->mapping().is_anon()) {
            return;
        }
        meet(first_of_page_[world_.pool.number(*page)], vma);
        if (page->has(PageFlag::swapcache)) { // who has the entry yet will map this page
            meet(first_of_slot_[SwapSpace::entry_of(*page).offset], vma);
        }
    });
    return {};
}

Status Rebuild::reserve_anon_vma() {
    AnonVma* anon_vma = OBJR_TRY(new_anon_vma(world_));
    anon_vma->parent = reserved_;
    reserved_ = anon_vma;
    return {};
}

AnonVma* Rebuild::take_anon_vma() {
    AnonVma* anon_vma = reserved_;
    reserved_ = anon_vma->parent;
    anon_vma->parent = anon_vma;
    return anon_vma;
}

// ---- the switch

// What no page table names keeps no object of the old scheme: it gets a new one with its next mapping.
static void forget_objects(World& world) {
    for (u32 n = 0; n < world.pool.size(); n++) {
        Page& page = world.pool.page(n);
        if (page.mapping().is_anon()) {
            page.set_mapping(MappingWord::anon(nullptr));
        }
    }
}

Status switch_scheme(World& world, Scheme& target, Words& reason) {
    Guard quiesce(world.quiesce);
    Scheme& old = world.scheme();
    if (&old == &target) {
        return {};
    }
    Rebuild rebuild(world);
    Status status = rebuild.scan();
    if (status) {
        status = target.prepare_rebuild(world, rebuild);
    }
    if (status) {
        old.teardown(world);
        forget_objects(world);
        {
            Guard registry(world.registry);
            for (u64 id = 0; FileMapping* file = world.files.find_from(id); id++) {
                file->i_mmap.rebuild(target.traits.file_index);
            }
            world.set_scheme(target);
        }
        target.rebuild(world, rebuild);
        world.counters.add(Count::scheme_switches);
    }
    target.end_rebuild(world, rebuild);
    reason.add(rebuild.reason().c_str());
    return status;
}

} // namespace objr
