// SPDX-License-Identifier: GPL-2.0
//
// locks.cpp: the locks of include/shim/kernel.h, on pthreads, each step told to the lock checker.
#include "fake_types.h"
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"

#include <cerrno>
#include <cstdlib>
#include <new>

using namespace objr_host;

namespace {

// The core's code that called the shim function in which this stands.
#define OBJR_CALLER __builtin_return_address(0)

constexpr const char* kPercpuRwsem = "percpu rwsem";

template <typename Lock>
Lock& lock_at(void* storage, LockKind kind) {
    Lock& lock = *static_cast<Lock*>(storage);
    if (lock.head.magic != kLockMagic || lock.head.kind != kind)
        die("%p is used as a lock but was never initialised as one of this kind (or has been overwritten)", storage);
    return lock;
}

objr_lock_class class_of(const LockHead& head) { return static_cast<objr_lock_class>(head.cls); }

void init_mutex(void* storage, objr_lock_class cls, LockKind kind) {
    auto* lock = new (storage) FakeMutex{{kLockMagic, static_cast<std::uint8_t>(cls), kind}, {}};
    pthread_mutex_init(&lock->mutex, nullptr);
}

void acquire(void* storage, LockKind kind, Take take, const void* where) {
    FakeMutex& lock = lock_at<FakeMutex>(storage, kind);
    check_before(storage, class_of(lock.head), take);
    pthread_mutex_lock(&lock.mutex);
    note_taken(storage, class_of(lock.head), kind, take, where);
}

void release(void* storage, LockKind kind) {
    FakeMutex& lock = lock_at<FakeMutex>(storage, kind);
    note_released(storage, class_of(lock.head));
    pthread_mutex_unlock(&lock.mutex);
}

enum class Access { kRead, kWrite };

int acquire_rw(pthread_rwlock_t* lock, Access access, Take take) {
    if (take == Take::kTry)
        return access == Access::kRead ? pthread_rwlock_tryrdlock(lock) : pthread_rwlock_trywrlock(lock);
    return access == Access::kRead ? pthread_rwlock_rdlock(lock) : pthread_rwlock_wrlock(lock);
}

// 1: taken.
int acquire_rwsem(void* storage, Access access, Take take, const void* where) {
    FakeRwsem& lock = lock_at<FakeRwsem>(storage, LockKind::kRwsem);
    if (take != Take::kTry) check_may_sleep("down_read or down_write");
    check_before(storage, class_of(lock.head), take);
    if (acquire_rw(&lock.lock, access, take) != 0) return 0;
    note_taken(storage, class_of(lock.head), LockKind::kRwsem, take, where);
    return 1;
}

void release_rwsem(void* storage) {
    FakeRwsem& lock = lock_at<FakeRwsem>(storage, LockKind::kRwsem);
    note_released(storage, class_of(lock.head));
    pthread_rwlock_unlock(&lock.lock);
}

void acquire_percpu(void* storage, Access access, const void* where) {
    FakePercpuRwsem& lock = lock_at<FakePercpuRwsem>(storage, LockKind::kPercpuRwsem);
    check_may_sleep("percpu_down_read or percpu_down_write");
    check_before(storage, class_of(lock.head), Take::kBlocking);
    acquire_rw(lock.lock, access, Take::kBlocking);
    note_taken(storage, class_of(lock.head), LockKind::kPercpuRwsem, Take::kBlocking, where);
}

void release_percpu(void* storage) {
    FakePercpuRwsem& lock = lock_at<FakePercpuRwsem>(storage, LockKind::kPercpuRwsem);
    note_released(storage, class_of(lock.head));
    pthread_rwlock_unlock(lock.lock);
}

// All waiters for bits share one queue: a wake-up is rare here.
pthread_mutex_t bit_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t bit_woken = PTHREAD_COND_INITIALIZER;

} // namespace

extern "C" {

void objr_spin_lock_init(void* lock, enum objr_lock_class cls) { init_mutex(lock, cls, LockKind::kSpin); }

void objr_spin_lock(void* lock) { acquire(lock, LockKind::kSpin, Take::kBlocking, OBJR_CALLER); }

void objr_spin_lock_nested(void* lock) { acquire(lock, LockKind::kSpin, Take::kNested, OBJR_CALLER); }

int objr_spin_trylock(void* lock) {
    FakeMutex& spin = lock_at<FakeMutex>(lock, LockKind::kSpin);
    check_before(lock, class_of(spin.head), Take::kTry);
    if (pthread_mutex_trylock(&spin.mutex) != 0) return 0;
    note_taken(lock, class_of(spin.head), LockKind::kSpin, Take::kTry, OBJR_CALLER);
    return 1;
}

void objr_spin_unlock(void* lock) { release(lock, LockKind::kSpin); }

void objr_mutex_init(void* lock, enum objr_lock_class cls) { init_mutex(lock, cls, LockKind::kMutex); }

void objr_mutex_lock(void* lock) {
    check_may_sleep("mutex_lock");
    acquire(lock, LockKind::kMutex, Take::kBlocking, OBJR_CALLER);
}

int objr_mutex_trylock(void* lock) {
    FakeMutex& mutex = lock_at<FakeMutex>(lock, LockKind::kMutex);
    check_before(lock, class_of(mutex.head), Take::kTry);
    if (pthread_mutex_trylock(&mutex.mutex) != 0) return 0;
    note_taken(lock, class_of(mutex.head), LockKind::kMutex, Take::kTry, OBJR_CALLER);
    return 1;
}

void objr_mutex_unlock(void* lock) { release(lock, LockKind::kMutex); }

void objr_init_rwsem(void* lock, enum objr_lock_class cls) {
    auto* rwsem = new (lock) FakeRwsem{{kLockMagic, static_cast<std::uint8_t>(cls), LockKind::kRwsem}, {}};
    pthread_rwlock_init(&rwsem->lock, nullptr);
}

void objr_down_read(void* lock) { acquire_rwsem(lock, Access::kRead, Take::kBlocking, OBJR_CALLER); }

int objr_down_read_trylock(void* lock) { return acquire_rwsem(lock, Access::kRead, Take::kTry, OBJR_CALLER); }

void objr_up_read(void* lock) { release_rwsem(lock); }

void objr_down_write(void* lock) { acquire_rwsem(lock, Access::kWrite, Take::kBlocking, OBJR_CALLER); }

void objr_down_write_nested(void* lock) { acquire_rwsem(lock, Access::kWrite, Take::kNested, OBJR_CALLER); }

int objr_down_write_trylock(void* lock) { return acquire_rwsem(lock, Access::kWrite, Take::kTry, OBJR_CALLER); }

void objr_up_write(void* lock) { release_rwsem(lock); }

int objr_percpu_init_rwsem(void* lock, enum objr_lock_class cls) {
    check_may_sleep("percpu_init_rwsem");
    if (allocation_fails()) return -OBJR_ENOMEM;
    auto* memory = static_cast<pthread_rwlock_t*>(std::malloc(sizeof(pthread_rwlock_t)));
    if (memory == nullptr) return -OBJR_ENOMEM;
    pthread_rwlock_init(memory, nullptr);
    ledger_add(memory, sizeof *memory, kPercpuRwsem);
    new (lock) FakePercpuRwsem{{kLockMagic, static_cast<std::uint8_t>(cls), LockKind::kPercpuRwsem}, memory};
    return 0;
}

void objr_percpu_free_rwsem(void* lock) {
    FakePercpuRwsem& percpu = lock_at<FakePercpuRwsem>(lock, LockKind::kPercpuRwsem);
    check_no_lock_in(lock, sizeof percpu);
    ledger_remove(percpu.lock, sizeof *percpu.lock, kPercpuRwsem);
    pthread_rwlock_destroy(percpu.lock);
    std::free(percpu.lock);
    percpu = {};
}

void objr_percpu_down_read(void* lock) { acquire_percpu(lock, Access::kRead, OBJR_CALLER); }

void objr_percpu_up_read(void* lock) { release_percpu(lock); }

void objr_percpu_down_write(void* lock) { acquire_percpu(lock, Access::kWrite, OBJR_CALLER); }

void objr_percpu_up_write(void* lock) { release_percpu(lock); }

// Type-stable caches never give memory back while they live (memory.cpp), so a read section has nothing to wait for.
void objr_rcu_read_lock(void) { rcu_enter(); }

void objr_rcu_read_unlock(void) { rcu_leave(); }

void objr_wait_on_bit_lock(unsigned long* word, int bit) {
    check_may_sleep("wait_on_bit_lock");
    const unsigned long mask = 1UL << bit;
    pthread_mutex_lock(&bit_lock);
    while (__atomic_fetch_or(word, mask, __ATOMIC_ACQUIRE) & mask)
        pthread_cond_wait(&bit_woken, &bit_lock);
    pthread_mutex_unlock(&bit_lock);
}

void objr_wake_up_bit(unsigned long* word, int bit) {
    (void)word;
    (void)bit;
    pthread_mutex_lock(&bit_lock);
    pthread_cond_broadcast(&bit_woken);
    pthread_mutex_unlock(&bit_lock);
}

void objr_page_lock_acquire(int trylock) {
    const Take take = trylock ? Take::kTry : Take::kBlocking;
    check_before(nullptr, OBJR_LOCK_PAGE, take);
    note_taken(nullptr, OBJR_LOCK_PAGE, LockKind::kPage, take, OBJR_CALLER);
}

void objr_page_lock_release(void) { note_released(nullptr, OBJR_LOCK_PAGE); }
}
