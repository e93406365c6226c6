// SPDX-License-Identifier: GPL-2.0
//
// main.cpp: GoogleTest around the test bodies of kunit/cases.
//
// Environment: OBJR_PROGRESS=FILE appends "run|ok|failed|skipped SUITE.NAME" to FILE as it happens, so that
// scripts/test-host knows which test ended the process and which ones are left.
#include "case_list.h"
#include "host.h"
#include "inject.h"
#include "ledger.h"
#include "lock_checker.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

// Leaks are the ledger's business: it knows names, needs no ptrace and tells after each test.
extern "C" const char* __asan_default_options() {
    return "detect_leaks=0:abort_on_error=1:handle_abort=1:detect_stack_use_after_return=1:strict_string_checks=1";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1:abort_on_error=1"; }
// The order of locks is the lock checker's business: it knows classes, and that a second lock of one class is nested by its role
// (the tables of a move, in both directions under one Mm::lock), which looks like a cycle here.
extern "C" const char* __tsan_default_options() {
    return "abort_on_error=1:halt_on_error=1:handle_abort=1:detect_deadlocks=0";
}

namespace objr_host {

void fail(const char* file, int line, const char* text) { ADD_FAILURE_AT(file, line) << text; }

} // namespace objr_host

namespace {

using namespace objr_host;

constexpr unsigned kSecondsForOneTest = 120;

char running[256] = "no test";

extern "C" void on_alarm(int) {
    static constexpr char kText[] = "\nhosted kernel: a deadlock or endless loop in ";
    (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
    (void)!write(STDERR_FILENO, running, strnlen(running, sizeof running));
    (void)!write(STDERR_FILENO, "\n", 1);
    std::abort();
}

// What every test owes at its end, and the record of it.
class Watch : public testing::EmptyTestEventListener {
public:
    Watch() {
        if (const char* path = std::getenv("OBJR_PROGRESS")) progress_ = std::fopen(path, "a");
    }
    ~Watch() override {
        if (progress_ != nullptr) std::fclose(progress_);
    }

    void OnTestStart(const testing::TestInfo& test) override {
        std::snprintf(running, sizeof running, "%s.%s", test.test_suite_name(), test.name());
        record("run");
        take_log();
        serial_ = ledger_now();
        alarm(kSecondsForOneTest);
    }

    void OnTestEnd(const testing::TestInfo& test) override {
        alarm(0);
        objr_test_fail_nth_allocation(0);
        if (const std::string held = held_locks(); !held.empty()) {
            if (!test.result()->Failed()) ADD_FAILURE() << "the test ends and still holds\n" << held;
            forget_held_locks();
        }
        // A test that was cut short by a failed assertion leaves things behind; that says nothing new.
        if (!test.result()->Failed()) report_leaks();
        if (const std::string log = take_log(); test.result()->Failed() && !log.empty()) std::printf("%s", log.c_str());
        record(test.result()->Failed() ? "failed" : test.result()->Skipped() ? "skipped" : "ok");
    }

private:
    void report_leaks() const {
        const std::vector<Leak> leaks = ledger_after(serial_);
        if (leaks.empty()) return;
        std::string text;
        for (const Leak& leak : leaks) {
            text += "  " + leak.what + ", " + std::to_string(leak.bytes) + " bytes\n";
            if (text.size() > 1000) {
                text += "  ...\n";
                break;
            }
        }
        ADD_FAILURE() << leaks.size() << " allocations are left behind:\n"
                      << text << describe_memory(leaks.front().memory);
    }

    void record(const char* what) {
        if (progress_ == nullptr) return;
        std::fprintf(progress_, "%s %s\n", what, running);
        std::fflush(progress_);
    }

    std::FILE* progress_ = nullptr;
    std::uint64_t serial_ = 0;
};

class Body : public testing::Test {
public:
    explicit Body(const Case& body) : body_(body) {}
    void TestBody() override {
        objr_test test;
        test.scheme = body_.scheme;
        body_.run(&test);
        if (const char* reason = test.skipped) GTEST_SKIP() << reason;
    }

private:
    const Case& body_;
};

} // namespace

int main(int argc, char** argv) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    std::signal(SIGALRM, on_alarm);
    testing::InitGoogleTest(&argc, argv);
    for (const Case& body : all_cases())
        testing::RegisterTest(body.suite, body.name, nullptr, nullptr, body.suite, 1,
                              [&body] { return new Body(body); });
    testing::UnitTest::GetInstance()->listeners().Append(new Watch);
    return RUN_ALL_TESTS();
}
