// SPDX-License-Identifier: GPL-2.0
// Answer: who maps a page, at one instant. See inspect.h for how it is kept from mixing two states.
#include "objrmap/inspect.h"

#include <new>

namespace objr {

// ---- the page

static constexpr PageFlag kShownFlags[] = {
    PageFlag::dirty, PageFlag::referenced, PageFlag::uptodate, PageFlag::swapcache,      PageFlag::mlocked,
    PageFlag::lru,   PageFlag::active,     PageFlag::free,     PageFlag::anon_exclusive, PageFlag::poisoned,
};

static void copy_name(char (&to)[FileMapping::kNameBytes], const char* from) {
    u32 i = 0;
    for (; i + 1 < sizeof(to) && from[i] != '\0'; i++) {
        to[i] = from[i];
    }
    to[i] = '\0';
}

void collect_facts(World& world, const Page& page, PageFacts& facts) {
    const MappingWord mapping = page.mapping();
    facts = {};
    facts.number = world.pool.number(page);
    facts.pfn = world.pool.pfn(page);
    facts.scheme = world.scheme().name();
    facts.generation = page.generation();
    facts.mappings = page.mappings();
    facts.refcount = page.refcount.load();
    facts.index = read_once(page.index);
    for (PageFlag flag : kShownFlags) {
        facts.flags |= page.has(flag) ? static_cast<u32>(flag) : 0;
    }
    if (page.has(PageFlag::free)) {
        facts.kind = PageFacts::Kind::free;
    } else if (mapping.is_anon()) {
        facts.kind = PageFacts::Kind::anon;
        facts.object = world.scheme().object_of(page);
    } else if (const FileMapping* file = mapping.file_mapping()) {
        facts.kind = PageFacts::Kind::file;
        facts.object = {"file", file->id()};
        copy_name(facts.name, file->name());
    } else {
        facts.kind = PageFacts::Kind::none;
    }
}

// ---- candidates

const char* name_of(Miss miss) {
    switch (miss) {
    case Miss::none: return "none";
    case Miss::no_table: return "no-table";
    case Miss::not_present: return "not-present";
    case Miss::other_pfn: return "other-pfn";
    case Miss::swap: return "swap";
    case Miss::file_entry: return "file-entry";
    case Miss::migration: return "migration";
    case Miss::nowhere: return "nowhere";
    }
    return "unknown";
}

const char* name_of(Why why) {
    switch (why) {
    case Why::anon_list: return "anon-list";
    case Why::anon_tree: return "anon-tree";
    case Why::named_mm: return "named-mm";
    case Why::bundle: return "bundle";
    case Why::entry: return "entry";
    case Why::file_index: return "file-index";
    case Why::nonlinear: return "nonlinear";
    }
    return "unknown";
}

static Miss miss_of(Pte pte, Pfn pfn) {
    if (pte.is_present()) {
        return pte.pfn() == pfn ? Miss::none : Miss::other_pfn;
    }
    if (pte.is_swap()) {
        return Miss::swap;
    }
    if (pte.is_file()) {
        return Miss::file_entry;
    }
    return pte.is_migration() ? Miss::migration : Miss::not_present;
}

void Answer::collect_candidates(World& world, Page& page) {
    struct Visitor final : CandidateVisitor {
        Visitor(Answer& answer, const Page& of, Pfn pfn) : answer_(answer), page_(of), pfn_(pfn) {}
        void note(Vma& vma, Vaddr address, Pte pte, Why why, Miss miss) {
            if (Row* row = answer_.add(vma, address, pte)) {
                row->kind = Row::Kind::candidate;
                row->why = why;
                row->miss = miss;
            }
        }
        Visit candidate(Vma& vma, Vaddr address, Why why) override {
            PageTable* table = vma.mm->tables().leaf(address);
            if (!table) {
                note(vma, address, Pte(), why, Miss::no_table);
                return Visit::go_on;
            }
            Guard guard(table->lock);
            const Pte pte = table->get(address);
            note(vma, address, pte, why, miss_of(pte, pfn_));
            return Visit::go_on;
        }
        // One row for each mapping in it; if there is none, one that says where the page would be by a file entry.
        Visit nonlinear(Vma& vma) override {
            const Pte wanted = Pte::file(Pgoff(page_.index));
            bool found = false;
            Vaddr named = vma.end;
            const PageTables& tables = vma.mm->tables();
            for (auto part = tables.first_part(vma.start, vma.end); part.table;
                 part = tables.first_part(part.end, vma.end)) {
                Guard guard(part.table->lock);
                for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                    const Pte pte = part.table->get(at);
                    if (pte.is_present() && pte.pfn() == pfn_) {
                        note(vma, at, pte, Why::nonlinear, Miss::none);
                        found = true;
                    } else if (pte == wanted) {
                        named = min(named, at);
                    }
                }
            }
            if (!found && named < vma.end) {
                note(vma, named, wanted, Why::nonlinear, Miss::file_entry);
            } else if (!found) {
                note(vma, vma.start, Pte(), Why::nonlinear, Miss::nowhere);
            }
            return Visit::go_on;
        }
        Answer& answer_;
        const Page& page_;
        const Pfn pfn_;
    } visitor(*this, page, world.pool.pfn(page));
    WalkCost cost; // of the explanation, not of the question
    rmap_visit_candidates(world, page, {}, visitor, cost);
}

// ---- the answer

Answer::~Answer() {
    release();
    objr_kvfree(rows_);
}

void Answer::release() {
    for (u32 i = 0; i < used_; i++) {
        if (rows_[i].region) {
            objr_region_put(rows_[i].region);
        }
        rows_[i].mm->put();
    }
    used_ = 0;
    state_ = State::empty;
}

bool Answer::reserve(u32 rows) {
    if (rows <= room_) {
        return true;
    }
    objr_kvfree(rows_);
    room_ = 0;
    rows_ = static_cast<Row*>(objr_kvzalloc(static_cast<u64>(rows) * sizeof(Row)));
    room_ = rows_ ? rows : 0;
    return rows_ != nullptr;
}

// A mapping, as long as nothing else is said of it. Under rmap and table locks. nullptr: there is no room.
Row* Answer::add(Vma& vma, Vaddr address, Pte pte) {
    wanted_++;
    if (used_ == room_) {
        return nullptr;
    }
    Row& row = *new (&rows_[used_++]) Row{};
    vma.mm->get();
    row.mm = vma.mm;
    row.mm_id = vma.mm->id();
    row.vma_id = vma.id;
    row.start = vma.start;
    row.end = vma.end;
    row.pgoff = vma.pgoff;
    row.vm_flags = read_once(vma.flags);
    row.address = address;
    row.pte = pte;
    if (vma.region) {
        objr_region_get(vma.region);
        row.region = vma.region;
    }
    return &row;
}

Answer::State Answer::take(World& world, Page& page) {
    constexpr u32 kSlack = 4; // mappings made while the room is got
    PageLock lock(page);
    if (!reserve(max(wanted_, page.mappings()) + kSlack)) {
        return state_ = State::no_memory;
    }
    wanted_ = 0;
    cost_ = {};
    const u32 before = page.generation();
    rmap_walk(world, page, EarlyStop::yes, cost_, [this](const Mapping& mapping) {
        add(mapping.vma, mapping.address, mapping.pte);
        return Visit::go_on;
    });
    const u32 hits = wanted_;
    if (candidates_ == Candidates::collect) {
        collect_candidates(world, page);
    }
    collect_facts(world, page, facts_);
    facts_.refcount--; // the one that the caller took to look
    if (wanted_ != used_ || hits != facts_.mappings || before != facts_.generation || before != page.generation()) {
        return state_ = State::unstable;
    }
    for (u32 i = 0; i < hits; i++) {
        Row& row = rows_[i];
        const Translation seen = row.mm->mmu().harvest(row.region, row.address, Harvest::peek);
        row.young = row.pte.young() || seen.young;
        row.dirty = row.pte.dirty() || seen.dirty;
        objr_cond_resched();
    }
    return state_ = State::stands;
}

void Answer::take_free(World& world, const Page& page) {
    facts_ = {}; // only what does not change when somebody takes the page now
    facts_.number = world.pool.number(page);
    facts_.pfn = world.pool.pfn(page);
    facts_.scheme = world.scheme().name();
    facts_.flags = static_cast<u32>(PageFlag::free);
    cost_ = {};
    cost_.stop = StopReason::unmapped;
    state_ = State::stands;
}

// Rows of one process often follow each other; looking one up means to go through all processes.
void Answer::find_owners() {
    for (u32 i = 0; i < used_; i++) {
        Row& row = rows_[i];
        if (i != 0 && rows_[i - 1].mm == row.mm) {
            row.pid = rows_[i - 1].pid;
            __builtin_memcpy(row.comm, rows_[i - 1].comm, sizeof(row.comm));
        } else if (row.region) {
            row.pid = objr_region_owner(row.region, row.comm);
            row.comm[sizeof(row.comm) - 1] = '\0';
        }
        objr_cond_resched();
    }
}

} // namespace objr
