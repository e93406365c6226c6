// SPDX-License-Identifier: GPL-2.0
// Commands as users write them into `command`, and what they do to each page of their selector.
//
//   referenced SEL [peek] | unmap SEL | mkclean SEL | revoke SEL        SEL: a selector of query_parse.cpp; then: json
//
// A result has one line for each page that was in use, of the form that answers have. A page is acted on under its page
// lock and quiesce (for read); nothing is held while text is written.
#include "objrmap/migrate.h"
#include "objrmap/reclaim.h"
#include "objrmap/referenced.h"
#include "query_parser.h"

namespace objr {

namespace {

constexpr const char* kVerbs = "referenced, unmap, mkclean or revoke";

struct VerbName {
    const char* name;
    objr_verb verb;
};
constexpr VerbName kVerbNames[] = {
    {"referenced", OBJR_VERB_REFERENCED},
    {"unmap", OBJR_VERB_UNMAP},
    {"mkclean", OBJR_VERB_MKCLEAN},
    {"revoke", OBJR_VERB_REVOKE},
};

const char* name_of(u32 verb) {
    for (const VerbName& known : kVerbNames) {
        if (known.verb == verb) {
            return known.name;
        }
    }
    return "none";
}

// ---- parsing

bool parse_verb(SelectorParser& parser, objr_command& command) {
    Word word;
    if (!parser.next(word)) {
        return parser.nothing("nothing commanded: write referenced, unmap, mkclean or revoke, and a selector");
    }
    for (const VerbName& known : kVerbNames) {
        if (word.is(known.name)) {
            command.verb = known.verb;
            return true;
        }
    }
    return parser.bad(word, kVerbs);
}

bool parse_command(SelectorParser& parser, objr_command& command) {
    Word word;
    if (!parse_verb(parser, command)) {
        return false;
    }
    if (!parser.next(word)) {
        return parser.bad(word, SelectorParser::kSelectors);
    }
    if (!parser.selector(word)) {
        return false;
    }
    const bool may_peek = command.verb == OBJR_VERB_REFERENCED;
    while (parser.next(word)) {
        if (word.is("json")) {
            command.query.options |= static_cast<u32>(QueryOption::json);
        } else if (may_peek && word.is("peek")) {
            command.options |= OBJR_COMMAND_PEEK;
        } else {
            return parser.bad(word, may_peek ? "peek, json or the end" : "json or the end");
        }
    }
    return true;
}

// ---- running

// What became of one page.
struct Outcome {
    enum class State { nothing, free, done, failed };

    State state = State::nothing;
    PageFacts facts; // after it
    u32 cleaned = 0; // mkclean: PTEs
    Referenced referenced;
    UnmapResult unmapped;
    WalkCost cost; // unmap
    RevokeResult revoke;
    Pfn from; // revoke: the frame it was in
    s32 error = 0; // failed: -errno
};

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
    }
    const Outcome& outcome() const { return outcome_; }
    const UseRows& rows() const { return rows_; } // referenced: who maps it

private:
    s32 ask_referenced(World& world, Page& page);
    s32 revoke(World& world, Page& page);
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
s32 Runner::revoke(World& world, Page& page) {
    Avoid avoid;
    if (kind_of(command_.query) == QueryKind::range) {
        const u64 end = world.pool.size() - 1;
        avoid = {static_cast<u32>(min(command_.query.first, end)), static_cast<u32>(min(command_.query.last, end))};
    }
    outcome_.from = world.pool.pfn(page);
    const Status status = revoke_page(world, page, avoid, outcome_.revoke);
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
    if (belongs_to_nobody(page)) {
        visit_free(world, page);
        return Step::again;
    }
    switch (command_.verb) {
    case OBJR_VERB_REFERENCED: outcome_.error = ask_referenced(world, page); break;
    case OBJR_VERB_UNMAP: outcome_.unmapped = unmap_page(world, page, outcome_.cost); break;
    case OBJR_VERB_MKCLEAN: outcome_.cleaned = page_mkclean(world, page); break;
    case OBJR_VERB_REVOKE: outcome_.error = revoke(world, page); break;
    default: outcome_.error = -OBJR_EOPNOTSUPP; break;
    }
    outcome_.state = outcome_.error != 0 ? Outcome::State::failed : Outcome::State::done;
    if (command_.verb != OBJR_VERB_REVOKE) {
        look_at(world, page);
    }
    return Step::done;
}

// ---- the result

class Report : Pinned {
public:
    Report(const objr_command& command, objr_out* out) : command_(command), out_(out) {}

    void page(const Outcome& outcome, const UseRows& rows);
    void error(const char* message) { show_error(out_, message, format_of(command_.query)); }

private:
    void explain(const Outcome& outcome, Words& words);
    void fields(Emitter& emitter, const Outcome& outcome);
    void mappers(Emitter& emitter, const UseRows& rows);
    void certificate(Emitter& emitter, const Certificate& certificate);

    const objr_command& command_;
    objr_out* out_;
};

// Who refuses is named: an mm that is locked there, or has used it, is the place to look at.
static void unmap_fields(Emitter& emitter, const UnmapResult& result, const WalkCost& cost) {
    emitter.word("answer", name_of(result.answer));
    emitter.word("why", name_of(result.why));
    emitter.decimal("taken", result.taken);
    if (result.mm_id != 0 && result.why != Refusal::none) {
        emitter.decimal("mm", result.mm_id);
        emitter.hex("vaddr", result.address.value);
    }
    emitter.word("stop", name_of(cost.stop));
}

void Report::fields(Emitter& emitter, const Outcome& outcome) {
    if (command_.verb == OBJR_VERB_UNMAP) {
        unmap_fields(emitter, outcome.unmapped, outcome.cost);
    } else if (command_.verb == OBJR_VERB_MKCLEAN) {
        emitter.decimal("cleaned", outcome.cleaned);
        emitter.decimal("dirty", (outcome.facts.flags & static_cast<u32>(PageFlag::dirty)) != 0 ? 1 : 0);
    } else if (command_.verb == OBJR_VERB_REFERENCED) {
        const Referenced& referenced = outcome.referenced;
        const bool peek = (command_.options & OBJR_COMMAND_PEEK) != 0;
        emitter.decimal("count", static_cast<u64>(referenced.count)); // locks are waited for: never -1
        emitter.decimal("mapped", referenced.mappings);
        emitter.decimal("young", referenced.young);
        emitter.decimal("flag", referenced.flag ? 1 : 0);
        emitter.decimal("locked", referenced.at_locked ? 1 : 0);
        emitter.word("mode", peek ? "peek" : "exact");
        emitter.word("stop", name_of(referenced.cost.stop));
    } else if (command_.verb == OBJR_VERB_REVOKE) {
        emitter.hex("from", outcome.from.value);
        emitter.word("to", outcome.revoke.to == RevokeResult::Destination::swap ? "swap" : "frame");
        emitter.decimal("taken", outcome.revoke.taken);
    }
}

void Report::certificate(Emitter& emitter, const Certificate& certificate) {
    emitter.begin_record("certificate");
    emitter.decimal("mms", certificate.mms);
    emitter.decimal("entries", certificate.entries);
    emitter.decimal("present", certificate.present);
    emitter.decimal("process_present", certificate.process_present);
    emitter.decimal("skipped", certificate.skipped);
    emitter.decimal("found", certificate.present + certificate.process_present);
    emitter.end_record();
}

// Who uses it, one by one. No lock is held.
void Report::mappers(Emitter& emitter, const UseRows& rows) {
    emitter.begin_array("mappers");
    for (u32 i = 0; i < rows.count(); i++) {
        const UseRow& use = rows[i];
        Row row{};
        row.mm_id = use.mm->id();
        row.start = use.start;
        row.end = use.end;
        row.address = use.address;
        row.pte = use.pte;
        row.young = use.young;
        row.dirty = use.dirty;
        if (use.region) {
            row.pid = objr_region_owner(use.region, row.comm);
            row.comm[sizeof(row.comm) - 1] = '\0';
        }
        emit_mapper(emitter, row);
        objr_cond_resched();
    }
    emitter.end_array();
}

// What stood in the way, and what to do.
void Report::explain(const Outcome& outcome, Words& words) {
    const Certificate& certificate = outcome.revoke.certificate;
    const bool revoke = command_.verb == OBJR_VERB_REVOKE;
    switch (revoke ? -outcome.error : 0) {
    case OBJR_EIO:
        if (certificate.holds()) {
            words.add("the swap store cannot take it");
            return;
        }
        words.add("undone: a scan of all tables found it mapped yet, ").decimal(certificate.present).add(" times and ");
        words.decimal(certificate.process_present).add(" times in processes' own: read verify");
        return;
    case OBJR_EBUSY: words.add("it is pinned, somebody writes to its frame: ask again when that is done"); return;
    case OBJR_EAGAIN: words.add("it was mapped anew faster than it could be taken: ask again"); return;
    case OBJR_ENOMEM: words.add("no frame of the pool is free to move it to, or no kernel memory: free some"); return;
    case OBJR_ENOSPC:
        words.add("no frame of the pool is free to move it to, and the swap space has no slot: free some pages");
        return;
    default: words.add("error ").decimal(static_cast<u64>(-outcome.error)); return;
    }
}

void Report::page(const Outcome& outcome, const UseRows& rows) {
    if (outcome.state == Outcome::State::failed) {
        Reason why;
        why.words.add(name_of(command_.verb)).add(" of page ").decimal(outcome.facts.number).add(" failed: ");
        explain(outcome, why.words);
        error(why.words.c_str());
        return;
    }
    Emitter emitter(out_, format_of(command_.query));
    emitter.begin_answer();
    emitter.begin_record(name_of(command_.verb));
    if (outcome.revoke.to == RevokeResult::Destination::swap) { // no frame has it now
        emitter.none("pfn");
        emitter.none("index");
    } else {
        emitter.hex("pfn", outcome.facts.pfn.value);
        emitter.decimal("index", outcome.facts.number);
    }
    emitter.decimal("mapcount", outcome.facts.mappings);
    fields(emitter, outcome);
    emitter.end_record();
    if (command_.verb == OBJR_VERB_REFERENCED) {
        mappers(emitter, rows);
    } else if (command_.verb == OBJR_VERB_REVOKE) {
        certificate(emitter, outcome.revoke.certificate);
    }
    emitter.end_answer();
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
        const Outcome& outcome = runner.outcome();
        if (selected == Selected::error) {
            report.error(reason.words.c_str());
            if (range) {
                break;
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

} // namespace

} // namespace objr

using namespace objr;

extern "C" void objr_command_parse(objr_command* command, const char* text, objr_u64 length) {
    *command = {};
    SelectorParser parser(command->query, text, length);
    if (parse_command(parser, *command)) {
        return;
    }
    command->error = command->query.error;
    __builtin_memcpy(command->message, command->query.message, sizeof(command->message));
    command->verb = OBJR_VERB_NONE;
    command->options = 0;
    command->query.kind = static_cast<u32>(QueryKind::none);
    command->query.options = 0; // what is wrong is said in a line
}

extern "C" int objr_run_command(objr_world* world, const objr_command* command, objr_out* out) {
    Report report(*command, out);
    if (command->error != 0) {
        report.error(command->message);
        return command->error;
    }
    return run(world_of(world), *command, report);
}
