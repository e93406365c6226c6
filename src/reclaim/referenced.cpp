// SPDX-License-Identifier: GPL-2.0
#include "objrmap/referenced.h"

#include <new>
#include <utility>

#include "objrmap/world.h"

namespace objr {

// ---- rows

UseRows::~UseRows() {
    release();
    objr_kvfree(rows_);
}

void UseRows::release() {
    for (u32 i = 0; i < used_; i++) {
        if (rows_[i].region) {
            objr_region_put(rows_[i].region);
        }
        rows_[i].mm->put();
    }
    used_ = 0;
    shown_ = 0;
}

Status UseRows::reserve(u32 rows) {
    if (rows <= room_) {
        return {};
    }
    auto* more = static_cast<UseRow*>(objr_kvzalloc(static_cast<u64>(rows) * sizeof(UseRow)));
    if (!more) {
        return Errno{OBJR_ENOMEM};
    }
    for (u32 i = 0; i < used_; i++) {
        more[i] = rows_[i];
    }
    objr_kvfree(rows_);
    rows_ = more;
    room_ = rows;
    return {};
}

UseRow* UseRows::find(const Mm& mm, Vaddr address) {
    for (u32 i = 0; i < used_; i++) {
        if (rows_[i].mm == &mm && rows_[i].address == address) {
            return &rows_[i];
        }
    }
    return nullptr;
}

UseRow* UseRows::add(const Mapping& mapping) {
    if (used_ == room_) {
        return nullptr;
    }
    Vma& vma = mapping.vma;
    UseRow& row = *new (&rows_[used_++]) UseRow{};
    vma.mm->get();
    row.mm = vma.mm;
    if (vma.region) {
        objr_region_get(vma.region);
        row.region = vma.region;
    }
    row.start = vma.start;
    row.end = vma.end;
    row.address = mapping.address;
    row.pte = mapping.pte;
    row.dirty = mapping.pte.dirty();
    return &row;
}

// ---- what each candidate and each mapping adds

class UseCounter : public MappingVisitor {
public:
    UseCounter(Rules rules, bool is_file, ReferencedMode mode, Referenced& answer)
        : rules_(rules), is_file_(is_file), mode_(mode), answer_(answer) {}

    Look candidate(const Vma& vma) override {
        if (rules_ == Rules::linux_2_6_24) {
            if (is_file_ && vma.has(VmFlag::locked) && vma.has(VmFlag::may_share)) {
                answer_.at_locked = true;
                return Look::stop;
            }
            return Look::read;
        }
        const bool exiting = vma.region && objr_region_alive(vma.region) == 0;
        return exiting || vma.has(VmFlag::random) || vma.has(VmFlag::sequential) ? Look::skip : Look::read;
    }

    Visit mapping(const Mapping& mapping) override {
        if (rules_ == Rules::linux_7 && mapping.vma.has(VmFlag::locked)) {
            answer_.at_locked = true;
            return Visit::stop;
        }
        return use(mapping);
    }

protected:
    // Under the table lock. The other bits stay as the processor may set them meanwhile.
    bool take_young(const Mapping& mapping) const {
        const Pte was =
            mode_ == ReferencedMode::peek ? mapping.pte : mapping.table.take_bits(mapping.address, Pte::kAccessed);
        return was.young();
    }

    virtual Visit use(const Mapping& mapping) {
        answer_.young += take_young(mapping) ? 1 : 0;
        return Visit::go_on;
    }

    const Rules rules_;
    const bool is_file_;
    const ReferencedMode mode_;
    Referenced& answer_;
};

// Remembers each mapping, and asks its MMU when the rmap locks are gone. An accessed bit is only taken where there is a row to keep
// it; if there was none, or mappings came while it was walked, another pass looks for the rest.
class ExactWalk final : public UseCounter {
public:
    ExactWalk(Rules rules, bool is_file, ReferencedMode mode, Referenced& answer, UseRows& rows)
        : UseCounter(rules, is_file, mode, answer), rows_(rows) {}

    Status run(World& world, Page& page, const WalkOptions& options);

private:
    static constexpr u32 kPasses = 100; // more mean that mappings come and go all the time: what was seen is the answer

    Visit use(const Mapping& mapping) override {
        wanted_++;
        UseRow* row = pass_ == 0 ? nullptr : rows_.find(*mapping.vma.mm, mapping.address);
        row = row ? row : rows_.add(mapping);
        if (row) {
            row->young |= take_young(mapping);
            row->seen = pass_;
        } else {
            missed_ = true;
        }
        return Visit::go_on;
    }
    void harvest();
    void forget_gone();

    UseRows& rows_;
    u32 pass_ = 0;
    u32 last_ = 0; // the last one that was made
    u32 wanted_ = 0;
    bool missed_ = false;
};

Status ExactWalk::run(World& world, Page& page, const WalkOptions& options) {
    constexpr u32 kSlack = 4; // mappings made while the room is got
    for (; pass_ < kPasses; pass_++) {
        const u32 room = max(wanted_, page.mappings()) + kSlack;
        if (Status status = rows_.reserve(rows_.used_ + room); !status) {
            if (rows_.used_ == 0) {
                return status;
            }
            break; // bits were taken for the rows that there are: they must be told
        }
        const u32 before = page.generation();
        wanted_ = 0;
        missed_ = false;
        answer_.cost = {};
        answer_.at_locked = false;
        rmap_walk(world, page, options, *this, answer_.cost);
        last_ = pass_;
        if (!missed_ && before == page.generation()) {
            break;
        }
        objr_cond_resched();
    }
    harvest();
    forget_gone();
    return {};
}

// The module's entry is clean by now: a use from here on faults, or sets its bit anew.
void ExactWalk::harvest() {
    for (u32 i = 0; i < rows_.used_; i++) {
        UseRow& row = rows_.rows_[i];
        const Translation seen = row.mm->mmu().harvest(row.region, row.address,
                                                       mode_ == ReferencedMode::exact ? Harvest::take : Harvest::peek);
        row.young |= seen.young;
        row.dirty |= seen.dirty;
        answer_.young += row.young ? 1 : 0;
        objr_cond_resched();
    }
}

// Mappings that went between two passes are told only if they were used. The others go to the end; what they hold is let go later.
void ExactWalk::forget_gone() {
    u32& shown = rows_.shown_;
    shown = rows_.used_;
    for (u32 i = 0; i < shown;) {
        UseRow& row = rows_.rows_[i];
        if (row.young || row.seen == last_) {
            i++;
        } else {
            std::swap(row, rows_.rows_[--shown]);
        }
    }
}

// ---- the question

namespace {

// The page lock if the caller has not got it: tried, never waited for.
class TriedLock : Pinned {
public:
    TriedLock(Page& page, PageHeld held)
        : page_(page), mine_(held == PageHeld::unlocked && page.try_lock()), held_(mine_ || held == PageHeld::locked) {}
    ~TriedLock() {
        if (mine_) {
            page_.unlock();
        }
    }
    bool held() const { return held_; }

private:
    Page& page_;
    const bool mine_;
    const bool held_;
};

Status count_young(World& world, Page& page, const ReferencedOptions& options, UseRows& rows, Referenced& answer) {
    const Rules rules = world.scheme().traits.rules;
    const bool classic = rules == Rules::linux_2_6_24;
    const bool is_file = !page.mapping().is_anon();
    const WalkOptions how(EarlyStop::yes, classic ? Locking::wait : options.locking,
                          classic ? Nonlinear::skip : Nonlinear::scan);
    if (options.mode != ReferencedMode::lazy) {
        ExactWalk walk(rules, is_file, options.mode, answer, rows);
        return walk.run(world, page, how);
    }
    UseCounter counter(rules, is_file, options.mode, answer);
    rmap_walk(world, page, how, counter, answer.cost);
    return {};
}

} // namespace

Result<Referenced> page_referenced(World& world, Page& page, const ReferencedOptions& options, UseRows& rows) {
    Referenced answer;
    answer.mappings = page.mappings();
    const bool classic = world.scheme().traits.rules == Rules::linux_2_6_24;
    TriedLock lock(page, options.held);
    const bool lockless = page.mapping().is_anon() && world.scheme().traits.walks_unlocked;
    const bool walked = lock.held() || lockless;
    if (walked) {
        OBJR_TRY_STATUS(count_young(world, page, options, rows, answer));
    } else {
        answer.cost.stop = StopReason::contended;
    }
    const bool contended = walked && answer.cost.stop == StopReason::contended;
    answer.flag = contended || options.mode == ReferencedMode::peek ? page.has(PageFlag::referenced)
                                                                    : page.clear(PageFlag::referenced);
    answer.count = static_cast<s32>(answer.young);
    if (!walked && page.mapped()) {
        answer.count = 1;
    }
    if (classic) {
        answer.count += (answer.flag ? 1 : 0) + (answer.at_locked ? 1 : 0);
    } else if (contended) {
        answer.count = Referenced::kContended;
    }
    if (lock.held() && options.mode != ReferencedMode::peek) {
        world.scheme().collapse(world, page);
    }
    return answer;
}

} // namespace objr
