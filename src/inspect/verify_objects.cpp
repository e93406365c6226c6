// SPDX-License-Identifier: GPL-2.0
// The verifier's look at the objects of the reverse map, at the counters; and its front door.
#include "objrmap/anon_vma.h"
#include "table_tree.h"
#include "verify.h"

namespace objr {

// ---- files

// The table of files under its lock, without references: the last put of a file would wait for quiesce.
bool Verifier::check_files() {
    u64 vmas = 0;
    Guard guard(world_.registry);
    u64 files = 0;
    u64 id = 0;
    for (; FileMapping* file = world_.files.find_from(id); id++) {
        files++;
        vmas += file->i_mmap.size();
        if (!check_file(*file)) {
            return false;
        }
        objr_cond_resched();
    }
    if (vmas != vmas_with_file_) {
        return OBJR_BAD("F2: the indexes of all files have %llu Vmas, the mms have %llu with a file", vmas,
                        vmas_with_file_);
    }
    return check_counter("file_mappings", Count::file_mappings, files);
}

bool Verifier::check_file(FileMapping& file) {
    if (const char* broken = file.i_mmap.check()) {
        return OBJR_BAD("tree: the index of file %u: %s", file.id(), broken);
    }
    const Vma* stray = nullptr;
    auto is_stray = [&](const Vma& vma) {
        const FileIndexNode& node = vma.i_mmap_node;
        const bool nonlinear = vma.has(VmFlag::nonlinear);
        const bool right_place = node.nonlinear() == nonlinear &&
                                 (nonlinear || (node.first() == vma.pgoff && node.last() == vma.last_pgoff()));
        if (vma.file != &file || !vma.mm_node.linked() || !right_place) {
            stray = &vma;
        }
        return !stray;
    };
    file.i_mmap.visit(0, ~0ull, is_stray);
    file.i_mmap.visit_nonlinear(is_stray);
    if (stray) {
        return OBJR_BAD("F2: the index of file %u has vma %u (%s), which is not there or elsewhere by now", file.id(),
                        stray->id, stray->i_mmap_node.nonlinear() ? "nonlinear" : "linear");
    }
    if (file.i_mmap.kind() != world_.scheme().traits.file_index) {
        return OBJR_BAD("F4: the index of file %u is not of the kind that %s has", file.id(), world_.scheme().name());
    }
    u64 cached = 0;
    u64 dirty = 0;
    for (u64 pgoff = 0; Page* page = file.find_page_from(pgoff); pgoff++) {
        cached++;
        dirty += page->has(PageFlag::maybe_dirty) ? 1 : 0;
        world_.pool.put(*page);
        if (pgoff == ~0ull) {
            break;
        }
        objr_cond_resched();
    }
    u64 marked = 0;
    for (u64 pgoff = 0; Page* page = file.find_page_from(pgoff, ~0ull, FileMapping::Which::marked); pgoff++) {
        marked += page->has(PageFlag::maybe_dirty) ? 1 : 0;
        world_.pool.put(*page);
        if (pgoff == ~0ull) {
            break;
        }
        objr_cond_resched();
    }
    if (marked != dirty || marked != file.dirty_pages()) {
        return OBJR_BAD("F5: file %u counts %llu dirty pages, %llu say it of themselves, of which %llu are marked",
                        file.id(), file.dirty_pages(), dirty, marked);
    }
    u64 swapped = 0;
    SwapEntry entry{};
    for (u64 pgoff = 0; swapped < file.swapped_pages() + 1 && file.swapped_from(pgoff, entry); pgoff++) {
        if (file.kind() != FileMapping::Kind::object || entry.type != 0 || entry.offset >= world_.swap.slots()) {
            return OBJR_BAD(
                "F6: file %u has the swap entry 0x%llx at pgoff 0x%llx, of a slot that there is not, or it is "
                "no object",
                file.id(), entry.word(), pgoff);
        }
        swap_counts_[entry.offset]++;
        swapped++;
        if (pgoff == ~0ull) {
            break;
        }
        objr_cond_resched();
    }
    if (swapped != file.swapped_pages()) {
        return OBJR_BAD("F6: object %u counts %llu swapped out pages, it has %llu swap entries", file.id(),
                        file.swapped_pages(), swapped);
    }
    return cached == file.cached_pages() ||
           OBJR_BAD("F1: file %u counts %llu cached pages, %llu of its slots have a page of it", file.id(),
                    file.cached_pages(), cached);
}

// ---- anonymous families

bool Verifier::check_anon_vmas() {
    u64 listed = 0;
    u64 active = 0;
    u64 children = 0;
    u64 id = 0;
    for (; AnonVma* anon_vma = world_.anon_vmas.find_from(id); id++) {
        anon_vmas_++;
        if (!check_anon_vma(*anon_vma)) {
            return false;
        }
        listed += anon_vma->vma_count.load();
        active += anon_vma->active;
        children += anon_vma->children;
        objr_cond_resched();
    }
    if (listed != anon_links_) {
        return OBJR_BAD("N1: all anon_vmas together have %llu Vmas, the Vmas of all mms are in %llu", listed,
                        anon_links_);
    }
    if (children != anon_vmas_) { // each is the child of one, a root its own
        return OBJR_BAD("N3: the anon_vmas count %llu children, there are %llu of them", children, anon_vmas_);
    }
    // In classic nobody counts who is active; in chain every Vma with an anon_vma is.
    return active == 0 || active == vmas_with_anon_ ||
           OBJR_BAD("N3: the anon_vmas count %llu active Vmas, the mms have %llu with an anon_vma", active,
                    vmas_with_anon_);
}

// One list or tree. What its members say of themselves was checked with the Vmas.
bool Verifier::check_anon_vma(AnonVma& anon_vma) {
    const u32 id = anon_vma.id.load();
    const char* broken = anon_vma.vmas.check();
    if (!broken) {
        broken = anon_vma.tree.check();
    }
    if (broken) {
        return OBJR_BAD("tree: the Vmas of anon_vma %u: %s", id, broken);
    }
    u32 count = 0;
    for (const Vma& vma : anon_vma.vmas) {
        count++;
        if (vma.anon() != &anon_vma || !vma.mm_node.linked()) {
            return OBJR_BAD("N1: anon_vma %u has vma %u in its list, which does not point there", id, vma.id);
        }
    }
    count += static_cast<u32>(anon_vma.tree.size());
    if (count != anon_vma.vma_count.load() || count == 0 || anon_vma.refs.load() == 0) {
        return OBJR_BAD("S1: anon_vma %u counts %u Vmas and %u references, it has %u Vmas", id,
                        anon_vma.vma_count.load(), anon_vma.refs.load(), count);
    }
    const bool is_root = anon_vma.root == &anon_vma;
    return (is_root == (anon_vma.parent == &anon_vma) && anon_vma.parent->root == anon_vma.root &&
            world_.anon_vmas.find(anon_vma.parent->id.load()) == anon_vma.parent) ||
           OBJR_BAD("N3: anon_vma %u has a parent that is gone or of another family", id);
}

// The AVCs of a Vma, under chain: all of one family, each in the tree of its AnonVma under the present pgoffs.
bool Verifier::check_chain(const Vma& vma) {
    const AnonVma* root = vma.anon() ? vma.anon()->root : nullptr;
    bool own = vma.chain.empty();
    for (const AnonVmaChain& avc : vma.chain) {
        anon_links_++;
        anon_chains_++;
        own |= avc.anon_vma == vma.anon();
        if (avc.vma != &vma || avc.anon_vma->root != root || !avc.node.linked() || avc.node.first != vma.pgoff ||
            avc.node.last != vma.last_pgoff()) {
            return OBJR_BAD("N1: an AVC of vma %u, to anon_vma %u, is of another family or under other pgoffs", vma.id,
                            avc.anon_vma->id.load());
        }
        if (world_.anon_vmas.find(avc.anon_vma->id.load()) != avc.anon_vma) {
            return OBJR_BAD("N1: vma %u has an AVC to an anon_vma that is gone", vma.id);
        }
    }
    return own || OBJR_BAD("N1: vma %u has AVCs, but none to its own anon_vma", vma.id);
}

// What the scheme keeps beside.
bool Verifier::check_scheme() {
    const char* broken = world_.scheme().check(world_);
    return !broken || OBJR_BAD("scheme %s: %s", world_.scheme().name(), broken);
}

// ---- counters

bool Verifier::check_counter(const char* name, Count which, u64 truth) {
    const s64 counted = world_.counters.sum(which);
    return counted == static_cast<s64>(truth) ||
           OBJR_BAD("S1: the counter %s says %lld, there are %llu", name, counted, truth);
}

// One that is being freed has its flag before it has its place: see check_pages.
bool Verifier::check_free_lists() {
    constexpr u32 kPatience = 1u << 20;
    const Pool& pool = world_.pool;
    for (u32 i = 0; i < kPatience; i++) {
        const u64 free = pool.free_pages() + pool.pages_set_aside() + pool.withdrawn_pages();
        if (free + pool.inactive_pages() + pool.active_pages() + pool.unevictable_pages() + poisoned_pages_ ==
                pool.size() &&
            free >= free_pages_) {
            return pool.poisoned_pages() == poisoned_pages_ ||
                   OBJR_BAD("V8: the pool counts %u poisoned pages, there are %llu", pool.poisoned_pages(),
                            poisoned_pages_);
        }
        objr_cond_resched();
    }
    return OBJR_BAD(
        "V4: %llu pages are free; %u are on the list and %u set aside, %u inactive, %u active, %u unevictable of %u",
        free_pages_, pool.free_pages(), pool.pages_set_aside(), pool.inactive_pages(), pool.active_pages(),
        pool.unevictable_pages(), pool.size());
}

bool Verifier::check_counters() {
    if (!check_counter("mappings", Count::mappings, mappings_) ||
        !check_counter("mapped_pages", Count::mapped_pages, mapped_pages_) ||
        !check_counter("locked_pages", Count::locked_pages, locked_pages_) ||
        !check_counter("anon_pages", Count::anon_pages, anon_pages_) ||
        !check_counter("file_pages", Count::file_pages, file_pages_) ||
        !check_counter("dirty_pages", Count::dirty_pages, dirty_pages_) || !check_counter("vmas", Count::vmas, vmas_) ||
        !check_counter("anon_vmas", Count::anon_vmas, anon_vmas_) ||
        !check_counter("anon_vma_chains", Count::anon_vma_chains, anon_chains_) || !check_free_lists()) {
        return false;
    }
    // Mms come and go, each with its root table, under this lock.
    Guard guard(world_.registry);
    u64 mms = 0;
    u64 tables = 0;
    u64 id = 0;
    for (; const Mm* mm = world_.mms.find_from(id); id++) {
        mms++;
        tables += count_tables(mm->tables());
        objr_cond_resched();
    }
    return check_counter("mms", Count::mms, mms) && check_counter("table_pages", Count::table_pages, tables);
}

// ---- all of it

bool Verifier::run() {
    return check_mms() && check_files() && check_anon_vmas() && check_scheme() && check_swap() && check_pages() &&
           check_counters();
}

} // namespace objr

using namespace objr;

extern "C" int objr_show_verify(objr_world* opaque, objr_out* out) {
    World& world = world_of(opaque);
    u32 pages = world.pool.size();
    auto* tallies = static_cast<Tally*>(objr_kvzalloc(static_cast<u64>(pages) * sizeof(Tally)));
    const u64 slots = world.swap.slots();
    auto* swap_counts = slots != 0 ? static_cast<u32*>(objr_kvzalloc(slots * sizeof(u32))) : nullptr;
    if (!tallies || (slots != 0 && !swap_counts)) {
        objr_kvfree(tallies);
        objr_kvfree(swap_counts);
        objr_out_printf(out, "error no kernel memory to check %u pages: free some and read again\n", pages);
        return -OBJR_ENOMEM;
    }
    Verifier verifier(world, tallies, swap_counts, out);
    bool good;
    bool grown; // meanwhile
    {
        Guard quiesce(world.quiesce);
        grown = world.pool.size() > pages;
        pages = world.pool.size();
        good = grown || verifier.run();
    }
    objr_kvfree(swap_counts);
    objr_kvfree(tallies);
    if (grown) {
        return objr_show_verify(opaque, out);
    }
    if (!good) {
        return 1;
    }
    objr_out_printf(out, "ok pages=%u mappings=%llu", pages, verifier.mappings());
    if (verifier.skipped() != 0) {
        objr_out_printf(out, " skipped=%llu", verifier.skipped());
    }
    objr_out_printf(out, "\n");
    return 0;
}
