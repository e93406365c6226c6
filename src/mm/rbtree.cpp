// SPDX-License-Identifier: GPL-2.0
// rbtree.cpp: the shape of red-black trees. States, invariants and locking: objrmap/rbtree.h.
//
// `side` is kLeft or kRight, `1 - side` the other one: each rule is written once for both.
#include "objrmap/rbtree.h"

namespace objr {

void RbCore::set_parent(RbNode& node, RbNode* parent) {
    node.parent_and_black_ = reinterpret_cast<u64>(parent) | (node.parent_and_black_ & RbNode::kBlack);
}

void RbCore::set_black(RbNode& node, bool black) {
    node.parent_and_black_ = (node.parent_and_black_ & ~RbNode::kBlack) | (black ? RbNode::kBlack : 0);
}

RbNode* RbCore::end(u32 side) const {
    RbNode* node = root_;
    while (node && node->child_[side])
        node = node->child_[side];
    return node;
}

RbNode* RbCore::step(const RbNode& node, u32 side) {
    if (RbNode* below = node.child_[side]) {
        while (below->child_[1 - side])
            below = below->child_[1 - side];
        return below;
    }
    const RbNode* at = &node;
    RbNode* above = at->parent();
    while (above && above->child_[side] == at) {
        at = above;
        above = at->parent();
    }
    return above;
}

RbCore::Slot RbCore::slot_beside(RbNode& node, u32 side) {
    if (!node.child_[side]) return {&node, side};
    return {step(node, side), 1 - side};
}

// Where parent (NULL: the tree) points to old, let it point to fresh.
void RbCore::put(RbNode* parent, const RbNode& old, RbNode* fresh) {
    if (parent)
        parent->child_[side_of(*parent, &old)] = fresh;
    else
        root_ = fresh;
}

// `down` sinks to `side`; its other child takes its place. Colours stay with the nodes.
void RbCore::rotate(RbNode& down, u32 side, Rotated rotated) {
    RbNode& up = *down.child_[1 - side];
    RbNode* across = up.child_[side];
    put(down.parent(), down, &up);
    set_parent(up, down.parent());
    up.child_[side] = &down;
    set_parent(down, &up);
    down.child_[1 - side] = across;
    if (across) set_parent(*across, &down);
    if (rotated) rotated(down, up);
}

void RbCore::link(RbNode& node, Slot slot) {
    node.parent_and_black_ = reinterpret_cast<u64>(slot.parent);
    node.child_[RbNode::kLeft] = nullptr;
    node.child_[RbNode::kRight] = nullptr;
    if (slot.parent)
        slot.parent->child_[slot.side] = &node;
    else
        root_ = &node;
}

// R2 may be broken between node, which is red, and its parent; nothing else is.
void RbCore::balance_insert(RbNode& node, Rotated rotated) {
    RbNode* at = &node;
    while (red(at->parent())) {
        RbNode* parent = at->parent();
        RbNode* grandparent = parent->parent(); // exists: parent is red, the root is not
        const u32 side = side_of(*grandparent, parent);
        RbNode* uncle = grandparent->child_[1 - side];
        if (red(uncle)) {
            set_black(*parent, true);
            set_black(*uncle, true);
            set_black(*grandparent, false);
            at = grandparent;
            continue;
        }
        if (parent->child_[1 - side] == at) {
            rotate(*parent, side, rotated);
            parent = at;
        }
        set_black(*parent, true);
        set_black(*grandparent, false);
        rotate(*grandparent, 1 - side, rotated);
        return;
    }
    if (at == root_) set_black(*at, true);
}

RbCore::Unlinked RbCore::unlink(RbNode& node) {
    Unlinked result;
    RbNode* parent = node.parent();
    RbNode* orphan = nullptr; // the only child of the node whose place closes
    bool lost_black = node.black();
    if (node.child_[RbNode::kLeft] && node.child_[RbNode::kRight]) {
        // The next node in order has no left child: its own place closes, and it moves into node's.
        RbNode* next = step(node, RbNode::kRight);
        orphan = next->child_[RbNode::kRight];
        lost_black = next->black();
        result.moved = next;
        result.stale = next;
        if (next->parent() != &node) {
            result.stale = next->parent();
            result.stale->child_[RbNode::kLeft] = orphan;
            next->child_[RbNode::kRight] = node.child_[RbNode::kRight];
            set_parent(*next->child_[RbNode::kRight], next);
        }
        next->child_[RbNode::kLeft] = node.child_[RbNode::kLeft];
        set_parent(*next->child_[RbNode::kLeft], next);
        put(parent, node, next);
        next->parent_and_black_ = node.parent_and_black_;
    } else {
        orphan = node.child_[node.child_[RbNode::kLeft] ? RbNode::kLeft : RbNode::kRight];
        put(parent, node, orphan);
        result.stale = parent;
    }
    if (orphan) {
        // By R3 it is red and has no child, and what it stood under is black.
        set_parent(*orphan, result.stale);
        set_black(*orphan, true);
    } else if (lost_black) {
        result.short_at = result.stale;
    }
    node.parent_and_black_ = 0;
    node.child_[RbNode::kLeft] = nullptr;
    node.child_[RbNode::kRight] = nullptr;
    return result;
}

// One child of short_at is missing, and its other side has one black node more.
void RbCore::balance_erase(RbNode* short_at, Rotated rotated) {
    RbNode* parent = short_at;
    RbNode* at = nullptr; // the child of parent on the short side
    while (parent) {
        const u32 side = parent->child_[RbNode::kLeft] == at ? RbNode::kLeft : RbNode::kRight;
        RbNode* sibling = parent->child_[1 - side]; // exists: its side has a black node more
        if (red(sibling)) {
            set_black(*sibling, true);
            set_black(*parent, false);
            rotate(*parent, side, rotated);
            sibling = parent->child_[1 - side];
        }
        RbNode* near = sibling->child_[side];
        RbNode* far = sibling->child_[1 - side];
        if (!red(near) && !red(far)) {
            set_black(*sibling, false);
            if (red(parent)) {
                set_black(*parent, true);
                return;
            }
            at = parent;
            parent = at->parent();
            continue;
        }
        if (!red(far)) {
            rotate(*sibling, 1 - side, rotated);
            far = sibling;
            sibling = near;
        }
        set_black(*sibling, parent->black());
        set_black(*parent, true);
        set_black(*far, true);
        rotate(*parent, side, rotated);
        return;
    }
}

void RbCore::replace(RbNode& old, RbNode& fresh) {
    put(old.parent(), old, &fresh);
    fresh.parent_and_black_ = old.parent_and_black_;
    for (u32 side = RbNode::kLeft; side <= RbNode::kRight; side++) {
        fresh.child_[side] = old.child_[side];
        if (fresh.child_[side]) set_parent(*fresh.child_[side], &fresh);
        old.child_[side] = nullptr;
    }
    old.parent_and_black_ = 0;
}

const char* RbCore::check() const {
    if (!root_) return nullptr;
    if (root_->parent()) return "R1: the root of a tree has a parent";
    if (!root_->black()) return "R2: the root of a tree is red";
    u64 blacks_of_first = 0;
    for (const RbNode* node = end(RbNode::kLeft); node; node = step(*node, RbNode::kRight)) {
        for (const RbNode* child : node->child_) {
            if (child && child->parent() != node) return "R1: a child does not name its parent";
            if (red(child) && red(node)) return "R2: a red node has a red child";
        }
        if (node->child_[RbNode::kLeft] && node->child_[RbNode::kRight]) continue;
        u64 blacks = 0;
        for (const RbNode* above = node; above; above = above->parent())
            blacks += above->black();
        if (!blacks_of_first) blacks_of_first = blacks;
        if (blacks != blacks_of_first) return "R3: paths of a tree have different numbers of black nodes";
    }
    return nullptr;
}

} // namespace objr
