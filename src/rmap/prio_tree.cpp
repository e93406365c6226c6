// SPDX-License-Identifier: GPL-2.0
// prio_tree.cpp: radix priority search tree. Terms, states, invariants T1 to T6 and locking: objrmap/prio_tree.h.
#include "objrmap/prio_tree.h"

namespace objr {

namespace {

int bits_of(u64 value) { return value ? 64 - __builtin_clzll(value) : 0; }

} // namespace

// ---- the rules of the tree ------------------------------------------------------------------------------------

// T2: a total order of different pairs.
bool PrioTree::above(const PrioNode& a, const PrioNode& b) {
    return a.last != b.last ? a.last > b.last : a.first < b.first;
}

// T3: on which side of a tree node at this level the pair belongs. Levels end at -63: below that all pairs are equal.
int PrioTree::side_at(const PrioNode& node, int level) {
    const u64 bits = level > 0 ? node.first >> ((level - 1) & 63) : (node.last - node.first) >> (-level & 63);
    return static_cast<int>(bits & 1);
}

// T3 for one step: parent, itself well placed at this level, may have child on this side.
bool PrioTree::placed(const PrioNode& parent, const PrioNode& child, int side, int level) {
    if (level <= -64 || side_at(child, level) != side) return false;
    if (level >= 64) return true;
    if (level > 0) return parent.first >> level == child.first >> level;
    const u64 used = (u64{1} << -level) - 1; // bits of the size that the levels 0 to level + 1 have used
    const u64 differ = (parent.last - parent.first) ^ (child.last - child.first);
    return parent.first == child.first && !(differ & used);
}

// ---- change ---------------------------------------------------------------------------------------------------

// Where parent (NULL: the tree) points to old, let it point to fresh.
void PrioTree::put(PrioNode* parent, const PrioNode& old, PrioNode* fresh) {
    if (parent)
        parent->child_[parent->child_[1] == &old] = fresh;
    else
        root_ = fresh;
}

// fresh, of whatever pair, becomes the tree node where old was. old keeps its vm_set.
void PrioTree::take_place(PrioNode& old, PrioNode& fresh) {
    put(old.parent_, old, &fresh);
    fresh.parent_ = old.parent_;
    for (int side = 0; side < 2; side++) {
        fresh.child_[side] = old.child_[side];
        if (fresh.child_[side]) fresh.child_[side]->parent_ = &fresh;
    }
}

// Take old out of the tree: on a path down, the greater child moves up into the place that has come free.
void PrioTree::close_place(PrioNode& old) {
    PrioNode* parent = old.parent_;
    PrioNode** place = parent ? &parent->child_[parent->child_[1] == &old] : &root_;
    PrioNode* below[2] = {old.child_[0], old.child_[1]};
    while (below[0] || below[1]) {
        const int side = !below[0] || (below[1] && above(*below[1], *below[0]));
        PrioNode* riser = below[side];
        PrioNode* other = below[1 - side];
        below[0] = riser->child_[0];
        below[1] = riser->child_[1];
        *place = riser;
        riser->parent_ = parent;
        riser->child_[1 - side] = other;
        if (other) other->parent_ = riser;
        parent = riser;
        place = &riser->child_[side];
    }
    *place = nullptr;
}

// Raise index_bits. Every level moves down by the difference, and all nodes belong to the left of the new levels above:
// each of these takes the greatest node that is left.
void PrioTree::expand(int bits) {
    PrioNode* top = nullptr;
    PrioNode* bottom = nullptr;
    for (; index_bits_ < bits && root_; index_bits_++) {
        PrioNode* greatest = root_;
        close_place(*greatest);
        greatest->parent_ = bottom;
        greatest->child_[0] = nullptr;
        greatest->child_[1] = nullptr;
        (bottom ? bottom->child_[0] : top) = greatest;
        bottom = greatest;
    }
    index_bits_ = bits;
    if (!bottom) return;
    bottom->child_[0] = root_;
    if (root_) root_->parent_ = bottom;
    root_ = top;
}

void PrioTree::insert(PrioNode& node) {
    if (const int bits = bits_of(node.first); bits > index_bits_) expand(bits);
    PrioNode* carried = &node; // looks for a place
    PrioNode* parent = nullptr;
    PrioNode** place = &root_;
    for (int level = index_bits_; *place; level--) {
        PrioNode* here = *place;
        // Never true once node has a place: whatever is below that is less than node.
        if (here->same_pair(*carried)) return insert_sibling(node, *here);
        if (above(*carried, *here)) {
            take_place(*here, *carried);
            PrioNode* displaced = here;
            here = carried;
            carried = displaced;
        }
        parent = here;
        place = &here->child_[side_at(*carried, level)];
    }
    *place = carried;
    carried->parent_ = parent;
    carried->child_[0] = nullptr;
    carried->child_[1] = nullptr;
    node.set_prev_ = &node;
    node.set_next_ = &node;
    node.state_ = PrioNode::State::kTree;
    nodes_++;
    size_++;
}

void PrioTree::insert_sibling(PrioNode& node, PrioNode& existing) {
    node.state_ = PrioNode::State::kMember;
    node.set_prev_ = &existing;
    node.set_next_ = existing.set_next_;
    existing.set_next_->set_prev_ = &node;
    existing.set_next_ = &node;
    size_++;
}

void PrioTree::erase(PrioNode& node) {
    PrioNode* heir = node.set_next_;
    if (node.in_tree() && heir != &node) {
        take_place(node, *heir);
        heir->state_ = PrioNode::State::kTree;
    } else if (node.in_tree()) {
        close_place(node);
        nodes_--;
    }
    node.set_next_->set_prev_ = node.set_prev_;
    node.set_prev_->set_next_ = node.set_next_;
    node.set_prev_ = nullptr;
    node.set_next_ = nullptr;
    node.parent_ = nullptr;
    node.child_[0] = nullptr;
    node.child_[1] = nullptr;
    node.state_ = PrioNode::State::kUnlinked;
    size_--;
    if (!root_) index_bits_ = 0;
}

// ---- query ----------------------------------------------------------------------------------------------------

// The child on this side of a node at this level, if T3 leaves it a `first` at or before b. Looks at the node only: the
// child's memory is not touched.
PrioNode* PrioTree::Cursor::candidate(const PrioNode& node, int side, int level) const {
    PrioNode* child = node.child_[side];
    if (level <= 0) return node.first <= b_ ? child : nullptr;
    if (side == 0) return child; // begins where node does, and node was entered
    const int bit = (level - 1) & 63;
    return (node.first >> bit | 1) << bit <= b_ ? child : nullptr;
}

// Stand on a candidate (or the root), if it reaches a. If not, by T2 nothing below it does.
bool PrioTree::Cursor::enter(PrioNode* node, int level) {
    if (!node) return false;
    visited_++;
    if (node->last < a_) return false;
    at_ = node;
    level_ = level;
    return true;
}

// To the next tree node of the walk: down to the left, down to the right, or up and over to a right child left behind.
bool PrioTree::Cursor::advance() {
    if (!started_) {
        started_ = true;
        return enter(tree_.root_, tree_.index_bits_);
    }
    if (!at_) return false;
    PrioNode* right = candidate(*at_, 1, level_);
    if (enter(candidate(*at_, 0, level_), level_ - 1)) {
        left_behind_ += right != nullptr;
        return true;
    }
    if (enter(right, level_ - 1)) return true;
    const PrioNode* from = at_;
    int level = level_;
    while (left_behind_) {
        const PrioNode& parent = *from->parent_;
        level++;
        right = from == parent.child_[0] ? candidate(parent, 1, level) : nullptr;
        left_behind_ -= right != nullptr;
        if (enter(right, level - 1)) return true;
        from = &parent;
    }
    at_ = nullptr;
    return false;
}

PrioNode* PrioTree::Cursor::next() {
    if (given_) {
        given_ = given_->set_next_;
        if (given_ != at_) return given_;
        given_ = nullptr;
    }
    while (advance()) {
        if (at_->first > b_) continue; // reaches a, but begins behind b
        given_ = at_;
        return given_;
    }
    return nullptr;
}

// ---- check ----------------------------------------------------------------------------------------------------

// T4 for one vm_set; adds its nodes to count, and gives up when there are more than limit.
const char* PrioTree::check_set(const PrioNode& node, u64& count, u64 limit) {
    const PrioNode* at = &node;
    do {
        if (!at->set_next_ || at->set_next_->set_prev_ != at) return "T4: neighbours in a vm_set disagree";
        if (at != &node && !at->member()) return "T4: a vm_set has two tree nodes, or an unlinked one";
        if (!at->same_pair(node)) return "T4: a vm_set has nodes of two pairs";
        if (++count > limit) return "T5: more nodes are linked than were inserted";
        at = at->set_next_;
    } while (at != &node);
    return nullptr;
}

// T1 to T3 between a tree node and its children, T6 for itself.
const char* PrioTree::check_node(const PrioNode& node, int level) const {
    if (!node.in_tree()) return "T1: a node in the tree does not know it";
    if (bits_of(node.first) > index_bits_) return "T6: first has more bits than the tree";
    for (int side = 0; side < 2; side++) {
        const PrioNode* child = node.child_[side];
        if (!child) continue;
        if (child->parent_ != &node) return "T1: a child does not name its parent";
        if (!above(node, *child)) return "T2: a child ends behind its parent";
        if (!placed(node, *child, side, level)) return "T3: a node is not where its bits lead";
    }
    return nullptr;
}

const char* PrioTree::check() const {
    u64 nodes = 0;
    u64 count = 0;
    const PrioNode* node = root_;
    int level = index_bits_;
    if (node && node->parent_) return "T1: the root has a parent";
    while (node) {
        if (const char* broken = check_node(*node, level)) return broken;
        if (const char* broken = check_set(*node, count, size_)) return broken;
        nodes++;
        if (const PrioNode* child = node->child_[0] ? node->child_[0] : node->child_[1]) {
            node = child;
            level--;
            continue;
        }
        const PrioNode* from = node;
        node = node->parent_;
        level++;
        while (node && (from == node->child_[1] || !node->child_[1])) {
            from = node;
            node = node->parent_;
            level++;
        }
        if (node) {
            node = node->child_[1];
            level--;
        }
    }
    if (nodes != nodes_ || count != size_) return "T5: fewer nodes are linked than were inserted";
    return nullptr;
}

} // namespace objr
