// SPDX-License-Identifier: GPL-2.0
// Atomic<T>: what <atomic> would be if it compiled in the kernel, with the memory order in the name of the function.
// Read-modify-write operations are fully ordered, as in the kernel's own API.
#pragma once

#include "objrmap/types.h"

namespace objr {

template <class T>
class Atomic {
public:
    constexpr Atomic() = default;
    constexpr explicit Atomic(T v) : value_(v) {}

    T load() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }
    T load_acquire() const { return __atomic_load_n(&value_, __ATOMIC_ACQUIRE); }
    void store(T v) { __atomic_store_n(&value_, v, __ATOMIC_RELAXED); }
    void store_release(T v) { __atomic_store_n(&value_, v, __ATOMIC_RELEASE); }
    T exchange(T v) { return __atomic_exchange_n(&value_, v, __ATOMIC_SEQ_CST); }
    bool compare_exchange(T& expected, T desired) {
        return __atomic_compare_exchange_n(&value_, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    T fetch_add(T n) { return __atomic_fetch_add(&value_, n, __ATOMIC_SEQ_CST); }
    T fetch_sub(T n) { return __atomic_fetch_sub(&value_, n, __ATOMIC_SEQ_CST); }
    T fetch_or(T bits) { return __atomic_fetch_or(&value_, bits, __ATOMIC_SEQ_CST); }
    T fetch_and(T bits) { return __atomic_fetch_and(&value_, bits, __ATOMIC_SEQ_CST); }

    // Take one more unless there is none left (get_..._unless_zero): false = the object is on its way out.
    bool add_unless_zero() {
        T seen = load();
        while (seen != 0) {
            if (compare_exchange(seen, seen + 1)) {
                return true;
            }
        }
        return false;
    }

    T* raw() { return &value_; }

private:
    T value_{};
};

// Plain words that others read without a lock (page-table entries).
template <class T>
T read_once(const T& word) {
    return __atomic_load_n(&word, __ATOMIC_RELAXED);
}
template <class T>
void write_once(T& word, T value) {
    __atomic_store_n(&word, value, __ATOMIC_RELAXED);
}

} // namespace objr
