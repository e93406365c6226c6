// SPDX-License-Identifier: GPL-2.0
//
// The file `command` of debugfs, for cases: a command and its result in lines.
#ifndef OBJRMAP_SELFTESTS_COMMANDS_H
#define OBJRMAP_SELFTESTS_COMMANDS_H

#include "harness.h"

namespace harness {

// What one page came to: the line of the verb, and those of its mappers.
struct CommandResult {
    objr::Fields page;
    std::vector<objr::Fields> mappers;
    objr::Fields certificate; // revoke

    unsigned long long number(const char* field) const { return strtoull(page.at(field).c_str(), nullptr, 0); }
    std::string mappers_with(const char* field, const char* value) const { // their pids, in order, "a,b,"
        std::vector<int> pids;
        for (const objr::Fields& mapper : mappers)
            if (mapper.at(field) == value) pids.push_back(atoi(mapper.at("pid").c_str()));
        std::sort(pids.begin(), pids.end());
        std::string list;
        for (const int pid : pids)
            list += std::to_string(pid) + ",";
        return list;
    }
};

inline std::vector<CommandResult> parse_results(const std::string& verb, const std::string& text) {
    std::vector<CommandResult> results;
    for (const std::string& line : objr::lines_of(text)) {
        if (line.rfind(verb + " ", 0) == 0)
            results.push_back({objr::fields_of(line), {}, {}});
        else if (line.rfind("mapper ", 0) == 0 && !results.empty())
            results.back().mappers.push_back(objr::fields_of(line));
        else if (line.rfind("certificate ", 0) == 0 && !results.empty())
            results.back().certificate = objr::fields_of(line);
        else
            fail(__FILE__, __LINE__, verb + " answers: " + line);
    }
    return results;
}

// A command that must be carried out.
inline std::vector<CommandResult> command(const std::string& verb, const std::string& selector) {
    int error = 0;
    const std::string text = objr::ask("command", verb + " " + selector, &error);
    if (error) fail(__FILE__, __LINE__, verb + " " + selector + ": " + strerror(error) + ": " + text);
    return parse_results(verb, text);
}

// On one page of a process.
inline CommandResult command_at(const std::string& verb, int pid, const void* address, const char* options = "") {
    const auto results = command(verb, objr::selector_of(pid, address) + options);
    CHECK_EQ(results.size(), 1u);
    return results[0];
}

} // namespace harness

#endif // OBJRMAP_SELFTESTS_COMMANDS_H
