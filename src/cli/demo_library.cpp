// SPDX-License-Identifier: GPL-2.0
#include "demo_acts.h"
#include "demo_stage.h"

namespace demo {

namespace {

constexpr size_t kSmallPoolMb = 8;
constexpr size_t kPoolPages = kSmallPoolMb * 256;
constexpr size_t kBooks = 3; // each as large as the pool
constexpr size_t kPages = kBooks * kPoolPages;

// A page of words, different for each address and edition; it becomes about half as large when it is compressed.
void compose(char* text, const void* address, unsigned edition) {
    static const char* const kWords[] = {"bread",   "butter", "chapter",  "dough",   "evening", "flour",
                                         "garden",  "honey",  "island",   "journey", "kitchen", "letter",
                                         "morning", "number", "oven",     "page",    "quarter", "river",
                                         "salt",    "table",  "umbrella", "village", "water",   "yeast"};
    constexpr size_t kCount = sizeof(kWords) / sizeof(kWords[0]);
    uint64_t state = (reinterpret_cast<uintptr_t>(address) + edition) * 0x9e3779b97f4a7c15ull;
    auto at = static_cast<size_t>(snprintf(text, kPage, "%p, edition %u: ", address, edition));
    while (at < kPage) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        for (const char* word = kWords[(state >> 33) % kCount]; *word && at < kPage; ++word)
            text[at++] = *word;
        if (at < kPage) text[at++] = ' ';
    }
}

unsigned edition_of(size_t page) { return page % 3 == 0 ? 2 : 1; } // in the end

// Writes book after book, then every third page anew, then reads everything. Pauses after each.
void be_librarian(objr::Actor& self) {
    auto* library = static_cast<char*>(map(objr::open_device(), kPages));
    self.pause();
    for (size_t page = 0; page < kPages; ++page) {
        compose(library + page * kPage, library + page * kPage, 1);
        if ((page + 1) % kPoolPages == 0) self.pause();
    }
    for (size_t page = 0; page < kPages; page += 3)
        compose(library + page * kPage, library + page * kPage, 2);
    self.pause();
    static char expected[kPage];
    for (size_t page = 0; page < kPages; ++page) {
        compose(expected, library + page * kPage, edition_of(page));
        MUST(memcmp(library + page * kPage, expected, kPage) == 0);
    }
    self.pause();
}

class Counters {
public:
    uint64_t operator[](const char* name) const { return now_.at(name); }
    uint64_t since(const Counters& before, const char* name) const { return now_.at(name) - before.now_.at(name); }

private:
    std::map<std::string, uint64_t> now_ = objr::stats();
};

unsigned long long number(uint64_t value) { return value; }

void row(const char* when, const Counters& before) {
    const Counters now;
    say("   %-26s %9llu %9llu %9llu %9llu %9llu %9llu", when, number(now["free_pages"]), number(now["swapped_pages"]),
        number(now["swap_slots_kept"]), number(now["swap_bytes_stored"] / 1024), number(now.since(before, "swap_outs")),
        number(now.since(before, "swap_ins")));
}

} // namespace

void use_more_than_the_pool() {
    headline(8, "More memory than the pool has");
    say("   The pool is made smaller while it is in use:");
    const Result resized = command("resize " + std::to_string(kSmallPoolMb));
    say("   %s MiB instead of %s; %s pages were moved.", resized.fields.at("pool_mb").c_str(),
        resized.fields.at("before").c_str(), resized.fields.at("moved").c_str());
    MUST(objr::stat("pool_pages") == kPoolPages);
    say("   A librarian maps %zu pages, three times the pool, and fills them with words. He writes every third page",
        kPages);
    say("   anew, and reads all of them back. What is not in memory is in swap, compressed:");
    objr::Actor& librarian = enter("librarian", be_librarian);
    MUST(librarian.await());
    const Counters before;
    say("   %s%-26s %9s %9s %9s %9s %9s %9s%s", bold(), "PAGES", "FREE", "IN SWAP", "KEPT", "KiB THERE", "WRITTEN",
        "READ", plain());
    for (size_t book = 1; book <= kBooks; ++book) {
        MUST(librarian.step());
        row(("the first " + std::to_string(book * kPoolPages) + " written").c_str(), before);
    }
    MUST(librarian.step());
    row("every third written again", before);
    const Counters read_from;
    MUST(librarian.step());
    row("all read", before);
    const Counters after;
    MUST(after["swapped_pages"] > kPoolPages && after.since(before, "swap_ins") > kPoolPages);
    const uint64_t bytes = after["swap_bytes_stored"] / (after["swapped_pages"] + after["swap_slots_kept"]);
    MUST(bytes != 0 && bytes < kPage);
    say("   All %zu are right, byte for byte. A page takes %llu bytes in swap instead of 4096.", kPages, number(bytes));
    const uint64_t written = after.since(read_from, "swap_outs");
    const uint64_t taken = after.since(read_from, "reclaimed_pages");
    MUST(written < taken);
    say("   %llu times a page was taken away, %llu times one was looked at for that. While all were read it was %llu",
        number(after.since(before, "reclaimed_pages")), number(after.since(before, "reclaim_scanned")), number(taken));
    say("   pages, and %llu of them had to be written: of the others a slot was kept.", number(written));
}

} // namespace demo
