// SPDX-License-Identifier: GPL-2.0
//
// case_list.cpp: the host's side of kunit/cases: cases.h becomes a table, test.h's sink becomes GoogleTest failures.
#include "case_list.h"

#include "../cases/cases.h"
#include "host.h"
#include "ledger.h"
#include "lock_checker.h"
#include "out.h"

#include <cstdarg>
#include <cstdio>
#include <string>

#define OBJR_DECLARE(name) void objr_case_##name(struct objr_test* test);
#define OBJR_DECLARE_ALL(suite, cases) cases(OBJR_DECLARE)
extern "C" {
OBJR_SUITES(OBJR_DECLARE_ALL, OBJR_DECLARE_ALL)
}

namespace objr_host {

// A list of cases is a macro that knows nothing of its suite, so suites and cases meet here.
#define OBJR_ADD(name) all.push_back({suite_name, #name, objr_case_##name, nullptr});
#define OBJR_ADD_ALL(suite, cases)                                                                                     \
    {                                                                                                                  \
        constexpr const char* suite_name = #suite;                                                                     \
        cases(OBJR_ADD)                                                                                                \
    }
#define OBJR_ADD_IN(scheme, name)                                                                                      \
    if (objr_test_has_scheme(#scheme)) all.push_back({suite_name, #name "/" #scheme, objr_case_##name, #scheme});
#define OBJR_ADD_IN_EACH(name) OBJR_SCHEMES(OBJR_ADD_IN, name)
#define OBJR_ADD_EACH(suite, cases)                                                                                    \
    {                                                                                                                  \
        constexpr const char* suite_name = #suite;                                                                     \
        cases(OBJR_ADD_IN_EACH)                                                                                        \
    }

const std::vector<Case>& all_cases() {
    static const std::vector<Case> table = [] {
        std::vector<Case> all;
        OBJR_SUITES(OBJR_ADD_ALL, OBJR_ADD_EACH)
        return all;
    }();
    return table;
}

} // namespace objr_host

using namespace objr_host;

namespace {

constexpr const char* kOut = "text output of a test";

} // namespace

extern "C" {

void objr_test_fail(struct objr_test* test, const char* file, int line, const char* message) {
    test->failed = true;
    fail(file, line, message);
}

int objr_test_failed(const struct objr_test* test) { return test->failed; }

void objr_test_skip(struct objr_test* test, const char* reason) { test->skipped = reason; }

const char* objr_test_scheme(const struct objr_test* test) { return test->scheme; }

void objr_test_log(struct objr_test*, const char* format, ...) {
    std::string line(1000, '\0');
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line.data(), line.size(), format, arguments);
    va_end(arguments);
    std::printf("note: %s\n", line.c_str());
}

struct objr_out* objr_test_out_create(objr_u32 bytes) {
    check_may_sleep("objr_test_out_create");
    auto* out = new objr_out{{}, bytes == 0 ? 0 : bytes - 1};
    ledger_add(out, 0, kOut);
    return out;
}

const char* objr_test_out_text(struct objr_out* out) { return out->text.c_str(); }

void objr_test_out_clear(struct objr_out* out) { out->text.clear(); }

void objr_test_out_destroy(struct objr_out* out) {
    if (out == nullptr) return;
    ledger_remove(out, 0, kOut);
    delete out;
}
}
