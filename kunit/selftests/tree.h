// SPDX-License-Identifier: GPL-2.0
//
// The tree: processes that fork one another, exit, are forked again and may be killed at any moment, with more memory among
// them than the pool has, while tormentors take pages away, move them and switch schemes (see tree_member.cpp, torment.cpp).
// Their memory is of every kind: private pages that relatives share until one writes, a named object and a real file that all
// share, private views of that file, and nonlinear windows. What must be in a page is known to whoever may look at it: for
// private pages to each process itself, for shared ones to the board.
//
// A board lies in the kernel's memory, shared by all. Processes are children of the coordinator, whoever forked them
// (CLONE_PARENT), which alone reaps them and clears up after those who were killed.
#ifndef OBJRMAP_SELFTESTS_TREE_H
#define OBJRMAP_SELFTESTS_TREE_H

#include <cstddef>
#include <cstdint>
#include <string>

#include <sys/types.h>

namespace tree {

struct Options {
    unsigned processes = 12; // members at a time
    unsigned seconds = 20;
    unsigned kills = 0; // end after so many SIGKILLs; `seconds` is then the limit
    double multiple = 3; // of the pool: what all processes want together
    uint64_t seed = 1;
    std::string file; // path of the shared file; made here, left behind
    bool chatty = false; // a line on stderr every ten seconds
};

struct Outcome {
    std::string failure; // empty: all went well
    std::string summary; // what was done, in one line
};

// Runs the tree to its end; leaves no process. The module must have swap space for what does not fit into the pool.
Outcome run(const Options& options);

// ---- the board ----------------------------------------------------------------------------------------------------

constexpr unsigned kSeats = 128; // members and tormentors
constexpr unsigned kTormentors = 3;
constexpr unsigned kMostMembers = kSeats - kTormentors;

enum Op { kSweep, kVisit, kShared, kWindow, kOwnView, kSync, kThroughFile, kAdvise, kRenew, kMove, kFork, kExit, kOps };
extern const char* const kOpNames[kOps];

enum Verb { kReclaim, kMigrate, kCompact, kRevoke, kReferenced, kUnmap, kMkclean, kSwapin, kResize, kVerbs };
extern const char* const kVerbNames[kVerbs];

struct Seat {
    pid_t taken_by; // the pid of who took it for the child that it forks; 0: free
    pid_t pid; // of the tenant; 0: there is none yet. The kernel sets it (CLONE_PARENT_SETTID) before the child runs.
    unsigned depth; // of a founder: 0
    bool killed; // by the coordinator
};

// A page that many write to. Who holds it (its pid) may; what is in it is `written`, or, if a holder was killed while writing,
// words of `written` and of `intent`.
struct SharedPage {
    pid_t holder;
    uint64_t intent, written; // versions
};

enum StoreKind { kObject, kFile, kStores };

struct Board {
    int stop, failing, failed; // failing: somebody is writing `failure`; failed: it is there
    char failure[900];
    Seat seats[kSeats]; // the last ones are the tormentors'
    uint64_t born; // processes so far
    uint64_t ops[kOps];
    uint64_t commands[kVerbs], commands_refused[kVerbs]; // refused: with an errno that says "not now"
    bool unknown[kVerbs]; // the module has no such verb
    bool no_advice[16]; // nor such advice
    uint64_t queries, retries, verifies, switches, switches_refused, kills, refused;
    uint64_t most; // pages in use at a time, in the pool and in swap

    // The plan.
    uint64_t seed;
    unsigned processes;
    size_t pool; // pages, at the least: it is resized
    size_t own_chunks; // of a member
    size_t pages[kStores], view_pages;
    char file[256];
    SharedPage* shared[kStores];
};

// Tells the coordinator, and ends this process.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(Board& board, const char* format, ...);

template <typename T>
T add(T& counter, T amount = 1) {
    return __atomic_add_fetch(&counter, amount, __ATOMIC_RELAXED);
}

inline bool stopped(const Board& board) {
    return __atomic_load_n(&board.stop, __ATOMIC_RELAXED) || __atomic_load_n(&board.failed, __ATOMIC_RELAXED);
}

double now();

// Name of the object.
constexpr const char* kObjectName = "tree";

// ---- lives --------------------------------------------------------------------------------------------------------

// A founder: memory of its own, no relatives yet.
[[noreturn]] void live(Board& board, unsigned seat);
// One of kTormentors.
[[noreturn]] void torment(Board& board, unsigned which, uint64_t seed);
// Asks the module which verbs it has.
void learn_verbs(Board& board);

} // namespace tree

#endif // OBJRMAP_SELFTESTS_TREE_H
