// SPDX-License-Identifier: GPL-2.0
//
// The tormentors: one commands (take pages away, move them, make them clean, forget their uses), one asks, one switches
// schemes and verifies. Nobody in the tree may notice any of it.
#include <cstdio>
#include <random>
#include <vector>

#include <sys/prctl.h>

#include "client.h"
#include "tree.h"

namespace tree {

const char* const kVerbNames[kVerbs] = {"reclaim", "migrate", "compact", "revoke", "referenced",
                                        "unmap",   "mkclean", "swapin",  "resize"};

namespace {

using Random = std::mt19937_64;

constexpr size_t kPagesPerMb = (1 << 20) / objr::kPage;

// Nobody is to be starved: rests as long as it has worked.
class Pace {
public:
    explicit Pace(double least) : least_(least), start_(now()) {}
    ~Pace() {
        const double worked = now() - start_;
        usleep(static_cast<useconds_t>(std::min(3.0, std::max(least_, worked)) * 1e6));
    }

private:
    double least_, start_;
};

std::string range_of(const Board& board, Random& random, size_t most) {
    const size_t first = random() % board.pool;
    return "range page " + std::to_string(first) + " " +
           std::to_string(std::min(board.pool - 1, first + random() % most));
}

// Some page of a mapping of some member, if it lives and has one.
std::string place_of_a_member(const Board& board, Random& random) {
    const pid_t pid = board.seats[random() % board.processes].pid;
    std::vector<std::pair<uint64_t, uint64_t>> mappings;
    for (const std::string& line : objr::lines_of(objr::read_text("/proc/" + std::to_string(pid) + "/maps"))) {
        unsigned long long start, end;
        if (line.find(OBJRMAP_DEVICE) != std::string::npos && sscanf(line.c_str(), "%llx-%llx", &start, &end) == 2)
            mappings.emplace_back(start, end);
    }
    if (mappings.empty()) return "mm 1 addr 0x1000";
    const auto [start, end] = mappings[random() % mappings.size()];
    return objr::selector_of(pid,
                             reinterpret_cast<void*>(start + random() % ((end - start) / objr::kPage) * objr::kPage));
}

std::string words_of(const Board& board, Random& random, unsigned verb) {
    const std::string name = kVerbNames[verb];
    switch (verb) {
    case kReclaim: return name + " " + std::to_string(1 + random() % (board.pool / 8));
    case kCompact: return name;
    case kSwapin: return name + " " + place_of_a_member(board, random); // what is swapped out has no page
    case kReferenced: return name + " " + range_of(board, random, 32) + (random() % 2 ? " peek" : "");
    case kResize: { // by an eighth, or the pressure would be gone
        const size_t least = board.pool / kPagesPerMb;
        return name + " " + std::to_string(least + random() % (1 + least / 8));
    }
    case kMkclean:
        if (random() % 2) break;
        return name + " file " + (random() % 2 ? kObjectName : "tree-file") + " pgoff " +
               std::to_string(random() % board.pages[kObject]);
    default: break;
    }
    return name + " " + range_of(board, random, 32);
}

// What may be answered when it cannot be done just now.
bool not_now(int error) {
    return error == ENOENT || error == EAGAIN || error == EBUSY || error == ENOMEM || error == ENOSPC ||
           error == EFAULT || // swapin: nothing is mapped there
           error == EINPROGRESS;
}

void command_once(Board& board, Random& random) {
    const auto verb = static_cast<unsigned>(random() % kVerbs);
    if (board.unknown[verb]) return;
    const std::string text = words_of(board, random, verb);
    int error = 0;
    const std::string result = objr::ask("command", text, &error);
    if (error && !not_now(error))
        fail(board, "command %s: %s: %s", text.c_str(), strerror(error), result.substr(0, 300).c_str());
    add(error ? board.commands_refused[verb] : board.commands[verb]);
}

std::string question(const Board& board, Random& random) {
    switch (random() % 4) {
    case 0: return "page " + std::to_string(random() % board.pool);
    case 1: return "file " + std::string(kObjectName) + " pgoff " + std::to_string(random() % board.pages[kObject]);
    case 2: return "file tree-file pgoff " + std::to_string(random() % board.pages[kFile]);
    default: return range_of(board, random, 8) + (random() % 2 ? " explain" : "");
    }
}

void ask_once(Board& board, Random& random) {
    static const char* const files[] = {"stats", "mappers", "pages", "mms", "anon_vmas", "files", "graph"};
    if (random() % 16 == 0) objr::read_text(objr::kDebugfs + files[random() % std::size(files)]);
    const std::string selector = question(board, random);
    int error = 0;
    const std::string text = objr::ask("query", selector, &error);
    add(board.queries);
    if (error && !not_now(error))
        fail(board, "query %s: %s: %s", selector.c_str(), strerror(error), text.substr(0, 300).c_str());
    if (text.find("retry") != std::string::npos) {
        add(board.retries);
        return;
    }
    for (const objr::Answer& answer : objr::parse_answers(text))
        if (strtoull(answer.page.at("mapcount").c_str(), nullptr, 10) != answer.mappers.size())
            fail(board, "query %s: mapcount is %s, mappers are %zu: %s", selector.c_str(),
                 answer.page.at("mapcount").c_str(), answer.mappers.size(), text.substr(0, 500).c_str());
}

void measure(Board& board) {
    const auto values = objr::stats();
    uint64_t used = 0;
    for (const char* name : {"anon_pages", "file_pages", "swapped_pages"})
        if (const auto found = values.find(name); found != values.end()) used += found->second;
    if (used > board.most) board.most = used; // one tormentor measures
}

void verify_once(Board& board) {
    std::string text;
    if (!objr::verify(&text)) {
        if (text.empty()) return; // no memory for it: nothing is known
        fail(board, "verify: %s", text.substr(0, 700).c_str());
    }
    add(board.verifies);
}

// To any scheme that lets itself be had: anonmm may refuse, and says why.
void switch_once(Board& board, Random& random) {
    std::string active, why;
    std::vector<std::string> names = objr::schemes(&active);
    names.erase(std::remove(names.begin(), names.end(), active), names.end());
    if (names.empty()) return;
    const std::string& name = names[random() % names.size()];
    const int error = objr::switch_scheme(name, &why);
    if (error && error != EBUSY && error != ENOMEM)
        fail(board, "switch to %s: %s: %s", name.c_str(), strerror(error), why.c_str());
    add(error ? board.switches_refused : board.switches);
}

} // namespace

void learn_verbs(Board& board) {
    for (unsigned verb = 0; verb < kVerbs; ++verb) {
        const std::string name = kVerbNames[verb];
        int error = 0;
        const std::string text = objr::ask("command",
                                           name + (verb == kReclaim   ? " 1"
                                                   : verb == kResize  ? " " + std::to_string(board.pool / kPagesPerMb)
                                                   : verb == kCompact ? ""
                                                                      : " page 0"),
                                           &error);
        // The word that is wrong is quoted.
        board.unknown[verb] = error == EINVAL && text.find("'" + name + "'") != std::string::npos;
    }
}

void torment(Board& board, unsigned which, uint64_t seed) {
    static const char* const names[kTormentors] = {"commander", "inquirer", "switcher"};
    prctl(PR_SET_NAME, names[which]);
    Random random(seed);
    while (!stopped(board)) {
        if (which == 0) {
            Pace pace(0.005);
            command_once(board, random);
        } else if (which == 1) {
            Pace pace(0.005);
            ask_once(board, random);
            measure(board);
        } else {
            Pace pace(0.3);
            switch_once(board, random);
            verify_once(board);
        }
    }
    _exit(0);
}

} // namespace tree
