// SPDX-License-Identifier: GPL-2.0
// The statistics file, and the choice of the scheme.
#include "objrmap/inspect.h"

namespace objr {

namespace {

class StatsText {
public:
    StatsText(const World& world, objr_out* out) : counters_(world.counters), out_(out) {}

    void line(const char* name, u64 value) { objr_out_printf(out_, "%s %llu\n", name, value); }
    void line(const char* name, Count which) { line(name, count(which)); }
    // A sum over processors that go on counting may be below zero for an instant.
    u64 count(Count which) const { return counters_.number(which); }

private:
    const Counters& counters_;
    objr_out* out_;
};

} // namespace

} // namespace objr

using namespace objr;

extern "C" void objr_show_stats(objr_world* opaque, objr_out* out) {
    const World& world = world_of(opaque);
    const SwapStore::Usage swap = world.swap.usage();
    StatsText text(world, out);
    text.line("pool_pages", world.pool.size());
    text.line("free_pages", world.pool.free_pages());
    text.line("anon_pages", Count::anon_pages);
    text.line("file_pages", Count::file_pages);
    text.line("mapped_pages", Count::mapped_pages);
    text.line("mappings", Count::mappings);
    text.line("swapcache_pages", Count::swapcache_pages);
    text.line("swapped_pages", Count::swapped_pages);
    text.line("locked_pages", Count::locked_pages);
    text.line("dirty_pages", Count::dirty_pages);
    text.line("active", world.pool.active_pages());
    text.line("inactive", world.pool.inactive_pages());
    text.line("unevictable", world.pool.unevictable_pages());
    text.line("poisoned_pages", world.pool.poisoned_pages());
    text.line("mms", Count::mms);
    text.line("vmas", Count::vmas);
    text.line("anon_vmas", Count::anon_vmas);
    text.line("anon_vma_chains", Count::anon_vma_chains);
    text.line("anon_mms", Count::anon_mms);
    text.line("file_mappings", Count::file_mappings);
    text.line("table_pages", Count::table_pages);
    text.line("faults", Count::faults);
    text.line("major_faults", Count::major_faults);
    text.line("cow_faults", Count::cow_faults);
    text.line("swap_ins", Count::swap_ins);
    text.line("swap_outs", Count::swap_outs);
    text.line("swap_slots", world.swap.slots());
    text.line("swap_slots_kept", Count::swap_kept);
    text.line("swap_bytes_stored", swap.stored);
    text.line("swap_incompressible", swap.incompressible);
    text.line("swap_read_errors", Count::swap_read_errors);
    text.line("swap_write_errors", Count::swap_write_errors);
    text.line("swap_readaheads", Count::swap_readaheads);
    text.line("swap_readahead_hits", Count::swap_readahead_hits);
    text.line("writebacks", Count::writebacks);
    text.line("write_errors", Count::write_errors);
    text.line("migrations", Count::migrations);
    text.line("reclaim_scanned", Count::reclaim_scanned);
    text.line("reclaimed_pages", Count::reclaimed_pages);
    text.line("direct_reclaims", Count::direct_reclaims);
    text.line("rmap_walks", Count::rmap_walks);
    text.line("rmap_candidates", Count::rmap_candidates);
    text.line("rmap_hits", Count::rmap_hits);
    text.line("rmap_false_hits", Count::rmap_false_hits);
    text.line("bytes_page", world.pool.bytes());
    text.line("bytes_swap", swap.bytes);
    text.line("bytes_vma", text.count(Count::vmas) * sizeof(Vma));
    text.line("bytes_mm", text.count(Count::mms) * sizeof(Mm));
    text.line("bytes_anon_vma", text.count(Count::anon_vmas) * sizeof(AnonVma));
    text.line("bytes_anon_vma_chain", text.count(Count::anon_vma_chains) * sizeof(AnonVmaChain));
    text.line("bytes_anon_mm", text.count(Count::anon_mms) * sizeof(AnonMm));
    text.line("bytes_scheme", world.scheme().bytes(world));
    text.line("bytes_file_mapping", text.count(Count::file_mappings) * sizeof(FileMapping));
    text.line("bytes_page_table", text.count(Count::table_pages) * (kPageSize + sizeof(PageTable)));
}

extern "C" void objr_show_scheme(objr_world* opaque, objr_out* out) {
    const char* now = world_of(opaque).scheme().name();
    for (u32 n = 0; const char* name = scheme_name(n); n++) {
        objr_out_printf(out, same_text(name, now) ? "%s[%s]" : "%s%s", n == 0 ? "" : " ", name);
    }
    objr_out_printf(out, "\n");
}

extern "C" int objr_set_scheme(objr_world* opaque, const char* name, char* reason, objr_u32 bytes) {
    Words words(reason, bytes);
    if (Scheme* scheme = find_scheme(name)) {
        return switch_scheme(world_of(opaque), *scheme, words).as_int();
    }
    words.add("no scheme ").escaped(name, __builtin_strlen(name)).add(": there is");
    for (u32 n = 0; scheme_name(n); n++) {
        words.add(n == 0 ? " " : ", ").add(scheme_name(n));
    }
    return -OBJR_EINVAL;
}
