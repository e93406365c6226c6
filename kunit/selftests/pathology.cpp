// SPDX-License-Identifier: GPL-2.0
//
// The workloads that one reverse map or another is known to be bad at, made by real processes; then one scheme after the
// other takes over the same processes, and the ledger of each says what a question costs under it.
#include <memory>

#include "harness.h"

using namespace harness;
using objr::kPage;

namespace {

// "[chain] classic ..." -> the names; *now: the one in brackets.
std::vector<std::string> scheme_names(std::string* now) {
    std::vector<std::string> names;
    std::istringstream words(objr::read_text(objr::kDebugfs + "scheme"));
    for (std::string word; words >> word;) {
        if (word.front() == '[') {
            word = word.substr(1, word.size() - 2);
            *now = word;
        }
        names.push_back(word);
    }
    return names;
}

// Calls the function under each scheme; the first one is back at the end.
void under_each_scheme(const std::function<void(const std::string&)>& look) {
    std::string now;
    for (const std::string& name : scheme_names(&now)) {
        CHECK_OK(objr::write_text(objr::kDebugfs + "scheme", name));
        look(name);
        std::string text;
        CHECK_EQ(objr::verify(&text) ? "ok" : text, std::string("ok"));
    }
    CHECK_OK(objr::write_text(objr::kDebugfs + "scheme", now));
}

objr::Answer answer_of(const std::string& selector) {
    const auto answers = objr::parse_answers(objr::ask("query", selector));
    CHECK_EQ(answers.size(), 1u);
    return answers.front();
}

uint64_t number(const objr::Fields& fields, const char* name) { return std::stoull(fields.at(name)); }

} // namespace

// 100 children, each of which rewrites the 100 pages it has inherited. The last child's pages: the whole family is looked at in
// classic, one Vma in chain, one entry in pte_chain.
CASE_LIMIT(pathology_forking_server, 240) {
    need_module();
    // A hundred of each needs a pool of 40 MiB; the usual one of the selftests is smaller.
    const size_t count = objr::stat("pool_pages") > 102 * 100 ? 100 : 60;
    void* memory = map_pages(device(), count);
    for (size_t page = 0; page < count; ++page)
        *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = page;
    std::vector<std::unique_ptr<Actor>> children;
    for (size_t n = 0; n < count; ++n) {
        children.push_back(std::make_unique<Actor>([&](Actor& self) {
            for (size_t page = 0; page < count; ++page)
                *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = (n + 1) * 1000 + page;
            self.pause();
            for (size_t page = 0; page < count; ++page)
                CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(at(memory, page)), (n + 1) * 1000 + page);
        }));
        children.back()->await();
    }
    under_each_scheme([&](const std::string& scheme) {
        uint64_t candidates = 0;
        for (size_t page = 0; page < count; page += 10) {
            const auto answer = answer_of(objr::selector_of(children.back()->pid(), at(memory, page)));
            CHECK_EQ(number(answer.page, "mapcount"), 1u);
            CHECK_EQ(answer.mapper_of(children.back()->pid()), 1);
            candidates += number(answer.cost, "candidates");
        }
        if (scheme == "classic")
            CHECK(candidates >= count / 10 * count);
        else
            CHECK_EQ(candidates, count / 10); // one a page; in anonmm the mm that the page names
    });
    for (auto& child : children)
        child->finish();
}

// One process with 10,000 Vmas of one object: who maps a page is found by looking at little else.
CASE_LIMIT(pathology_ten_thousand_vmas, 240) {
    need_module();
    constexpr size_t kVmas = 10000, kPages = 1000;
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "ten-thousand", kPages * kPage, OBJRMAP_CREATE));
    for (size_t n = 0; n < kVmas; ++n) {
        auto* window = static_cast<volatile uint64_t*>(map_pages(fd, 1, PROT_READ | PROT_WRITE, n % kPages));
        *window = n % kPages;
    }
    CHECK_EQ(objr::stat("vmas"), kVmas);
    under_each_scheme([&](const std::string&) {
        for (size_t page = 0; page < kPages; page += 100) {
            const auto answer = answer_of("file ten-thousand pgoff " + std::to_string(page));
            CHECK_EQ(answer.mappers.size(), kVmas / kPages);
            CHECK_EQ(number(answer.cost, "hits"), kVmas / kPages);
            CHECK(number(answer.cost, "candidates") <= kVmas / kPages + 2);
        }
    });
}
