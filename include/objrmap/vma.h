// SPDX-License-Identifier: GPL-2.0
// Vma: a region of an address space (Linux: struct vm_area_struct).
//
// States: being built (private to one thread) -> linked (in its Mm's tree and in the reverse map) -> unlinked -> freed.
//
// Invariants:
//   A1 start < end, both page aligned; Vmas of one Mm do not overlap.
//   A2 the page of the object at address a is pgoff + ((a - start) >> 12) (spec P3); in a nonlinear Vma only where the entry is
//      none: elsewhere it is the one that the entry names.
//   A3 in the file index <=> file is set (spec C2); in an anon object's list or tree <=> anon_vma is set.
//   A4 an anonymous page or a swap entry of it has been here => holds_anon.
//   A5 nonlinear => file is set and the Vma is shared; file entries are in nonlinear Vmas only.
//
// Ownership: the Mm owns its Vmas. A Vma holds a reference on its file (counted in FileMapping::refs) and its region.
// Locking: fields say it. "range" = Mm::lock for write + the file's i_mmap_lock for write + the anon lock for write, as far as
// the Vma has them; to read it any one of the three is enough.
#pragma once

#include "objrmap/file_index.h"
#include "objrmap/intrusive.h"
#include "objrmap/page.h"
#include "objrmap/pte.h"
#include "objrmap/rbtree.h"
#include "objrmap/types.h"
#include "shim/module.h"

namespace objr {

class Mm;
struct Vma;

enum class VmFlag : u32 {
    read = OBJR_VM_READ,
    write = OBJR_VM_WRITE,
    exec = OBJR_VM_EXEC,
    shared = OBJR_VM_SHARED,
    may_share = OBJR_VM_MAYSHARE,
    may_write = OBJR_VM_MAYWRITE,
    locked = OBJR_VM_LOCKED,
    random = OBJR_VM_RANDOM,
    sequential = OBJR_VM_SEQUENTIAL,
    nonlinear = OBJR_VM_NONLINEAR,
};

// "This Vma may map pages of that AnonVma" (Linux: struct anon_vma_chain). Only `chain` has them, see anon_vma.h.
struct AnonVmaChain : Pinned {
    Vma* vma = nullptr; // immutable once linked
    AnonVma* anon_vma = nullptr; // immutable once linked
    ListNode same_vma; // Vma::chain
    IntervalNode node; // AnonVma::tree; by the pgoffs of the Vma
};

struct Vma : Pinned {
    Vaddr start; // range
    Vaddr end; // range; exclusive
    u64 pgoff = 0; // range; pages, linear
    u32 flags = 0; // VmFlag bits; Mm::lock for write, by set_flags: walks read them without that lock
    u32 id = 0; // immutable; unique in the World
    u32 holds_anon = 0; // 0 -> 1 by the first fault that makes an anonymous page
    u32 family_id = 0; // immutable; the Vma at the root of its line of forks, its own id if it is that
    u32 parent_id = 0; // immutable; the Vma it was forked from, 0: none
    Mm* mm = nullptr; // immutable
    FileMapping* file = nullptr; // immutable; nullptr: anonymous
    AnonVma* anon_vma = nullptr; // none -> set once, under Mm::upper_lock and the anon lock; cleared by unlink
    objr_region* region = nullptr; // range; immutable while mapped; nullptr without a process

    RbNode mm_node; // Mm::lock and Mm::tree_lock for write; either to read
    ListNode anon_node; // classic; AnonVma::lock
    // chain; newest first. Mm::lock for write, or for read with Mm::upper_lock where the first one comes.
    List<AnonVmaChain, &AnonVmaChain::same_vma> chain;
    FileIndexNode i_mmap_node; // FileMapping::i_mmap_lock
    u64 nonlinear_cursor = 0; // pages from start; a hint of try_to_unmap_nonlinear: atomic
    Vma* family = nullptr; // of Rebuild, quiesce for write
    ListNode unmap_node; // of the thread that unmaps it

    bool has(VmFlag flag) const { return (read_once(flags) & static_cast<u32>(flag)) != 0; }
    void set_flags(u32 all) { write_once(flags, all); }
    bool copies_on_write() const { return !has(VmFlag::shared); }
    bool may_hold_anon() const { return read_once(holds_anon) != 0; }
    void note_anon() {
        if (!may_hold_anon()) {
            write_once(holds_anon, u32{1});
        }
    }
    u64 pages() const { return (end - start) >> kPageShift; }
    bool contains(Vaddr address) const { return start <= address && address < end; }
    u64 last_pgoff() const { return pgoff + pages() - 1; }
    u64 pgoff_of(Vaddr address) const { return pgoff + ((address - start) >> kPageShift); }
    AnonVma* anon() const { return __atomic_load_n(&anon_vma, __ATOMIC_ACQUIRE); }

    // What the entry of a file page at address becomes when it is taken out, so that a fault finds the page again.
    Pte entry_without(const Page& page, Vaddr address) const {
        return page.index == pgoff_of(address) ? Pte() : Pte::file(Pgoff(page.index));
    }
    // Where the page with this index would be mapped; false: not in this Vma (spec P3).
    bool address_of(u64 index, Vaddr* address) const {
        if (index < pgoff || index - pgoff >= pages()) {
            return false;
        }
        *address = start + ((index - pgoff) << kPageShift);
        return true;
    }
};

} // namespace objr
