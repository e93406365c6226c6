// SPDX-License-Identifier: GPL-2.0
// Result<T>: a value or an errno (as Linux's ERR_PTR family, but the compiler makes one look). Status is Result<void>.
#pragma once

#include <type_traits>
#include <utility>

#include "objrmap/types.h"

namespace objr {

struct Errno {
    s32 value; // positive
};

template <class T>
class [[nodiscard]] Result {
    static_assert(std::is_trivially_destructible_v<T>);

public:
    constexpr Result(T value) : value_(value), error_(0) {}
    constexpr Result(Errno error) : value_{}, error_(error.value) {}

    constexpr explicit operator bool() const { return error_ == 0; }
    constexpr T operator*() const { return value_; }
    constexpr T operator->() const { return value_; }
    constexpr Errno error() const { return {error_}; }
    constexpr s32 as_int() const { return -error_; } // 0 or -errno

private:
    T value_;
    s32 error_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    constexpr Result() : error_(0) {}
    constexpr Result(Errno error) : error_(error.value) {}
    static constexpr Result from_int(s32 result) { return Result(Errno{-result}); } // of 0 or -errno

    constexpr explicit operator bool() const { return error_ == 0; }
    constexpr Errno error() const { return {error_}; }
    constexpr s32 as_int() const { return -error_; }

private:
    s32 error_;
};

using Status = Result<void>;

// Evaluates to the value, or returns the error from the enclosing function.
#define OBJR_TRY(expression)                                                                                           \
    ({                                                                                                                 \
        auto objr_result_ = (expression);                                                                              \
        if (!objr_result_) {                                                                                           \
            return objr_result_.error();                                                                               \
        }                                                                                                              \
        *objr_result_;                                                                                                 \
    })

#define OBJR_TRY_STATUS(expression)                                                                                    \
    do {                                                                                                               \
        ::objr::Status objr_status_ = (expression);                                                                    \
        if (!objr_status_) {                                                                                           \
            return objr_status_.error();                                                                               \
        }                                                                                                              \
    } while (0)

// An invariant of the core. Broken: reported as a kernel WARN (a failed test on the host), goes on. Evaluates to
// `condition is false`.
#define OBJR_WARN_ON(condition)                                                                                        \
    (__builtin_expect(!!(condition), 0) ? (objr_warn(#condition, __FILE__, __LINE__), true) : false)

} // namespace objr
