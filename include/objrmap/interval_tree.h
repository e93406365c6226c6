// SPDX-License-Identifier: GPL-2.0
// IntervalTree: closed intervals [first, last] of u64, with their links in the objects; "which overlap [a, b]?" in
// O(log n + m log n) at worst and O(log n + m) in practice (Linux: include/linux/interval_tree_generic.h, mm/interval_tree.c).
//
// A red-black tree in the order of `first`, equal ones in the order of insertion; every node keeps `reach`, the greatest `last`
// of its subtree, so that a search skips subtrees that end before a. Unlike the priority search tree it neither grows with
// the width of the keys nor keeps equal intervals apart: n equal intervals are n nodes.
//
// Invariants (check): those of rbtree.h; I1 first <= last.
// Ownership, context: as rbtree.h. Locking: none here; the owner's lock, shared for visits.
#pragma once

#include "objrmap/rbtree.h"

namespace objr {

struct IntervalNode {
    RbNode rb;
    u64 first = 0; // not to be changed while linked
    u64 last = 0; // inclusive
    u64 reach = 0; // greatest last of the subtree

    [[nodiscard]] bool linked() const { return rb.linked(); }
};

class IntervalTree {
public:
    constexpr IntervalTree() = default;
    IntervalTree(const IntervalTree&) = delete;
    IntervalTree& operator=(const IntervalTree&) = delete;

    void insert(IntervalNode& node);
    // The same for an equal interval that must be visited after `before` (fork: the child behind its parent). A constant
    // amount of comparing.
    void insert_after(IntervalNode& before, IntervalNode& node);
    void erase(IntervalNode& node);

    // Overlapping nodes in the order of first; NULL: no more. The tree must not change between the two.
    [[nodiscard]] IntervalNode* first_overlap(u64 a, u64 b) const;
    [[nodiscard]] static IntervalNode* next_overlap(IntervalNode& node, u64 a, u64 b);

    // f(IntervalNode&) -> bool for each node that overlaps [a, b]; false ends the visit. f must not change the tree.
    template <class F>
    bool visit(u64 a, u64 b, F&& f) const {
        for (IntervalNode* node = first_overlap(a, b); node; node = next_overlap(*node, a, b)) {
            if (!f(*node)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] u64 size() const { return size_; }
    // NULL: the invariants hold. Else which one does not, in words. O(n log n).
    [[nodiscard]] const char* check() const;

private:
    struct Reach {
        static constexpr u64 IntervalNode::*kStored = &IntervalNode::reach;
        static u64 compute(const IntervalNode& node, const IntervalNode* left, const IntervalNode* right) {
            u64 reach = node.last;
            if (left) reach = max(reach, left->reach);
            if (right) reach = max(reach, right->reach);
            return reach;
        }
    };
    using Tree = RbTree<IntervalNode, &IntervalNode::rb, Reach>;
    static IntervalNode* first_below(IntervalNode* top, u64 a, u64 b);

    Tree tree_;
    u64 size_ = 0;
};

} // namespace objr
