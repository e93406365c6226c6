// SPDX-License-Identifier: GPL-2.0
//
// host.h: what the files of the hosted kernel side share.
//
// The fake kernel reports two sorts of trouble: fail() when the core can go on (the running test has failed), die() when it
// cannot (the process ends with a stack trace; scripts/test-host runs the other tests afterwards).
#pragma once

#include <string>

namespace objr_host {

// false in the variant built for measuring: no ledger, no lock checker, only the locks themselves.
#ifdef OBJR_HOST_MEASURE
inline constexpr bool kChecks = false;
#else
inline constexpr bool kChecks = true;
#endif

// Set in tests of die() itself, where the stack trace would only cost time.
extern bool die_without_trace;

[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char* format, ...);

// The running test has failed at file:line of the core. Defined by main.cpp.
void fail(const char* file, int line, const char* text);

// What the core has printed since the last call.
std::string take_log();

// "function file:line" of a code address where the sanitizer's symbolizer is there, else the bare address.
std::string describe_address(const void* address);

// Where the memory was allocated, one stack frame a line, if the address sanitizer is there.
std::string describe_memory(const void* memory);

} // namespace objr_host
