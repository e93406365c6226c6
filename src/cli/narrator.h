// SPDX-License-Identifier: GPL-2.0
//
// How the demo speaks: sentences, answers as tables, graphs as trees. What must be true for it to go on.
#ifndef OBJRMAP_CLI_NARRATOR_H
#define OBJRMAP_CLI_NARRATOR_H

#include <cstdarg>

#include "client.h"

namespace narrator {

using objr::Answer;
using objr::kPage;

inline bool colour; // on a terminal
inline bool framed; // graphs come out in full, between frames, for the caller of the demo

inline const char* on(const char* code) { return colour ? code : ""; }
inline const char* bold() { return on("\033[1m"); }
inline const char* dim() { return on("\033[2m"); }
inline const char* green() { return on("\033[32m"); }
inline const char* plain() { return on("\033[0m"); }

__attribute__((format(printf, 1, 2))) inline void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

inline void headline(int number, const char* text) { say("\n%s%d. %s%s", bold(), number, text, plain()); }

[[noreturn]] inline void give_up(const std::string& what) {
    fflush(stdout);
    fprintf(stderr, "demo: %s\n", what.c_str());
    _exit(1);
}

// What must be for the demonstration to be true.
inline void must(bool condition, const char* what) {
    if (!condition)
        give_up(std::string("this should not happen: ") + what +
                (errno ? std::string(" (") + strerror(errno) + ")" : ""));
}
#define MUST(condition) must(condition, #condition)

inline void* map(int device, size_t pages) {
    void* memory = objr::map(device, pages * kPage);
    if (memory == MAP_FAILED) give_up(std::string("mmap: ") + strerror(errno));
    return memory;
}

// ---- showing answers ----------------------------------------------------------------------------------------------

inline Answer query(const std::string& selector) {
    const std::string text = objr::ask("query", selector);
    const auto answers = objr::parse_answers(text);
    if (answers.size() != 1) give_up("query " + selector + " answered: " + text);
    return answers[0];
}

// The answer as a table: one line for each mapping.
inline void show(const std::string& selector, const Answer& answer) {
    say("%s   # echo '%s' > query; cat query%s", dim(), selector.c_str(), plain());
    const std::string& kind = answer.page.at("kind");
    say("   page %s (frame %s), %s, %zu mapping%s:", answer.page.at("index").c_str(), answer.page.at("pfn").c_str(),
        kind == "file"   ? answer.page.at("object").c_str()
        : kind == "anon" ? "anonymous"
                         : kind.c_str(),
        answer.mappers.size(), answer.mappers.size() == 1 ? "" : "s");
    say("   %s%7s  %-15s  %-14s  %-10s  %s%s", bold(), "PID", "COMMAND", "ADDRESS", "MAY", "HAS", plain());
    for (const objr::Fields& mapper : answer.mappers) {
        const bool writes = ("," + mapper.at("bits") + ",").find(",RW,") != std::string::npos;
        const std::string used =
            std::string(mapper.at("young") == "1" ? "used it" : "") + (mapper.at("dirty") == "1" ? ", written it" : "");
        say("   %s%7s  %-15s%s  %-14s  %-10s  %s", green(), mapper.at("pid").c_str(), mapper.at("comm").c_str(),
            plain(), mapper.at("vaddr").c_str(), writes ? "read write" : "read", used.c_str());
    }
}

// A command that must be carried out on one page; its line is shown, and what it says about the page comes back.
inline objr::Fields order(const std::string& words) {
    int error = 0;
    const std::string text = objr::ask("command", words, &error);
    if (error) give_up("command " + words + ": " + strerror(error) + ": " + text);
    const std::string line = objr::lines_of(text).at(0);
    say("%s   # echo '%s' > command; cat command%s", dim(), words.c_str(), plain());
    say("   %s", line.c_str());
    return objr::fields_of(line);
}

// ---- the graph ----------------------------------------------------------------------------------------------------

// Nodes with their labels and edges, from DOT as `graph` writes it: one statement a line.
struct Graph {
    std::map<std::string, std::string> label;
    std::map<std::string, std::vector<std::pair<std::string, std::string>>> next; // node -> (label of the edge, node)

    static std::string label_of(const std::string& line) {
        const size_t begin = line.find("label=\"");
        if (begin == std::string::npos) return {};
        std::string text;
        for (size_t i = begin + 7; i < line.size() && line[i] != '"'; ++i) {
            if (line[i] != '\\')
                text += line[i];
            else if (line[++i] == 'n')
                text += "  ";
            else
                text += line[i];
        }
        return text;
    }

    explicit Graph(const std::string& dot) {
        for (const std::string& line : objr::lines_of(dot)) {
            const size_t begin = line.find_first_not_of(' ');
            if (begin != 2) continue;
            const size_t end = line.find_first_of(" ;", begin);
            const std::string node = line.substr(begin, end - begin);
            if (node.find('_') == std::string::npos) continue;
            if (line.compare(end, 4, " -> ") == 0) {
                const size_t target = end + 4;
                next[node].emplace_back(label_of(line), line.substr(target, line.find_first_of(" ;", target) - target));
            } else {
                label[node] = label_of(line);
            }
        }
    }

    void print(const std::string& node, const std::string& edge, const std::string& indent, bool last,
               bool root) const {
        const auto known = label.find(node);
        say("   %s%s%s%s%s%s", dim(), indent.c_str(),
            root   ? ""
            : last ? "`-- "
                   : "|-- ",
            plain(), known == label.end() ? node.c_str() : known->second.c_str(),
            edge.empty() ? "" : ("  [" + edge + "]").c_str());
        const auto children = next.find(node);
        if (children == next.end()) return;
        for (size_t i = 0; i < children->second.size(); ++i)
            print(children->second[i].second, children->second[i].first, root ? "" : indent + (last ? "    " : "|   "),
                  i + 1 == children->second.size(), false);
    }

    void print() const {
        for (const auto& [node, text] : label)
            if (node.rfind("page_", 0) == 0) print(node, "", "", true, true);
    }
};

// A picture for later: the caller of the demo takes what stands between the frames.
inline std::string picture(const char* name, const std::string& selector) {
    const std::string dot = objr::ask("graph", selector);
    if (framed) say("@@dot %s\n%s@@end", name, dot.c_str());
    return dot;
}

} // namespace narrator

#endif // OBJRMAP_CLI_NARRATOR_H
