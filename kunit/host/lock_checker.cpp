// SPDX-License-Identifier: GPL-2.0
#include "lock_checker.h"

#include "host.h"

#include <algorithm>
#include <vector>

namespace objr_host {
namespace {

struct Held {
    const void* lock; // nullptr for the page lock, which is a bit
    objr_lock_class cls;
    LockKind kind;
    Take take;
    const void* where;
};

struct ThreadState {
    std::vector<Held> held;
    unsigned rcu_depth = 0;

    ThreadState() { held.reserve(16); }
    ~ThreadState() {
        if (!held.empty() || rcu_depth != 0) die("rule 5: a thread ended and still holds\n%s", held_locks().c_str());
    }
};

thread_local ThreadState self;

const char* name_of(objr_lock_class cls) {
    switch (cls) {
    case OBJR_LOCK_WRITEBACK: return "writeback";
    case OBJR_LOCK_SWAP_WRITE: return "swap write";
    case OBJR_LOCK_QUIESCE: return "quiesce";
    case OBJR_LOCK_REGISTRY: return "registry";
    case OBJR_LOCK_COMPRESS: return "compress";
    case OBJR_LOCK_MM: return "mm";
    case OBJR_LOCK_PAGE: return "page";
    case OBJR_LOCK_ZAP_GRACE: return "zap grace";
    case OBJR_LOCK_I_MMAP: return "i_mmap";
    case OBJR_LOCK_ANON: return "anon";
    case OBJR_LOCK_TREE: return "tree";
    case OBJR_LOCK_UPPER_TABLE: return "upper table";
    case OBJR_LOCK_TABLE: return "table";
    case OBJR_LOCK_PTE_CHAIN: return "pte_chain";
    case OBJR_LOCK_SWAP: return "swap";
    case OBJR_LOCK_POOL: return "pool";
    case OBJR_LOCK_NR: break;
    }
    return "unknown";
}

} // namespace

void check_before(const void* lock, objr_lock_class cls, Take take) {
    if constexpr (!kChecks) return;
    if (take == Take::kTry) return;
    for (const Held& held : self.held) {
        if (lock != nullptr && held.lock == lock)
            die("rule 3: this thread takes a %s lock (%p) that it holds. It holds\n%s", name_of(cls), lock,
                held_locks().c_str());
        if (held.cls > cls)
            die("rule 1: a %s lock is taken inside a %s lock, the order is the other way round. Held are\n%s",
                name_of(cls), name_of(held.cls), held_locks().c_str());
        if (held.cls == cls && (take != Take::kNested || held.take == Take::kNested))
            die("rule 2: a second %s lock is taken %s. Held are\n%s", name_of(cls),
                take == Take::kNested ? "as nested, as was the first" : "and not as nested", held_locks().c_str());
    }
}

void note_taken(const void* lock, objr_lock_class cls, LockKind kind, Take take, const void* where) {
    if constexpr (!kChecks) return;
    self.held.push_back({lock, cls, kind, take, where});
}

void note_released(const void* lock, objr_lock_class cls) {
    if constexpr (!kChecks) return;
    const auto found = std::find_if(self.held.rbegin(), self.held.rend(),
                                    [&](const Held& held) { return held.lock == lock && held.cls == cls; });
    if (found == self.held.rend())
        die("rule 5: a %s lock (%p) is released that this thread does not hold. It holds\n%s", name_of(cls), lock,
            held_locks().c_str());
    self.held.erase(std::next(found).base());
}

void check_may_sleep(const char* what) {
    if constexpr (!kChecks) return;
    const bool spinning =
        std::any_of(self.held.begin(), self.held.end(), [](const Held& held) { return held.kind == LockKind::kSpin; });
    if (spinning || self.rcu_depth != 0)
        die("rule 4: %s may sleep, but the context must not. Held are\n%s", what, held_locks().c_str());
}

void check_no_lock_in(const void* memory, std::size_t bytes) {
    if constexpr (!kChecks) return;
    const char* const first = static_cast<const char*>(memory);
    for (const Held& held : self.held)
        if (held.lock >= first && held.lock < first + bytes)
            die("rule 6: %zu bytes at %p are freed with a held %s lock in them. Held are\n%s", bytes, memory,
                name_of(held.cls), held_locks().c_str());
}

void rcu_enter() {
    if constexpr (kChecks) self.rcu_depth++;
}

void rcu_leave() {
    if constexpr (!kChecks) return;
    if (self.rcu_depth == 0) die("rule 5: rcu_read_unlock without rcu_read_lock");
    self.rcu_depth--;
}

std::string held_locks() {
    std::string text;
    for (const Held& held : self.held) {
        text += std::string("  ") + name_of(held.cls);
        if (held.take != Take::kBlocking) text += held.take == Take::kNested ? " (nested)" : " (tried)";
        text += " taken at " + describe_address(held.where) + "\n";
    }
    if (self.rcu_depth != 0) text += "  rcu_read_lock, depth " + std::to_string(self.rcu_depth) + "\n";
    return text;
}

void forget_held_locks() {
    self.held.clear();
    self.rcu_depth = 0;
}

bool holds(objr_lock_class cls) {
    return std::any_of(self.held.begin(), self.held.end(), [&](const Held& held) { return held.cls == cls; });
}

} // namespace objr_host
