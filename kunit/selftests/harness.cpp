// SPDX-License-Identifier: GPL-2.0
//
// The runner and what the cases use; see harness.h.
#include "harness.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <ctime>

#include <dirent.h>
#include <linux/loop.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

namespace harness {

// ---- outcome ------------------------------------------------------------------------------------------------------

namespace {

// In memory that the runner and all processes of a case share.
struct Outcome {
    enum State : int { kNone, kWriting, kFailed, kSkipped };
    int state;
    char message[1000];
};
Outcome* outcome;

void conclude(Outcome::State state, const std::string& message) {
    int none = Outcome::kNone;
    if (!__atomic_compare_exchange_n(&outcome->state, &none, int{Outcome::kWriting}, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return; // somebody was first
    snprintf(outcome->message, sizeof(outcome->message), "%s", message.c_str());
    __atomic_store_n(&outcome->state, int{state}, __ATOMIC_SEQ_CST);
}

struct Case {
    std::string name;
    std::function<void()> body;
    unsigned seconds;
    std::string parameters; // of the module; empty: as it is loaded
};
std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// A kernel with all checks under emulation is slow; limits are for the plain one.
unsigned slowness() {
    utsname name{};
    uname(&name);
    return strstr(name.release, "debug") ? 5 : 1;
}

} // namespace

Registration::Registration(const char* name, std::function<void()> body, unsigned seconds, const char* parameters) {
    cases().push_back({name, std::move(body), seconds, parameters});
}

void fail(const char* file, int line, const std::string& what) {
    const char* base = strrchr(file, '/');
    conclude(Outcome::kFailed, std::string(base ? base + 1 : file) + ":" + std::to_string(line) + ": " + what);
    _exit(1);
}

void skip(const std::string& why) {
    conclude(Outcome::kSkipped, why);
    _exit(0);
}

void need_module() {
    if (objr::standin()) skip("tests the module itself, not memory");
}

void need_root() {
    if (geteuid() != 0) skip("needs root");
}

// ---- the module ---------------------------------------------------------------------------------------------------

std::string module_file() {
    for (const char* path : {"/usr/lib/objrmap/objrmap.ko", "/lib/modules/objrmap.ko", "/root/objrmap.ko"})
        if (!access(path, R_OK)) return path;
    return {};
}

int unload_module() { return static_cast<int>(syscall(SYS_delete_module, "objrmap", O_NONBLOCK)); }

int load_module(const std::string& parameters) {
    const int fd = open(module_file().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    const int result = static_cast<int>(syscall(SYS_finit_module, fd, parameters.c_str(), 0));
    const int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

// ---- memory -------------------------------------------------------------------------------------------------------

int device(int flags) {
    const int fd = objr::open_device(flags);
    CHECK_OK(fd);
    return fd;
}

void* map_pages(int device, size_t pages, int prot, uint64_t pgoff) {
    void* mapped = objr::map(device, pages * objr::kPage, prot, pgoff);
    if (mapped == MAP_FAILED) fail(__FILE__, __LINE__, with_errno("mmap of the device"));
    return mapped;
}

bool becomes(const std::function<bool()>& condition, unsigned seconds) {
    const double end = now() + seconds * slowness();
    while (!condition()) {
        if (now() > end) return false;
        usleep(2000);
    }
    return true;
}

// ---- processes ----------------------------------------------------------------------------------------------------

void Actor::await() {
    if (!objr::Actor::await())
        fail(__FILE__, __LINE__, "a process of the case ended early, wait status " + std::to_string(wait()));
}

void Actor::wait_end() { expect_exit(pid()); }

void Actor::kill() {
    CHECK_OK(::kill(pid(), SIGKILL));
    CHECK(wait() >= 0);
}

void expect_exit(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) fail(__FILE__, __LINE__, with_errno("waitpid"));
    if (WIFSIGNALED(status))
        fail(__FILE__, __LINE__, std::string("a process of the case died of ") + strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status))
        fail(__FILE__, __LINE__, "a process of the case ended with status " + std::to_string(WEXITSTATUS(status)));
}

void in_child(const std::function<void()>& body) {
    const pid_t pid = fork();
    CHECK_OK(pid);
    if (pid == 0) {
        body();
        _exit(0);
    }
    expect_exit(pid);
}

// ---- places -------------------------------------------------------------------------------------------------------

namespace {

bool mounted(const std::string& path) {
    struct stat here {
    }, above{};
    return !stat(path.c_str(), &here) && !stat((path + "/..").c_str(), &above) && here.st_dev != above.st_dev;
}

bool run(const std::string& command) { return system((command + " >/dev/null 2>&1").c_str()) == 0; }

// A disk filesystem needs a disk: an image in memory behind a loop device.
std::string mount_disk(const std::string& path) {
    const std::string image = path + ".image";
    const int image_fd = open(image.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (image_fd < 0 || ftruncate(image_fd, 8 << 20)) return with_errno("creating the disk image");
    if (!run("mke2fs -F " + image) && !run("busybox mke2fs -F " + image)) return "no mke2fs in the guest";
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0 && run("modprobe loop")) control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return "no loop device (CONFIG_BLK_DEV_LOOP or loop.ko)";
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    close(control);
    const std::string loop = "/dev/loop" + std::to_string(number);
    const int loop_fd = open(loop.c_str(), O_RDWR | O_CLOEXEC);
    if (loop_fd < 0 || ioctl(loop_fd, LOOP_SET_FD, image_fd)) return with_errno("setting up the loop device");
    close(image_fd);
    int result = -1;
    for (const char* type : {"ext4", "ext2"})
        if (result) result = mount(loop.c_str(), path.c_str(), type, 0, "");
    const std::string why = result ? with_errno("mounting ext4") : "";
    close(loop_fd);
    return why;
}

} // namespace

std::string directory_on(const std::string& filesystem) {
    const std::string place = "/tmp/selftests-" + filesystem;
    mkdir("/tmp", 01777);
    mkdir(place.c_str(), 0755);
    if (!objr::standin() && !mounted(place)) {
        need_root();
        std::string why;
        if (filesystem == "ext4")
            why = mount_disk(place);
        else if (mount("none", place.c_str(), filesystem.c_str(), 0, ""))
            why = with_errno("mount");
        if (!why.empty()) skip("no " + filesystem + ": " + why);
    }
    std::string name = place + "/case-XXXXXX";
    if (!mkdtemp(name.data())) fail(__FILE__, __LINE__, with_errno("mkdtemp"));
    return name;
}

int make_file(const std::string& path, const std::string& content) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_OK(fd);
    CHECK_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    return fd;
}

std::string content_of(const std::string& path) { return objr::read_text(path); }

std::string page_text(char first, size_t bytes) {
    std::string text(bytes, ' ');
    for (size_t i = 0; i < bytes; ++i)
        text[i] = static_cast<char>(first + static_cast<char>((i + i / 26) % 26));
    return text;
}

// ---- the runner ---------------------------------------------------------------------------------------------------

namespace {

// What must hold when nobody uses the pool. Empty: it does; else what is wrong.
std::string remains() {
    static uint64_t lost; // by earlier cases, which have been blamed for it
    static const char* const gone[] = {"mms",        "vmas",       "anon_vmas", "file_mappings", "table_pages",
                                       "anon_pages", "file_pages", "mappings",  "swapped_pages", "swapcache_pages"};
    uint64_t missing = 0;
    std::string left;
    const bool clean = becomes([&] {
        auto values = objr::stats();
        missing = values["pool_pages"] - values["free_pages"] - values["poisoned_pages"];
        left.clear();
        for (const char* name : gone)
            if (values[name]) left += " " + std::string(name) + "=" + std::to_string(values[name]);
        return missing <= lost && (lost || left.empty());
    });
    std::string why;
    if (!clean) {
        why = "left behind after all processes were gone: " + std::to_string(missing - lost) + " pages," + left;
        lost = std::max<uint64_t>(missing, 1);
    }
    std::string text;
    if (!objr::verify(&text)) why += (why.empty() ? "" : "; ") + std::string("verify: ") + text;
    return why;
}

enum class Result { kPassed, kFailed, kSkipped };

// As it is loaded now: "name=value name=value".
std::string module_parameters() {
    const std::string directory = "/sys/module/objrmap/parameters/";
    std::string all;
    if (DIR* names = opendir(directory.c_str())) {
        while (const dirent* entry = readdir(names)) {
            std::string value = objr::read_text(directory + entry->d_name);
            while (!value.empty() && value.back() == '\n')
                value.pop_back();
            if (entry->d_name[0] != '.' && !value.empty()) all += std::string(entry->d_name) + "=" + value + " ";
        }
        closedir(names);
    }
    return all;
}

// Loads the module anew. Empty: done; else what went wrong.
std::string reload(const std::string& parameters) {
    if (!becomes([] { return unload_module() == 0 || errno == ENOENT; })) return with_errno("unloading the module");
    if (load_module(parameters)) return with_errno(("loading the module with " + parameters).c_str());
    return becomes([] { return access(OBJRMAP_DEVICE, F_OK) == 0; }) ? "" : "no " OBJRMAP_DEVICE " after loading";
}

Result run_case(const Case& test, std::string& message);

Result run_case_with_module(const Case& test, std::string& message) {
    if (test.parameters.empty() || objr::standin()) return run_case(test, message);
    if (module_file().empty()) {
        message = "no objrmap.ko in the guest to load again";
        return Result::kSkipped;
    }
    const std::string usual = module_parameters();
    message = reload(test.parameters);
    Result result = message.empty() ? run_case(test, message) : Result::kFailed;
    if (const std::string why = reload(usual); !why.empty()) {
        message += (message.empty() ? "" : "; ") + why;
        result = Result::kFailed;
    }
    return result;
}

Result run_case(const Case& test, std::string& message) {
    std::string scheme, left;
    if (!objr::standin()) objr::schemes(&scheme);
    memset(outcome, 0, sizeof(*outcome));
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) {
        message = with_errno("fork");
        return Result::kFailed;
    }
    if (pid == 0) {
        setpgid(0, 0);
        test.body();
        _exit(0);
    }
    setpgid(pid, pid);

    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    pollfd waiting{pidfd, POLLIN, 0};
    const unsigned limit = test.seconds * slowness();
    const double end = now() + limit;
    int ready = 0;
    while (now() < end && (ready = poll(&waiting, 1, static_cast<int>((end - now()) * 1000) + 1)) < 0 && errno == EINTR)
        ;
    close(pidfd);
    kill(-pid, SIGKILL);
    int status = 0;
    for (;;) { // the case and all that it left (they have become children of this process)
        int one = 0;
        const pid_t gone = waitpid(-1, &one, 0);
        if (gone == pid) status = one;
        if (gone < 0 && errno != EINTR) break;
    }

    Result result = Result::kPassed;
    if (outcome->state == Outcome::kFailed) {
        result = Result::kFailed;
        message = outcome->message;
    } else if (ready <= 0) {
        result = Result::kFailed;
        message = "not done after " + std::to_string(limit) + " s";
    } else if (WIFSIGNALED(status)) {
        result = Result::kFailed;
        message = std::string("died of ") + strsignal(WTERMSIG(status));
    } else if (WEXITSTATUS(status)) {
        result = Result::kFailed;
        message = "ended with status " + std::to_string(WEXITSTATUS(status));
    } else if (outcome->state == Outcome::kSkipped) {
        result = Result::kSkipped;
        message = outcome->message;
    }
    if (!objr::standin()) {
        const std::string why = remains();
        if (!why.empty()) {
            result = Result::kFailed;
            message += (message.empty() ? "" : "; ") + why;
        }
        objr::schemes(&left); // a case that failed may have left another
        if (left != scheme) objr::switch_scheme(scheme);
    }
    return result;
}

int usage(FILE* to, int status) {
    fprintf(
        to,
        "usage: selftests [--list] [FILTER]...\n"
        "Runs the cases whose names contain one of the filters (all without one) on " OBJRMAP_DEVICE ".\n"
        "Output is TAP; the exit status is 1 if a case failed. OBJRMAP_STANDIN=1: against the kernel's own memory.\n");
    return status;
}

} // namespace

} // namespace harness

int main(int argc, char** argv) {
    using namespace harness;
    if (argc == 3 && !strcmp(argv[1], "--exec-helper")) { // see the exec case: say that exec is done, wait to be let go
        const int channel = atoi(argv[2]);
        char byte = 'p';
        return write(channel, &byte, 1) == 1 && read(channel, &byte, 1) == 1 ? 0 : 2;
    }
    if (argc == 3 && !strcmp(argv[1], "--zero-helper")) { // see descriptor_inherited_over_exec
        void* memory = objr::map(atoi(argv[2]), 2 * objr::kPage);
        return memory != MAP_FAILED && holds(memory, 0) && holds(at(memory, 1), 0) ? 0 : 2;
    }
    std::vector<std::string> filters;
    bool list = false;
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--list"))
            list = true;
        else if (!strcmp(argv[i], "--help"))
            return usage(stdout, 0);
        else if (argv[i][0] == '-')
            return usage(stderr, 2);
        else
            filters.emplace_back(argv[i]);
    }
    std::vector<Case> chosen;
    for (const Case& test : cases())
        if (filters.empty() || std::any_of(filters.begin(), filters.end(), [&](const std::string& filter) {
                return test.name.find(filter) != std::string::npos;
            }))
            chosen.push_back(test);
    if (list) {
        for (const Case& test : chosen)
            puts(test.name.c_str());
        return 0;
    }
    if (chosen.empty()) {
        fprintf(stderr, "selftests: no case has this in its name; --list shows them\n");
        return 2;
    }
    if (!objr::standin() && access(OBJRMAP_DEVICE, F_OK)) {
        fprintf(stderr, "selftests: there is no " OBJRMAP_DEVICE "; load objrmap.ko first\n");
        return 2;
    }
    setvbuf(stdout, nullptr, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    outcome = static_cast<Outcome*>(
        mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

    printf("TAP version 13\n1..%zu\n", chosen.size());
    unsigned failed = 0;
    for (size_t i = 0; i < chosen.size(); ++i) {
        std::string message;
        const double start = now();
        const Result result = run_case_with_module(chosen[i], message);
        const bool ok = result != Result::kFailed;
        failed += !ok;
        std::replace(message.begin(), message.end(), '\n', '|');
        if (result == Result::kSkipped)
            printf("ok %zu - %s # SKIP %s\n", i + 1, chosen[i].name.c_str(), message.c_str());
        else
            printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, chosen[i].name.c_str());
        if (!ok) printf("# %s\n", message.c_str());
        if (const double took = now() - start; took > 5) printf("# took %.0f s\n", took);
    }
    return failed ? 1 : 0;
}
