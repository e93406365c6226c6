// SPDX-License-Identifier: GPL-2.0
// What a command answers, as lines or as JSON.
#include "command.h"

namespace objr {

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
    } else if (command_.verb == OBJR_VERB_POISON) {
        emitter.decimal("taken", outcome.poison.taken);
        emitter.decimal("recovered", outcome.poison.recovered ? 1 : 0);
    } else if (command_.verb == OBJR_VERB_MIGRATE) {
        emitter.hex("from", outcome.from.value);
        emitter.decimal("taken", outcome.moved);
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
    const bool moves =
        command_.verb == OBJR_VERB_REVOKE || command_.verb == OBJR_VERB_MIGRATE || command_.verb == OBJR_VERB_POISON;
    switch (moves ? -outcome.error : 0) {
    case OBJR_EIO:
        if (certificate.holds()) {
            words.add("the swap store cannot take it");
            return;
        }
        words.add("undone: a scan of all tables found it mapped yet, ").decimal(certificate.present).add(" times and ");
        words.decimal(certificate.process_present).add(" times in processes' own: read verify");
        return;
    case OBJR_EBUSY: words.add("it is pinned, somebody writes to its frame: ask again when that is done"); return;
    case OBJR_EEXIST: words.add("it is poisoned already"); return;
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
        why.words.add(name_of_verb(command_.verb)).add(" of page ").decimal(outcome.facts.number).add(" failed: ");
        explain(outcome, why.words);
        error(why.words.c_str());
        return;
    }
    Emitter emitter(out_, format_of(command_.query));
    emitter.begin_answer();
    emitter.begin_record(name_of_verb(command_.verb));
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

// Every look at a page has had one fate.
void Report::reclaimed(u64 wanted, u64 freed, const ScanLedger& ledger) {
    Emitter emitter(out_, format_of(command_.query));
    emitter.begin_answer();
    emitter.begin_record("reclaim");
    emitter.decimal("wanted", wanted);
    emitter.decimal("freed", freed);
    emitter.decimal("scanned", ledger.scanned);
    for (u32 i = static_cast<u32>(Fate::freed) + 1; i < static_cast<u32>(Fate::kNumber); i++) {
        emitter.decimal(word_of(static_cast<Fate>(i)), ledger.fates[i]);
    }
    emitter.decimal("candidates", ledger.candidates);
    emitter.decimal("hits", ledger.hits);
    emitter.end_record();
    emitter.end_answer();
}

// What stood in the way of another size, and what to do.
static void explain_resize(const Resize& resize, u64 mb, s32 error, Words& words) {
    const bool grows = mb > resize.before;
    switch (-error) {
    case OBJR_EINVAL: words.add("take 1 to ").decimal(Pool::kMaxMb).add(" MiB"); return;
    case OBJR_EINPROGRESS: words.add("another resize is under way: wait for it"); return;
    case OBJR_EINTR: words.add("ended by a signal"); return;
    case OBJR_EAGAIN: words.add("pages come and go too fast: ask again"); return;
    case OBJR_EBUSY:
        words.add("page ")
            .decimal(resize.in_the_way)
            .add(" cannot be moved: it is pinned, busy or poisoned (query page ");
        words.decimal(resize.in_the_way).add(")");
        return;
    case OBJR_ENOMEM:
        if (grows && mb > resize.possible) {
            words.add("the machine has memory for at most ").decimal(resize.possible);
        } else if (grows) {
            words.add("the kernel gave ").decimal(resize.got).add(" MiB in pieces of 1 MiB");
        } else if (resize.staying != 0) {
            words.decimal(resize.staying).add(" pages are locked, or swap has no room for them: unlock or unmap some");
        } else {
            words.add("what is in use does not fit: free or unlock some pages, or give more swap");
        }
        return;
    default: words.add("error ").decimal(static_cast<u64>(-error)); return;
    }
}

void Report::resize(u64 mb, const Resize& resize, s32 error_number) {
    if (error_number != 0) {
        Reason why;
        why.words.add("resize to ").decimal(mb).add(" MiB failed, the pool has ").decimal(resize.before).add(": ");
        explain_resize(resize, mb, error_number, why.words);
        error(why.words.c_str());
        return;
    }
    Emitter emitter(out_, format_of(command_.query));
    emitter.begin_answer();
    emitter.begin_record(name_of_verb(command_.verb));
    emitter.decimal("pool_mb", mb);
    emitter.decimal("before", resize.before);
    emitter.decimal("moved", resize.moved);
    emitter.end_record();
    emitter.end_answer();
}

void Report::compaction(const Compaction& compaction) {
    Emitter emitter(out_, format_of(command_.query));
    emitter.begin_answer();
    emitter.begin_record(name_of_verb(command_.verb));
    emitter.decimal("moved", compaction.moved);
    emitter.decimal("skipped", compaction.skipped);
    emitter.decimal("free_sections", compaction.free_sections);
    emitter.end_record();
    emitter.end_answer();
}

} // namespace objr
