// SPDX-License-Identifier: GPL-2.0
// Inspection: text out of structures: who maps a page, lists of objects, graphs, the verifier, statistics. The entry
// points are the text section of shim/module.h; this header is what they share.
//
// Terms: a *selector* says which pages, an *answer* is what is known of one page at one instant: the page, its mappings,
// what the walk cost. A *candidate* is a (Vma, address) that the reverse map offers; a *miss* is one that is no mapping now.
//
// An answer never mixes two states: the reverse map is walked between two looks at the page's generation, and only if these are
// equal and as many mappings were found as the page counts, it stands. Else everything is let go and it is asked again,
// at most kAttempts times; then the answer is the line `retry`.
//
// Ownership: an answer holds a reference on the Mm and the region of each row from the walk until release().
// Locking: quiesce is held for read from finding the page until its reference is given back, since the verifier counts
// references; the page lock during walk and harvest. Nothing is held while owners are looked up and text is written, nor
// between two items of a stream.
#pragma once

#include "objrmap/rmap.h"
#include "objrmap/text.h"
#include "objrmap/world.h"

namespace objr {

inline World& world_of(objr_world* world) { return *reinterpret_cast<World*>(world); }

// ---- selectors: objr_query of shim/module.h

enum class QueryKind : u32 {
    none, // nothing selected
    pfn, // first
    page, // first
    pid, // first, address
    mm, // first, address
    file, // name, first = pgoff
    range, // first .. last, inclusive
};

enum class QueryOption : u32 { json = 1, explain = 2 };

inline QueryKind kind_of(const objr_query& query) { return static_cast<QueryKind>(query.kind); }
inline bool wants(const objr_query& query, QueryOption option) {
    return (query.options & static_cast<u32>(option)) != 0;
}
inline Format format_of(const objr_query& query) {
    return wants(query, QueryOption::json) ? Format::json : Format::text;
}

// ---- one page

// What is known of a page without asking who maps it.
struct PageFacts {
    enum class Kind : u32 { free, anon, file, none }; // none: in use, but new or cut off its file

    u32 number = 0;
    Pfn pfn;
    Kind kind = Kind::free;
    u32 mappings = 0;
    s32 refcount = 0; // without the one who looks
    u32 flags = 0; // PageFlag bits without `locked`
    u64 index = 0;
    ObjectName object{nullptr, 0}; // anonymous or file; no kind: gone, or there is none
    u32 generation = 0;
    char name[FileMapping::kNameBytes] = {}; // of the file
    const char* scheme = "";
};

// page: referenced and locked.
void collect_facts(World& world, const Page& page, PageFacts& facts);

// Why a candidate is no mapping of the page; none: it is one. nowhere: a nonlinear Vma that does not have the page.
enum class Miss : u32 { none, no_table, not_present, other_pfn, swap, file_entry, migration, nowhere };
const char* name_of(Miss miss);
const char* name_of(Why why);

// One mapping or one candidate, copied from the structures.
struct Row {
    enum class Kind : u32 { mapping, candidate };

    Kind kind;
    Mm* mm; // referenced
    objr_region* region; // referenced; nullptr: no process
    u32 mm_id;
    u32 vma_id;
    Vaddr start;
    Vaddr end;
    u64 pgoff;
    u32 vm_flags;
    Vaddr address;
    Pte pte;
    Why why; // of a candidate
    Miss miss; // of a candidate
    bool young; // module's entry or the process's own
    bool dirty;
    u32 pid; // 0: nobody runs in it
    char comm[16];
};

// Whether the answer is explained by the candidates that there were.
enum class Candidates { ignore, collect };

class Answer : Pinned {
public:
    static constexpr u32 kAttempts = 100;
    enum class State { empty, stands, unstable, no_memory };

    explicit Answer(Candidates candidates) : candidates_(candidates) {}
    ~Answer();

    // Ask the reverse map. page: referenced; quiesce is held for read. unstable: something changed meanwhile; release() and take
    // it again.
    State take(World& world, Page& page);
    // A page in nobody's use.
    void take_free(World& world, const Page& page);
    // Let go what the rows hold. No lock is held.
    void release();
    // Fill in pid and comm. No lock is held.
    void find_owners();

    State state() const { return state_; }
    Candidates candidates() const { return candidates_; }
    const PageFacts& facts() const { return facts_; }
    const WalkCost& cost() const { return cost_; }
    u32 row_count() const { return used_; }
    const Row& row(u32 n) const { return rows_[n]; } // mappings first, then candidates

private:
    bool reserve(u32 rows);
    Row* add(Vma& vma, Vaddr address, Pte pte);
    void collect_candidates(World& world, Page& page);

    const Candidates candidates_;
    State state_ = State::empty;
    PageFacts facts_;
    WalkCost cost_;
    Row* rows_ = nullptr;
    u32 room_ = 0;
    u32 used_ = 0;
    u32 wanted_ = 0; // rows that there were, with or without room
};

void emit_page(Emitter& emitter, const PageFacts& facts);
void emit_mapper(Emitter& emitter, const Row& row);
const char* name_of(StopReason stop);
// The whole answer, as interface and format have it.
void show_answer(objr_out* out, const Answer& answer, Format format);
// `error ...` on a line of its own.
void show_error(objr_out* out, const char* message, Format format);

// ---- streams of pages and answers

enum class Selected { answer, error, end };
using Reason = WordsOf<200>;

// What is done with the pages of a selector.
class PageVisitor {
public:
    enum class Step { done, again };
    // Before each visit: let go what the last one has left. No lock is held.
    virtual void prepare() {}
    // page: referenced; quiesce is held for read. again: something changed meanwhile: the page is looked for again and
    // visited anew, at most Answer::kAttempts times.
    virtual Step visit(World& world, Page& page) = 0;
    // A page that was chosen by number or pfn, in nobody's use. No lock is held.
    virtual void visit_free(World& world, const Page& page) = 0;

protected:
    ~PageVisitor() = default;
};

// The Mm that a query of kind pid or mm names, referenced; nullptr: the reason says why there is none. No lock is held.
Mm* get_selected_mm(World& world, const objr_query& query, Words& reason);

// Visit the page of a query at or after *position; sets *position behind it. answer: visited. error: the reason says what there
// was in its place. end: there was no more.
Selected visit_selected(World& world, const objr_query& query, u64* position, PageVisitor& visitor, Words& reason);

// The same with the answer for the page, with owners. answer: empty before.
Selected next_selected(World& world, const objr_query& query, u64* position, Answer& answer, Reason& reason);
// The answer for page `number`, with owners, by itself.
void answer_page(World& world, u32 number, Answer& answer);

} // namespace objr
