// SPDX-License-Identifier: GPL-2.0
//
// The coordinator of the tree: settles founders and tormentors, reaps, kills, clears up after the killed, and in the end looks
// whether everything is where it belongs.
#include "tree.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <random>

#include <sys/wait.h>

#include "client.h"
#include "page_content.h"

using objr::kPage;

namespace tree {

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void fail(Board& board, const char* format, ...) {
    int none = 0;
    if (__atomic_compare_exchange_n(&board.failing, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        const int used = snprintf(board.failure, sizeof(board.failure), "process %d: ", getpid());
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(board.failure + used, sizeof(board.failure) - static_cast<size_t>(used), format, arguments);
        va_end(arguments);
        __atomic_store_n(&board.failed, 1, __ATOMIC_SEQ_CST); // now that it is said: who sees this kills us
    }
    _exit(1);
}

namespace {

constexpr size_t kChunkPages = 32;

class Coordinator {
public:
    explicit Coordinator(const Options& options) : options_(options), random_(options.seed) {}
    Outcome run();

private:
    const Options& options_;
    std::mt19937_64 random_;
    Board* board_ = nullptr;
    size_t board_bytes_ = 0;
    int object_ = -1; // keeps the named object
    unsigned population_ = 0;
    std::map<std::string, uint64_t> before_;

    bool set_up();
    void go_on();
    void wind_down();
    void settle(unsigned seat);
    void settle_missing();
    bool reap();
    void clear_up_after(pid_t pid);
    void kill_one();
    void kill_all();
    void check_file();
    void check_remains();
    void complain(const std::string& what);
    std::string summary();
    Board& board() { return *board_; }
};

void Coordinator::complain(const std::string& what) {
    if (board().failed) return;
    board().failed = 1;
    snprintf(board().failure, sizeof(board().failure), "%s", what.c_str());
}

// What all want together: half of the pool's size in the object, a fifth in the file, the rest in private pages. Relatives share some
// of these, so that a member gets a third more than its share.
bool Coordinator::set_up() {
    const size_t pool = objr::stat("pool_pages");
    const auto wanted = static_cast<size_t>(options_.multiple * static_cast<double>(pool));
    const size_t object_pages = std::max<size_t>(pool / 2, 16);
    const size_t file_pages = std::max<size_t>(pool / 5, 16);
    const size_t shared_bytes = (object_pages + file_pages) * sizeof(SharedPage);
    board_bytes_ = (sizeof(Board) + 63) / 64 * 64 + shared_bytes;
    void* memory = mmap(nullptr, board_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    board_ = static_cast<Board*>(memory);
    auto* pages = reinterpret_cast<SharedPage*>(static_cast<char*>(memory) + board_bytes_ - shared_bytes);
    board().pages[kObject] = object_pages;
    board().shared[kObject] = pages;
    board().pages[kFile] = file_pages;
    board().shared[kFile] = pages + object_pages;
    board().pool = pool;
    board().seed = options_.seed;
    board().processes = options_.processes;
    board().view_pages = file_pages / 4;
    const size_t own = (wanted - std::min(wanted, object_pages + file_pages)) * 4 / 3 / options_.processes;
    board().own_chunks = std::max<size_t>(1, (own + kChunkPages - 1) / kChunkPages);
    snprintf(board().file, sizeof(board().file), "%s", options_.file.c_str());

    const int file = open(board().file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool made = file >= 0 && ftruncate(file, static_cast<off_t>(file_pages * kPage)) == 0;
    if (file >= 0) close(file);
    object_ = objr::open_device();
    return made && object_ >= 0 && objr::bind_object(object_, kObjectName, object_pages * kPage, OBJRMAP_CREATE) == 0;
}

// ---- who comes and goes

void Coordinator::settle(unsigned number) {
    Seat& seat = board().seats[number];
    pid_t free = 0;
    if (!__atomic_compare_exchange_n(&seat.taken_by, &free, getpid(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    seat.depth = 0;
    const uint64_t seed = random_();
    const pid_t pid = fork();
    if (pid == 0) {
        close(object_);
        if (number >= kMostMembers) torment(board(), number - kMostMembers, seed);
        live(board(), number);
    }
    if (pid > 0)
        seat.pid = pid;
    else
        __atomic_store_n(&seat.taken_by, 0, __ATOMIC_SEQ_CST);
}

// Half of the seats is filled with founders, the rest is for those whom they fork.
void Coordinator::settle_missing() {
    population_ = 0;
    for (unsigned seat = 0; seat < board().processes; ++seat)
        population_ += __atomic_load_n(&board().seats[seat].taken_by, __ATOMIC_RELAXED) != 0;
    const unsigned founders = std::max(1U, board().processes / 2);
    for (unsigned seat = 0; seat < board().processes && population_ < founders; ++seat)
        if (!board().seats[seat].taken_by) {
            settle(seat);
            ++population_;
        }
    for (unsigned which = 0; which < kTormentors; ++which)
        settle(kMostMembers + which);
}

// What a process held, and the seats that it took for children that never were.
void Coordinator::clear_up_after(pid_t pid) {
    for (unsigned store = 0; store < kStores; ++store)
        for (size_t page = 0; page < board().pages[store]; ++page) {
            pid_t holder = pid;
            __atomic_compare_exchange_n(&board().shared[store][page].holder, &holder, 0, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST);
        }
    for (Seat& seat : board().seats)
        if (seat.pid ? seat.pid == pid : seat.taken_by == pid) {
            seat.killed = false;
            seat.pid = 0;
            __atomic_store_n(&seat.taken_by, 0, __ATOMIC_SEQ_CST);
        }
}

// Takes in one dead child; false: none is dead now, and errno is ECHILD when none is left.
bool Coordinator::reap() {
    int status = 0;
    errno = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return false;
    bool killed = false;
    for (const Seat& seat : board().seats)
        killed |= seat.pid == pid && seat.killed;
    clear_up_after(pid);
    if (status && !(killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        complain("process " + std::to_string(pid) + " ended with " +
                 (WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : std::to_string(WEXITSTATUS(status))));
    return true;
}

void Coordinator::kill_one() {
    // Tormentors too: in the middle of a switch, of verify, of a command.
    const unsigned pick = static_cast<unsigned>(random_() % (board().processes + kTormentors));
    Seat& seat = board().seats[pick < board().processes ? pick : kMostMembers + pick - board().processes];
    if (seat.pid <= 0 || seat.killed) return;
    seat.killed = true;
    ::kill(seat.pid, SIGKILL);
    ++board().kills;
}

void Coordinator::go_on() {
    const double start = now(), end = start + options_.seconds;
    double next_word = start + 10, next_kill = start + 0.5;
    while (now() < end && !stopped(board())) {
        while (reap())
            ;
        settle_missing();
        if (options_.kills && now() > next_kill) {
            next_kill = now() + 0.02 + static_cast<double>(random_() % 100) / 1000;
            kill_one();
            if (board().kills >= options_.kills) return;
        }
        if (options_.chatty && now() > next_word) {
            next_word += 10;
            fprintf(stderr, "%3.0f s: %u processes, %s\n", now() - start, population_, summary().c_str());
        }
        usleep(2000);
    }
    if (board().kills < options_.kills) complain("only " + std::to_string(board().kills) + " could be killed in time");
}

void Coordinator::kill_all() {
    do {
        for (Seat& seat : board().seats)
            if (seat.pid > 0) {
                seat.killed = true;
                ::kill(seat.pid, SIGKILL);
            }
        usleep(5000);
    } while (reap() || errno != ECHILD);
}

// Each looks once more at all that it has.
void Coordinator::wind_down() {
    board().stop = 1;
    const double patience = now() + 240;
    while (!board().failed && now() < patience)
        if (!reap()) {
            if (errno == ECHILD) return;
            usleep(5000);
        }
    if (now() >= patience) complain("processes did not end within 240 s of being told to");
    kill_all();
}

// ---- the end

template <typename Condition>
bool becomes(const Condition& condition) {
    for (const double end = now() + 60; !condition();) {
        if (now() > end) return false;
        usleep(5000);
    }
    return true;
}

// With its last user everything that was written is in the file.
void Coordinator::check_file() {
    if (!becomes([] { return objr::stat("mms") == 0; })) return; // check_remains says so
    const int file = open(board().file, O_RDONLY | O_CLOEXEC);
    alignas(8) unsigned char found[kPage];
    for (size_t page = 0; page < board().pages[kFile]; ++page) {
        const SharedPage& shared = board().shared[kFile][page];
        const PageContent before{page * kPage, shared.written}, after{page * kPage, shared.intent};
        if (pread(file, found, kPage, static_cast<off_t>(page * kPage)) != static_cast<ssize_t>(kPage))
            complain(std::string("the file cannot be read: ") + strerror(errno));
        else if (const size_t word = difference_of_torn(found, before, after); word != memory::kWords)
            complain("the file's page " + std::to_string(page) + " differs from what was written, from word " +
                     std::to_string(word) + " on");
    }
    close(file);
}

// No page is lost, and no slot of the swap space; the pool can be made as small as it was.
void Coordinator::check_remains() {
    int error = 0;
    const size_t mb = board().pool * objr::kPage >> 20;
    if (const std::string text = objr::ask("command", "resize " + std::to_string(mb), &error); error)
        complain("the pool cannot be made as small as it was: " + text);
    static const char* const gone[] = {"mms",         "vmas",       "anon_vmas", "file_mappings", "table_pages",
                                       "anon_pages",  "file_pages", "mappings",  "swapped_pages", "swapcache_pages",
                                       "locked_pages"};
    std::string left;
    becomes([&] {
        auto values = objr::stats();
        left.clear();
        for (const char* name : gone)
            if (values[name]) left += " " + std::string(name) + "=" + std::to_string(values[name]);
        if (values["free_pages"] != values["pool_pages"])
            left +=
                " free_pages=" + std::to_string(values["free_pages"]) + " of " + std::to_string(values["pool_pages"]);
        return left.empty();
    });
    if (!left.empty()) complain("left behind after all processes were gone:" + left);
    std::string text;
    if (!objr::verify(&text)) complain("verify at the end: " + text);
}

std::string Coordinator::summary() {
    std::string text = "most in use " + std::to_string(board().most * 100 / board().pool) + " % of the pool, " +
                       std::to_string(board().born) + " processes";
    auto item = [&](uint64_t count, const std::string& name) { text += ", " + std::to_string(count) + " " + name; };
    for (unsigned op = 0; op < kOps; ++op)
        item(board().ops[op], kOpNames[op]);
    text += ";";
    for (unsigned verb = 0; verb < kVerbs; ++verb)
        if (!board().unknown[verb])
            text += " " + std::to_string(board().commands[verb]) + " " + kVerbNames[verb] + " (" +
                    std::to_string(board().commands_refused[verb]) + " refused)";
    text += ";";
    auto values = objr::stats();
    for (const char* name : {"swap_outs", "swap_ins", "writebacks", "migrations", "cow_faults", "rmap_walks"})
        text += " " + std::to_string(values[name] - before_[name]) + " " + name;
    text += "; " + std::to_string(board().queries) + " queries (" + std::to_string(board().retries) + " retry), " +
            std::to_string(board().switches) + " switches (" + std::to_string(board().switches_refused) +
            " refused), " + std::to_string(board().verifies) + " verify, " + std::to_string(board().kills) +
            " kills, " + std::to_string(board().refused) + " refused";
    return text;
}

Outcome Coordinator::run() {
    before_ = objr::stats();
    if (!set_up()) return {std::string("the tree could not be set up: ") + strerror(errno), ""};
    std::string scheme;
    objr::schemes(&scheme);
    learn_verbs(board());
    go_on();
    wind_down();
    close(object_);
    if (!board().failed) check_file();
    check_remains();
    objr::switch_scheme(scheme);
    Outcome outcome{board().failed || board().failing ? std::string("failed: ") + board().failure : "", summary()};
    munmap(board_, board_bytes_);
    return outcome;
}

} // namespace

Outcome run(const Options& options) { return Coordinator(options).run(); }

} // namespace tree
