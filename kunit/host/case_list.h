// SPDX-License-Identifier: GPL-2.0
//
// case_list.h: the test bodies of kunit/cases as a table, and the struct objr_test of kunit/cases/test.h.
#pragma once

#include "../cases/test.h"

#include <atomic>
#include <vector>

struct objr_test {
    std::atomic<bool> failed{false};
    std::atomic<const char*> skipped{nullptr}; // the reason
    const char* scheme = nullptr; // immutable; nullptr: the case chooses
};

namespace objr_host {

struct Case {
    const char* suite;
    const char* name; // NAME, or NAME/SCHEME
    void (*run)(objr_test*);
    const char* scheme; // nullptr: the case chooses
};

const std::vector<Case>& all_cases();

} // namespace objr_host
