// SPDX-License-Identifier: GPL-2.0
//
// demo: the main job, shown to a person. Real processes use the pool, debugfs says who maps a page: a page that a family
// shares, copy-on-write happening, the graph behind it, the page going out and coming back, a file page that strangers share, the
// check of it all, a program that needs more memory than there is, and what it costs under each scheme.
#include <memory>

#include "actor.h"
#include "client.h"
#include "narrator.h"
#include "scheme_costs.h"

using namespace narrator;

namespace {

// The processes on stage; they stay until all has been shown.
std::vector<std::unique_ptr<objr::Actor>> stage;

objr::Actor& enter(const char* name, const std::function<void(objr::Actor&)>& part) {
    stage.push_back(std::make_unique<objr::Actor>(part, name));
    return *stage.back();
}

// ---- the acts -----------------------------------------------------------------------------------------------------

struct Bakery {
    const char* recipe; // a page that the baker and apprentice-ben share
    objr::Actor& ben;
};

Bakery share_and_copy(int device) {
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
        MUST(strcmp(recipe, "flour, water, salt") == 0); // it has been away
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
    return {recipe, ben};
}

void go_and_come_back(const Bakery& bakery) {
    const auto& [recipe, ben] = bakery;
    headline(5, "A page goes out, and comes back");
    say("   Only who can find every mapping of a page can take the page away. First it moves to another frame; its "
        "two");
    say("   processes keep it at the same addresses:");
    const std::string selector = objr::selector_of(getpid(), recipe);
    const objr::Fields moved = order("migrate " + selector);
    MUST(moved.at("taken") == "2" && moved.at("from") != moved.at("pfn"));
    say("   Then it goes: its contents are compressed, both entries become swap entries, the frame is free.");
    const uint64_t free = objr::stat("free_pages"), read = objr::stat("swap_ins");
    const objr::Fields taken = order("unmap " + selector);
    MUST(taken.at("answer") == "SUCCESS" && taken.at("taken") == "2");
    MUST(objr::stat("free_pages") == free + 1 && objr::stat("swapped_pages") == 1);
    int error = 0;
    const std::string nowhere = objr::ask("query", selector, &error);
    MUST(nowhere.find("swapped out") != std::string::npos);
    say("%s   # echo '%s' > query; cat query%s", dim(), selector.c_str(), plain());
    say("   %s", objr::lines_of(nowhere).at(0).c_str());
    say("   apprentice-ben reads it: a fault brings it back. Then the baker does, and gets the same page, without "
        "reading again.");
    MUST(ben.step());
    MUST(strcmp(recipe, "flour, water, salt") == 0);
    const Answer back = query(selector);
    show(selector, back);
    MUST(back.mappers.size() == 2 && back.mapper_of(ben.pid()) == 1 && back.mapper_of(getpid()) == 1);
    MUST(objr::stat("swap_ins") == read + 1 && objr::stat("swapped_pages") == 0);
}

void share_a_file() {
    headline(6, "A file page, shared and private");
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

// ---- more than there is

constexpr unsigned kSmallMb = 8;
// A page as a program may have it: half of it repeats itself, half does not. A number and a version are in every word.
uint64_t word_of(uint64_t number, uint64_t version, uint64_t at) {
    const uint64_t both = number << 32 | version;
    return at % 8 < 4 ? both : (both ^ at << 16) * 0x9e3779b97f4a7c15;
}

void write_page(uint64_t* page, uint64_t number, uint64_t version) {
    for (uint64_t at = 0; at < kPage / 8; ++at)
        page[at] = word_of(number, version, at);
}

bool is_page(const uint64_t* page, uint64_t number, uint64_t version) {
    for (uint64_t at = 0; at < kPage / 8; ++at)
        if (page[at] != word_of(number, version, at)) return false;
    return true;
}

void outgrow(uint64_t pool_pages) {
    const auto pages = uint64_t{3} * kSmallMb << 8;
    constexpr uint64_t kRounds = 2;
    headline(9, "More memory than the pool has");
    say("   The pool is made smaller, %llu MiB to %u. A hoarder maps three times as much, writes to every page, and in "
        "%llu",
        static_cast<unsigned long long>(pool_pages >> 8), kSmallMb, static_cast<unsigned long long>(kRounds));
    say("   rounds reads every byte back and writes something new.");
    order("resize " + std::to_string(kSmallMb));
    auto before = objr::stats();
    objr::Actor hoarder(
        [&](objr::Actor& self) {
            auto* memory = static_cast<uint64_t*>(map(objr::open_device(), pages));
            for (uint64_t n = 0; n < pages; ++n)
                write_page(memory + n * (kPage / 8), n, 0);
            self.pause();
            for (uint64_t round = 1; round <= kRounds; ++round) {
                for (uint64_t n = 0; n < pages; ++n) {
                    MUST(is_page(memory + n * (kPage / 8), n, round - 1));
                    write_page(memory + n * (kPage / 8), n, round);
                }
                self.pause();
            }
        },
        "hoarder");
    MUST(hoarder.await());
    say("   %s%-12s %10s %10s %12s %12s %14s%s", bold(), "", "IN MEMORY", "SWAPPED", "SWAPPED OUT", "READ BACK",
        "COMPRESSED TO", plain());
    for (uint64_t round = 0; round <= kRounds; ++round) {
        if (round) MUST(hoarder.step());
        auto now = objr::stats();
        MUST(now.at("anon_pages") <= kSmallMb << 8);
        MUST(now.at("anon_pages") + now.at("swapped_pages") >= pages);
        say("   %-12s %10llu %10llu %12llu %12llu %12.0f %%",
            round ? ("round " + std::to_string(round)).c_str() : "written",
            static_cast<unsigned long long>(now.at("anon_pages")),
            static_cast<unsigned long long>(now.at("swapped_pages")),
            static_cast<unsigned long long>(now.at("swap_outs") - before.at("swap_outs")),
            static_cast<unsigned long long>(now.at("swap_ins") - before.at("swap_ins")),
            100.0 * static_cast<double>(now.at("swap_bytes_stored")) /
                static_cast<double>(now.at("swapped_pages") * kPage));
    }
    MUST(objr::verify());
    say("   All %llu pages had what was last written to them, each time; verify says ok.",
        static_cast<unsigned long long>(pages));
    MUST(hoarder.finish());
    must_be_empty(kSmallMb << 8);
    order("resize " + std::to_string(pool_pages >> 8));
    must_be_empty(pool_pages);
}

// ---- costs

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
    headline(10, "What each reverse map costs");
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
            go_and_come_back(share_and_copy(device));
            self.pause();
            for (auto& actor : stage)
                MUST(actor->finish());
        },
        "baker");
    if (!baker.await()) return 1;
    share_a_file();
    headline(7, "Is all of it true?");
    say("   verify walks every page table forwards and the reverse map of every page backwards and compares:");
    std::string text;
    MUST(objr::verify(&text));
    text.pop_back();
    say("%s   # cat verify%s", dim(), plain());
    say("   %s%s%s", green(), text.c_str(), plain());
    for (auto& actor : stage)
        MUST(actor->finish());
    MUST(baker.finish());
    headline(8, "Everybody leaves");
    must_be_empty(values.at("pool_pages"));
    say("   All %llu pages are free again.", static_cast<unsigned long long>(values.at("pool_pages")));
    outgrow(values.at("pool_pages"));
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
