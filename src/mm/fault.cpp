// SPDX-License-Identifier: GPL-2.0
// Faults: demand zero, file pages, breaking copy-on-write, and refilling an MMU that has dropped a translation
// (Linux: mm/memory.c:handle_pte_fault, do_anonymous_page, do_fault, do_wp_page).
//
// Order (lock.h): Mm::lock for read, page lock, table lock. Nothing is believed that was not seen under the table lock; where an
// entry has changed in between, the fault begins anew.
#include "objrmap/frames.h"
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

// The processor may set A and D at any time.
static bool same_mapping(Pte a, Pte b) {
    return a.without(Pte::kAccessed | Pte::kDirty) == b.without(Pte::kAccessed | Pte::kDirty);
}

// One fault of one address. Results in a page that is mapped, locked and referenced, or an error.
class FaultHandler : Pinned {
public:
    enum class Use : u64 { no = 0, yes = Pte::kAccessed }; // somebody waits for it to use it

    FaultHandler(Mm& mm, Vma& vma, Vaddr address, Access access, FrameReserve& frames, Use use = Use::yes)
        : mm_(mm), world_(mm.world()), vma_(vma), address_(address), write_(access == Access::write), use_(use),
          frames_(frames), reserve_(mm.world()) {}

    struct Mapped {
        Page* page; // locked, referenced
        bool writable; // the MMU may let the process write from now on
        bool replaced; // another translation may still be cached
        Page* old; // the page that was replaced, locked, with two references: ours and its mapping's; nullptr: none
    };
    Result<Mapped> run();
    // When the MMU has the translation: the page may be used by others, the old one goes (L2, L3).
    static void finish(World& world, const Mapped& mapped);

private:
    enum class Progress { done, again };
    Result<Progress> attempt();
    Result<Progress> fault_none();
    Result<Progress> fault_object(u64 pgoff, Pte expected);
    Result<Progress> fault_swap(Pte pte);
    Result<Progress> copy_swapped(Page* page, Pte pte);
    Result<Progress> wait_for_migration(Page* page);
    enum class Readers { maybe, gone }; // by translations whose entries are gone
    Result<Progress> fault_present(Page& page, Pte pte, Readers readers = Readers::maybe);
    Result<Progress> map_new(Page* page, Pte expected, Page* old);
    Result<Progress> map_file_page(Page* page, Pte expected);
    void enter(Page& page, bool writable, bool written);
    void let_go(Page* page);
    u64 rights(bool writable, bool written) const;
    Progress done(Page* page, bool writable, bool replaced, Page* old = nullptr) {
        mapped_ = {page, writable, replaced, old};
        return Progress::done;
    }

    Mm& mm_;
    World& world_;
    Vma& vma_;
    const Vaddr address_;
    const bool write_;
    const Use use_;
    FrameReserve& frames_;
    bool major_ = false; // something was read
    PageTable* table_ = nullptr;
    MapReserve reserve_;
    Mapped mapped_{};
};

Result<FaultHandler::Mapped> FaultHandler::run() {
    if (!vma_.file || (write_ && vma_.copies_on_write())) {
        OBJR_TRY_STATUS(world_.scheme().prepare_anon(vma_));
        vma_.note_anon();
    }
    table_ = OBJR_TRY(mm_.tables_.make_leaf(address_));
    while (OBJR_TRY(attempt()) == Progress::again) {
        objr_cond_resched();
    }
    if (major_) {
        mm_.major_faults_.fetch_add(1);
        world_.counters.add(Count::major_faults);
    }
    return mapped_;
}

Result<FaultHandler::Progress> FaultHandler::attempt() {
    Pte pte;
    Page* page = nullptr;
    {
        Guard guard(table_->lock);
        pte = table_->get(address_);
        if (pte.is_present() || pte.is_migration()) {
            page = world_.pool.page_of(pte.pfn());
            if (!OBJR_WARN_ON(!page)) {
                world_.pool.get(*page);
            }
        }
    }
    if (pte.is_none()) {
        return fault_none();
    }
    if (pte.is_poison()) {
        return Errno{OBJR_EHWPOISON};
    }
    if (pte.is_swap()) {
        return fault_swap(pte);
    }
    if (pte.is_file()) {
        return fault_object(pte.file_pgoff().value, pte);
    }
    if (!page) {
        return Errno{OBJR_EIO};
    }
    if (pte.is_migration()) {
        return wait_for_migration(page);
    }
    page->lock();
    return fault_present(*page, pte);
}

// ---- nothing there yet

Result<FaultHandler::Progress> FaultHandler::fault_none() {
    if (!vma_.file) {
        return map_new(OBJR_TRY(frames_.allocate_locked()), Pte(), nullptr);
    }
    return fault_object(vma_.pgoff_of(address_), Pte());
}

// Page pgoff of the object belongs here, where expected is in the entry: nothing, or in a nonlinear Vma the pgoff (spec C12).
Result<FaultHandler::Progress> FaultHandler::fault_object(u64 pgoff, Pte expected) {
    Page* page = OBJR_TRY(vma_.file->get_locked_page(pgoff, frames_, &major_));
    if (!write_ || !vma_.copies_on_write()) {
        return map_file_page(page, expected);
    }
    Result<Page*> copy = frames_.allocate_locked();
    if (copy) {
        objr_copy_page(world_.pool.address(**copy), world_.pool.address(*page));
    }
    let_go(page);
    return map_new(OBJR_TRY(copy), expected, nullptr);
}

// A page of the object itself; it is locked, so it cannot be truncated under us.
Result<FaultHandler::Progress> FaultHandler::map_file_page(Page* page, Pte expected) {
    if (Status status = page->has_most_mappings() ? Errno{OBJR_ENOMEM} : reserve_.fill_for(*page); !status) {
        let_go(page);
        return status.error();
    }
    bool writable =
        write_ && vma_.has(VmFlag::write); // a clean page is mapped read-only, so that the first write is noticed
    {
        Guard guard(table_->lock);
        if (table_->get(address_) == expected) {
            if (write_) {
                vma_.file->mark_page_locked(*page);
            }
            enter(*page, writable, write_);
            rmap_map_file(world_, *page, {*table_, address_}, reserve_);
            mm_.resident_add(1);
            return done(page, writable, false);
        }
    }
    let_go(page);
    return Progress::again;
}

// A new anonymous page, locked, replaces what was expected at the address: nothing, or the mapping of old, which is
// locked and referenced: finish lets it go.
Result<FaultHandler::Progress> FaultHandler::map_new(Page* page, Pte expected, Page* old) {
    bool mapped = false;
    {
        Guard guard(table_->lock);
        if (const Pte now = table_->get(address_); same_mapping(now, expected)) {
            mapped = true;
            if (old) {
                rmap_note_dirty(*old, now); // others may have it still
                rmap_munlock(world_, *old, expected);
                rmap_unmap(world_, *old, {*table_, address_});
            }
            enter(*page, vma_.has(VmFlag::write), write_);
            rmap_map_anon(world_, *page, vma_, {*table_, address_}, Exclusivity::exclusive, reserve_);
            if (!old) {
                mm_.resident_add(1);
            }
        }
    }
    if (!mapped) {
        let_go(page);
        if (old) {
            let_go(old);
        }
        return Progress::again;
    }
    if (old) {
        world_.counters.add(Count::cow_faults);
    }
    return done(page, write_, old != nullptr, old);
}

// ---- swapped out

// Who else has the entry, or maps the page already, shares it: it is mapped read-only then, and a write copies it in the next
// attempt. With the last entry the page leaves the swap cache, unless it is only read: then its slot is kept for the next time.
Result<FaultHandler::Progress> FaultHandler::fault_swap(Pte pte) {
    const SwapEntry entry = pte.swap_entry();
    OBJR_TRY_STATUS(world_.scheme().prepare_anon(vma_));
    if (Page* cached = world_.swap.find_page(entry)) {
        world_.pool.put(*cached);
    } else {
        major_ = true;
    }
    Result<Page*> read = world_.swap.read_locked(entry, frames_);
    if (!read) {
        return read.error().value == OBJR_ENOENT ? Result<Progress>(Progress::again) : Result<Progress>(read.error());
    }
    Page& page = **read;
    if (!world_.scheme().can_share_at(page, address_)) {
        return copy_swapped(&page, pte);
    }
    if (Status status = page.has_most_mappings() ? Errno{OBJR_ENOMEM} : reserve_.fill_for(page); !status) {
        let_go(&page);
        return status.error();
    }
    constexpr s32 kOursAndTheCaches = 2;
    bool mapped = false;
    bool last = false;
    bool exclusive = false;
    bool writable = false;
    {
        Guard guard(table_->lock);
        if (table_->get(address_) == pte) {
            mapped = true;
            last = world_.swap.release(entry);
            // Who holds it besides may have taken another's entry and not yet its translation: fault_present waits for him.
            exclusive = last && !page.mapped() && page.refcount.load() <= kOursAndTheCaches;
            writable = exclusive && write_;
            enter(page, writable && vma_.has(VmFlag::write), writable);
            rmap_map_anon(world_, page, vma_, {*table_, address_},
                          exclusive ? Exclusivity::exclusive : Exclusivity::uncertain, reserve_);
            mm_.resident_add(1);
        }
    }
    if (last && (writable || vma_.has(VmFlag::locked) || !world_.swap.keep_locked(page))) {
        world_.swap.remove_from_cache_locked(page);
    }
    if (!mapped || (write_ && !exclusive)) {
        let_go(&page);
        return Progress::again;
    }
    return done(&page, write_, false);
}

// The page of a swap entry that has moved away from those who map it (spec A4). It is locked, and let go here.
Result<FaultHandler::Progress> FaultHandler::copy_swapped(Page* page, Pte pte) {
    Result<Page*> fresh = frames_.allocate_locked();
    bool mapped = false;
    bool last = false;
    if (fresh) {
        objr_copy_page(world_.pool.address(**fresh), world_.pool.address(*page));
        Guard guard(table_->lock);
        if (table_->get(address_) == pte) {
            mapped = true;
            last = world_.swap.release(pte.swap_entry());
            enter(**fresh, write_ && vma_.has(VmFlag::write), write_);
            rmap_map_anon(world_, **fresh, vma_, {*table_, address_}, Exclusivity::exclusive, reserve_);
            mm_.resident_add(1);
        }
    }
    if (last) {
        world_.swap.remove_from_cache_locked(*page);
    }
    let_go(page);
    Page* copy = OBJR_TRY(fresh);
    if (!mapped) {
        let_go(copy);
        return Progress::again;
    }
    world_.counters.add(Count::cow_faults);
    return done(copy, write_, false);
}

// ---- something is there: page is locked and referenced

// Before the last owner writes without copying, another's translation must be gone, which may outlive its entry: it could read by it
// what is written. The references of this fault and of the mapping are two, that of the swap cache comes on top where a slot is kept;
// one more may mean that.
Result<FaultHandler::Progress> FaultHandler::fault_present(Page& page, Pte pte, Readers readers) {
    constexpr s32 kOursAndTheMapping = 2;
    bool copy = false;
    bool wait = false;
    bool takes = false;
    {
        Guard guard(table_->lock);
        Pte now = table_->get(address_);
        if (!same_mapping(now, pte)) {
            pte = Pte(); // changed while the page lock was waited for
        } else {
            pte = now;
            // The last owner writes without copying (spec U2); only this Mm could add a mapping, and we hold its lock.
            bool mine = !vma_.copies_on_write() ||
                        (page.mapping().is_anon() && page.mappings() == 1 && world_.swap.count_of(page) == 0);
            takes = write_ && !pte.writable() && vma_.copies_on_write();
            copy = takes && !mine;
            wait = takes && mine && readers == Readers::maybe &&
                   page.refcount.load() > kOursAndTheMapping + (SwapSpace::cached(page) ? 1 : 0);
            if (!copy && !wait) {
                if (takes) {
                    rmap_claim(world_, page, vma_);
                }
                if (FileMapping* file = page.mapping().file_mapping(); write_ && file) {
                    file->mark_page_locked(page);
                }
                u64 write_bits = Pte::kDirty | (vma_.has(VmFlag::write) ? Pte::kWrite : 0);
                table_->set(address_, pte.with(Pte::kAccessed | (write_ ? write_bits : 0)));
            }
        }
    }
    if (pte.is_none()) {
        let_go(&page);
        return Progress::again;
    }
    if (wait) {
        world_.zap_grace.wait();
        return fault_present(page, pte, Readers::gone);
    }
    if (!copy) {
        if (takes) {
            world_.swap.give_up_locked(page);
        }
        return done(&page, write_, write_);
    }
    Result<Page*> fresh = frames_.allocate_locked();
    if (!fresh) {
        let_go(&page);
        return fresh.error();
    }
    objr_copy_page(world_.pool.address(**fresh), world_.pool.address(page));
    return map_new(*fresh, pte, &page);
}

// The page is on its way to another frame, and locked until it has arrived (Linux: migration_entry_wait).
Result<FaultHandler::Progress> FaultHandler::wait_for_migration(Page* page) {
    page->lock();
    let_go(page);
    return Progress::again;
}

// ---- helpers

void FaultHandler::finish(World& world, const Mapped& mapped) {
    mapped.page->unlock();
    world.pool.put(*mapped.page);
    if (mapped.old) {
        world.swap.settle_locked(*mapped.old);
        mapped.old
            ->unlock(); // whoever is its only owner now may write to it: nobody reads it through our old translation
        world.pool.put(*mapped.old);
        world.pool.put(*mapped.old);
    }
}

// A present entry for page, with a reference of its own, through which it is written at once or not. The table is locked.
void FaultHandler::enter(Page& page, bool writable, bool written) {
    world_.pool.get(page);
    table_->set(address_, Pte::present(world_.pool.pfn(page), rights(writable, written)));
    if (vma_.has(VmFlag::locked)) {
        rmap_mlock(world_, page);
    }
}

void FaultHandler::let_go(Page* page) {
    page->unlock();
    world_.pool.put(*page);
}

u64 FaultHandler::rights(bool writable, bool written) const {
    const bool any = vma_.has(VmFlag::read) || vma_.has(VmFlag::write) || vma_.has(VmFlag::exec);
    return (any ? Pte::kUser : 0) | static_cast<u64>(use_) | (writable ? Pte::kWrite : 0) |
           (written ? Pte::kDirty : 0) | (vma_.has(VmFlag::exec) ? 0 : Pte::kNoExecute) |
           (vma_.has(VmFlag::locked) ? Pte::kLocked : 0);
}

// ---- the Mm's side

static bool permitted(const Vma& vma, Access access) {
    switch (access) {
    case Access::write: return vma.has(VmFlag::write);
    case Access::exec: return vma.has(VmFlag::exec);
    case Access::read: // what may be written or executed may be read, on x86
        return vma.has(VmFlag::read) || vma.has(VmFlag::write) || vma.has(VmFlag::exec);
    }
    return false;
}

Status Mm::fault(Vaddr address, Access access, void* token) {
    FrameReserve frames(world_, Patience::files);
    return with_frames(frames, [&] {
        SharedGuard quiesce(world_.quiesce);
        SharedGuard guard(lock_);
        Vma* vma = find(address);
        return vma ? fault_in(*vma, page_start(address), access, token, frames) : Status(Errno{OBJR_EFAULT});
    });
}

Status Mm::fault_in(Vma& vma, Vaddr address, Access access, void* token, FrameReserve& frames) {
    world_.counters.add(Count::faults);
    faults_.fetch_add(1);
    if (!permitted(vma, access)) {
        return Errno{OBJR_EACCES};
    }
    FaultHandler handler(*this, vma, address, access, frames);
    FaultHandler::Mapped mapped = OBJR_TRY(handler.run());
    Status status = mmu_.install(token, address, world_.pool.pfn(*mapped.page), mapped.writable, mapped.replaced);
    FaultHandler::finish(world_, mapped);
    return status;
}

// The process's own VMA decides what it may do. Where an mprotect failed half-way in the kernel after it had been told here,
// the two differ; the Vma is made to follow.
Status Mm::fault_with_flags(Vaddr address, Access access, u32 vm_flags, void* token) {
    FrameReserve frames(world_, Patience::outside);
    return with_frames(frames, [&] { return try_fault_with_flags(address, access, vm_flags, token, frames); });
}

Status Mm::try_fault_with_flags(Vaddr address, Access access, u32 vm_flags, void* token, FrameReserve& frames) {
    constexpr u32 kRights = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC;
    for (;;) {
        {
            SharedGuard quiesce(world_.quiesce);
            SharedGuard guard(lock_);
            Vma* vma = find(address);
            if (!vma) {
                return Errno{OBJR_EFAULT};
            }
            if (((vma->flags ^ vm_flags) & kRights) == 0) {
                return fault_in(*vma, page_start(address), access, token, frames);
            }
        }
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        if (Vma* vma = find(address)) {
            protect_locked(vma->start, vma->end, vm_flags & kRights, OBJR_MMAP_LOCK_NOT_HELD);
        }
    }
}

void Mm::note_cut(Vaddr address) {
    FileMapping* file = nullptr;
    {
        SharedGuard quiesce(world_.quiesce);
        SharedGuard guard(lock_);
        Vma* vma = find(address);
        if (!vma || !vma->file || !vma->file->seen_cut()) {
            return;
        }
        file = vma->file;
        file->hold(); // it has a user: the Vma
    }
    file->try_note_cut();
    file->let_go();
}

Status Mm::populate(Vaddr address, Access access, Patience patience) {
    FrameReserve frames(world_, patience);
    return with_frames(frames, [&] { return try_populate(page_start(address), access, frames); });
}

Status Mm::try_populate(Vaddr address, Access access, FrameReserve& frames) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    Vma* vma = find(address);
    if (!vma) {
        return Errno{OBJR_EFAULT};
    }
    if (!permitted(*vma, access)) {
        return Errno{OBJR_EACCES};
    }
    FaultHandler handler(*this, *vma, address, access, frames);
    FaultHandler::Mapped mapped = OBJR_TRY(handler.run());
    if (mapped.replaced) {
        mmu_.zap(vma->region, address, address + kPageSize, OBJR_MMAP_LOCK_NOT_HELD);
    }
    FaultHandler::finish(world_, mapped);
    return {};
}

Status Mm::swap_in(Vaddr address) {
    FrameReserve frames(world_, Patience::files);
    return with_frames(frames, [&] { return try_swap_in(page_start(address), frames); });
}

Status Mm::try_swap_in(Vaddr address, FrameReserve& frames) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    Vma* vma = find(address);
    if (!vma) {
        return Errno{OBJR_EFAULT};
    }
    Pte pte;
    if (PageTable* table = tables_.leaf(address)) {
        Guard table_guard(table->lock);
        pte = table->get(address);
    }
    if (vma->file && (pte.is_none() || pte.is_file())) {
        const u64 pgoff = pte.is_file() ? pte.file_pgoff().value : vma->pgoff_of(address);
        return vma->file->bring_in(pgoff, frames);
    }
    if (!pte.is_swap()) {
        return Errno{OBJR_ENOENT};
    }
    FaultHandler handler(*this, *vma, address, Access::read, frames, FaultHandler::Use::no);
    FaultHandler::Mapped mapped = OBJR_TRY(handler.run());
    FaultHandler::finish(world_, mapped);
    return {};
}

Status Mm::access(Vaddr address, void* data, u32 length, Access access) {
    FrameReserve frames(world_, Patience::reclaim);
    return with_frames(frames, [&] { return try_access(address, data, length, access, frames); });
}

Status Mm::try_access(Vaddr address, void* data, u32 length, Access access, FrameReserve& frames) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    u64 offset = address - page_start(address);
    Vma* vma = find(address);
    if (!vma) {
        return Errno{OBJR_EFAULT};
    }
    if (length > kPageSize - offset) {
        return Errno{OBJR_EINVAL};
    }
    // A debugger may write where the process may not, but only to what is the process's own (FOLL_FORCE in Linux).
    bool write = access == Access::write;
    if (!permitted(*vma, access) && !(write && vma->copies_on_write() && vma->has(VmFlag::may_write))) {
        return Errno{OBJR_EACCES};
    }
    FaultHandler handler(*this, *vma, page_start(address), access, frames);
    FaultHandler::Mapped mapped = OBJR_TRY(handler.run());
    if (mapped.replaced) {
        mmu_.zap(vma->region, page_start(address), page_start(address) + kPageSize, OBJR_MMAP_LOCK_HELD);
    }
    u8* bytes = static_cast<u8*>(world_.pool.address(*mapped.page)) + offset;
    if (write) {
        __builtin_memcpy(bytes, data, length);
    } else {
        __builtin_memcpy(data, bytes, length);
    }
    FaultHandler::finish(world_, mapped);
    return {};
}

} // namespace objr
