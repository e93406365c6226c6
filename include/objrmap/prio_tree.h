// SPDX-License-Identifier: GPL-2.0
// prio_tree.h: the index of a file's mappings by page offset, a radix priority search tree (spec C2, C4, C16).
// Linux counterpart: lib/prio_tree.c and mm/prio_tree.c of 2.6.24. Idea: E. M. McCreight, Priority Search Trees, SIAM
// Journal on Computing 14 (1985); with a radix in place of the balance, and vm_sets, by R. Venkitachalam for Linux.
//
// Question: which of n intervals [first, last] of page offsets overlap [a, b]? One interval for each VMA of the file.
//
// Terms. *Pair*: (first, last). *Tree node*: one for each different pair. *vm_set*: the ring of all nodes of one pair, the
// tree node and its *members*; forked VMAs meet there. *Level*: the root is at level index_bits, its children one lower,
// and so on. At level n > 0 bit n - 1 of `first` tells the left (0) from the right (1) child. Below level 0 all nodes of a
// subtree have the same `first`: the radix goes over to the size, last - first, whose bits it takes lowest first, so that
// small sizes spread at once (at level -n: bit n).
//
// States of a PrioNode: unlinked (zeroed memory is one) - tree node (alone or with members) - member.
//
// Invariants (PrioTree::check):
//   T1 the children of a tree node name it as their parent; the root has none; all are in state `tree node`.
//   T2 heap: a tree node has a greater `last` than its children, or the same and a lesser `first`.
//   T3 radix: the bits of a pair lead from the root to its tree node. So by T2 no pair is in the tree twice.
//   T4 a vm_set is a closed ring of one tree node and members, all of one pair.
//   T5 nodes() and size() count the tree nodes, and these and the members.
//   T6 no `first` needs more than index_bits bits.
//
// Cost: a query looks at no more than 1 + 2 * (index_bits + pairs found) tree nodes (those that are entered though they do
// not overlap lie on one path, the radix path of b), about 1.5 log2(n) + 2 * pairs for starts that are spread evenly.
// Insert and erase follow one path, no longer than index_bits + 64; joining and leaving a vm_set, and handing its place in the
// tree to a member, take constant time. index_bits grows with the greatest `first` (each bit takes one node out and
// puts it back at the top), and falls to 0 when the tree becomes empty. Linux grows it with the greatest `last`, which
// is enough but not necessary: here a long mapping at offset 0 makes no path longer.
//
// Ownership: a tree owns nothing. A node must be unlinked before its memory goes, or its pair changes.
// Locking: none here. Changes need the owner's i_mmap lock for write. Queries and check write nothing: for read is enough.
// Context: any; never allocates, never sleeps, no recursion.
#pragma once

#include "objrmap/intrusive.h"
#include "objrmap/types.h"

namespace objr {

// One interval, embedded in a Vma: container_of<&Vma::...>(node). Its address is its identity.
class PrioNode {
public:
    constexpr PrioNode() = default;
    PrioNode(const PrioNode&) = delete;
    PrioNode& operator=(const PrioNode&) = delete;

    // The pair: page offsets, inclusive, first <= last. The owner sets it while the node is unlinked.
    u64 first = 0;
    u64 last = 0;

    [[nodiscard]] bool linked() const { return state_ != State::kUnlinked; }
    [[nodiscard]] bool in_tree() const { return state_ == State::kTree; }
    [[nodiscard]] bool member() const { return state_ == State::kMember; }
    [[nodiscard]] bool overlaps(u64 a, u64 b) const { return first <= b && a <= last; }
    [[nodiscard]] bool same_pair(const PrioNode& other) const { return first == other.first && last == other.last; }

private:
    friend class PrioTree;
    enum class State : u8 { kUnlinked, kTree, kMember };

    PrioNode* parent_ = nullptr; // these two: tree nodes only
    PrioNode* child_[2] = {};
    PrioNode* set_prev_ = nullptr; // ring of the vm_set, closed on itself in a tree node without members
    PrioNode* set_next_ = nullptr;
    State state_ = State::kUnlinked;
};
static_assert(sizeof(PrioNode) == 64, "one cache line");

class PrioTree {
public:
    // A query in progress. The tree must not change while one is used.
    class Cursor {
    public:
        // Over the nodes that overlap [a, b], a <= b.
        Cursor(const PrioTree& tree, u64 a, u64 b) : tree_(tree), a_(a), b_(b) {}

        // The next one, in no particular order, but a vm_set in one piece, its tree node first. NULL: no more.
        [[nodiscard]] PrioNode* next();

        // Tree nodes looked at so far, whether they overlapped or not.
        [[nodiscard]] u64 visited() const { return visited_; }

    private:
        PrioNode* candidate(const PrioNode& node, int side, int level) const;
        bool enter(PrioNode* node, int level);
        bool advance();

        const PrioTree& tree_;
        const u64 a_;
        const u64 b_;
        PrioNode* at_ = nullptr; // tree node; NULL: before the start or behind the end
        PrioNode* given_ = nullptr; // node of the vm_set of at_ that was given out last
        int level_ = 0; // of at_
        u32 left_behind_ = 0; // ancestors of at_ whose right child is still to be looked at
        bool started_ = false;
        u64 visited_ = 0;
    };

    constexpr PrioTree() = default;
    PrioTree(const PrioTree&) = delete;
    PrioTree& operator=(const PrioTree&) = delete;

    // Link an unlinked node; it becomes a member if its pair is in the tree already.
    void insert(PrioNode& node);

    // The same for a node whose pair is that of `existing`, which is linked here: constant time, the tree stays as it is
    // (fork: the child's VMA joins its parent's, C4).
    void insert_sibling(PrioNode& node, PrioNode& existing);

    // Unlink a linked node. A member of its vm_set, if there is one, takes its place in constant time.
    void erase(PrioNode& node);

    // Call f(PrioNode&) -> bool for every node that overlaps [a, b]; false ends the visit. f must not change the tree.
    // visited (NULL: do not count) is raised by the number of tree nodes looked at. True: f saw all of them.
    template <class F>
    bool visit(u64 a, u64 b, F&& f, u64* visited = nullptr) const {
        Cursor cursor(*this, a, b);
        bool go_on = true;
        while (PrioNode* node = go_on ? cursor.next() : nullptr)
            go_on = f(*node);
        if (visited) *visited += cursor.visited();
        return go_on;
    }

    [[nodiscard]] bool empty() const { return !root_; }
    [[nodiscard]] u64 size() const { return size_; } // all linked nodes
    [[nodiscard]] u64 nodes() const { return nodes_; } // tree nodes: different pairs
    [[nodiscard]] int index_bits() const { return index_bits_; }

    // NULL: the invariants hold. Else which one does not, in words. O(n).
    [[nodiscard]] const char* check() const;

private:
    static bool above(const PrioNode& a, const PrioNode& b);
    static int side_at(const PrioNode& node, int level);
    static bool placed(const PrioNode& parent, const PrioNode& child, int side, int level);
    void put(PrioNode* parent, const PrioNode& old, PrioNode* fresh);
    void take_place(PrioNode& old, PrioNode& fresh);
    void close_place(PrioNode& old);
    void expand(int bits);
    static const char* check_set(const PrioNode& node, u64& count, u64 limit);
    const char* check_node(const PrioNode& node, int level) const;

    PrioNode* root_ = nullptr;
    u64 size_ = 0;
    u64 nodes_ = 0;
    int index_bits_ = 0;
};

} // namespace objr
