// SPDX-License-Identifier: GPL-2.0
// What happens to Vmas, told to the reverse map: the index of the file first, then the scheme's own (order of locks: i_mmap_lock,
// anonymous objects, Mm::tree_lock).
#include "objrmap/file_mapping.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

static Scheme& scheme_of(const Vma& vma) { return vma.mm->world().scheme(); }

void rmap_link(Vma& vma) {
    if (vma.file) {
        Guard guard(vma.file->i_mmap_lock);
        vma.file->i_mmap.insert(vma);
    }
}

Status rmap_fork(Vma& child, Vma& parent) {
    OBJR_TRY_STATUS(scheme_of(child).forked(child, parent));
    if (child.file) {
        Guard guard(child.file->i_mmap_lock);
        child.file->i_mmap.insert_forked(child, parent);
    }
    return {};
}

void rmap_unlink(Vma& vma) {
    if (vma.file) {
        Guard guard(vma.file->i_mmap_lock);
        vma.file->i_mmap.erase(vma);
    }
    scheme_of(vma).unlinked(vma);
}

// ---- changes of a range

OBJR_THREAD(no_thread_safety_analysis) // locks that may not be there, let go in another function
RangeChange::RangeChange(Vma& vma) : vma_(vma) {
    if (vma.file) {
        vma.file->i_mmap_lock.lock();
        vma.file->i_mmap.erase(vma);
    }
    scheme_of(vma).begin_change(vma);
    vma.mm->tree_lock().lock();
}

OBJR_THREAD(no_thread_safety_analysis)
RangeChange::~RangeChange() {
    vma_.mm->tree_lock().unlock();
    scheme_of(vma_).end_change(vma_);
    if (vma_.file) {
        vma_.file->i_mmap.insert(vma_);
        vma_.file->i_mmap_lock.unlock();
    }
}

Status rmap_prepare_split(Vma& fresh, Vma& old) { return scheme_of(old).prepare_split(fresh, old); }

void RangeChange::split(Vma& fresh) {
    if (fresh.file) {
        fresh.file->i_mmap.insert(fresh);
    }
    scheme_of(fresh).split(fresh, vma_);
}

void RangeChange::merged(Vma& gone) {
    if (gone.file) {
        gone.file->i_mmap.erase(gone);
    }
    scheme_of(gone).merged(vma_, gone);
}

} // namespace objr
