// SPDX-License-Identifier: GPL-2.0
//
// thread.cpp: kernel threads and wait queues of include/shim/kernel.h. One mutex and one condition stand for all queues: whoever
// waits looks at its own word when it is woken.
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "shim/kernel.h"

namespace {

std::mutex wait_lock;
std::condition_variable changed;

} // namespace

struct objr_thread {
    std::thread thread;
    bool stop = false; // guarded by wait_lock
};

namespace {
thread_local objr_thread* self = nullptr;
} // namespace

using namespace objr_host;

extern "C" {

objr_thread* objr_thread_start(const char*, void (*function)(void* argument), void* argument) {
    check_may_sleep("thread_start");
    if (allocation_fails()) return nullptr;
    auto* const started = new objr_thread;
    started->thread = std::thread([started, function, argument] {
        self = started;
        function(argument);
    });
    return started;
}

void objr_thread_stop(objr_thread* thread) {
    check_may_sleep("thread_stop");
    {
        std::lock_guard guard(wait_lock);
        thread->stop = true;
    }
    changed.notify_all();
    thread->thread.join();
    delete thread;
}

void objr_init_waitqueue(void*) {}

void objr_wake_up_all(void*) {
    { std::lock_guard guard(wait_lock); } // who has just looked at its word is waiting by now
    changed.notify_all();
}

int objr_wait_while_equal(void*, const objr_u32* word, objr_u32 value) {
    check_may_sleep("wait_while_equal");
    if (const std::string held = held_locks(); kChecks && !held.empty())
        die("objr_wait_while_equal is called under locks, for which another thread may wait. Held are\n%s",
            held.c_str());
    std::unique_lock guard(wait_lock);
    changed.wait(guard,
                 [&] { return __atomic_load_n(word, __ATOMIC_ACQUIRE) != value || (self != nullptr && self->stop); });
    return self != nullptr && self->stop ? -OBJR_EINTR : 0;
}
}
