// SPDX-License-Identifier: GPL-2.0
//
// debugfs: every file can be read in any way, every selector answers in the promised words, rubbish is refused and named,
// and the answers are right: who maps this page.
#include <algorithm>
#include <cctype>
#include <memory>
#include <random>
#include <regex>
#include <set>
#include <sys/prctl.h>

#include "harness.h"

using namespace harness;
using objr::Answer;
using objr::kPage;

static const char* const kFiles[] = {"stats",  "mappers", "pages", "mms",   "anon_vmas", "files",
                                     "verify", "scheme",  "query", "graph", "command"};

// ---- the words of an answer ---------------------------------------------------------------------------------------

static void expect_line(const std::string& line, const char* pattern) {
    if (!std::regex_match(line, std::regex(pattern))) fail(__FILE__, __LINE__, "unexpected line: " + line);
}

// To the letter, as the interface promises.
static void expect_format(const std::string& text) {
    enum { kStart, kPageLine, kCost } last = kStart;
    const auto lines = objr::lines_of(text);
    CHECK(!lines.empty());
    for (const std::string& line : lines) {
        if (line.rfind("page ", 0) == 0) {
            CHECK(last != kPageLine);
            expect_line(
                line, "page pfn=0x[0-9a-f]+ index=[0-9]+ kind=(anon|file|free|none|-) mapcount=[0-9]+ refcount=[0-9]+ "
                      "flags=(-|[a-z_]+(,[a-z_]+)*) pgoff=(-|0x[0-9a-f]+) object=(-|[a-z_]+:[^ ]+) "
                      "scheme=(chain|classic|anonmm|pte_chain)");
            last = kPageLine;
        } else if (line.rfind("mapper ", 0) == 0) {
            CHECK(last == kPageLine);
            expect_line(line, "mapper pid=([0-9]+|-) comm=[^ ]+ mm=[0-9]+ vma=0x[0-9a-f]+-0x[0-9a-f]+ "
                              "vaddr=0x[0-9a-f]+ pte=0x[0-9a-f]+ "
                              "bits=P(,(RW|US|PWT|PCD|A|D|PS|G|NX))* young=[01] dirty=[01]");
        } else {
            CHECK(last == kPageLine);
            expect_line(line, "cost candidates=[0-9]+ hits=[0-9]+ false_hits=[0-9]+ levels=[0-9]+ lock_waits=[0-9]+( "
                              "scanned=[0-9]+)? stop=[a-z_]+");
            last = kCost;
        }
    }
    CHECK(last == kCost);
}

static std::vector<Answer> answers_to(const std::string& selector) {
    int error = 0;
    const std::string text = objr::ask("query", selector, &error);
    if (error) fail(__FILE__, __LINE__, "query " + selector + ": " + strerror(error) + ": " + text);
    expect_format(text);
    return objr::parse_answers(text);
}

static Answer answer_to(const std::string& selector) {
    const auto answers = answers_to(selector);
    CHECK_EQ(answers.size(), 1u);
    const Answer& answer = answers[0];
    CHECK_EQ(answer.page.at("mapcount"), std::to_string(answer.mappers.size()));
    CHECK_EQ(answer.cost.at("hits"), std::to_string(answer.mappers.size()));
    for (const objr::Fields& mapper : answer.mappers) { // every mapper's PTE leads to the page, from inside its VMA
        const uint64_t pte = strtoull(mapper.at("pte").c_str(), nullptr, 16);
        CHECK_EQ(pte >> 12 & ((1ULL << 40) - 1), strtoull(answer.page.at("pfn").c_str(), nullptr, 16));
        const uint64_t vaddr = strtoull(mapper.at("vaddr").c_str(), nullptr, 16);
        const size_t dash = mapper.at("vma").find('-');
        CHECK(vaddr >= strtoull(mapper.at("vma").c_str(), nullptr, 16));
        CHECK(vaddr < strtoull(mapper.at("vma").c_str() + dash + 1, nullptr, 16));
        const std::string bits = "," + mapper.at("bits") + ",";
        CHECK_EQ(bits.find(",RW,") != std::string::npos, (pte & 2) != 0);
        CHECK_EQ(bits.find(",US,") != std::string::npos, (pte & 4) != 0);
        CHECK_EQ(bits.find(",A,") != std::string::npos, (pte & 0x20) != 0);
        CHECK_EQ(bits.find(",D,") != std::string::npos, (pte & 0x40) != 0);
        CHECK_EQ(bits.find(",NX,") != std::string::npos, pte >> 63 != 0);
    }
    return answer;
}

// ---- JSON, checked by the grammar ---------------------------------------------------------------------------------

class Json {
public:
    explicit Json(const std::string& text) : text_(text) {}
    // One value and nothing behind it but blanks.
    bool valid() {
        blanks();
        const bool good = value(0);
        blanks();
        return good && at_ == text_.size();
    }

private:
    const std::string& text_;
    size_t at_ = 0;

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char character) { return peek() == character && ++at_; }
    void blanks() {
        while (peek() && strchr(" \t\r\n", peek()))
            ++at_;
    }
    bool word(const char* expected) {
        const size_t length = strlen(expected);
        return text_.compare(at_, length, expected) == 0 && (at_ += length);
    }
    bool string() {
        if (!take('"')) return false;
        while (at_ < text_.size() && !take('"')) {
            if (static_cast<unsigned char>(peek()) < 0x20) return false;
            if (take('\\')) {
                if (take('u')) {
                    for (int digit = 0; digit < 4; ++digit, ++at_)
                        if (!isxdigit(static_cast<unsigned char>(peek()))) return false;
                    continue;
                }
                if (!peek() || !strchr("\"\\/bfnrt", peek())) return false;
            }
            ++at_;
        }
        return at_ <= text_.size() && text_[at_ - 1] == '"';
    }
    bool number() {
        take('-');
        if (!isdigit(static_cast<unsigned char>(peek()))) return false;
        if (!take('0'))
            while (isdigit(static_cast<unsigned char>(peek())))
                ++at_;
        return true; // fractions and exponents have no place in an answer
    }
    bool members(char end, bool keyed, int depth) {
        blanks();
        if (take(end)) return true;
        do {
            blanks();
            if (keyed && !(string() && (blanks(), take(':')))) return false;
            blanks();
            if (!value(depth + 1)) return false;
            blanks();
        } while (take(','));
        return take(end);
    }
    bool value(int depth) {
        if (depth > 20) return false;
        if (take('{')) return members('}', true, depth);
        if (take('[')) return members(']', false, depth);
        if (peek() == '"') return string();
        return word("true") || word("false") || word("null") || number();
    }
};

CASE(json_checker_knows_json) { // a check of the check
    for (const char* good : {"{}", "[1, -2,\"a\\u00e4\\n\"]", " {\"a\":{\"b\":[null,true]}} ", "0"})
        CHECK(Json(good).valid());
    for (const char* bad :
         {"", "{", "{\"a\"}", "[1,]", "{\"a\":1,}", "\"\n\"", "\"\\x\"", "01", "{} {}", "\"open", "nul"})
        CHECK(!Json(bad).valid());
}

// ---- reading ------------------------------------------------------------------------------------------------------

CASE(debugfs_every_file_reads) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 40);
    for (size_t page = 0; page < 40; page += 2)
        fill(at(memory, page), 1);
    const int object = device();
    CHECK_OK(objr::bind_object(object, "every-file", 4 * kPage, OBJRMAP_CREATE));
    fill(map_pages(object, 4), 1);
    Actor child([&](Actor& self) {
        fill(memory, 2);
        self.pause();
    });
    child.await();
    objr::ask("query", "range page 0 200");
    objr::ask("graph", objr::selector_of(getpid(), at(memory, 2)));
    for (const char* file : kFiles) {
        const std::string path = objr::kDebugfs + file;
        const std::string whole = objr::read_text(path);
        if (whole.empty() || whole.back() != '\n')
            fail(__FILE__, __LINE__, std::string(file) + " is empty, or does not end in a line: " + whole);
        CHECK(whole.find('\0') == std::string::npos);
        // Read in small pieces, the lines are the same but for what counts reads and walks.
        if (strcmp(file, "stats") && strcmp(file, "verify")) {
            CHECK(objr::read_text(path, 1).size() > 0);
            CHECK_EQ(objr::lines_of(objr::read_text(path, 1)).size(), objr::lines_of(whole).size());
            CHECK_EQ(objr::lines_of(objr::read_text(path, 7)).size(), objr::lines_of(whole).size());
        } else {
            CHECK(!objr::read_text(path, 1).empty());
        }
        // Seeking back, far ahead, and reading into bad memory.
        const int open_file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        CHECK_OK(open_file);
        const std::string first = objr::read_all(open_file, 100);
        CHECK(lseek(open_file, 0, SEEK_SET) == 0);
        CHECK_EQ(objr::lines_of(objr::read_all(open_file, 333)).size(), objr::lines_of(first).size());
        CHECK(lseek(open_file, 0, SEEK_SET) == 0);
        CHECK_FAILS(read(open_file, reinterpret_cast<void*>(0x1000), 100), EFAULT);
        lseek(open_file, int64_t{1} << 40, SEEK_SET);
        char byte;
        CHECK(read(open_file, &byte, 1) <= 0);
        lseek(open_file, INT64_MAX, SEEK_SET);
        CHECK(read(open_file, &byte, 1) <= 0);
        close(open_file);
    }
    child.finish();
}

CASE(debugfs_reading_into_pool_memory) { // the reader's buffer is a page that the answer is about
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 64);
    fill(memory, 1);
    for (const char* file : kFiles) {
        const int open_file = open((objr::kDebugfs + file).c_str(), O_RDONLY | O_CLOEXEC);
        CHECK_OK(open_file);
        for (size_t page = 0; page < 64; ++page)
            if (read(open_file, at(memory, page), kPage) <= 0) break;
        close(open_file);
    }
    // And a selector that lies in the pool.
    strcpy(reinterpret_cast<char*>(memory), objr::selector_of(getpid(), memory).c_str());
    const int query = open((objr::kDebugfs + "query").c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(query);
    const auto length = strlen(reinterpret_cast<char*>(memory));
    CHECK_EQ(write(query, memory, length), static_cast<ssize_t>(length));
    CHECK(read(query, at(memory, 1), kPage) > 0);
    CHECK_EQ(memcmp(at(memory, 1), "page pfn=", 9), 0);
}

CASE(stats_names) {
    need_module();
    const auto values = objr::stats();
    for (const char* name : {"pool_pages",
                             "free_pages",
                             "anon_pages",
                             "file_pages",
                             "mapped_pages",
                             "mappings",
                             "swapcache_pages",
                             "swapped_pages",
                             "locked_pages",
                             "active",
                             "inactive",
                             "mms",
                             "vmas",
                             "anon_vmas",
                             "anon_vma_chains",
                             "file_mappings",
                             "table_pages",
                             "faults",
                             "cow_faults",
                             "swap_ins",
                             "swap_outs",
                             "writebacks",
                             "migrations",
                             "rmap_walks",
                             "rmap_candidates",
                             "rmap_hits",
                             "rmap_false_hits"})
        if (!values.count(name)) fail(__FILE__, __LINE__, std::string("stats has no ") + name);
    CHECK(std::any_of(values.begin(), values.end(),
                      [](const auto& value) { return value.first.rfind("bytes_", 0) == 0; }));
    for (const std::string& line : objr::lines_of(objr::read_text(objr::kDebugfs + "stats")))
        expect_line(line, "[a-z0-9_]+ [0-9]+");
}

CASE(stats_count_right) {
    need_module();
    const auto before = objr::stats();
    CHECK_EQ(before.at("mms"), 0u);
    const int fd = device();
    void* memory = map_pages(fd, 10);
    for (size_t page = 0; page < 6; ++page)
        fill(at(memory, page), 1);
    auto now = objr::stats();
    CHECK_EQ(now["mms"], 1u);
    CHECK_EQ(now["vmas"], 1u);
    CHECK_EQ(now["anon_pages"], 6u);
    CHECK_EQ(now["mappings"], 6u);
    CHECK_EQ(now["mapped_pages"], 6u);
    CHECK_EQ(now["anon_vmas"], 1u);
    CHECK_EQ(now["pool_pages"] - now["free_pages"], 6u);
    CHECK(now["table_pages"] >= 3 && now["table_pages"] <= 6);
    CHECK(now["faults"] >= before.at("faults") + 6);
    CHECK_OK(munmap(at(memory, 2), 2 * kPage)); // a hole makes two of one
    now = objr::stats();
    CHECK_EQ(now["vmas"], 2u);
    CHECK_EQ(now["anon_pages"], 4u);
    CHECK_EQ(objr::lines_of(objr::read_text(objr::kDebugfs + "mms")).size() >= 1, true);
}

CASE(debugfs_is_for_root) {
    need_module();
    need_root();
    in_child([] {
        CHECK_OK(setegid(65534));
        CHECK_OK(seteuid(65534));
        for (const char* file : kFiles) {
            CHECK_FAILS(open((objr::kDebugfs + file).c_str(), O_RDONLY), EACCES);
            CHECK_FAILS(open((objr::kDebugfs + file).c_str(), O_RDWR), EACCES);
        }
    });
}

CASE(scheme_is_named_and_rubbish_refused) {
    need_module();
    const std::string schemes = objr::read_text(objr::kDebugfs + "scheme");
    CHECK(std::regex_search(schemes, std::regex("\\[(chain|classic|anonmm|pte_chain)\\]")));
    for (const std::string& wrong :
         {std::string("none"), std::string("classic2"), std::string("\0classic", 8), std::string(1 << 20, 'c')})
        CHECK_FAILS(objr::write_text(objr::kDebugfs + "scheme", wrong), EINVAL);
    CHECK_EQ(objr::read_text(objr::kDebugfs + "scheme"), schemes);
    CHECK_OK(objr::write_text(objr::kDebugfs + "scheme", "classic\n"));
}

// ---- who maps this page -------------------------------------------------------------------------------------------

CASE(query_three_mappers_then_two_and_one) { // the main job
    need_module();
    const int fd = device();
    prctl(PR_SET_NAME, "parent");
    void* memory = map_pages(fd, 16);
    for (size_t page = 0; page < 16; ++page)
        fill(at(memory, page), page + 1);
    Actor one(
        [&](Actor& self) {
            CHECK(holds(at(memory, 5), 6));
            self.pause();
            fill(at(memory, 5), 100);
            self.pause();
            CHECK(holds(at(memory, 5), 100));
        },
        "child-one");
    Actor two(
        [&](Actor& self) {
            CHECK(holds(at(memory, 5), 6));
            self.pause();
            CHECK(holds(at(memory, 5), 6));
        },
        "child-two");
    one.await();
    two.await();

    const Answer before = answer_to(objr::selector_of(getpid(), at(memory, 5)));
    CHECK_EQ(before.page.at("kind"), "anon");
    CHECK_EQ(before.mappers.size(), 3u);
    std::set<std::string> comms;
    for (const objr::Fields& mapper : before.mappers) {
        comms.insert(mapper.at("comm"));
        CHECK_EQ(strtoull(mapper.at("vaddr").c_str(), nullptr, 16), reinterpret_cast<uint64_t>(at(memory, 5)));
        CHECK(mapper.at("bits").find("RW") == std::string::npos); // shared: nobody may write
    }
    CHECK((comms == std::set<std::string>{"parent", "child-one", "child-two"}));
    for (const int pid : {static_cast<int>(getpid()), one.pid(), two.pid()}) {
        CHECK_EQ(before.mapper_of(pid), 1);
        CHECK_EQ(answer_to(objr::selector_of(pid, at(memory, 5))).page.at("pfn"), before.page.at("pfn"));
    }

    one.step(); // writes
    const Answer after = answer_to("pfn " + before.page.at("pfn"));
    CHECK_EQ(after.mappers.size(), 2u);
    CHECK_EQ(after.mapper_of(getpid()), 1);
    CHECK_EQ(after.mapper_of(two.pid()), 1);
    const Answer own = answer_to(objr::selector_of(one.pid(), at(memory, 5)));
    CHECK(own.page.at("pfn") != before.page.at("pfn"));
    CHECK_EQ(own.mappers.size(), 1u);
    CHECK_EQ(own.mapper_of(one.pid()), 1);
    CHECK_EQ(own.mappers[0].at("dirty"), "1");
    CHECK(own.mappers[0].at("bits").find("RW") != std::string::npos);

    one.finish();
    two.finish();
    CHECK(becomes([&] { return objr::stat("mms") == 1; }));
    CHECK_EQ(answer_to("pfn " + before.page.at("pfn")).mappers.size(), 1u);
}

CASE(query_file_page_shared_and_private) {
    need_module();
    const std::string path = directory_on("tmpfs") + "/ledger-" + std::to_string(getpgrp());
    const std::string name = path.substr(path.rfind('/') + 1);
    const int file = make_file(path, page_text('a', 4 * kPage));
    const int shared_fd = device(), private_fd = device();
    CHECK_OK(objr::bind_file(shared_fd, file, OBJRMAP_SHARED));
    CHECK_OK(objr::bind_file(private_fd, file, OBJRMAP_PRIVATE));
    Actor sharer([&](Actor& self) {
        void* view = map_pages(shared_fd, 4);
        fill(at(view, 2), 1);
        self.pause();
    });
    sharer.await();
    Actor keeper([&](Actor& self) {
        void* view = map_pages(private_fd, 2, PROT_READ | PROT_WRITE, 2);
        CHECK(holds(view, 1));
        self.pause();
        fill(view, 2);
        self.pause();
    });
    keeper.await();
    const Answer both = answer_to("file " + name + " pgoff 2");
    CHECK_EQ(both.page.at("kind"), "file");
    CHECK_EQ(both.page.at("pgoff"), "0x2");
    CHECK(both.page.at("object").find(name) != std::string::npos);
    CHECK_EQ(both.mappers.size(), 2u);
    CHECK_EQ(both.mapper_of(sharer.pid()), 1);
    CHECK_EQ(both.mapper_of(keeper.pid()), 1);
    CHECK_EQ(answer_to("file " + name + " pgoff 0x2").page.at("pfn"), both.page.at("pfn"));
    keeper.step(); // writes: its own anonymous page now
    const Answer one = answer_to("file " + name + " pgoff 2");
    CHECK_EQ(one.mappers.size(), 1u);
    CHECK_EQ(one.mapper_of(sharer.pid()), 1);
    CHECK_EQ(one.page.at("pfn"), both.page.at("pfn"));
    sharer.finish();
    keeper.finish();
}

CASE(query_files_of_one_name) { // in two directories: both are answered
    need_module();
    const std::string name = "same-name-" + std::to_string(getpgrp());
    for (int i = 0; i < 2; ++i) {
        const int fd = device();
        CHECK_OK(objr::bind_file(fd, make_file(directory_on("tmpfs") + "/" + name, page_text('a')), OBJRMAP_SHARED));
        CHECK_EQ(*at(map_pages(fd, 1), 0), 'a');
    }
    const auto answers = answers_to("file " + name + " pgoff 0");
    CHECK_EQ(answers.size(), 2u);
    CHECK(answers[0].page.at("pfn") != answers[1].page.at("pfn"));
    for (const Answer& answer : answers)
        CHECK_EQ(answer.mapper_of(getpid()), 1);
}

CASE(query_every_selector_agrees) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "selected", 8 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 8);
    void* again = map_pages(fd, 3, PROT_READ, 3); // the same pages a second time: two mappings in one process (P1)
    fill(at(memory, 4), 1);
    CHECK(holds(at(again, 1), 1));
    const Answer answer = answer_to(objr::selector_of(getpid(), at(memory, 4)));
    CHECK_EQ(answer.mappers.size(), 2u);
    CHECK_EQ(answer.mapper_of(getpid()), 2);
    const std::string index = answer.page.at("index"), pfn = answer.page.at("pfn");
    for (const std::string& selector : {"pfn " + pfn, "pfn " + std::to_string(strtoull(pfn.c_str(), nullptr, 16)),
                                        "page " + index, "page " + index + "\n", std::string("file selected pgoff 4"),
                                        objr::selector_of(getpid(), at(again, 1)), "range page " + index + " " + index,
                                        "  page   " + index + "  ", objr::selector_of(getpid(), at(memory, 4) + 123)}) {
        const Answer same = answer_to(selector);
        CHECK_EQ(same.page.at("pfn"), pfn);
        CHECK_EQ(same.mappers.size(), 2u);
    }
    // A range answers for each of its pages, in order.
    const size_t pages = objr::stat("pool_pages");
    const auto range = answers_to("range page 0 99");
    CHECK_EQ(range.size(), 100u);
    for (size_t i = 0; i < range.size(); ++i)
        CHECK_EQ(range[i].page.at("index"), std::to_string(i));
    const std::string whole = objr::ask("query", "range page 0 " + std::to_string(pages - 1));
    CHECK_EQ(objr::parse_answers(whole).size(), pages);
    // What is not there is said, not invented.
    for (const std::string& selector : {objr::selector_of(getpid(), at(memory, 5)), objr::selector_of(getpid(), &pfn),
                                        objr::selector_of(1, at(memory, 4)), std::string("pid 999999 addr 0x1000"),
                                        std::string("file nosuchfile pgoff 0"), std::string("file selected pgoff 7"),
                                        std::string("file selected pgoff 0xfffffffff")}) {
        int error = 0;
        const std::string text = objr::ask("query", selector, &error);
        CHECK(objr::parse_answers(text).empty());
        CHECK(!text.empty());
    }
}

CASE(query_last_selector_for_those_who_only_read) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 2);
    fill(memory, 1);
    CHECK_OK(objr::write_text(objr::kDebugfs + "query", objr::selector_of(getpid(), memory) + "\n"));
    const auto answers = objr::parse_answers(objr::read_text(objr::kDebugfs + "query"));
    CHECK_EQ(answers.size(), 1u);
    CHECK_EQ(answers[0].mapper_of(getpid()), 1);
    // An open file keeps its own selector whatever others write, and takes a new one.
    const int mine = open((objr::kDebugfs + "query").c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(mine);
    CHECK(write(mine, "page 3", 6) == 6);
    objr::ask("query", "page 4");
    CHECK_EQ(objr::parse_answers(objr::read_all(mine)).at(0).page.at("index"), "3");
    CHECK(write(mine, "page 5", 6) == 6);
    CHECK_EQ(objr::parse_answers(objr::read_all(mine)).at(0).page.at("index"), "5");
}

CASE(query_json) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "quote\"back\\slash", 4 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 2);
    fill(memory, 1);
    for (const char* name :
         {"plain", "with blank", "quote\"x", "back\\slash", "new\nline", "\x01\x7f\xff", "caf\xc3\xa9", "=,:{}[]"}) {
        prctl(PR_SET_NAME, name);
        const std::string selector = objr::selector_of(getpid(), memory);
        const std::string json = objr::ask("query", selector + " json");
        CHECK(Json(json).valid());
        CHECK(json.find("\"mapper") != std::string::npos);
        CHECK(json.find("\"pid\":" + std::to_string(getpid())) != std::string::npos);
        expect_format(objr::ask("query", selector)); // and no name breaks the lines
        CHECK_EQ(objr::parse_answers(objr::ask("query", selector)).at(0).mapper_of(getpid()), 1);
    }
    prctl(PR_SET_NAME, "json");
    for (const std::string& line : objr::lines_of(objr::ask("query", "range page 0 50 json")))
        CHECK(Json(line).valid());
    CHECK(Json(objr::ask("query", "json page 0")).valid() || !objr::ask("query", "json page 0").empty());
}

CASE(query_explain) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 2);
    fill(memory, 1);
    int error = 0;
    const std::string text = objr::ask("query", objr::selector_of(getpid(), memory) + " explain", &error);
    CHECK_EQ(error, 0);
    CHECK_EQ(objr::parse_answers(text).size(), 1u);
}

CASE(graph_is_dot) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    Actor child([&](Actor& self) {
        prctl(PR_SET_NAME, "\"}; evil \\");
        CHECK(holds(memory, 1));
        self.pause();
    });
    child.await();
    const std::string dot = objr::ask("graph", objr::selector_of(getpid(), memory));
    CHECK_EQ(dot.rfind("strict digraph ", 0), 0u);
    CHECK(dot.find(" -> ") != std::string::npos);
    // Braces and quotes balance outside of each other.
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < dot.size(); ++i) {
        if (quoted && dot[i] == '\\')
            ++i;
        else if (dot[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += dot[i] == '{' ? 1 : dot[i] == '}' ? -1 : 0;
        CHECK(depth >= 0);
    }
    CHECK(!quoted && depth == 0);
    child.finish();
}

// ---- rubbish ------------------------------------------------------------------------------------------------------

// The one line that says what is wrong; in `graph` it is a comment in a graph that is otherwise empty.
static std::string error_line(const std::string& text) {
    std::string found;
    unsigned errors = 0, nodes = 0;
    for (const std::string& line : objr::lines_of(text)) {
        if (line.rfind("error ", 0) == 0 || line.rfind("  // error ", 0) == 0) {
            found = line;
            ++errors;
        }
        nodes += line.find("page") != std::string::npos && line.find("label") != std::string::npos;
    }
    if (errors != 1 || nodes) fail(__FILE__, __LINE__, "no answer to a wrong selector: " + text);
    return found;
}

CASE(selectors_wrong_are_named) {
    need_module();
    const auto before = objr::stats();
    struct Wrong {
        const char* selector;
        const char* named; // must be in the answer
        enum { kWord, kNowhere } kind = kWord; // kNowhere: well said, but there is no such page
    };
    for (const Wrong& wrong :
         std::initializer_list<Wrong>{{"frame 1", "frame"},
                                      {"page", ""},
                                      {"page x7", "x7"},
                                      {"page -1", "-1"},
                                      {"page 1 2", "2"},
                                      {"page 99999999999999999999", "9999"},
                                      {"page 4294967296", "4294967296", Wrong::kNowhere},
                                      {"pfn", ""},
                                      {"pfn 0x", "0x"},
                                      {"pfn 0xzz", "0xzz"},
                                      {"pfn 0xffffffffffffffff", "0xffffffffffffffff", Wrong::kNowhere},
                                      {"pid 1", ""},
                                      {"pid 1 addr", ""},
                                      {"pid x addr 0x1000", "x"},
                                      {"pid 1 adr 0x1000", "adr"},
                                      {"pid 0 addr 0x0", "0", Wrong::kNowhere},
                                      {"file", ""},
                                      {"file x", ""},
                                      {"file x pgof 1", "pgof"},
                                      {"file x pgoff", ""},
                                      {"range", ""},
                                      {"range page", ""},
                                      {"range page 5", ""},
                                      {"range page 9 3", "3"},
                                      {"page 1 jsn", "jsn"},
                                      {"page 1 json explain banana", "banana"},
                                      {" ", ""},
                                      {"\n", ""},
                                      {"\t\t", ""},
                                      {"json", ""},
                                      {"PAGE 1", "PAGE"}}) {
        for (const char* file : {"query", "graph"}) {
            int error = 0;
            const std::string text = objr::ask(file, wrong.selector, &error);
            if (error != EINVAL && !(error == 0 && wrong.kind == Wrong::kNowhere))
                fail(__FILE__, __LINE__,
                     std::string(file) + " took '" + wrong.selector + "' (errno " + std::to_string(error) +
                         "): " + text);
            if (error_line(text).find(wrong.named) == std::string::npos)
                fail(__FILE__, __LINE__,
                     std::string("'") + wrong.selector + "' is answered without naming " + wrong.named + ": " + text);
        }
    }
    auto after = objr::stats();
    for (const char* name : {"free_pages", "mms", "vmas", "anon_vmas", "file_mappings", "table_pages"})
        CHECK_EQ(after[name], before.at(name));
}

CASE(selectors_of_a_mebibyte_and_noise) {
    need_module();
    std::mt19937_64 random(99);
    std::vector<std::string> rubbish;
    rubbish.emplace_back(1 << 20, 'A');
    rubbish.emplace_back(1 << 20, ' ');
    rubbish.emplace_back(1 << 20, '\0');
    rubbish.emplace_back(4095, 'x');
    rubbish.emplace_back(4096, 'x');
    rubbish.emplace_back(4097, '9');
    rubbish.emplace_back("page " + std::string(5000, '0') + "1");
    rubbish.emplace_back("pid " + std::string(500, '1') + " addr 0x1000");
    rubbish.emplace_back("file " + std::string(300, 'n') + " pgoff 1");
    rubbish.emplace_back(std::string("page\0 1", 7));
    rubbish.emplace_back(std::string("pa\0ge 1", 7));
    rubbish.emplace_back("\xff\xfe\x80 \x01\x02 %s%n%p %d \x1b[2J");
    for (int i = 0; i < 200; ++i) {
        std::string noise(1 + random() % (i % 10 ? 60 : 20000), ' ');
        for (char& character : noise)
            character = static_cast<char>(random());
        rubbish.push_back(noise);
    }
    static const char* const words[] = {"page",  "pfn",   "pid",   "addr",    "file",
                                        "pgoff", "range", "json",  "explain", "0x",
                                        "-",     "1",     "0xfff", "\0",      "18446744073709551615"};
    for (int i = 0; i < 300; ++i) { // right words in wrong order: whatever it answers, it is an answer
        std::string text;
        for (size_t count = 1 + random() % 6; count; --count)
            text += std::string(words[random() % std::size(words)]) + " ";
        int error = 0;
        const std::string answer = objr::ask(i % 2 ? "query" : "graph", text, &error);
        CHECK(error == 0 || error == EINVAL);
        CHECK(!answer.empty() || !error);
    }
    for (const std::string& text : rubbish)
        for (const char* file : {"query", "graph"}) {
            int error = 0;
            const std::string answer = objr::ask(file, text, &error);
            CHECK_EQ(error, EINVAL);
            error_line(answer);
            for (const char character : answer) // the message is printable whatever was written
                CHECK(character == '\n' || (character >= ' ' && character < 0x7f));
        }
    for (const char* file : kFiles) // what cannot be written refuses it
        for (const std::string& text : {rubbish[0], rubbish[2], rubbish.back()})
            if (!strcmp(file, "query") || !strcmp(file, "graph") || !strcmp(file, "scheme"))
                CHECK_FAILS(objr::write_text(objr::kDebugfs + file, text), EINVAL);
            else
                CHECK(objr::write_text(objr::kDebugfs + file, text) < 0);
    const int query = open((objr::kDebugfs + "query").c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(query);
    CHECK_FAILS(write(query, reinterpret_cast<void*>(0x1000), 20), EFAULT);
    CHECK_FAILS(write(query, reinterpret_cast<void*>(0xffff888000000000UL), 20), EFAULT);
    CHECK_EQ(write(query, "", 0), 0);
}

// ---- while others are at it ---------------------------------------------------------------------------------------

CASE_LIMIT(queries_beside_forks_and_writes, 120) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    std::vector<std::unique_ptr<Actor>> restless;
    for (int i = 0; i < 3; ++i)
        restless.push_back(std::make_unique<Actor>([&](Actor& self) {
            self.pause();
            for (int round = 0; round < 25; ++round)
                in_child([&] {
                    for (size_t page = 0; page < 8; ++page) {
                        CHECK(holds(at(memory, page), page + 1));
                        fill(at(memory, page), 99);
                    }
                    CHECK_OK(munmap(at(memory, 3), 2 * kPage));
                });
        }));
    for (auto& actor : restless)
        actor->await();
    for (auto& actor : restless)
        actor->go();
    unsigned retries = 0;
    for (int round = 0; round < 60; ++round) {
        for (size_t page = 0; page < 8; ++page) {
            const std::string text = objr::ask("query", objr::selector_of(getpid(), at(memory, page)));
            if (text.find("retry") != std::string::npos) {
                ++retries;
                continue;
            }
            const auto answers = objr::parse_answers(text); // never a mixture of states
            CHECK_EQ(answers.size(), 1u);
            CHECK_EQ(answers[0].page.at("mapcount"), std::to_string(answers[0].mappers.size()));
            CHECK_EQ(answers[0].mapper_of(getpid()), 1);
        }
        objr::read_text(objr::kDebugfs + kFiles[static_cast<size_t>(round) % std::size(kFiles)]);
        if (round % 10 == 0) {
            std::string text;
            if (!objr::verify(&text)) fail(__FILE__, __LINE__, "verify: " + text);
        }
    }
    CHECK(retries < 60 * 8 / 2);
    for (auto& actor : restless)
        actor->wait_end();
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
}

CASE(young_and_dirty_follow_the_process) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    CHECK(holds(memory, 0)); // read only
    const Answer read_page = answer_to(objr::selector_of(getpid(), memory));
    CHECK_EQ(read_page.mappers.at(0).at("young"), "1");
    CHECK_EQ(read_page.mappers.at(0).at("dirty"), "0");
    *static_cast<Byte*>(memory) = 1;
    const Answer written = answer_to(objr::selector_of(getpid(), memory));
    CHECK_EQ(written.mappers.at(0).at("dirty"), "1");
    CHECK_EQ(written.page.at("pfn"), read_page.page.at("pfn"));
}

CASE(mappers_lists_every_mapped_page) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 20);
    for (size_t page = 0; page < 20; ++page)
        fill(at(memory, page), 1);
    Actor child([&](Actor& self) {
        for (size_t page = 0; page < 5; ++page)
            fill(at(memory, page), 2);
        self.pause();
    });
    child.await();
    const std::string text = objr::read_text(objr::kDebugfs + "mappers");
    size_t mappers = 0;
    for (const std::string& line : objr::lines_of(text))
        mappers += line.find("pid=") != std::string::npos;
    CHECK_EQ(mappers, 40u);
    CHECK_EQ(objr::stat("mappings"), 40u);
    CHECK_EQ(objr::stat("mapped_pages"), 25u);
    CHECK_EQ(objr::lines_of(objr::read_text(objr::kDebugfs + "mms")).size(), 2u);
    child.finish();
}
