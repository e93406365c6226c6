// SPDX-License-Identifier: GPL-2.0
#include "objrmap/daemon.h"

namespace objr {

Status Daemon::start(const char* name, void (*work)(World&), World& world) {
    objr_init_waitqueue(work_queue_.raw());
    objr_init_waitqueue(done_queue_.raw());
    work_ = work;
    world_ = &world;
    thread_ = objr_thread_start(
        name, [](void* self) { static_cast<Daemon*>(self)->run(); }, this);
    return thread_ ? Status() : Status(Errno{OBJR_ENOMEM});
}

void Daemon::stop() {
    if (thread_) {
        objr_thread_stop(thread_);
        thread_ = nullptr;
    }
}

void Daemon::run() {
    while (objr_wait_while_equal(work_queue_.raw(), requests_.raw(), served_.load()) == 0) {
        const u32 upto = requests_.load_acquire();
        begun_.store(upto);
        work_(*world_);
        served_.store_release(upto);
        objr_wake_up_all(done_queue_.raw());
    }
}

void Daemon::kick() {
    if (thread_ && requests_.load() == begun_.load()) {
        requests_.fetch_add(1);
        objr_wake_up_all(work_queue_.raw());
    }
}

Status Daemon::wait_for_round() {
    if (!thread_) {
        return Errno{OBJR_EAGAIN};
    }
    const u32 mine = requests_.fetch_add(1) + 1;
    objr_wake_up_all(work_queue_.raw());
    for (u32 seen; static_cast<s32>((seen = served_.load_acquire()) - mine) < 0;) {
        OBJR_TRY_STATUS(Status::from_int(objr_wait_while_equal(done_queue_.raw(), served_.raw(), seen)));
    }
    return {};
}

} // namespace objr
