// SPDX-License-Identifier: GPL-2.0
//
// lock_checker.h: a small lockdep for the hosted build (Linux: kernel/locking/lockdep.c).
//
// Each thread keeps the list of what it holds. The order of classes is known beforehand, enum objr_lock_class, so that one
// single-threaded run through a path proves its order; nothing has to be learnt from other runs. Broken rules end the
// process with both places in the report.
//
// Rules, as numbered in the reports:
//  1 a lock is taken only when every lock held is of an outer class
//  2 a second lock of one class is taken as nested, after a first that was not
//  3 a lock that this thread holds is not taken again, shared or not
//  4 what sleeps is not called under a spin lock or in an RCU read section
//  5 a lock is released by the thread that took it
//  6 memory with a held lock in it is not freed
// Rules 1 to 3 are not for tries: those cannot wait.
#pragma once

#include "fake_types.h"

#include <cstddef>
#include <string>

namespace objr_host {

enum class Take { kBlocking, kNested, kTry };

// Before a blocking acquisition; rules 1 to 3.
void check_before(const void* lock, objr_lock_class cls, Take take);
// After the acquisition. where: the code that took it, for reports.
void note_taken(const void* lock, objr_lock_class cls, LockKind kind, Take take, const void* where);
// Before the release; rule 5. lock == nullptr: the innermost page lock.
void note_released(const void* lock, objr_lock_class cls);
// Rule 4. what: the function that may sleep.
void check_may_sleep(const char* what);
// Rule 6.
void check_no_lock_in(const void* memory, std::size_t bytes);

void rcu_enter();
void rcu_leave();

// What the calling thread holds, one a line; empty: nothing.
std::string held_locks();
// Forget them, so that the next test starts clean after a failed one.
void forget_held_locks();
// Does the calling thread hold a lock of this class? Never known to where nothing is checked (kChecks).
bool holds(objr_lock_class cls);

} // namespace objr_host
