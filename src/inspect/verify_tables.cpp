// SPDX-License-Identifier: GPL-2.0
// The forward half of the verifier: every Vma and every entry of every page table, counted for the page that it maps.
#include "table_tree.h"
#include "verify.h"

namespace objr {

// ---- address spaces

// An Mm that has gone meanwhile had no Vma and no page; one that comes has none yet.
bool Verifier::check_mms() {
    for (u64 id = 0; Mm* mm = world_.get_mm_from(id); id++) {
        const bool good = check_vmas(*mm) && check_tables(*mm);
        mm->put();
        if (!good) {
            return false;
        }
    }
    return true;
}

bool Verifier::check_vmas(Mm& mm) {
    if (const char* broken = mm.check_vmas()) {
        return OBJR_BAD("tree: the Vmas of mm %u: %s", mm.id(), broken);
    }
    u64 count = 0;
    u64 locked = 0;
    const Vma* before = nullptr;
    for (Vma* vma = mm.first_from(Vaddr(0)); vma; before = vma, vma = mm.next(*vma)) {
        count++;
        locked += vma->has(VmFlag::locked) ? vma->pages() : 0;
        if (!check_vma(mm, *vma, before) || !check_process(mm, *vma)) {
            return false;
        }
        objr_cond_resched();
    }
    vmas_ += count;
    if (locked != mm.locked()) {
        return OBJR_BAD("S1: mm %u counts %llu locked pages, its Vmas have %llu", mm.id(), mm.locked(), locked);
    }
    return count == mm.vma_count() ||
           OBJR_BAD("S1: mm %u counts %u Vmas, its tree has %llu", mm.id(), mm.vma_count(), count);
}

bool Verifier::check_vma(const Mm& mm, const Vma& vma, const Vma* before) {
    const u64 start = vma.start.value;
    const u64 end = vma.end.value;
    if (vma.mm != &mm) {
        return OBJR_BAD("A1: vma %u is in the tree of mm %u but belongs to another", vma.id, mm.id());
    }
    if (start >= end || !page_aligned(start) || !page_aligned(end) || vma.end > mm.address_end()) {
        return OBJR_BAD("A1: vma %u of mm %u has the range 0x%llx-0x%llx", vma.id, mm.id(), start, end);
    }
    if (before && before->end > vma.start) {
        return OBJR_BAD("A1: vma %u of mm %u ends at 0x%llx, in vma %u which begins at 0x%llx", before->id, mm.id(),
                        before->end.value, vma.id, start);
    }
    if (vma.i_mmap_node.linked() != (vma.file != nullptr)) {
        return OBJR_BAD("A3: vma %u of mm %u %s file and %s in a file's index", vma.id, mm.id(),
                        vma.file ? "has a" : "has no", vma.file ? "is not" : "is");
    }
    if ((vma.anon_node.linked() || !vma.chain.empty()) != (vma.anon() != nullptr)) {
        return OBJR_BAD("A3: vma %u of mm %u %s anon_vma and %s in an anon_vma's list or tree", vma.id, mm.id(),
                        vma.anon() ? "has an" : "has no", vma.anon() ? "is not" : "is");
    }
    if (vma.anon() && !vma.may_hold_anon()) {
        return OBJR_BAD("A4: vma %u of mm %u has an anon_vma and says it never had an anonymous page", vma.id, mm.id());
    }
    if (vma.anon() && world_.anon_vmas.find(vma.anon()->id.load()) != vma.anon()) {
        return OBJR_BAD("N1: vma %u of mm %u points to an anon_vma that is gone", vma.id, mm.id());
    }
    if (vma.has(VmFlag::nonlinear) && (!vma.file || vma.copies_on_write())) {
        return OBJR_BAD("A5: vma %u of mm %u is nonlinear and does not share a file", vma.id, mm.id());
    }
    if (vma.file && vma.anon() && !vma.copies_on_write()) {
        return OBJR_BAD("A3: vma %u of mm %u maps a file shared and has an anon_vma (spec C2)", vma.id, mm.id());
    }
    anon_links_ += vma.anon_node.linked() ? 1 : 0;
    vmas_with_file_ += vma.file ? 1 : 0;
    vmas_with_anon_ += vma.anon() ? 1 : 0;
    return check_chain(vma);
}

// ---- page tables

bool Verifier::check_tables(Mm& mm) {
    const u64 before = mappings_;
    const Vma* vma = mm.first_from(Vaddr(0));
    auto on_table = [&](const u64* entries, u32 level, Vaddr base) { return check_table(mm, entries, level, base); };
    auto on_upper = [&](Vaddr address, u32 level, u64 entry) { return check_upper(mm, address, level, entry); };
    auto on_leaf = [&](Vaddr address, Pte pte) {
        while (vma && vma->end <= address) {
            vma = mm.next(*vma);
        }
        live_++;
        return check_entry(mm, vma && vma->contains(address) ? vma : nullptr, address, pte);
    };
    leaf_ = nullptr;
    const PageTables& tables = mm.tables();
    if (!scan_tables(static_cast<const u64*>(tables.root()), tables.levels(), 0, on_table, on_upper, on_leaf) ||
        !check_table(mm, nullptr, 0, tables.address_end())) {
        return false;
    }
    const u64 present = mappings_ - before;
    return present == mm.resident() ||
           OBJR_BAD("S1: mm %u counts %llu resident pages, its tables have %llu", mm.id(), mm.resident(), present);
}

// The leaf before has been seen to its end now; level 0: there are no more tables.
bool Verifier::check_table(Mm& mm, const u64* entries, u32 level, Vaddr base) {
    if (leaf_ && leaf_->live != live_) {
        return OBJR_BAD("T2: the table of mm %u at 0x%llx says %u entries, it has %llu", mm.id(), leaf_->base.value,
                        leaf_->live, live_);
    }
    leaf_ = nullptr;
    live_ = 0;
    objr_cond_resched();
    if (level == 0) {
        return true;
    }
    const auto* table = static_cast<const PageTable*>(objr_table_descriptor(entries));
    if (!table || table->entries != entries || table->mm != &mm || table->level != level || table->base != base) {
        return OBJR_BAD("T1: the table of level %u of mm %u at 0x%llx is another one's by its descriptor", level,
                        mm.id(), base.value);
    }
    leaf_ = level == 1 ? table : nullptr;
    return true;
}

bool Verifier::check_upper(const Mm& mm, Vaddr address, u32 level, u64 entry) {
    constexpr u64 kBits = Pte::kPresent | Pte::kWrite | Pte::kUser;
    const u64 bits = entry & ~Pte::kPfnMask & ~Pte::kAccessed; // a processor marks what it has used
    return bits == kBits ||
           OBJR_BAD("T1: mm %u has the entry 0x%llx of level %u at 0x%llx", mm.id(), entry, level, address.value);
}

bool Verifier::check_entry(const Mm& mm, const Vma* vma, Vaddr address, Pte pte) {
    if (!vma) {
        return OBJR_BAD("M1: mm %u has the entry 0x%llx at 0x%llx, in no Vma", mm.id(), pte.word(), address.value);
    }
    if (!pte.is_present()) {
        if (pte.is_swap()) {
            return check_swap_entry(mm, *vma, address, pte);
        }
        if (pte.is_file() && !vma->has(VmFlag::nonlinear)) {
            return OBJR_BAD("A5: mm %u has the file entry 0x%llx at 0x%llx, in vma %u which is linear", mm.id(),
                            pte.word(), address.value, vma->id);
        }
        if (pte.is_migration()) {
            return OBJR_BAD("P5: mm %u has the migration entry 0x%llx at 0x%llx, and nobody migrates", mm.id(),
                            pte.word(), address.value);
        }
        if (pte.is_poison()) {
            return check_poison_entry(mm, *vma, address, pte);
        }
        return pte.is_file() || OBJR_BAD("P5: mm %u has the entry 0x%llx at 0x%llx, which is of no kind", mm.id(),
                                         pte.word(), address.value);
    }
    const Page* page = world_.pool.page_of(pte.pfn());
    if (!page) {
        return OBJR_BAD("V1: mm %u maps pfn 0x%llx at 0x%llx, which is not in the pool", mm.id(), pte.pfn().value,
                        address.value);
    }
    if (page->has(PageFlag::free)) {
        return OBJR_BAD("V4: mm %u maps page %u at 0x%llx, which is free", mm.id(), world_.pool.number(*page),
                        address.value);
    }
    mappings_++;
    Tally& tally = tallies_[world_.pool.number(*page)];
    tally.add(mm.id(), address);
    tally.private_writable |= pte.writable() && vma->copies_on_write() ? 1 : 0;
    tally.shared_dirty |= (pte.writable() || pte.dirty()) && !vma->copies_on_write() ? 1 : 0;
    tally.locked += pte.locked() ? 1 : 0;
    return check_place(mm, *vma, address, *page) && check_rights(mm, *vma, address, pte);
}

bool Verifier::check_poison_entry(const Mm& mm, const Vma& vma, Vaddr address, Pte pte) {
    const Page* page = world_.pool.page_of(pte.pfn());
    return (page && page->has(PageFlag::poisoned) && vma.copies_on_write()) ||
           OBJR_BAD("V8: mm %u has the poison entry 0x%llx at 0x%llx, in vma %u: %s", mm.id(), pte.word(),
                    address.value, vma.id, vma.copies_on_write() ? "that page is not poisoned" : "which is shared");
}

// A page of a file is one of its Vma's file, in its place there.
bool Verifier::check_place(const Mm& mm, const Vma& vma, Vaddr address, const Page& page) {
    const FileMapping* file = page.mapping().file_mapping();
    if (file && file != vma.file) {
        return OBJR_BAD("A2: mm %u maps page %u of file %u at 0x%llx, in vma %u which is not of that file", mm.id(),
                        world_.pool.number(page), file->id(), address.value, vma.id);
    }
    return !file || vma.has(VmFlag::nonlinear) || page.index == vma.pgoff_of(address) ||
           OBJR_BAD("A2: mm %u maps pgoff 0x%llx of file %u at 0x%llx, vma %u has 0x%llx there", mm.id(), page.index,
                    file->id(), address.value, vma.id, vma.pgoff_of(address));
}

// That a private mapping may write only what is its own is seen when all mappings of the page are known: check_used.
bool Verifier::check_rights(const Mm& mm, const Vma& vma, Vaddr address, Pte pte) {
    const char* excess = nullptr;
    if (pte.user() && !vma.has(VmFlag::read) && !vma.has(VmFlag::write) && !vma.has(VmFlag::exec)) {
        excess = "can be read, which its Vma forbids";
    } else if (pte.writable() && !vma.has(VmFlag::write)) {
        excess = "can be written, which its Vma forbids";
    } else if (pte.executable() && !vma.has(VmFlag::exec)) {
        excess = "can be executed, which its Vma forbids";
    }
    if (pte.locked() != vma.has(VmFlag::locked)) {
        return OBJR_BAD("V7: mm %u has the entry 0x%llx at 0x%llx, vma %u is %s", mm.id(), pte.word(), address.value,
                        vma.id, vma.has(VmFlag::locked) ? "locked" : "not locked");
    }
    return !excess ||
           OBJR_BAD("M2: the page of mm %u at 0x%llx, entry 0x%llx, %s", mm.id(), address.value, pte.word(), excess);
}

// ---- the process's own tables: a cache of the module's

namespace {

struct ProcessScan {
    explicit ProcessScan(const Mm& scanned) : mm(scanned) {}

    const Mm& mm;
    const char* wrong = nullptr; // the first entry for which there is something to say
    u64 address = 0;
    u64 pfn = 0;
    Pte ours;

    // Under locks of the kernel: looks and notes only.
    static int visit(void* context, objr_u64 address, objr_u64 pfn, objr_u32 bits) {
        auto& scan = *static_cast<ProcessScan*>(context);
        const PageTable* table = scan.mm.tables().leaf(Vaddr(address));
        const Pte ours = table ? table->get(Vaddr(address)) : Pte();
        const char* wrong = nullptr;
        if ((bits & OBJR_PTE_PRESENT) == 0) {
            return 0;
        }
        if (!ours.is_present() || ours.pfn().value != pfn) {
            wrong = "X1: the process";
        } else if ((bits & OBJR_PTE_WRITE) != 0 && !(ours.writable() && ours.dirty())) {
            wrong = "X2: writable, the process";
        }
        if (!wrong) {
            return 0;
        }
        scan.wrong = wrong;
        scan.address = address;
        scan.pfn = pfn;
        scan.ours = ours;
        return 1;
    }
};

} // namespace

bool Verifier::check_process(Mm& mm, const Vma& vma) {
    if (!vma.region) {
        return true;
    }
    ProcessScan scan(mm);
    const int result = objr_region_scan(vma.region, vma.start.value, vma.end.value, ProcessScan::visit, &scan);
    skipped_ += result < 0 ? 1 : 0;
    return !scan.wrong || OBJR_BAD("%s of mm %u maps pfn 0x%llx at 0x%llx, the module has the entry 0x%llx", scan.wrong,
                                   mm.id(), scan.pfn, scan.address, scan.ours.word());
}

} // namespace objr
