// SPDX-License-Identifier: GPL-2.0
// rbtree.h: red-black trees whose links live in the objects themselves, with an optional value kept for each subtree.
// Linux counterpart: include/linux/rbtree.h, rbtree_augmented.h. Algorithm: Guibas and Sedgewick 1978; erase as in
// Cormen et al., Introduction to Algorithms.
//
// Terms: *order* is what the owner's comparison says; equal objects stay in the order of their insertion.
// *augmentation*: a value stored in each object that is a function of the object and of the stored values of its two
// children, for example the greatest `last` in its subtree. The tree keeps it right over every change.
// States of a node: unlinked (zeroed memory is a valid unlinked node) or linked (in exactly one tree).
//
// Invariants (RbTree::check):
//   R1 the children of a node name it as their parent; the root has none.
//   R2 the root is black; no red node has a red child.
//   R3 every path from the root down to a missing child has the same number of black nodes.
//   R4 no object is less than the one before it.
//   R5 every stored augmentation is what compute says.
// R2 and R3 bound the depth by 2 log2(n + 1).
//
// Ownership: a tree owns nothing. Objects must be unlinked before their memory goes.
// Locking: none here. Changes need the owner's lock for write; const functions read only, so a shared lock is enough.
// Context: any; never allocates, never sleeps, no recursion. Insert, erase and search O(log n); check O(n log n).
#pragma once

#include "objrmap/intrusive.h"
#include "objrmap/types.h"

#include <type_traits>

namespace objr {

// The link of one object in one tree. Its address is its identity: it cannot be copied or moved.
class RbNode {
public:
    enum Side : u32 { kLeft = 0, kRight = 1 };

    constexpr RbNode() = default;
    RbNode(const RbNode&) = delete;
    RbNode& operator=(const RbNode&) = delete;

    // A linked node is black or has a parent, so its word is never zero.
    [[nodiscard]] bool linked() const { return parent_and_black_ != 0; }
    [[nodiscard]] bool black() const { return parent_and_black_ & kBlack; }
    [[nodiscard]] RbNode* parent() const { return reinterpret_cast<RbNode*>(parent_and_black_ & ~kBlack); }
    [[nodiscard]] RbNode* child(u32 side) const { return child_[side]; }

private:
    friend class RbCore;
    static constexpr u64 kBlack = 1;

    u64 parent_and_black_ = 0;
    RbNode* child_[2] = {};
};
static_assert(sizeof(RbNode) == 24);

// The part of the tree that does not depend on the type of the objects: src/mm/rbtree.cpp. Use RbTree.
class RbCore {
public:
    // Called after `up`, a child of `down`, has become its parent. NULL: the tree is not augmented.
    using Rotated = void (*)(RbNode& down, RbNode& up);

    // An empty place in a tree: the parent it would have (NULL: the root) and the side.
    struct Slot {
        RbNode* parent = nullptr;
        u32 side = RbNode::kLeft;
    };

    // Result of unlink: where the tree is one black node short (NULL: nowhere), and whose augmentation is stale: every
    // node from `stale` (NULL: none) up to the root; `moved` (NULL: none) is the one of these whose children were exchanged.
    struct Unlinked {
        RbNode* short_at = nullptr;
        RbNode* stale = nullptr;
        RbNode* moved = nullptr;
    };

    [[nodiscard]] RbNode* root() const { return root_; }
    [[nodiscard]] RbNode* end(u32 side) const; // leftmost, rightmost node; NULL: empty
    [[nodiscard]] static RbNode* step(const RbNode& node, u32 side); // neighbour in order; NULL: none
    [[nodiscard]] static Slot slot_beside(RbNode& node,
                                          u32 side); // the place directly before or after it in order

    void link(RbNode& node, Slot slot); // red, children none; then balance_insert
    void balance_insert(RbNode& node, Rotated rotated);
    [[nodiscard]] Unlinked unlink(RbNode& node); // then balance_erase(short_at)
    void balance_erase(RbNode* short_at, Rotated rotated);
    void replace(RbNode& old, RbNode& fresh); // fresh takes the place of old; old is unlinked after

    [[nodiscard]] const char* check() const; // R1, R2, R3

private:
    static void set_parent(RbNode& node, RbNode* parent);
    static void set_black(RbNode& node, bool black);
    static bool red(const RbNode* node) { return node && !node->black(); }
    static u32 side_of(const RbNode& parent, const RbNode* child) { return parent.child_[1] == child; }
    void put(RbNode* parent, const RbNode& old, RbNode* fresh);
    void rotate(RbNode& down, u32 side, Rotated rotated);

    RbNode* root_ = nullptr;
};

// A tree of T, linked through T::*Member. Augment is void, or a type with
//   static constexpr V T::*kStored                                       where the value of the subtree is kept
//   static V compute(const T& object, const T* left, const T* right)     what it is; a child may be missing (NULL)
// An object's order must not change while it is linked; what compute reads may, if refresh() is called after.
template <class T, RbNode T::*Member, class Augment = void>
class RbTree {
    static constexpr bool kAugmented = !std::is_void_v<Augment>;

public:
    using Slot = RbCore::Slot;

    constexpr RbTree() = default;
    RbTree(const RbTree&) = delete;
    RbTree& operator=(const RbTree&) = delete;

    [[nodiscard]] bool empty() const { return !core_.root(); }
    [[nodiscard]] T* root() const { return object(core_.root()); }
    [[nodiscard]] T* first() const { return object(core_.end(RbNode::kLeft)); }
    [[nodiscard]] T* last() const { return object(core_.end(RbNode::kRight)); }

    // Neighbours in order, and relatives in the tree, of a linked object; NULL: there is none.
    [[nodiscard]] static T* next(const T& at) { return object(RbCore::step(at.*Member, RbNode::kRight)); }
    [[nodiscard]] static T* prev(const T& at) { return object(RbCore::step(at.*Member, RbNode::kLeft)); }
    [[nodiscard]] static T* left(const T& at) { return object((at.*Member).child(RbNode::kLeft)); }
    [[nodiscard]] static T* right(const T& at) { return object((at.*Member).child(RbNode::kRight)); }
    [[nodiscard]] static T* parent(const T& at) { return object((at.*Member).parent()); }

    // before(const T&) is true for some first objects in order and false for all others, as `end <= address` is.
    // The first object for which it is false; NULL: none.
    template <class Before>
    [[nodiscard]] T* lower_bound(Before&& before) const {
        T* found = nullptr;
        for (T* at = root(); at;) {
            const bool is_before = before(static_cast<const T&>(*at));
            if (!is_before) found = at;
            at = is_before ? right(*at) : left(*at);
        }
        return found;
    }

    // The place behind all objects for which before is true.
    template <class Before>
    [[nodiscard]] Slot slot_after(Before&& before) const {
        Slot slot;
        for (T* at = root(); at;) {
            const bool is_before = before(static_cast<const T&>(*at));
            slot = {&(at->*Member), is_before ? RbNode::kRight : RbNode::kLeft};
            at = is_before ? right(*at) : left(*at);
        }
        return slot;
    }

    // Link an unlinked object: behind all that are not greater by less(const T&, const T&); or at a place found since the
    // last change of the tree; or directly beside a linked object.
    template <class Less>
    void insert(T& fresh, Less&& less) {
        insert_at(fresh, slot_after([&](const T& at) { return !less(static_cast<const T&>(fresh), at); }));
    }
    void insert_at(T& fresh, Slot slot) {
        core_.link(fresh.*Member, slot);
        if constexpr (kAugmented) propagate(&(fresh.*Member), &(fresh.*Member));
        core_.balance_insert(fresh.*Member, rotated());
    }
    void insert_after(T& at, T& fresh) { insert_at(fresh, RbCore::slot_beside(at.*Member, RbNode::kRight)); }
    void insert_before(T& at, T& fresh) { insert_at(fresh, RbCore::slot_beside(at.*Member, RbNode::kLeft)); }

    // Unlink a linked object.
    void erase(T& old) {
        const RbCore::Unlinked unlinked = core_.unlink(old.*Member);
        if constexpr (kAugmented) propagate(unlinked.stale, unlinked.moved);
        core_.balance_erase(unlinked.short_at, rotated());
    }

    // fresh, unlinked and of the same place in the order, takes the place of old.
    void replace(T& old, T& fresh) {
        core_.replace(old.*Member, fresh.*Member);
        if constexpr (kAugmented) propagate(&(fresh.*Member), &(fresh.*Member));
    }

    // What compute reads of this object has changed.
    void refresh(T& changed) {
        if constexpr (kAugmented) propagate(&(changed.*Member), nullptr);
    }

    // NULL: R1 to R5 hold, with order by less(const T&, const T&). Else which does not, in words.
    template <class Less>
    [[nodiscard]] const char* check(Less&& less) const {
        if (const char* broken = core_.check()) return broken;
        const T* before = nullptr;
        for (const T* at = first(); at; before = at, at = next(*at)) {
            if (before && less(*at, *before)) return "R4: objects of a tree are out of order";
            if constexpr (kAugmented) {
                if (at->*Augment::kStored != Augment::compute(*at, left(*at), right(*at)))
                    return "R5: the stored value of a subtree is stale";
            }
        }
        return nullptr;
    }

private:
    static T* object(const RbNode* node) { return node ? &container_of<Member>(const_cast<RbNode&>(*node)) : nullptr; }

    // True: the stored value has changed.
    static bool recompute(T& at) {
        const auto value = Augment::compute(at, left(at), right(at));
        if (value == at.*Augment::kStored) return false;
        at.*Augment::kStored = value;
        return true;
    }

    // Recompute from `at` upwards until a value stays as it was; never stop before or at `through`.
    static void propagate(RbNode* at, const RbNode* through) {
        for (; at; at = at->parent()) {
            const bool changed = recompute(container_of<Member>(*at));
            if (at == through)
                through = nullptr;
            else if (!changed && !through)
                return;
        }
    }

    static constexpr RbCore::Rotated rotated() {
        if constexpr (kAugmented)
            return [](RbNode& down, RbNode& up) {
                recompute(container_of<Member>(down));
                recompute(container_of<Member>(up));
            };
        else
            return nullptr;
    }

    RbCore core_;
};

} // namespace objr
