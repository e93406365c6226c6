// SPDX-License-Identifier: GPL-2.0
// Commands as users write them into `command`: VERB SEL [words]. What they share: command_parse.cpp reads the words,
// command_run.cpp does to each page of the selector what the verb says, command_report.cpp writes what came of it.
//
// A result has one line for each page that was in use, of the form that answers have. A page is acted on under its page
// lock and quiesce (for read); nothing is held while text is written.
#pragma once

#include "objrmap/inspect.h"
#include "objrmap/migrate.h"
#include "objrmap/poison.h"
#include "objrmap/reclaim.h"
#include "objrmap/referenced.h"
#include "objrmap/resize.h"
#include "objrmap/vmscan.h"

namespace objr {

// The word of a verb; "none" for OBJR_VERB_NONE.
const char* name_of_verb(u32 verb);

// What became of one page.
struct Outcome {
    enum class State { nothing, free, poisoned, done, failed };

    State state = State::nothing;
    PageFacts facts; // after it
    u32 cleaned = 0; // mkclean: PTEs
    Referenced referenced;
    UnmapResult unmapped;
    WalkCost cost; // unmap
    RevokeResult revoke;
    u32 moved = 0; // migrate: mappings
    PoisonResult poison;
    Pfn from; // revoke, migrate: the frame it was in
    s32 error = 0; // failed: -errno
};

// swapin, swapoff, swapon (command_swap.cpp): 0 or -errno, of which the text says why.
s32 run_swap_command(World& world, const objr_command& command, objr_out* out);

class Report : Pinned {
public:
    Report(const objr_command& command, objr_out* out) : command_(command), out_(out) {}

    // rows: referenced: who maps it.
    void page(const Outcome& outcome, const UseRows& rows);
    void compaction(const Compaction& compaction);
    void reclaimed(u64 wanted, u64 freed, const ScanLedger& ledger);
    void resize(u64 mb, const Resize& resize, s32 error);
    void error(const char* message) { show_error(out_, message, format_of(command_.query)); }

private:
    void explain(const Outcome& outcome, Words& words);
    void fields(Emitter& emitter, const Outcome& outcome);
    void mappers(Emitter& emitter, const UseRows& rows);
    void certificate(Emitter& emitter, const Certificate& certificate);

    const objr_command& command_;
    objr_out* out_;
};

} // namespace objr
