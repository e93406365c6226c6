// SPDX-License-Identifier: GPL-2.0
#include "demo_stage.h"

#include <cstdarg>

namespace demo {

// ---- the narrator -------------------------------------------------------------------------------------------------

namespace {

bool colour, framed;

const char* on(const char* code) { return colour ? code : ""; }

} // namespace

void use_colour() { colour = true; }
void use_frames() { framed = true; }
const char* bold() { return on("\033[1m"); }
const char* dim() { return on("\033[2m"); }
const char* green() { return on("\033[32m"); }
const char* plain() { return on("\033[0m"); }

void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void headline(int number, const char* text) { say("\n%s%d. %s%s", bold(), number, text, plain()); }

void give_up(const std::string& what) {
    fflush(stdout);
    fprintf(stderr, "demo: %s\n", what.c_str());
    _exit(1);
}

void must(bool condition, const char* what) {
    if (!condition)
        give_up(std::string("this should not happen: ") + what +
                (errno ? std::string(" (") + strerror(errno) + ")" : ""));
}

// ---- asking -------------------------------------------------------------------------------------------------------

namespace {

void show_asking(const char* file, const std::string& words) {
    say("%s   # echo '%s' > %s; cat %s%s", dim(), words.c_str(), file, file, plain());
}

} // namespace

void* map(int device, size_t pages) {
    void* memory = objr::map(device, pages * kPage);
    if (memory == MAP_FAILED) give_up(std::string("mmap: ") + strerror(errno));
    return memory;
}

Answer query(const std::string& selector) {
    const std::string text = objr::ask("query", selector);
    const auto answers = objr::parse_answers(text);
    if (answers.size() != 1) give_up("query " + selector + " answered: " + text);
    return answers[0];
}

std::string refused_query(const std::string& selector) {
    std::string text = objr::ask("query", selector);
    if (text.rfind("error ", 0) != 0) give_up("query " + selector + " answered: " + text);
    text.pop_back();
    show_asking("query", selector);
    say("   %s", text.c_str());
    return text;
}

void show(const std::string& selector, const Answer& answer) {
    show_asking("query", selector);
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

Result command(const std::string& words) {
    show_asking("command", words);
    int error = 0;
    const std::string text = objr::ask("command", words, &error);
    if (error) give_up(words + " answered: " + text + " (" + strerror(error) + ")");
    Result result;
    for (const std::string& line : objr::lines_of(text)) {
        if (line.rfind("mapper ", 0) == 0)
            result.mappers.push_back(objr::fields_of(line));
        else
            result.fields = objr::fields_of(line);
    }
    return result;
}

void must_be_empty(uint64_t pages) {
    uint64_t free = 0;
    for (int tries = 0; tries < 5000 && free != pages; ++tries) {
        free = objr::stat("free_pages");
        if (free != pages) usleep(1000);
    }
    MUST(free == pages);
}

// ---- graphs -------------------------------------------------------------------------------------------------------

namespace {

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

} // namespace

void print_graph(const std::string& dot) { Graph(dot).print(); }

std::string picture(const char* name, const std::string& selector) {
    const std::string dot = objr::ask("graph", selector);
    if (framed) say("@@dot %s\n%s@@end", name, dot.c_str());
    return dot;
}

// ---- the processes on stage ---------------------------------------------------------------------------------------

namespace {

std::vector<std::unique_ptr<objr::Actor>> stage;

} // namespace

objr::Actor& enter(const char* name, const std::function<void(objr::Actor&)>& part) {
    stage.push_back(std::make_unique<objr::Actor>(part, name));
    return *stage.back();
}

void all_leave() {
    for (auto& actor : stage)
        MUST(actor->finish());
    stage.clear();
}

} // namespace demo
