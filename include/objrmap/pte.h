// SPDX-License-Identifier: GPL-2.0
// Pte: one entry of an x86-64 page table, in the hardware's format (spec P5; Intel SDM vol. 3, 4.5; Linux:
// arch/x86/include/asm/pgtable_types.h).
//
// Present entries: P RW US PWT PCD A D PS(PAT) G, pfn in bits 12..51, NX in bit 63. Bit 9, which the processor leaves to us:
// the mapping is one of a locked Vma, and counted so in its page (page.h V7).
// Non-present entries (bit 0 clear, everything else is ours): bits 1..3 say what it is, never all zero:
//   swap       bits 4..8 type, 9..58 offset     contents are in the swap store
//   file       bits 4..63 pgoff                 a nonlinear mapping: this page of the file belongs here
//   poison     bits 12..51 pfn                  the memory of the page has failed, and its contents are lost
//   migration  bit 4 write, 5 accessed, 6 dirty, 7 exclusive, bits 12..51 pfn     the page is being moved; wait
#pragma once

#include "objrmap/types.h"

namespace objr {

class Pte {
public:
    static constexpr u64 kPresent = 1ull << 0;
    static constexpr u64 kWrite = 1ull << 1;
    static constexpr u64 kUser = 1ull << 2;
    static constexpr u64 kPwt = 1ull << 3;
    static constexpr u64 kPcd = 1ull << 4;
    static constexpr u64 kAccessed = 1ull << 5;
    static constexpr u64 kDirty = 1ull << 6;
    static constexpr u64 kPageSizeBit = 1ull << 7;
    static constexpr u64 kGlobal = 1ull << 8;
    static constexpr u64 kLocked = 1ull << 9;
    static constexpr u64 kNoExecute = 1ull << 63;
    static constexpr u64 kPfnMask = ((1ull << 52) - 1) & kPageMask;

    static constexpr u32 kSwapTypes = 32;
    static constexpr u64 kSwapOffsets = 1ull << 50;
    static constexpr u64 kFilePgoffs = 1ull << 60;

    constexpr Pte() = default;
    constexpr explicit Pte(u64 word) : word_(word) {}
    static constexpr Pte present(Pfn pfn, u64 bits) {
        return Pte(((pfn.value << kPageShift) & kPfnMask) | (bits & ~kPfnMask) | kPresent);
    }
    static constexpr Pte swap(SwapEntry entry) {
        return Pte(kKindSwap | (static_cast<u64>(entry.type) << 4) | (entry.offset << 9));
    }
    static constexpr Pte file(Pgoff pgoff) { return Pte(kKindFile | (pgoff.value << 4)); }
    static constexpr Pte migration(Pfn pfn, bool write) {
        return Pte(kKindMigration | (write ? 1ull << 4 : 0) | ((pfn.value << kPageShift) & kPfnMask));
    }

    static constexpr Pte poison(Pfn pfn) { return Pte(kKindPoison | ((pfn.value << kPageShift) & kPfnMask)); }

    // What a present entry becomes while its page is moved; exclusive: it is the page's only user (PageFlag::anon_exclusive).
    enum class Exclusive : bool { no, yes };
    constexpr Pte to_migration(Exclusive exclusive) const {
        return Pte(migration(pfn(), writable()).word_ | (word_ & kSeen) |
                   (exclusive == Exclusive::yes ? kMigrationExclusive : 0));
    }

    constexpr u64 word() const { return word_; }
    constexpr bool is_none() const { return word_ == 0; }
    constexpr bool is_present() const { return (word_ & kPresent) != 0; }
    constexpr bool is_swap() const { return !is_present() && (word_ & kKindMask) == kKindSwap; }
    constexpr bool is_file() const { return !is_present() && (word_ & kKindMask) == kKindFile; }
    constexpr bool is_migration() const { return !is_present() && (word_ & kKindMask) == kKindMigration; }

    constexpr bool is_poison() const { return !is_present() && (word_ & kKindMask) == kKindPoison; }

    constexpr bool writable() const { return (word_ & kWrite) != 0; }
    constexpr bool user() const { return (word_ & kUser) != 0; }
    constexpr bool young() const { return (word_ & kAccessed) != 0; }
    constexpr bool dirty() const { return (word_ & kDirty) != 0; }
    constexpr bool locked() const { return (word_ & kLocked) != 0; }
    constexpr bool executable() const { return (word_ & kNoExecute) == 0; }

    constexpr Pfn pfn() const { return Pfn((word_ & kPfnMask) >> kPageShift); } // present, migration and poison
    constexpr SwapEntry swap_entry() const {
        return {static_cast<u32>((word_ >> 4) & (kSwapTypes - 1)), (word_ >> 9) & (kSwapOffsets - 1)};
    }
    constexpr Pgoff file_pgoff() const { return Pgoff(word_ >> 4); }
    constexpr bool migration_write() const { return (word_ & kMigrationWrite) != 0; }
    constexpr bool migration_exclusive() const { return (word_ & kMigrationExclusive) != 0; }
    constexpr u64 migration_seen() const { return word_ & kSeen; } // kAccessed, kDirty
    // With another user (fork), and what that one gets, who has not used it yet.
    constexpr Pte migration_shared() const { return Pte(word_ & ~(kMigrationWrite | kMigrationExclusive)); }
    constexpr Pte migration_read_only() const { return Pte(word_ & ~kMigrationWrite); }
    constexpr Pte migration_unused() const { return Pte(word_ & ~kSeen); }

    constexpr Pte with(u64 bits) const { return Pte(word_ | bits); }
    constexpr Pte without(u64 bits) const { return Pte(word_ & ~bits); }
    friend constexpr bool operator==(Pte, Pte) = default;

private:
    static constexpr u64 kKindMask = 7ull << 1;
    static constexpr u64 kKindSwap = 1ull << 1;
    static constexpr u64 kKindFile = 2ull << 1;
    static constexpr u64 kKindMigration = 3ull << 1;
    static constexpr u64 kKindPoison = 4ull << 1;
    static constexpr u64 kMigrationWrite = 1ull << 4;
    static constexpr u64 kMigrationExclusive = 1ull << 7;
    static constexpr u64 kSeen = kAccessed | kDirty; // at the same place in present and migration entries
    u64 word_ = 0;
};

} // namespace objr
