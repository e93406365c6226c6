// SPDX-License-Identifier: GPL-2.0
//
// demo: the main job, shown to a person. Real processes use the pool, debugfs says who maps a page: a page that a family
// shares, copy-on-write happening, a file page that strangers share, the graph behind it, the check of it all, and what it costs
// under each scheme.
#include <cstdarg>
#include <memory>

#include "actor.h"
#include "client.h"
#include "scheme_costs.h"

using objr::Answer;
using objr::kPage;

namespace {

bool colour, framed;

const char* on(const char* code) { return colour ? code : ""; }
const char* bold() { return on("\033[1m"); }
const char* dim() { return on("\033[2m"); }
const char* green() { return on("\033[32m"); }
const char* plain() { return on("\033[0m"); }

__attribute__((format(printf, 1, 2))) void say(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void headline(int number, const char* text) { say("\n%s%d. %s%s", bold(), number, text, plain()); }

[[noreturn]] void give_up(const std::string& what) {
    fflush(stdout);
    fprintf(stderr, "demo: %s\n", what.c_str());
    _exit(1);
}

// What must be for the demonstration to be true.
void must(bool condition, const char* what) {
    if (!condition)
        give_up(std::string("this should not happen: ") + what +
                (errno ? std::string(" (") + strerror(errno) + ")" : ""));
}
#define MUST(condition) must(condition, #condition)

void* map(int device, size_t pages) {
    void* memory = objr::map(device, pages * kPage);
    if (memory == MAP_FAILED) give_up(std::string("mmap: ") + strerror(errno));
    return memory;
}

// ---- showing answers ----------------------------------------------------------------------------------------------

Answer query(const std::string& selector) {
    const std::string text = objr::ask("query", selector);
    const auto answers = objr::parse_answers(text);
    if (answers.size() != 1) give_up("query " + selector + " answered: " + text);
    return answers[0];
}

// The answer as a table: one line for each mapping.
void show(const std::string& selector, const Answer& answer) {
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
std::string picture(const char* name, const std::string& selector) {
    const std::string dot = objr::ask("graph", selector);
    if (framed) say("@@dot %s\n%s@@end", name, dot.c_str());
    return dot;
}

// The processes on stage; they stay until all has been shown.
std::vector<std::unique_ptr<objr::Actor>> stage;

objr::Actor& enter(const char* name, const std::function<void(objr::Actor&)>& part) {
    stage.push_back(std::make_unique<objr::Actor>(part, name));
    return *stage.back();
}

// ---- the acts -----------------------------------------------------------------------------------------------------

void share_and_copy(int device) {
    headline(2, "One page, three processes");
    say("   A baker writes a recipe into a page of the pool and forks two apprentices. Nothing is copied: all three");
    say("   map the same page, read-only. The module is asked from the page's side.");
    auto* recipe = static_cast<char*>(map(device, 8)) + 5 * kPage;
    strcpy(recipe, "flour, water, salt");
    objr::Actor& anna = enter("apprentice-anna", [&](objr::Actor& self) {
        MUST(strcmp(recipe, "flour, water, salt") == 0); // looks at it, so that it is mapped here too
        self.pause();
        strcpy(recipe, "rye, sourdough");
        self.pause();
    });
    objr::Actor& ben = enter("apprentice-ben", [&](objr::Actor& self) {
        MUST(strcmp(recipe, "flour, water, salt") == 0);
        self.pause();
    });
    MUST(anna.await() && ben.await());
    const std::string selector = objr::selector_of(getpid(), recipe);
    const Answer before = query(selector);
    show(selector, before);
    MUST(before.mappers.size() == 3 && before.mapper_of(getpid()) && before.mapper_of(anna.pid()) &&
         before.mapper_of(ben.pid()));
    const std::string dot = picture("1-shared-page", selector);

    headline(3, "Copy-on-write happens");
    say("   apprentice-anna writes. She gets a page of her own; two processes are left on the old one.");
    const uint64_t copies = objr::stat("cow_faults");
    MUST(anna.step());
    const std::string by_frame = "pfn " + before.page.at("pfn");
    const Answer old_page = query(by_frame);
    show(by_frame, old_page);
    MUST(old_page.mappers.size() == 2 && !old_page.mapper_of(anna.pid()));
    const std::string hers = objr::selector_of(anna.pid(), recipe);
    const Answer new_page = query(hers);
    show(hers, new_page);
    MUST(new_page.mappers.size() == 1 && new_page.mapper_of(anna.pid()) == 1 &&
         new_page.page.at("pfn") != before.page.at("pfn"));
    MUST(objr::stat("cow_faults") == copies + 1);
    say("   The baker still reads \"%s\": one copy was made, of this page only.", recipe);
    picture("2-after-copy-on-write",
            "range page " +
                std::to_string(std::min(std::stoul(old_page.page.at("index")), std::stoul(new_page.page.at("index")))) +
                " " +
                std::to_string(std::max(std::stoul(old_page.page.at("index")), std::stoul(new_page.page.at("index")))));

    headline(4, "The structure behind the first answer");
    say("   page -> anon_vma -> VMAs -> page-table entries -> processes, as `graph` drew it before the copy:");
    Graph(dot).print();
}

void share_a_file() {
    headline(5, "A file page, shared and private");
    say("   clerk maps ledger.txt shared, auditor maps it private; they are no relatives and use other addresses.");
    const char* path = "/tmp/ledger.txt";
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(file >= 0 && write(file, "balance: 100\n", 13) == 13);
    objr::Actor& clerk = enter("clerk", [&](objr::Actor& self) {
        const int device = objr::open_device();
        MUST(objr::bind_file(device, file, OBJRMAP_SHARED) == 0);
        auto* ledger = static_cast<char*>(map(device, 1));
        memcpy(ledger, "balance: 250", 12);
        self.pause();
        MUST(msync(ledger, kPage, MS_SYNC) == 0);
        self.pause();
    });
    MUST(clerk.await());
    objr::Actor& auditor = enter("auditor", [&](objr::Actor& self) {
        map(objr::open_device(), 16);
        const int device = objr::open_device();
        MUST(objr::bind_file(device, file, OBJRMAP_PRIVATE) == 0);
        auto* ledger = static_cast<char*>(map(device, 1));
        MUST(memcmp(ledger, "balance: 250", 12) == 0); // what the clerk wrote, not what is on disk
        self.pause();
        memcpy(ledger, "balance: 999", 12); // a note of his own
        self.pause();
    });
    MUST(auditor.await());
    const std::string selector = "file ledger.txt pgoff 0";
    const Answer both = query(selector);
    show(selector, both);
    MUST(both.mappers.size() == 2 && both.mapper_of(clerk.pid()) == 1 && both.mapper_of(auditor.pid()) == 1);
    Graph(picture("3-file-page", selector)).print();
    char text[13] = {};
    MUST(pread(file, text, 12, 0) == 12);
    say("   The auditor reads the clerk's \"balance: 250\" at once; the file itself says \"%s\" until msync.", text);
    MUST(auditor.step() && clerk.step());
    MUST(pread(file, text, 12, 0) == 12);
    MUST(query(selector).mappers.size() == 1);
    say("   Then the auditor writes into his private view and the clerk calls msync: the file says \"%s\",", text);
    say("   and the auditor's 999 is in a page that nobody else sees.");
    MUST(strcmp(text, "balance: 250") == 0);
    close(file);
    unlink(path);
}

// Waits until all pages are back: descriptors are closed a moment after exit.
void must_be_empty(uint64_t pages) {
    uint64_t free = 0;
    for (int tries = 0; tries < 5000 && free != pages; ++tries) {
        free = objr::stat("free_pages");
        if (free != pages) usleep(1000);
    }
    MUST(free == pages);
}

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

void compare_schemes(uint64_t pool_pages) {
    std::string at_first;
    const std::vector<std::string> schemes = objr::scheme_names(&at_first);
    headline(8, "What each reverse map costs");
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

int run() {
    const auto values = objr::stats();
    if (values.empty()) give_up("no /sys/kernel/debug/objrmap/stats: load objrmap.ko, and mount debugfs");
    headline(1, "The pool");
    say("   objrmap.ko owns %llu pages of 4 KiB, %llu are free; processes get them by mmap of %s.",
        static_cast<unsigned long long>(values.at("pool_pages")),
        static_cast<unsigned long long>(values.at("free_pages")), OBJRMAP_DEVICE);
    objr::Actor baker(
        [](objr::Actor& self) {
            const int device = objr::open_device();
            if (device < 0) give_up(std::string(OBJRMAP_DEVICE) + ": " + strerror(errno));
            share_and_copy(device);
            self.pause();
            for (auto& actor : stage)
                MUST(actor->finish());
        },
        "baker");
    if (!baker.await()) return 1;
    share_a_file();
    headline(6, "Is all of it true?");
    say("   verify walks every page table forwards and the reverse map of every page backwards and compares:");
    std::string text;
    MUST(objr::verify(&text));
    text.pop_back();
    say("%s   # cat verify%s", dim(), plain());
    say("   %s%s%s", green(), text.c_str(), plain());
    for (auto& actor : stage)
        MUST(actor->finish());
    MUST(baker.finish());
    headline(7, "Everybody leaves");
    must_be_empty(values.at("pool_pages"));
    say("   All %llu pages are free again.", static_cast<unsigned long long>(values.at("pool_pages")));
    compare_schemes(values.at("pool_pages"));
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--color"))
            colour = true;
        else if (!strcmp(argv[i], "--frames"))
            framed = true;
        else {
            const bool help = !strcmp(argv[i], "--help");
            fprintf(help ? stdout : stderr, "usage: demo [--color] [--frames]\n"
                                            "Shows what objrmap.ko does. --frames: also prints the graphs in DOT, "
                                            "between lines `@@dot NAME` and `@@end`.\n");
            return help ? 0 : 2;
        }
    }
    return run();
}
