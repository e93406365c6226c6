// SPDX-License-Identifier: GPL-2.0
#include "objrmap/interval_tree.h"

#include "objrmap/result.h"

namespace objr {

static bool before(const IntervalNode& a, const IntervalNode& b) { return a.first < b.first; }

void IntervalTree::insert(IntervalNode& node) {
    tree_.insert(node, before);
    size_++;
}

void IntervalTree::insert_after(IntervalNode& at, IntervalNode& node) {
    OBJR_WARN_ON(at.first != node.first);
    tree_.insert_after(at, node);
    size_++;
}

void IntervalTree::erase(IntervalNode& node) {
    tree_.erase(node);
    size_--;
}

// The first overlapping node of a subtree that reaches a. Going left is never wrong: what reaches a there begins no later than
// all that is to its right, so that if it begins behind b, everything else does.
IntervalNode* IntervalTree::first_below(IntervalNode* at, u64 a, u64 b) {
    for (;;) {
        if (IntervalNode* left = Tree::left(*at); left && left->reach >= a) {
            at = left;
            continue;
        }
        if (at->first > b) {
            return nullptr;
        }
        if (at->last >= a) {
            return at;
        }
        at = Tree::right(*at);
        if (!at || at->reach < a) {
            return nullptr;
        }
    }
}

IntervalNode* IntervalTree::first_overlap(u64 a, u64 b) const {
    IntervalNode* root = tree_.root();
    return root && root->reach >= a ? first_below(root, a, b) : nullptr;
}

IntervalNode* IntervalTree::next_overlap(IntervalNode& node, u64 a, u64 b) {
    for (IntervalNode* at = &node;;) {
        if (IntervalNode* right = Tree::right(*at); right && right->reach >= a) {
            return first_below(right, a, b);
        }
        const IntervalNode* below;
        do {
            below = at;
            at = Tree::parent(*at);
        } while (at && Tree::right(*at) == below);
        if (!at || at->first > b) {
            return nullptr;
        }
        if (at->last >= a) {
            return at;
        }
    }
}

const char* IntervalTree::check() const {
    u64 count = 0;
    for (const IntervalNode* node = tree_.first(); node; node = Tree::next(*node)) {
        count++;
        if (node->first > node->last) {
            return "I1: an interval ends before it begins";
        }
    }
    return count == size_ ? tree_.check(before) : "the number of nodes is not what the tree counts";
}

} // namespace objr
