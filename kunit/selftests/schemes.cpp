// SPDX-License-Identifier: GPL-2.0
//
// Schemes: switched live, under processes that go on; nothing of theirs changes, and every scheme gives the same answers.
#include <memory>
#include <set>

#include "commands.h"

using namespace harness;
using objr::kPage;

namespace {

void expect_verify() {
    std::string text;
    if (!objr::verify(&text)) fail(__FILE__, __LINE__, "verify: " + text);
}

// The runner goes back to the scheme that was in force, for the cases that follow.
struct Schemes {
    Schemes() { names = objr::schemes(&before); }
    std::string before;
    std::vector<std::string> names;
};

// (pid, address) of all who map the page, whatever order a scheme finds them in.
std::set<std::pair<std::string, std::string>> mappers_of(const std::string& selector) {
    int error = 0;
    const auto answers = objr::parse_answers(objr::ask("query", selector, &error));
    CHECK_EQ(error, 0);
    CHECK_EQ(answers.size(), 1u);
    std::set<std::pair<std::string, std::string>> mappers;
    for (const objr::Fields& mapper : answers[0].mappers)
        mappers.emplace(mapper.at("pid"), mapper.at("vaddr"));
    CHECK_EQ(mappers.size(), answers[0].mappers.size());
    return mappers;
}

} // namespace

CASE(schemes_are_four_and_one_is_in_force) {
    need_module();
    std::string active;
    auto names = objr::schemes(&active);
    const std::vector<std::string> expected{"chain", "classic", "anonmm", "pte_chain"};
    CHECK_EQ(names.size(), expected.size());
    for (size_t n = 0; n < names.size(); ++n)
        CHECK_EQ(names[n], expected[n]);
    CHECK_EQ(active, "chain"); // the default
}

CASE(scheme_refusals_are_explained) {
    need_module();
    const Schemes kept;
    const std::string list = objr::read_text(objr::kDebugfs + "scheme");
    const int fd = open((objr::kDebugfs + "scheme").c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(fd);
    CHECK_EQ(objr::read_all(fd), list);
    CHECK_FAILS(write(fd, "slabby", 6), EINVAL);
    std::string text = objr::read_all(fd);
    CHECK_EQ(text.rfind("error no scheme", 0), 0u);
    CHECK(text.find("slabby") != std::string::npos && text.find("pte_chain") != std::string::npos);
    CHECK_EQ(objr::lines_of(text).size(), 1u);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(objr::read_all(fd), text); // until something else is written
    CHECK_EQ(objr::read_text(objr::kDebugfs + "scheme"), list); // and only here
    CHECK_FAILS(write(fd, std::string(100, 'c').data(), 100), EINVAL);
    CHECK_EQ(objr::read_all(fd).rfind("error ", 0), 0u);
    CHECK_FAILS(write(fd, "chain\0classic", 13), EINVAL);
    CHECK_EQ(objr::read_all(fd).rfind("error ", 0), 0u);
    CHECK_FAILS(write(fd, reinterpret_cast<void*>(0x1000), 5), EFAULT);
    const std::string again = kept.before + "\n";
    CHECK_EQ(write(fd, again.data(), again.size()), static_cast<ssize_t>(again.size()));
    CHECK_EQ(objr::read_all(fd), list);
    for (const std::string& name : kept.names) {
        CHECK_EQ(write(fd, name.data(), name.size()), static_cast<ssize_t>(name.size()));
        CHECK(objr::read_all(fd).find("[" + name + "]") != std::string::npos);
    }
}

CASE_LIMIT(U1_switch_under_running_children, 240) {
    need_module();
    const Schemes kept;
    const int fd = device(), object = device();
    CHECK_OK(objr::bind_object(object, "schemes-" + std::to_string(getpgrp()), 16 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 16);
    void* shared = map_pages(object, 16);
    void* window = map_pages(object, 4);
    CHECK_OK(objr::remap(object, window, 2 * kPage, 9));
    for (size_t page = 0; page < 16; ++page) {
        fill(at(memory, page), page + 1);
        fill(at(shared, page), page + 101);
    }
    std::vector<std::unique_ptr<Actor>> children;
    for (uint64_t number = 0; number < 4; ++number)
        children.push_back(std::make_unique<Actor>([&, number](Actor& self) {
            fill(at(memory, number), 1000 + number); // one page of its own
            for (uint64_t round = 0;; ++round) {
                self.pause();
                for (size_t page = 0; page < 16; ++page)
                    CHECK(holds(at(memory, page), page == number ? 1000 + number : page + 1));
                CHECK(holds(at(window, 1), 111));
                in_child([&] {
                    fill(at(memory, 8), 77);
                    CHECK(holds(at(memory, 9), 10));
                });
            }
        }));
    for (auto& child : children)
        child->await();
    // One page is in the swap cache, or out, when the scheme changes: it must be found again.
    const void* swapped = at(memory, 15);
    const std::string anon = objr::selector_of(getpid(), at(memory, 5)), file = objr::selector_of(getpid(), window);
    const auto anon_mappers = mappers_of(anon), file_mappers = mappers_of(file);
    CHECK_EQ(anon_mappers.size(), 5u);
    for (int round = 0; round < 3; ++round)
        for (const std::string& name : kept.names) {
            command_at("unmap", getpid(), swapped);
            CHECK_EQ(objr::switch_scheme(name), 0);
            expect_verify();
            std::string active;
            objr::schemes(&active);
            CHECK_EQ(active, name);
            CHECK(mappers_of(anon) == anon_mappers);
            CHECK(mappers_of(file) == file_mappers);
            for (auto& child : children)
                child->step();
            CHECK(holds(swapped, 16));
            for (size_t page = 0; page < 16; ++page)
                CHECK(holds(at(memory, page), page + 1));
            expect_verify();
        }
    for (auto& child : children)
        child->kill();
}

CASE(U1_switching_keeps_young_and_dirty) {
    need_module();
    const Schemes kept;
    void* memory = map_pages(device(), 4);
    CHECK(holds(memory, 0)); // read
    fill(at(memory, 1), 1); // written
    fill(at(memory, 2), 1);
    command_at("referenced", getpid(), at(memory, 2)); // written, and left alone since
    for (const std::string& name : kept.names) {
        CHECK_EQ(objr::switch_scheme(name), 0);
        const char* const expected[][2] = {{"1", "0"}, {"1", "1"}, {"0", "1"}};
        for (size_t page = 0; page < 3; ++page) {
            const auto answers = objr::parse_answers(objr::ask("query", objr::selector_of(getpid(), at(memory, page))));
            CHECK_EQ(answers.at(0).mappers.at(0).at("young"), expected[page][0]);
            CHECK_EQ(answers.at(0).mappers.at(0).at("dirty"), expected[page][1]);
        }
    }
}

CASE(U1_anonmm_is_refused_two_addresses) { // a shared page that sits at two: named, and nothing has changed
    need_module();
    const Schemes kept;
    CHECK_EQ(objr::switch_scheme("chain"), 0);
    void* memory = map_pages(device(), 2);
    fill(memory, 1);
    void* room = mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Actor child([&](Actor& self) {
        CHECK(mremap(memory, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
        CHECK(holds(room, 1));
        self.pause();
        CHECK(holds(room, 1));
        self.pause();
        CHECK(holds(room, 1));
    });
    child.await();
    std::string why, active;
    CHECK_EQ(objr::switch_scheme("anonmm", &why), EBUSY);
    CHECK_EQ(why.rfind("error ", 0), 0u);
    CHECK(why.find("page") != std::string::npos);
    objr::schemes(&active);
    CHECK_EQ(active, "chain");
    expect_verify();
    child.step();
    for (const char* name : {"pte_chain", "classic", "chain"}) {
        CHECK_EQ(objr::switch_scheme(name), 0);
        CHECK_EQ(mappers_of(objr::selector_of(getpid(), memory)).size(), 2u);
        expect_verify();
    }
    child.finish();
    CHECK_EQ(objr::switch_scheme("anonmm"), 0);
    CHECK(holds(memory, 1));
}

CASE_LIMIT(U1_switch_while_everybody_works, 240) {
    need_module();
    const Schemes kept;
    void* memory = map_pages(device(), 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    std::vector<pid_t> workers;
    for (int worker = 0; worker < 4; ++worker) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (int round = 0; round < 30; ++round)
                in_child([&] {
                    for (size_t page = 0; page < 8; ++page) {
                        CHECK(holds(at(memory, page), page + 1));
                        fill(at(memory, page), 500);
                    }
                    void* room = mmap(nullptr, 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    CHECK(mremap(at(memory, 2), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
                    CHECK(holds(room, 500));
                    CHECK_OK(munmap(memory, kPage));
                });
            _exit(0);
        }
        workers.push_back(pid);
    }
    unsigned switched = 0;
    for (int round = 0; round < 40; ++round) {
        std::string why;
        const int error = objr::switch_scheme(kept.names[static_cast<size_t>(round) % kept.names.size()], &why);
        if (error && error != EBUSY) fail(__FILE__, __LINE__, "switch: " + with_errno(why.c_str()));
        CHECK(!error || why.rfind("error ", 0) == 0);
        switched += !error;
        expect_verify();
    }
    CHECK(switched >= 30);
    for (const pid_t pid : workers)
        expect_exit(pid);
    for (size_t page = 0; page < 8; ++page)
        CHECK(holds(at(memory, page), page + 1));
}
