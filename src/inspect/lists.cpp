// SPDX-License-Identifier: GPL-2.0
// Lists that stream, one object a line: pages, mms, anon_vmas, files; and mappers, one answer a page.
//
// Positions: the number of the next page, or the least id to show next. Between two items nothing is held, so what comes and goes
// meanwhile may be in the list or not; each line is true at its instant.
#include "objrmap/inspect.h"

#include "table_tree.h"

namespace objr {

namespace {

constexpr u32 kPagesPerBreath = 4096; // looked at before others may run

// The first page from number on for which wanted(Page) is true, without a reference; size() of the pool or more: none.
template <class Wanted>
u64 next_page(World& world, u64 number, Wanted&& wanted) {
    for (; number < world.pool.size(); number++) {
        if (wanted(world.pool.page(static_cast<u32>(number)))) {
            break;
        }
        if (number % kPagesPerBreath == 0) {
            objr_cond_resched();
        }
    }
    return number;
}

// ---- mappers

int show_mappers(World& world, u64* position, objr_out* out) {
    for (;;) {
        const u64 number = next_page(world, *position, [](const Page& page) { return page.mapped(); });
        if (number >= world.pool.size()) {
            return 0;
        }
        *position = number + 1;
        Answer answer(Candidates::ignore);
        answer_page(world, static_cast<u32>(number), answer);
        if (answer.state() == Answer::State::stands && answer.row_count() == 0) {
            continue; // unmapped by now
        }
        show_answer(out, answer, Format::text);
        return 1;
    }
}

// ---- pages

// False: it is free by now.
bool facts_of(World& world, Page& page, PageFacts& facts) {
    SharedGuard quiesce(world.quiesce);
    if (!world.pool.try_get(page)) {
        return false;
    }
    {
        PageLock lock(page);
        collect_facts(world, page, facts);
    }
    facts.refcount--; // the one taken to look
    world.pool.put(page);
    return true;
}

int show_pages(World& world, u64* position, objr_out* out) {
    for (;;) {
        const u64 number = next_page(world, *position, [](const Page& page) { return page.refcount.load() > 0; });
        if (number >= world.pool.size()) {
            return 0;
        }
        *position = number + 1;
        PageFacts facts;
        if (facts_of(world, world.pool.page(static_cast<u32>(number)), facts)) {
            Emitter emitter(out, Format::text);
            emit_page(emitter, facts);
            return 1;
        }
    }
}

// ---- mms

struct MmFacts {
    objr_region* region = nullptr; // referenced; that of any Vma: all are of one process
    u64 tables = 0;
    u64 bytes = 0; // mapped address space
    u64 anon = 0; // present entries, of anonymous pages
    u64 file = 0; // of files and objects
    u64 swap = 0; // swap entries
};

// Entries by kind, as they are read one after the other.
void count_entries(World& world, const Mm& mm, MmFacts& facts) {
    auto on_table = [](const u64*, u32, Vaddr) { return true; };
    auto on_upper = [](Vaddr, u32, u64) {
        objr_cond_resched();
        return true;
    };
    auto on_leaf = [&](Vaddr, Pte pte) {
        const Page* page = pte.is_present() ? world.pool.page_of(pte.pfn()) : nullptr;
        facts.anon += page && page->mapping().is_anon() ? 1 : 0;
        facts.file += page && page->mapping().is_file() ? 1 : 0;
        facts.swap += pte.is_swap() ? 1 : 0;
        return true;
    };
    const PageTables& tables = mm.tables();
    scan_tables(static_cast<const u64*>(tables.root()), tables.levels(), 0, on_table, on_upper, on_leaf);
}

MmFacts facts_of(World& world, Mm& mm) {
    SharedGuard quiesce(world.quiesce);
    SharedGuard guard(mm.lock());
    MmFacts facts;
    for (Vma* vma = mm.first_from(Vaddr(0)); vma; vma = mm.next(*vma)) {
        facts.bytes += vma->end - vma->start;
        if (vma->region && !facts.region) {
            objr_region_get(vma->region);
            facts.region = vma->region;
        }
    }
    facts.tables = count_tables(mm.tables());
    count_entries(world, mm, facts);
    return facts;
}

int show_mms(World& world, u64* position, objr_out* out) {
    u64 id = *position;
    Mm* mm = world.get_mm_from(id);
    if (!mm) {
        return 0;
    }
    *position = id + 1;
    const MmFacts facts = facts_of(world, *mm);
    char comm[16] = "";
    u32 pid = 0;
    if (facts.region) {
        pid = objr_region_owner(facts.region, comm);
        comm[sizeof(comm) - 1] = '\0';
        objr_region_put(facts.region);
    }
    Emitter emitter(out, Format::text);
    emitter.begin_record("mm");
    emitter.decimal("id", mm->id());
    if (mm->parent_id() != 0) {
        emitter.decimal("parent", mm->parent_id());
    } else {
        emitter.none("parent");
    }
    if (pid != 0) {
        emitter.decimal("pid", pid);
        emitter.name("comm", comm);
    } else {
        emitter.none("pid");
        emitter.none("comm");
    }
    emitter.decimal("vmas", mm->vma_count());
    emitter.decimal("pages", facts.bytes >> kPageShift);
    emitter.decimal("resident", mm->resident());
    emitter.decimal("tables", facts.tables);
    emitter.decimal("anon", facts.anon);
    emitter.decimal("file", facts.file);
    emitter.decimal("swap", facts.swap);
    emitter.decimal("locked", mm->locked());
    emitter.decimal("faults", mm->faults());
    emitter.decimal("major_faults", mm->major_faults());
    emitter.decimal("reclaimed", mm->reclaimed());
    emitter.end_record();
    mm->put();
    return 1;
}

// ---- anon_vmas

// The memory is type-stable, so that without any lock or reference the numbers are those of some AnonVma.
int show_anon_vmas(World& world, u64* position, objr_out* out) {
    u64 id = *position;
    u32 vmas;
    u32 refs;
    {
        RcuGuard rcu;
        const AnonVma* anon_vma = world.anon_vmas.find_from(id);
        if (!anon_vma) {
            return 0;
        }
        vmas = anon_vma->vma_count.load();
        refs = anon_vma->refs.load();
    }
    *position = id + 1;
    Emitter emitter(out, Format::text);
    emitter.begin_record("anon_vma");
    emitter.decimal("id", id);
    emitter.decimal("vmas", vmas);
    emitter.decimal("refs", refs);
    emitter.end_record();
    return 1;
}

// ---- files

int show_files(World& world, u64* position, objr_out* out) {
    u64 id = *position;
    FileMapping* file = world.hold_file_from(id);
    if (!file) {
        return 0;
    }
    *position = id + 1;
    u64 vmas;
    u64 pairs;
    {
        SharedGuard guard(file->i_mmap_lock);
        vmas = file->i_mmap.size();
        pairs = file->i_mmap.nodes();
    }
    Emitter emitter(out, Format::text);
    emitter.begin_record("file");
    emitter.decimal("id", file->id());
    emitter.word("kind", file->kind() == FileMapping::Kind::object ? "object" : "file");
    emitter.name("name", file->name());
    emitter.decimal("size", file->size());
    emitter.decimal("cached", file->cached_pages());
    emitter.decimal("swapped", file->swapped_pages());
    emitter.decimal("vmas", vmas);
    emitter.decimal("vm_sets", pairs);
    emitter.decimal("writable", file->writable() ? 1 : 0);
    emitter.decimal("dirty", file->dirty_pages());
    emitter.end_record();
    file->let_go();
    return 1;
}

} // namespace

} // namespace objr

using namespace objr;

extern "C" int objr_show_list(objr_world* opaque, objr_list list, objr_u64* position, objr_out* out) {
    World& world = world_of(opaque);
    switch (list) {
    case OBJR_LIST_MAPPERS: return show_mappers(world, position, out);
    case OBJR_LIST_PAGES: return show_pages(world, position, out);
    case OBJR_LIST_MMS: return show_mms(world, position, out);
    case OBJR_LIST_ANON_VMAS: return show_anon_vmas(world, position, out);
    case OBJR_LIST_FILES: return show_files(world, position, out);
    }
    return 0;
}
