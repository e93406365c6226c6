// SPDX-License-Identifier: GPL-2.0
// Daemon: a kernel thread that does its work in rounds, whenever somebody asks for one (Linux: kswapd, the flusher threads).
//
// There are two, of the module's World; a World of a test has none unless it starts them:
//   reclaimd     keeps the number of free pages between the watermarks; the only one that writes to a swap file
//   writebackd   writes dirty pages of files; the only one that reclaim leaves files to
// So that the first never waits for a file that a faulting process may hold the inode lock of.
//
// Invariant: requests - served, modulo 2^32, is the number of requests that no round has begun after and ended.
// Ownership: the World's. start and stop by who creates and destroys it, nobody else is there then.
// Locking: atomics and the kernel's wait queues. The thread holds no lock between rounds.
#pragma once

#include <generated/objr-kernel-sizes.h>

#include "objrmap/atomic.h"
#include "objrmap/lock.h"
#include "objrmap/result.h"

namespace objr {

struct World;

class Daemon : Pinned {
public:
    // name: of the thread. ENOMEM.
    Status start(const char* name, void (*work)(World&), World& world);
    // Waits for its round to end. Idempotent.
    void stop();
    bool runs() const { return thread_ != nullptr; }
    // How many requests there are for which no round has ended, at this instant.
    u32 waiting() const { return requests_.load() - served_.load(); }

    // A round soon, if there is a thread. Any context.
    void kick();
    // Until a round that began after this call has ended. Sleeps. EINTR: the task is being killed; EAGAIN: there is no thread.
    Status wait_for_round();

private:
    void run();

    objr_thread* thread_ = nullptr;
    void (*work_)(World&) = nullptr;
    World* world_ = nullptr;
    Atomic<u32> requests_{0};
    Atomic<u32> begun_{0}; // requests there were when the last round began; written by the thread
    Atomic<u32> served_{0}; // the same when it had ended
    KernelObject<OBJR_SIZEOF_WAITQ, OBJR_ALIGNOF_WAITQ> work_queue_; // the thread
    KernelObject<OBJR_SIZEOF_WAITQ, OBJR_ALIGNOF_WAITQ> done_queue_; // who waits for a round
};

} // namespace objr
