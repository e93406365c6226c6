// SPDX-License-Identifier: GPL-2.0
//
// What a reverse map costs: the same small workload of real processes under a given scheme, measured by the module's own counters.
// A server fills its memory, forks children that read half of it and rewrite a quarter, and all of them have
// windows of one object at different offsets.
#ifndef OBJRMAP_CLI_SCHEME_COSTS_H
#define OBJRMAP_CLI_SCHEME_COSTS_H

#include <memory>
#include <set>

#include "actor.h"
#include "client.h"

namespace objr {

// "chain [classic] anonmm pte_chain": the names, and which one is in brackets.
inline std::vector<std::string> scheme_names(std::string* in_use = nullptr) {
    std::vector<std::string> names;
    std::string text = read_text(kDebugfs + "scheme");
    for (size_t at = 0; at < text.size();) {
        const size_t end = text.find_first_of(" \n", at);
        std::string name = text.substr(at, end - at);
        if (name.size() > 2 && name[0] == '[') {
            name = name.substr(1, name.size() - 2);
            if (in_use) *in_use = name;
        }
        if (!name.empty()) names.push_back(name);
        if (end == std::string::npos) break;
        at = end + 1;
    }
    return names;
}

struct SchemeCosts {
    std::string scheme;
    bool done = false; // else nothing below counts
    uint64_t empty = 0; // bytes of the reverse map of an unused pool
    uint64_t bytes = 0; // beyond these, when all processes live
    uint64_t bytes_of_forks = 0; // of these, since the first fork
    uint64_t pages = 0, mappings = 0, vmas = 0;
    uint64_t walks = 0, candidates = 0, false_hits = 0; // one query for each mapped page
    uint64_t candidates_of_copies = 0; // to find the only mapper of a page that a child has copied, over all children
    std::multiset<std::string> answers; // kind and number of mappers of each page

    double per_walk(uint64_t count) const {
        return walks ? static_cast<double>(count) / static_cast<double>(walks) : 0;
    }
};

constexpr int kCostChildren = 20;
constexpr size_t kCostPages = 64;
constexpr size_t kCostObjectPages = 32;
constexpr size_t kCostWindows = 4; // of 8 pages each

inline bool open_windows(int number) {
    const int device = open_device();
    if (device < 0 || bind_object(device, "scheme-costs", kCostObjectPages * kPage, OBJRMAP_CREATE)) return false;
    for (size_t n = 0; n < kCostWindows; ++n) {
        const uint64_t pgoff = (static_cast<uint64_t>(number) * 5 + n * 7) % (kCostObjectPages - 8);
        auto* window = static_cast<volatile char*>(map(device, 8 * kPage, PROT_READ | PROT_WRITE, pgoff));
        if (window == MAP_FAILED) return false;
        for (size_t page = 0; page < 8; page += 2)
            window[page * kPage] = 1;
    }
    return true;
}

// The server with its memory, pausing before it forks and when its children have done their work. *first: where the
// memory is, *children: their pids.
inline void serve(Actor& self, char* memory, int* pids) {
    memset(memory, 's', kCostPages * kPage);
    if (!open_windows(0)) _exit(3);
    self.pause();
    std::vector<std::unique_ptr<Actor>> children;
    for (int n = 0; n < kCostChildren; ++n) {
        children.push_back(std::make_unique<Actor>(
            [&](Actor& child) {
                for (size_t page = 0; page < kCostPages / 2; ++page)
                    if (static_cast<volatile char*>(memory)[page * kPage] != 's') _exit(3);
                for (size_t page = kCostPages * 3 / 4; page < kCostPages; ++page)
                    memory[page * kPage] = static_cast<char>(n);
                if (!open_windows(n + 1)) _exit(3);
                child.pause();
            },
            "child"));
        pids[n] = children.back()->pid();
        if (!children.back()->await()) _exit(3);
    }
    self.pause();
    for (auto& child : children)
        if (!child->finish()) _exit(3);
}

inline void ask_about_all(SchemeCosts& costs) {
    const auto before = stats();
    const auto answers = parse_answers(read_text(kDebugfs + "mappers"));
    auto after = stats();
    costs.walks = after["rmap_walks"] - before.at("rmap_walks");
    costs.candidates = after["rmap_candidates"] - before.at("rmap_candidates");
    costs.false_hits = after["rmap_false_hits"] - before.at("rmap_false_hits");
    costs.answers.clear();
    for (const Answer& answer : answers)
        costs.answers.insert(answer.page.at("kind") + " " + std::to_string(answer.mappers.size()));
}

// Switches to the scheme, runs the workload, and leaves no process behind. `alive` is called when all processes live.
template <typename F>
SchemeCosts measure_scheme(const std::string& scheme, F&& alive) {
    SchemeCosts costs;
    costs.scheme = scheme;
    if (write_text(kDebugfs + "scheme", scheme)) return costs;
    costs.empty = stat("bytes_scheme");
    // Pids are told through memory of the kernel's, addresses are the same in all.
    auto* pids = static_cast<int*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    auto* where = reinterpret_cast<char**>(reinterpret_cast<char*>(pids) + kPage / 2);
    Actor server(
        [&](Actor& self) {
            const int device = open_device();
            *where = static_cast<char*>(map(device, kCostPages * kPage));
            if (*where == MAP_FAILED) _exit(3);
            serve(self, *where, pids);
        },
        "server");
    if (!server.await()) return costs;
    const uint64_t before_forks = stat("bytes_scheme") - costs.empty;
    if (!server.step()) return costs;
    const auto values = stats();
    costs.bytes = values.at("bytes_scheme") - costs.empty;
    costs.bytes_of_forks = costs.bytes - before_forks;
    costs.pages = values.at("mapped_pages");
    costs.mappings = values.at("mappings");
    costs.vmas = values.at("vmas");
    ask_about_all(costs);
    for (int n = 0; n < kCostChildren; ++n) {
        const auto answers =
            parse_answers(ask("query", selector_of(pids[n], *where + (kCostPages - 1 - n % 8) * kPage)));
        if (answers.size() != 1 || answers[0].mappers.size() != 1) return costs;
        costs.candidates_of_copies += std::stoull(answers[0].cost.at("candidates"));
    }
    alive(costs);
    costs.done = server.finish();
    munmap(pids, kPage);
    return costs;
}

} // namespace objr

#endif // OBJRMAP_CLI_SCHEME_COSTS_H
