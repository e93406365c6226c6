// SPDX-License-Identifier: GPL-2.0
#include "demo_acts.h"
#include "demo_stage.h"
#include "scheme_costs.h"

namespace demo {

namespace {

// The living processes keep their pages while the map behind them is made anew, again and again.
void switch_live(const std::vector<std::string>& schemes, const objr::SchemeCosts& costs) {
    for (const std::string& scheme : schemes) {
        MUST(objr::write_text(objr::kDebugfs + "scheme", scheme) == 0);
        objr::SchemeCosts again;
        objr::ask_about_all(again);
        MUST(again.answers == costs.answers);
        MUST(objr::verify());
    }
    MUST(objr::write_text(objr::kDebugfs + "scheme", costs.scheme) == 0);
}

} // namespace

void compare_schemes(uint64_t pool_pages) {
    std::string at_first;
    const std::vector<std::string> schemes = objr::scheme_names(&at_first);
    headline(11, "What each reverse map costs");
    say("   A server with %zu pages forks %d children. Each reads half of the pages and rewrites a quarter, and has "
        "%zu windows",
        objr::kCostPages, objr::kCostChildren, objr::kCostWindows);
    say("   of a common object. The same work under each scheme, then one query for every mapped page:");
    say("   %s%-10s   %-39s   %-23s   %s%s", bold(), "", "the map's memory in bytes, for each",
        "candidates, on average", "false hits", plain());
    say("   %s%-10s   %9s %9s %8s %10s   %11s %11s   %10s%s", bold(), "SCHEME", "pool page", "used page", "VMA", "fork",
        "any page", "child's own", "any page", plain());
    std::vector<objr::SchemeCosts> all;
    for (const std::string& scheme : schemes) {
        all.push_back(objr::measure_scheme(scheme, [&](const objr::SchemeCosts& costs) {
            if (scheme == schemes.back()) switch_live(schemes, costs);
        }));
        const objr::SchemeCosts& costs = all.back();
        if (!costs.done) give_up("the workload did not come to its end under " + scheme);
        const auto bytes = static_cast<double>(costs.bytes);
        say("   %-10s   %9.1f %9.1f %8.1f %10.1f   %11.2f %11.2f   %10.2f", scheme.c_str(),
            static_cast<double>(costs.empty) / static_cast<double>(pool_pages),
            bytes / static_cast<double>(costs.pages), bytes / static_cast<double>(costs.vmas),
            static_cast<double>(costs.bytes_of_forks) / objr::kCostChildren, costs.per_walk(costs.candidates),
            static_cast<double>(costs.candidates_of_copies) / objr::kCostChildren, costs.per_walk(costs.false_hits));
        MUST(costs.answers == all.front().answers);
        must_be_empty(pool_pages);
    }
    MUST(objr::write_text(objr::kDebugfs + "scheme", at_first) == 0);
    say("   %llu pages, %llu mappings, %llu VMAs; the answers are the same in every scheme. Under the last one the "
        "schemes were",
        static_cast<unsigned long long>(all.front().pages), static_cast<unsigned long long>(all.front().mappings),
        static_cast<unsigned long long>(all.front().vmas));
    say("   also switched live, with all processes there: the same answers, and verify said ok each time.");
}

} // namespace demo
