// SPDX-License-Identifier: GPL-2.0
// Moving a page to another frame under those who map it, and taking it from everybody (Linux: mm/migrate.c:migrate_folio_unmap,
// migrate_folio_move, remove_migration_ptes).
//
// States of a migration: started -> (unmap) every mapping is a migration entry, nobody reaches the frame, a fault waits for the page
//   lock -> (settle) contents, object and entries belong to the new frame; or (undo) the entries are present again as they were.
//
// Invariants:
//   G1 a migration entry names a page that is locked, and referenced by the one who migrates it: both until the last one has gone.
//   G2 a migration entry is no mapping: neither count nor reference of its page. It keeps what the mapping was allowed to and had
//      seen: write, accessed, dirty, and whether the page was exclusive.
//   G3 fork copies migration entries, both as read-only and not exclusive where the Vma copies on write; munmap and exit drop
//      them, mprotect takes the write bit, mremap carries them along. What is there at the end becomes present.
//   G4 there is none while nobody holds quiesce for read.
// In nonlinear Vmas a mapping becomes a file entry (spec C11), which a fault resolves, so that nothing has to be put back.
//
// Who finds a page and waits for its lock looks again afterwards whether it is still what was looked for.
#pragma once

#include "objrmap/rmap.h"

namespace objr {

// What a full forward scan has found of a frame that nobody should reach: the proof of a revoke (spec U7).
struct Certificate {
    u32 mms = 0; // address spaces that were scanned
    u64 entries = 0; // of the module's tables
    u64 present = 0; // of these, present ones of the frame
    u64 process_present = 0; // the same in the processes' own tables
    u64 skipped = 0; // ranges of processes that were busy with their own tables
    bool holds() const { return present == 0 && process_present == 0; }
};

struct RevokeResult {
    enum class Destination : u32 { none, frame, swap };
    Destination to = Destination::none;
    Page* fresh = nullptr; // frame: the new one, locked and referenced for the caller
    bool to_be_written = false; // swap: a file; the page is in the swap cache, and write_out (reclaim.h) comes next
    SwapEntry entry{}; // of it
    u32 taken = 0; // mappings
    Certificate certificate;
};

// Frames a new page should not be taken from if there are others, by number, inclusive.
struct Avoid {
    u32 first = 1;
    u32 last = 0; // before first: any will do
};

// Context of both: quiesce is held for read, the page is referenced and locked by the caller, no rmap lock is held. Sleep.
// Errors: ENOENT: it belongs to nobody (any more); EBUSY: pinned; EAGAIN: mapped faster than taken; ENOBUFS: no frame; ENOMEM: no kernel
// memory. Everything is then as it was, but entries in nonlinear Vmas that the next use brings back.

// Contents, mappings and object go to a new frame, which is returned, locked and referenced. The old one belongs to nobody and is
// free when the caller has let go of it. avoid: ENOBUFS if there is no other frame. taken: mappings that were moved.
Result<Page*> migrate_page(World& world, Page& page, const Avoid& avoid = {}, u32* taken = nullptr);

enum class MovedDown {
    nothing, // the frame is free
    moved,
    skipped, // pinned, busy, poisoned, or on its way out
    no_frame, // there is none to go to
};
// The page with this number to the lowest free frame below a number. Some attempts; no lock is held. Sleeps.
MovedDown move_down(World& world, u32 number, u32 below);

// What was done to pages from the end of the pool down.
struct Compaction {
    u32 moved = 0; // to a frame with a lower number
    u32 skipped = 0;
    u32 free_sections = 0; // at the end of the pool, afterwards
};
// Move pages from the end of the pool into free frames at its beginning, until every free frame lies above every page that can be moved.
// Each page is looked at once. No lock is held; sleeps. EINTR: ended by a signal, result says how far it has come.
Status compact_pool(World& world, Compaction& result);

// The same whatever the page is good for, and with proof. If no frame is free an anonymous page goes to swap: ENOSPC, or what the
// store says, if there is no room either. EIO: the proof has failed; result has its numbers.
Status revoke_page(World& world, Page& page, const Avoid& avoid, RevokeResult& result);

// Look through all page tables, the module's and the processes', for present entries of the page.
Certificate certify_unmapped(World& world, const Page& page);

// ---- one migration, step by step, for those who do something in between

// Steps: (start) -> unmap -> settle or undo. Going out of scope before settle undoes.
class Migration : Pinned {
public:
    Migration(World& world, Page& page) : world_(world), old_(page) {}
    ~Migration();

    // A frame to go to. ENOENT, ENOBUFS.
    Status start(const Avoid& avoid);
    // Every mapping becomes a migration entry, its translations are gone. EBUSY, EAGAIN.
    Status unmap();
    // The new page, locked and referenced for the caller, has taken everything over. Cannot fail.
    Page& settle();
    // Everything as it was; the new frame is given back.
    void undo();
    u32 taken() const { return taken_; }

private:
    void take_object_over();
    void put_entries_back(Page& target);
    void let_object_go();

    World& world_;
    Page& old_;
    Page* fresh_ = nullptr; // locked, referenced
    bool is_anon_ = false;
    bool held_ = false; // the scheme holds the object of old_
    bool unmapped_ = false; // there may be migration entries
    u32 taken_ = 0;
};

} // namespace objr
