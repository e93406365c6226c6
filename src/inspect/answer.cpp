// SPDX-License-Identifier: GPL-2.0
// What an answer looks like, in lines and in JSON.
#include "objrmap/inspect.h"

namespace objr {

struct FlagName {
    u64 bit;
    const char* name;
};

static constexpr FlagName kPageFlags[] = {
    {static_cast<u64>(PageFlag::dirty), "dirty"},
    {static_cast<u64>(PageFlag::uptodate), "uptodate"},
    {static_cast<u64>(PageFlag::referenced), "referenced"},
    {static_cast<u64>(PageFlag::swapcache), "swapcache"},
    {static_cast<u64>(PageFlag::mlocked), "mlocked"},
    {static_cast<u64>(PageFlag::lru), "lru"},
    {static_cast<u64>(PageFlag::active), "active"},
    {static_cast<u64>(PageFlag::anon_exclusive), "anon_exclusive"},
    {static_cast<u64>(PageFlag::free), "free"},
    {static_cast<u64>(PageFlag::poisoned), "poisoned"},
};

static constexpr FlagName kPteBits[] = {
    {Pte::kPresent, "P"}, {Pte::kWrite, "RW"},      {Pte::kUser, "US"},      {Pte::kPwt, "PWT"},
    {Pte::kPcd, "PCD"},   {Pte::kAccessed, "A"},    {Pte::kDirty, "D"},      {Pte::kPageSizeBit, "PS"},
    {Pte::kGlobal, "G"},  {Pte::kLocked, "LOCKED"}, {Pte::kNoExecute, "NX"},
};

template <u32 N>
static void emit_bits(Emitter& emitter, const char* name, u64 bits, const FlagName (&names)[N]) {
    emitter.begin_words(name);
    for (const FlagName& flag : names) {
        if ((bits & flag.bit) != 0) {
            emitter.item(flag.name);
        }
    }
    emitter.end_words();
}

static const char* name_of(PageFacts::Kind kind) {
    switch (kind) {
    case PageFacts::Kind::free: return "free";
    case PageFacts::Kind::anon: return "anon";
    case PageFacts::Kind::file: return "file";
    case PageFacts::Kind::none: return "none";
    }
    return "unknown";
}

const char* name_of(StopReason stop) {
    switch (stop) {
    case StopReason::end: return "end";
    case StopReason::mapcount: return "mapcount";
    case StopReason::unmapped: return "unmapped";
    case StopReason::visitor: return "visitor";
    case StopReason::contended: return "contended";
    }
    return "unknown";
}

void emit_page(Emitter& emitter, const PageFacts& facts) {
    emitter.begin_record("page");
    emitter.hex("pfn", facts.pfn.value);
    emitter.decimal("index", facts.number);
    emitter.word("kind", name_of(facts.kind));
    emitter.decimal("mapcount", facts.mappings);
    emitter.decimal("refcount", static_cast<u64>(facts.refcount < 0 ? 0 : facts.refcount));
    emit_bits(emitter, "flags", facts.flags, kPageFlags);
    emitter.hex("pgoff", facts.index);
    if (facts.object.kind) {
        emitter.object("object", facts.object.kind, facts.object.id,
                       facts.kind == PageFacts::Kind::file ? facts.name : nullptr);
    } else {
        emitter.none("object");
    }
    emitter.word("scheme", facts.scheme);
    emitter.end_record();
}

void emit_mapper(Emitter& emitter, const Row& row) {
    emitter.begin_record("mapper");
    if (row.pid != 0) {
        emitter.decimal("pid", row.pid);
        emitter.name("comm", row.comm);
    } else {
        emitter.none("pid");
        emitter.none("comm");
    }
    emitter.decimal("mm", row.mm_id);
    emitter.range("vma", row.start.value, row.end.value);
    emitter.hex("vaddr", row.address.value);
    emitter.hex("pte", row.pte.word());
    emit_bits(emitter, "bits", row.pte.word(), kPteBits);
    emitter.decimal("young", row.young ? 1 : 0);
    emitter.decimal("dirty", row.dirty ? 1 : 0);
    emitter.end_record();
}

static void emit_candidate(Emitter& emitter, const Row& row) {
    emitter.begin_record("candidate");
    emitter.decimal("mm", row.mm_id);
    emitter.range("vma", row.start.value, row.end.value);
    emitter.hex("vaddr", row.address.value);
    emitter.word("why", name_of(row.why));
    emitter.word("miss", name_of(row.miss));
    emitter.end_record();
}

static void emit_cost(Emitter& emitter, const WalkCost& cost) {
    emitter.begin_record("cost");
    emitter.decimal("candidates", cost.candidates);
    emitter.decimal("hits", cost.hits);
    emitter.decimal("false_hits", cost.false_hits);
    emitter.decimal("levels", cost.levels);
    emitter.decimal("lock_waits", cost.lock_waits);
    if (cost.scanned != 0) {
        emitter.decimal("scanned", cost.scanned);
    }
    emitter.word("stop", name_of(cost.stop));
    emitter.end_record();
}

void show_error(objr_out* out, const char* message, Format format) {
    if (format == Format::text) {
        objr_out_printf(out, "error %s\n", message);
        return;
    }
    objr_out_printf(out, "{\"error\":\"");
    put_json(out, message);
    objr_out_printf(out, "\"}\n");
}

static void show_standing(Emitter& emitter, const Answer& answer) {
    emitter.begin_answer();
    emit_page(emitter, answer.facts());
    emitter.begin_array("mappers");
    for (u32 i = 0; i < answer.row_count(); i++) {
        if (answer.row(i).kind == Row::Kind::mapping) {
            emit_mapper(emitter, answer.row(i));
        }
    }
    emitter.end_array();
    if (answer.candidates() == Candidates::collect) {
        emitter.begin_array("candidates");
        for (u32 i = 0; i < answer.row_count(); i++) {
            if (answer.row(i).kind == Row::Kind::candidate) {
                emit_candidate(emitter, answer.row(i));
            }
        }
        emitter.end_array();
    }
    emit_cost(emitter, answer.cost());
    emitter.end_answer();
}

void show_answer(objr_out* out, const Answer& answer, Format format) {
    Emitter emitter(out, format);
    switch (answer.state()) {
    case Answer::State::stands: show_standing(emitter, answer); break;
    case Answer::State::no_memory:
        show_error(out, "no kernel memory for the list of mappers: free some and read again", format);
        break;
    case Answer::State::unstable:
    case Answer::State::empty: objr_out_printf(out, format == Format::text ? "retry\n" : "{\"retry\":true}\n"); break;
    }
}

} // namespace objr
