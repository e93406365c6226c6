// SPDX-License-Identifier: GPL-2.0
//
// The frame of the selftests: each case runs in a process of its own, with a time limit; a crash, a signal or a hang is
// a failed case and not the end of the run. After a case all of its processes are killed and reaped, `verify` must say
// ok and every page must be back in the pool; the scheme is again the one that was in force before.
// CASE_WITH runs on a module that is loaded anew with these parameters, and afterwards with those that it had before.
//
// CHECK* may be used in any process or thread of a case: the first failure is kept for the report and ends that process.
#ifndef OBJRMAP_SELFTESTS_HARNESS_H
#define OBJRMAP_SELFTESTS_HARNESS_H

#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <sys/types.h>
#include <sys/wait.h>

#include "actor.h"
#include "client.h"
#include "memory.h"

namespace harness {

// ---- cases and their outcome --------------------------------------------------------------------------------------

struct Registration {
    Registration(const char* name, std::function<void()> body, unsigned seconds = 60, const char* parameters = "");
};

#define CASE_WITH(name, seconds, parameters)                                                                           \
    static void name();                                                                                                \
    static const harness::Registration register_##name{#name, name, seconds, parameters};                              \
    static void name()
#define CASE_LIMIT(name, seconds) CASE_WITH(name, seconds, "")
#define CASE(name) CASE_LIMIT(name, 60)

[[noreturn]] void fail(const char* file, int line, const std::string& what);
[[noreturn]] void skip(const std::string& why);
// Ends the case as skipped when the module itself is what is tested and the kernel's own memory stands in for it.
void need_module();
void need_root();

// The guest's objrmap.ko; empty: there is none. What the system calls return.
std::string module_file();
int unload_module();
int load_module(const std::string& parameters);

template <typename T>
std::string show(const T& value) {
    std::ostringstream text;
    text << value;
    return text.str();
}
inline std::string with_errno(const char* what) {
    return std::string(what) + ": " + strerror(errno) + " (errno " + std::to_string(errno) + ")";
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) harness::fail(__FILE__, __LINE__, #condition " is false");                                   \
    } while (0)
#define CHECK_EQ(left, right)                                                                                          \
    do {                                                                                                               \
        const auto left_ = (left);                                                                                     \
        const auto right_ = (right);                                                                                   \
        if (!(left_ == right_))                                                                                        \
            harness::fail(__FILE__, __LINE__,                                                                          \
                          std::string(#left " == " #right ": ") + harness::show(left_) + " and " +                     \
                              harness::show(right_));                                                                  \
    } while (0)
#define CHECK_OK(call)                                                                                                 \
    do {                                                                                                               \
        if ((call) < 0) harness::fail(__FILE__, __LINE__, harness::with_errno(#call));                                 \
    } while (0)
// A call that must fail with this errno.
#define CHECK_FAILS(call, error)                                                                                       \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        const auto result_ = (intptr_t)(call);                                                                         \
        if (result_ != -1) harness::fail(__FILE__, __LINE__, #call " succeeded, " #error " was expected");             \
        if (errno != (error))                                                                                          \
            harness::fail(__FILE__, __LINE__, harness::with_errno(#call) + ", " #error " was expected");               \
    } while (0)

// ---- memory -------------------------------------------------------------------------------------------------------

using Byte = volatile unsigned char;

using memory::at;
using memory::fill;
using memory::holds;
using memory::read_signal;
using memory::signal_of;
using memory::write_signal;

// Maps pages of the pool, which must succeed.
void* map_pages(int device, size_t pages, int prot = PROT_READ | PROT_WRITE, uint64_t pgoff = 0);
int device(int flags = O_RDWR);

// Waits until the condition holds (at most `seconds`), looking again and again; false: it never did.
bool becomes(const std::function<bool()>& condition, unsigned seconds = 20);

// ---- processes ----------------------------------------------------------------------------------------------------

// objr::Actor whose failures are the case's.
class Actor : public objr::Actor {
public:
    explicit Actor(const std::function<void(Actor&)>& body, const char* comm = nullptr)
        : objr::Actor([&](objr::Actor& self) { body(static_cast<Actor&>(self)); }, comm) {
        CHECK_OK(pid());
    }
    void await();
    void go() { CHECK(objr::Actor::go()); }
    void step() { go(), await(); }
    void finish() { go(), wait_end(); } // it ends well
    void wait_end();
    void kill(); // SIGKILL, reaped
};

// Runs the body in a child process and waits: it must end well.
void in_child(const std::function<void()>& body);
void expect_exit(pid_t pid);

// ---- places -------------------------------------------------------------------------------------------------------

// A fresh directory for this case on the given filesystem: "tmpfs", "ramfs", "ext4". Skips the case if there is none.
std::string directory_on(const std::string& filesystem);
// A file with this content, and its descriptor.
int make_file(const std::string& path, const std::string& content);
std::string content_of(const std::string& path);
std::string page_text(char first, size_t bytes = objr::kPage); // bytes of changing letters

} // namespace harness

#endif // OBJRMAP_SELFTESTS_HARNESS_H
