// SPDX-License-Identifier: GPL-2.0
// FileIndex: the Vmas of a file by the pages of it that they map (Linux: address_space::i_mmap and, in 2.6.24, i_mmap_nonlinear).
//
// Linear Vmas are in a tree of intervals [pgoff, last pgoff]: a priority search tree as in 2.6.24, or an interval tree as today; the
// scheme says which. A nonlinear Vma (OBJR_VM_NONLINEAR) may map any page of the file anywhere, so it is in a list beside it.
//
// Invariants:
//   F2 a Vma is in the index <=> its file points here (spec C2); in the list <=> it is nonlinear.
//   F4 the interval under which a Vma is linked is its present one, but between begin and end of a change.
//
// Locking: FileMapping::i_mmap_lock, exclusive for changes, shared for visits.
#pragma once

#include "objrmap/interval_tree.h"
#include "objrmap/intrusive.h"
#include "objrmap/prio_tree.h"

namespace objr {

struct Vma;

// The place of one Vma in the index of its file.
class FileIndexNode {
public:
    constexpr FileIndexNode() : prio_() {}
    FileIndexNode(const FileIndexNode&) = delete;
    FileIndexNode& operator=(const FileIndexNode&) = delete;

    [[nodiscard]] bool linked() const { return state_ != State::unlinked; }
    [[nodiscard]] bool nonlinear() const { return state_ == State::nonlinear; }
    // What a linear one is linked under, pages.
    [[nodiscard]] u64 first() const { return state_ == State::prio_tree ? prio_.first : interval_.first; }
    [[nodiscard]] u64 last() const { return state_ == State::prio_tree ? prio_.last : interval_.last; }

private:
    friend class FileIndex;
    enum class State : u8 { unlinked, prio_tree, interval_tree, nonlinear };
    union { // at the address of the whole, see FileIndex::vma_of
        PrioNode prio_;
        IntervalNode interval_;
        ListNode list_;
    };
    State state_ = State::unlinked;
};

class FileIndex {
public:
    enum class Kind : u8 { prio_tree, interval_tree };

    explicit FileIndex(Kind kind) : kind_(kind) {}
    FileIndex(const FileIndex&) = delete;
    FileIndex& operator=(const FileIndex&) = delete;

    void insert(Vma& vma);
    // child, forked from parent: behind it, and without a search where their ranges are the same (spec C4).
    void insert_forked(Vma& child, Vma& parent);
    void erase(Vma& vma);
    // Everything into a tree of that kind. Nothing is allocated.
    void rebuild(Kind kind);

    // f(Vma&) -> bool for each linear Vma that maps a page of [first, last]; false ends the visit, and is returned.
    template <class F>
    bool visit(u64 first, u64 last, F&& f) const {
        auto adapted = [&](auto& node) { return f(vma_of(node)); };
        return kind_ == Kind::prio_tree ? prio_.visit(first, last, adapted) : intervals_.visit(first, last, adapted);
    }
    // f(Vma&) -> bool for each nonlinear Vma; likewise.
    template <class F>
    bool visit_nonlinear(F&& f) const {
        for (const FileIndexNode& node : nonlinear_) {
            if (!f(vma_of(const_cast<FileIndexNode&>(node)))) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] Kind kind() const { return kind_; }
    [[nodiscard]] bool empty() const { return size() == 0; }
    [[nodiscard]] u64 size() const { return linear() + nonlinear_count_; } // Vmas
    [[nodiscard]] u64 nonlinear() const { return nonlinear_count_; }
    // Tree nodes: different intervals in a priority search tree, all in an interval tree.
    [[nodiscard]] u64 nodes() const { return kind_ == Kind::prio_tree ? prio_.nodes() : intervals_.size(); }
    [[nodiscard]] const char* check() const; // nullptr: trees and list are whole

private:
    [[nodiscard]] u64 linear() const { return kind_ == Kind::prio_tree ? prio_.size() : intervals_.size(); }
    static Vma& vma_of(FileIndexNode& node);
    static Vma& vma_of(PrioNode& node) { return vma_of(reinterpret_cast<FileIndexNode&>(node)); }
    static Vma& vma_of(IntervalNode& node) { return vma_of(reinterpret_cast<FileIndexNode&>(node)); }
    void link(Vma& vma);

    Kind kind_;
    PrioTree prio_; // one of the two trees is empty
    IntervalTree intervals_;
    List<FileIndexNode, &FileIndexNode::list_> nonlinear_;
    u64 nonlinear_count_ = 0;
};

} // namespace objr
