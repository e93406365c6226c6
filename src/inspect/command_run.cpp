// SPDX-License-Identifier: GPL-2.0
// Commands at work: what a verb does to each page of its selector.
#include "command.h"

namespace objr {

namespace {

class Runner final : public PageVisitor {
public:
    explicit Runner(const objr_command& command) : command_(command) {}

    void prepare() override {
        outcome_ = {};
        rows_.release();
    }
    Step visit(World& world, Page& page) override;
    void visit_free(World& world, const Page& page) override {
        outcome_.state = Outcome::State::free;
        outcome_.facts.number = world.pool.number(page);
        if (command_.verb == OBJR_VERB_POISON && kind_of(command_.query) != QueryKind::range) {
            poison_free(world, page);
        }
    }
    // What a visit could not do under its locks: the write to a swap file.
    void finish(World& world);
    const Outcome& outcome() const { return outcome_; }
    const UseRows& rows() const { return rows_; } // referenced: who maps it

private:
    s32 ask_referenced(World& world, Page& page);
    Avoid other_frames(World& world) const;
    s32 revoke(World& world, Page& page);
    s32 migrate(World& world, Page& page);
    s32 poison(World& world, Page& page);
    void poison_free(World& world, const Page& page);
    void look_at(World& world, const Page& page);

    const objr_command& command_;
    Outcome outcome_;
    UseRows rows_;
};

s32 Runner::ask_referenced(World& world, Page& page) {
    const bool peek = (command_.options & OBJR_COMMAND_PEEK) != 0;
    const Result<Referenced> answer =
        page_referenced(world, page, peek ? ReferencedMode::peek : ReferencedMode::exact, rows_);
    if (answer) {
        outcome_.referenced = *answer;
    }
    return answer.as_int();
}

// Other frames of the range are to be free at the end too, so the new one is not among them if that can be.
Avoid Runner::other_frames(World& world) const {
    if (kind_of(command_.query) != QueryKind::range) {
        return {};
    }
    const u64 end = world.pool.size() - 1;
    return {static_cast<u32>(min(command_.query.first, end)), static_cast<u32>(min(command_.query.last, end))};
}

s32 Runner::revoke(World& world, Page& page) {
    outcome_.from = world.pool.pfn(page);
    const Status status = revoke_page(world, page, other_frames(world), outcome_.revoke);
    if (Page* fresh = outcome_.revoke.fresh) {
        look_at(world, *fresh);
        fresh->unlock();
        world.pool.put(*fresh);
        outcome_.revoke.fresh = nullptr;
    } else {
        look_at(world, page);
    }
    return status.as_int();
}

s32 Runner::migrate(World& world, Page& page) {
    const Avoid avoid = other_frames(world);
    outcome_.from = world.pool.pfn(page);
    Result<Page*> fresh = migrate_page(world, page, avoid, &outcome_.moved);
    if (!fresh && fresh.error().value == OBJR_ENOBUFS && avoid.first <= avoid.last) {
        fresh = migrate_page(world, page, {}, &outcome_.moved);
    }
    look_at(world, fresh ? **fresh : page);
    if (fresh) {
        (*fresh)->unlock();
        world.pool.put(**fresh);
    }
    return fresh.as_int();
}

s32 Runner::poison(World& world, Page& page) { return poison_page(world, page, outcome_.poison).as_int(); }

// It was chosen by its number: it is taken out of the free list.
void Runner::poison_free(World& world, const Page& page) {
    SharedGuard quiesce(world.quiesce);
    outcome_.error = poison_free_page(world, world.pool.page(world.pool.number(page))).as_int();
    outcome_.state = outcome_.error != 0 ? Outcome::State::failed : Outcome::State::done;
    outcome_.poison.recovered = true;
    collect_facts(world, page, outcome_.facts);
}

void Runner::look_at(World& world, const Page& page) {
    collect_facts(world, page, outcome_.facts);
    outcome_.facts.refcount--; // the one that was taken to look
}

// Its last mapping has gone, or it has been truncated, or its contents are in another frame since it was found.
static bool belongs_to_nobody(const Page& page) {
    return page.mapping().is_none() || (page.mapping().is_anon() && !page.mapped() && !SwapSpace::cached(page));
}

PageVisitor::Step Runner::visit(World& world, Page& page) {
    PageLock lock(page);
    if (page.has(PageFlag::poisoned)) {
        outcome_.state = Outcome::State::poisoned;
        outcome_.facts.number = world.pool.number(page);
        return Step::done;
    }
    if (belongs_to_nobody(page)) {
        visit_free(world, page);
        return Step::again;
    }
    switch (command_.verb) {
    case OBJR_VERB_REFERENCED: outcome_.error = ask_referenced(world, page); break;
    case OBJR_VERB_UNMAP: outcome_.unmapped = unmap_page(world, page, UnmapMode::reclaim, outcome_.cost); break;
    case OBJR_VERB_MKCLEAN: outcome_.cleaned = page_mkclean(world, page); break;
    case OBJR_VERB_REVOKE: outcome_.error = revoke(world, page); break;
    case OBJR_VERB_MIGRATE: outcome_.error = migrate(world, page); break;
    case OBJR_VERB_POISON: outcome_.error = poison(world, page); break;
    default: outcome_.error = -OBJR_EOPNOTSUPP; break;
    }
    if (outcome_.error == -OBJR_ENOBUFS) {
        outcome_.error = -OBJR_ENOMEM; // a word of the core's own (frames.h)
    }
    outcome_.state = outcome_.error != 0 ? Outcome::State::failed : Outcome::State::done;
    if (command_.verb != OBJR_VERB_REVOKE && command_.verb != OBJR_VERB_MIGRATE) { // there it is another page
        look_at(world, page);
    }
    return Step::done;
}

void Runner::finish(World& world) {
    if (outcome_.unmapped.why == Refusal::to_be_written) {
        outcome_.unmapped.why = write_out(world, outcome_.unmapped.entry) ? Refusal::none : Refusal::not_written;
    }
    if (outcome_.revoke.to_be_written && !write_out(world, outcome_.revoke.entry)) {
        outcome_.error = -OBJR_EIO;
        outcome_.state = Outcome::State::failed;
    }
}

// Run on all that is selected. A page in nobody's use is worth a line only if it was asked for by itself.
s32 run(World& world, const objr_command& command, Report& report) {
    const bool range = kind_of(command.query) == QueryKind::range;
    Runner runner(command);
    u64 pages = 0;
    s32 error = 0;
    for (u64 position = 0;;) {
        Reason reason;
        if (objr_fatal_signal_pending() != 0) {
            return -OBJR_EINTR;
        }
        runner.prepare();
        const Selected selected = visit_selected(world, command.query, &position, runner, reason.words);
        if (selected == Selected::end) {
            break;
        }
        runner.finish(world);
        const Outcome& outcome = runner.outcome();
        if (selected == Selected::error) {
            report.error(reason.words.c_str());
            if (range) {
                break;
            }
        } else if (outcome.state == Outcome::State::poisoned) {
            if (!range) {
                reason.words.add("page ").decimal(outcome.facts.number).add(" is poisoned: nobody has it any more");
                report.error(reason.words.c_str());
            }
        } else if (outcome.state != Outcome::State::free) {
            report.page(outcome, runner.rows());
            error = outcome.error != 0 ? outcome.error : error;
            pages++;
        } else if (!range) {
            reason.words.add("page ").decimal(outcome.facts.number).add(" is free: nobody has it");
            report.error(reason.words.c_str());
        }
        objr_cond_resched();
    }
    if (range && pages == 0) {
        report.error("no page of the range is in use");
    }
    return pages == 0 ? -OBJR_ENOENT : error;
}

// So many pages become free, as far as pages can be taken away; files are written for it.
s32 reclaim(World& world, u64 wanted, Report& report) {
    if (wanted > world.pool.size()) {
        Reason why;
        why.words.add("the pool has only ").decimal(world.pool.size()).add(" pages");
        report.error(why.words.c_str());
        return -OBJR_EINVAL;
    }
    ScanLedger ledger;
    const u64 freed = reclaim_and_wait(world, wanted, ledger);
    report.reclaimed(wanted, freed, ledger);
    return objr_fatal_signal_pending() != 0 ? -OBJR_EINTR : 0;
}

s32 resize(World& world, const objr_command& command, Report& report) {
    Resize result;
    const Status status = resize_pool(world, static_cast<u32>(min<u64>(command.query.first, ~0u)), result);
    report.resize(command.query.first, result, status.as_int());
    return status.as_int();
}

s32 compact(World& world, Report& report) {
    Compaction compaction;
    const Status status = compact_pool(world, compaction);
    report.compaction(compaction);
    return status.as_int();
}

} // namespace

} // namespace objr

using namespace objr;

extern "C" int objr_run_command(objr_world* world, const objr_command* command, objr_out* out) {
    Report report(*command, out);
    if (command->error != 0) {
        report.error(command->message);
        return command->error;
    }
    switch (command->verb) {
    case OBJR_VERB_RECLAIM: return reclaim(world_of(world), command->query.first, report);
    case OBJR_VERB_RESIZE: return resize(world_of(world), *command, report);
    case OBJR_VERB_COMPACT: return compact(world_of(world), report);
    case OBJR_VERB_SWAPIN:
    case OBJR_VERB_SWAPOFF:
    case OBJR_VERB_SWAPON: return run_swap_command(world_of(world), *command, out);
    default: return run(world_of(world), *command, report);
    }
}
