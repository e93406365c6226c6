// SPDX-License-Identifier: GPL-2.0
//
// inject.h: the failing allocations of kunit/cases/inject.h, as a guard for hosted C++ tests.
#pragma once

#include "../cases/inject.h"

namespace objr_host {

// While it lives, the n-th allocation fails; reached() tells whether there was one.
class FailNthAllocation {
public:
    explicit FailNthAllocation(unsigned n) : n_(n) { objr_test_fail_nth_allocation(n); }
    ~FailNthAllocation() { objr_test_fail_nth_allocation(0); }
    FailNthAllocation(const FailNthAllocation&) = delete;
    FailNthAllocation& operator=(const FailNthAllocation&) = delete;

    [[nodiscard]] bool reached() const { return objr_test_allocations() >= n_; }

private:
    unsigned n_;
};

} // namespace objr_host
