// SPDX-License-Identifier: GPL-2.0
#include "objrmap/file_index.h"

#include "objrmap/result.h"
#include "objrmap/vma.h"

#include <new>

namespace objr {

Vma& FileIndex::vma_of(FileIndexNode& node) { return container_of<&Vma::i_mmap_node>(node); }

void FileIndex::insert(Vma& vma) {
    FileIndexNode& node = vma.i_mmap_node;
    if (vma.has(VmFlag::nonlinear)) {
        new (&node.list_) ListNode;
        node.state_ = FileIndexNode::State::nonlinear;
        nonlinear_.push_back(node);
        nonlinear_count_++;
    } else if (kind_ == Kind::prio_tree) {
        PrioNode* prio = new (&node.prio_) PrioNode;
        node.state_ = FileIndexNode::State::prio_tree;
        prio->first = vma.pgoff;
        prio->last = vma.last_pgoff();
        prio_.insert(*prio);
    } else {
        IntervalNode* interval = new (&node.interval_) IntervalNode;
        node.state_ = FileIndexNode::State::interval_tree;
        interval->first = vma.pgoff;
        interval->last = vma.last_pgoff();
        intervals_.insert(*interval);
    }
}

void FileIndex::insert_forked(Vma& child, Vma& parent) {
    FileIndexNode& node = child.i_mmap_node;
    FileIndexNode& beside = parent.i_mmap_node;
    const bool same = !child.has(VmFlag::nonlinear) && !beside.nonlinear() && beside.first() == child.pgoff &&
                      beside.last() == child.last_pgoff();
    if (!same) {
        insert(child);
    } else if (kind_ == Kind::prio_tree) {
        PrioNode* prio = new (&node.prio_) PrioNode;
        node.state_ = FileIndexNode::State::prio_tree;
        prio->first = child.pgoff;
        prio->last = child.last_pgoff();
        prio_.insert_sibling(*prio, beside.prio_);
    } else {
        IntervalNode* interval = new (&node.interval_) IntervalNode;
        node.state_ = FileIndexNode::State::interval_tree;
        interval->first = child.pgoff;
        interval->last = child.last_pgoff();
        intervals_.insert_after(beside.interval_, *interval);
    }
}

void FileIndex::erase(Vma& vma) {
    FileIndexNode& node = vma.i_mmap_node;
    switch (node.state_) {
    case FileIndexNode::State::unlinked: OBJR_WARN_ON(true); return;
    case FileIndexNode::State::prio_tree: prio_.erase(node.prio_); break;
    case FileIndexNode::State::interval_tree: intervals_.erase(node.interval_); break;
    case FileIndexNode::State::nonlinear:
        nonlinear_.erase(node);
        nonlinear_count_--;
        break;
    }
    node.state_ = FileIndexNode::State::unlinked;
}

void FileIndex::rebuild(Kind kind) {
    if (kind == kind_) {
        return;
    }
    const Kind old = kind_;
    while (linear() != 0) {
        Vma* any = nullptr;
        kind_ = old;
        visit(0, ~0ull, [&](Vma& vma) {
            any = &vma;
            return false;
        });
        erase(*any);
        kind_ = kind;
        insert(*any);
        kind_ = old;
    }
    kind_ = kind;
}

const char* FileIndex::check() const {
    if (const char* broken = prio_.check()) {
        return broken;
    }
    if (const char* broken = intervals_.check()) {
        return broken;
    }
    if (const char* broken = nonlinear_.check()) {
        return broken;
    }
    return kind_ == Kind::prio_tree && !intervals_.empty()  ? "an interval tree beside the priority search tree"
           : kind_ == Kind::interval_tree && !prio_.empty() ? "a priority search tree beside the interval tree"
                                                            : nullptr;
}

} // namespace objr
