// SPDX-License-Identifier: GPL-2.0
//
// Commands from the page's side, on real processes: who has used this page since the last time, take it away, make it
// clean, put it elsewhere. And the file itself: run once, read as often as one likes.
#include <memory>
#include <regex>

#include "commands.h"

using namespace harness;
using objr::kPage;

namespace {

const std::string kFile = objr::kDebugfs + "command";

std::string own_name(const char* suffix = "") { return "command-" + std::to_string(getpgrp()) + suffix; }

void fill_pages(void* memory, size_t pages, uint64_t tag) {
    for (size_t page = 0; page < pages; ++page)
        fill(at(memory, page), tag + page);
}

void expect_pages(void* memory, size_t pages, uint64_t tag) {
    for (size_t page = 0; page < pages; ++page)
        CHECK(holds(at(memory, page), tag + page));
}

unsigned long long referenced(int pid, const void* address, const char* options = "") {
    return command_at("referenced", pid, address, options).number("young");
}

// Until it is so: young pages may be refused once.
void unmap_all(void* memory, size_t pages) {
    for (size_t page = 0; page < pages; ++page)
        CHECK(becomes([&] { return command_at("unmap", getpid(), at(memory, page)).page.at("answer") == "SUCCESS"; }));
}

} // namespace

// ---- the file -----------------------------------------------------------------------------------------------------

CASE(command_refuses_and_names_the_word) {
    need_module();
    void* memory = map_pages(device(), 1);
    fill(memory, 1);
    const std::string good = objr::selector_of(getpid(), memory);
    struct {
        std::string text;
        const char* part;
    } const wrong[] = {
        {"unmapp " + good, "error bad word 'unmapp': expected referenced, unmap, mkclean, revoke"},
        {"migrate", "error the line ends too early"},
        {"reclaim five", "error bad word 'five'"},
        {"unmap", "error the line ends too early"},
        {"unmap " + good + " peek", "error bad word 'peek'"},
        {"referenced " + good + " sneak", "error bad word 'sneak': expected peek, json or the end"},
        {"\n", "error nothing commanded"},
        {std::string("unmap\0page 3", 12), "error bad word"},
        {"unmap " + std::string(5000, 'x'), "error command longer than 4095 bytes"},
    };
    for (const auto& [text, part] : wrong) {
        int error = 0;
        const std::string answer = objr::ask("command", text, &error);
        CHECK_EQ(error, EINVAL);
        if (answer.rfind(part, 0) != 0 || answer.back() != '\n' || objr::lines_of(answer).size() != 1)
            fail(__FILE__, __LINE__, text + " answers " + answer);
    }
    int error = 0;
    std::string answer = objr::ask("command", "unmap pid 1 addr 0x1000", &error);
    CHECK_EQ(error, ENOENT);
    CHECK_EQ(answer, "error pid 1 maps nothing of the pool\n");
    answer = objr::ask("command", "unmap page 99999999", &error);
    CHECK_EQ(error, ENOENT);
    CHECK_EQ(answer.rfind("error no page 99999999", 0), 0u);
    const int fd = open(kFile.c_str(), O_RDWR | O_CLOEXEC);
    CHECK_FAILS(write(fd, reinterpret_cast<void*>(0x1000), 10), EFAULT);
    CHECK_EQ(write(fd, "x", 0), 0);
}

CASE(command_runs_once_and_is_read_twice) {
    need_module();
    const int device_fd = device();
    void* memory = map_pages(device_fd, 2);
    fill_pages(memory, 2, 1);
    const std::string text = "referenced " + objr::selector_of(getpid(), memory) + "\n";
    const int fd = open(kFile.c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(fd);
    CHECK_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    const uint64_t walks = objr::stat("rmap_walks");
    const std::string first = objr::read_all(fd);
    CHECK_EQ(parse_results("referenced", first).at(0).number("young"), 1u);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(objr::read_all(fd, 3), first); // read, not run, again
    CHECK_EQ(objr::stat("rmap_walks"), walks);
    // Those who only read get the last one, whoever wrote it, and keep what they have begun to read.
    const int reader = open(kFile.c_str(), O_RDONLY | O_CLOEXEC);
    std::string piece(10, ' ');
    CHECK_EQ(read(reader, piece.data(), piece.size()), 10);
    CHECK_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    CHECK_EQ(piece + objr::read_all(reader), first);
    CHECK_EQ(lseek(reader, 0, SEEK_SET), 0);
    const std::string second = objr::read_all(reader);
    CHECK_EQ(parse_results("referenced", second).at(0).number("young"), 0u);
    CHECK_EQ(objr::read_all(fd), second); // the write has put it to the beginning
    CHECK_EQ(objr::read_text(kFile), second);
    // One's own result is not overtaken by another's.
    const int other = open(kFile.c_str(), O_RDWR | O_CLOEXEC);
    CHECK_EQ(write(other, "mkclean nonsense", 16), -1);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(objr::read_all(fd), second);
    CHECK_EQ(objr::read_text(kFile), objr::read_all(other));
    CHECK_EQ(objr::read_text(kFile).rfind("error bad word 'nonsense'", 0), 0u);
}

CASE(command_json) {
    need_module();
    void* memory = map_pages(device(), 1);
    fill(memory, 1);
    for (const char* verb : {"referenced", "unmap", "mkclean", "revoke"}) {
        int error = 0;
        *static_cast<Byte*>(memory) = *static_cast<Byte*>(memory);
        const std::string text =
            objr::ask("command", std::string(verb) + " " + objr::selector_of(getpid(), memory) + " json", &error);
        CHECK_EQ(error, 0);
        CHECK_EQ(text.rfind("{\"" + std::string(verb) + "\":{\"pfn\":\"0x", 0), 0u);
        CHECK(text.back() == '\n' && objr::lines_of(text).size() == 1);
        CHECK_EQ(std::count(text.begin(), text.end(), '{'), std::count(text.begin(), text.end(), '}'));
    }
}

CASE(command_on_a_range) {
    need_module();
    void* memory = map_pages(device(), 20);
    fill_pages(memory, 20, 1);
    const uint64_t pages = objr::stat("pool_pages");
    const std::string all_pages = "range page 0 " + std::to_string(pages - 1);
    auto results = command("referenced", all_pages);
    CHECK_EQ(results.size(), 20u);
    for (const CommandResult& result : results)
        CHECK_EQ(result.number("young"), 1u);
    results = command("referenced", all_pages);
    for (const CommandResult& result : results)
        CHECK_EQ(result.number("young"), 0u);
    results = command("unmap", all_pages);
    CHECK_EQ(results.size(), 20u);
    CHECK_EQ(objr::stat("mappings"), 0u);
    expect_pages(memory, 20, 1);
    results = command("revoke", all_pages);
    expect_pages(memory, 20, 1);
}

CASE(command_in_pool_memory) { // the command lies in the page that it takes away, the result goes into another
    need_module();
    void* memory = map_pages(device(), 2);
    const std::string text = "revoke " + objr::selector_of(getpid(), memory);
    memcpy(memory, text.data(), text.size());
    const int fd = open(kFile.c_str(), O_RDWR | O_CLOEXEC);
    CHECK_EQ(write(fd, memory, text.size()), static_cast<ssize_t>(text.size()));
    CHECK(read(fd, at(memory, 1), kPage) > 0);
    CHECK_EQ(memcmp(at(memory, 1), "revoke pfn=", 11), 0);
    CHECK_EQ(memcmp(memory, text.data(), text.size()), 0);
}

// ---- referenced ---------------------------------------------------------------------------------------------------

// Exactly those who touched it, whoever of the family shares it, and nobody when it is left alone (M8).
static void expect_exact_count(void* memory) {
    constexpr size_t kChildren = 6;
    fill(memory, 1);
    fill(at(memory, 1), 2);
    std::vector<std::unique_ptr<Actor>> children;
    for (size_t number = 0; number < kChildren; ++number)
        children.push_back(std::make_unique<Actor>([&, number](Actor& self) {
            CHECK(holds(memory, 1));
            if (number == 0) fill(memory, 50); // a copy of its own at the same place
            for (;;) {
                self.pause();
                CHECK(holds(memory, number == 0 ? 50 : 1));
            }
        }));
    for (auto& child : children)
        child->await();
    CHECK_EQ(command_at("referenced", getpid(), memory, " peek").number("mapcount"), kChildren);
    referenced(getpid(), memory);
    CHECK_EQ(referenced(getpid(), memory), 0u); // left alone
    for (size_t users = 0; users <= kChildren; ++users) {
        std::vector<int> pids;
        for (size_t number = 0; number < users; ++number) {
            children[number]->step();
            if (number != 0) pids.push_back(children[number]->pid());
        }
        std::string expected;
        std::sort(pids.begin(), pids.end());
        for (const int pid : pids)
            expected += std::to_string(pid) + ",";
        for (const char* options : {" peek", " peek", ""}) { // a look changes nothing
            const CommandResult result = command_at("referenced", getpid(), memory, options);
            CHECK_EQ(result.number("young"), pids.size());
            CHECK_EQ(result.mappers.size(), kChildren);
            CHECK_EQ(result.mappers_with("young", "1"), expected);
        }
        CHECK_EQ(referenced(getpid(), memory), 0u);
    }
    CHECK_EQ(referenced(children[0]->pid(), memory), 1u); // its own page, used by it alone
    CHECK_EQ(referenced(children[0]->pid(), memory), 0u);
    CHECK(holds(memory, 1));
    CHECK_EQ(command_at("referenced", getpid(), memory).mappers_with("young", "1"), std::to_string(getpid()) + ",");
    for (auto& child : children)
        child->kill();
}

CASE_LIMIT(M8_referenced_is_exact_under_every_scheme, 240) {
    need_module();
    for (const std::string& name : objr::schemes()) {
        CHECK_EQ(objr::switch_scheme(name), 0);
        void* memory = map_pages(device(), 2);
        expect_exact_count(memory);
        CHECK_OK(munmap(memory, 2 * kPage));
    }
}

CASE(C6_referenced_of_a_file_page) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, own_name(), 4 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 4);
    fill_pages(memory, 4, 1);
    Actor reader([&](Actor& self) {
        for (;;) {
            self.pause();
            CHECK(holds(at(memory, 2), 3));
        }
    });
    reader.await();
    reader.step();
    const std::string selector = "file " + own_name() + " pgoff 2";
    command("referenced", selector);
    CHECK_EQ(command("referenced", selector).at(0).number("young"), 0u);
    reader.step();
    CHECK_EQ(command("referenced", selector).at(0).number("young"), 1u);
    CHECK(holds(at(memory, 2), 3));
    reader.step();
    CHECK_EQ(command("referenced", selector + " peek").at(0).number("young"), 2u);
    CHECK_EQ(command("referenced", selector).at(0).number("young"), 2u);
    CHECK_EQ(command("referenced", selector).at(0).number("young"), 0u);
    reader.kill();
}

// ---- unmap --------------------------------------------------------------------------------------------------------

CASE(U5_unmapped_anonymous_pages_come_back) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 16);
    fill_pages(memory, 16, 1);
    Actor child([&](Actor& self) {
        expect_pages(memory, 8, 1);
        fill(at(memory, 3), 103);
        self.pause();
        expect_pages(memory, 3, 1);
        CHECK(holds(at(memory, 3), 103));
        fill(at(memory, 4), 104);
        self.pause();
        expect_pages(at(memory, 8), 8, 9);
        CHECK(holds(at(memory, 4), 104));
        CHECK(holds(at(memory, 3), 103));
        self.pause();
        CHECK(holds(at(memory, 3), 103));
    });
    child.await();
    const auto before = objr::stats();
    for (int round = 0; round < 3; ++round) {
        unmap_all(memory, 16);
        CHECK(becomes([&] { return command_at("unmap", child.pid(), at(memory, 3)).page.at("answer") == "SUCCESS"; }));
        CHECK(objr::stat("swapped_pages") >= 17);
        std::string text;
        if (!objr::verify(&text)) fail(__FILE__, __LINE__, "verify: " + text);
        expect_pages(memory, 16, 1);
        if (round < 2) child.step();
    }
    fill_pages(memory, 16, 200); // none of it is the child's
    child.finish();
    expect_pages(memory, 16, 200);
    CHECK(objr::stat("swap_outs") + objr::stat("swap_ins") >= before.at("swap_outs") + before.at("swap_ins"));
    CHECK_OK(munmap(memory, 16 * kPage));
    CHECK_EQ(objr::stat("swapped_pages"), 0u);
}

CASE(C11_unmapped_shared_pages_keep_their_data) {
    need_module();
    const std::string path = directory_on("tmpfs") + "/kept";
    const int real = make_file(path, std::string(4 * kPage, 'o'));
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, real, OBJRMAP_SHARED));
    auto* memory = static_cast<char*>(map_pages(fd, 4));
    memset(memory + kPage, 'n', kPage);
    unmap_all(memory + kPage, 1);
    CHECK_EQ(memory[kPage], 'n'); // the dirty bit went to the page
    unmap_all(memory + kPage, 1);
    CHECK_OK(fsync(fd));
    CHECK_EQ(content_of(path).substr(kPage, kPage), std::string(kPage, 'n'));
    memory[kPage] = 'm';
    CHECK_OK(fsync(fd));
    CHECK_EQ(content_of(path)[kPage], 'm');
}

CASE(C12_unmapped_windows_show_the_same_pages) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, own_name(), 8 * kPage, OBJRMAP_CREATE));
    void* linear = map_pages(fd, 8);
    fill_pages(linear, 8, 1);
    void* window = map_pages(fd, 4);
    CHECK_OK(objr::remap(fd, window, 3 * kPage, 5));
    expect_pages(window, 3, 6);
    for (size_t page = 5; page < 8; ++page)
        CHECK(becomes([&] {
            const auto results = command("unmap", "file " + own_name() + " pgoff " + std::to_string(page));
            return results.at(0).page.at("answer") == "SUCCESS";
        }));
    std::string text;
    if (!objr::verify(&text)) fail(__FILE__, __LINE__, "verify: " + text);
    expect_pages(window, 3, 6);
    CHECK(holds(at(window, 3), 4));
    expect_pages(linear, 8, 1);
}

// ---- mkclean ------------------------------------------------------------------------------------------------------

CASE(C15_mkclean_notices_the_next_write) {
    need_module();
    const std::string path = directory_on("tmpfs") + "/clean";
    const int real = make_file(path, std::string(2 * kPage, 'o'));
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, real, OBJRMAP_SHARED));
    auto* memory = static_cast<volatile char*>(map_pages(fd, 2));
    memory[0] = 'a';
    Actor other([&](Actor& self) {
        memory[1] = 'b';
        self.pause();
        memory[1] = 'c';
        self.pause();
    });
    other.await();
    const std::string selector = "file clean pgoff 0";
    CHECK_EQ(command("mkclean", selector).at(0).number("cleaned"), 2u);
    CHECK_EQ(command("mkclean", selector).at(0).number("cleaned"), 0u);
    CHECK_EQ(memory[0], 'a'); // reading does not dirty it
    CHECK_EQ(command("mkclean", selector).at(0).number("cleaned"), 0u);
    other.step();
    CHECK_EQ(command("mkclean", selector).at(0).number("cleaned"), 1u);
    CHECK_EQ(command("mkclean", selector).at(0).page.at("dirty"), "1"); // the page is, until it is written
    CHECK_OK(fsync(fd));
    CHECK_EQ(command("mkclean", selector).at(0).page.at("dirty"), "0");
    CHECK_EQ(content_of(path).substr(0, 3), "aco");
    other.finish();
}

// ---- revoke -------------------------------------------------------------------------------------------------------

CASE(U7_revoke_takes_it_from_everybody) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill_pages(memory, 4, 1);
    CHECK_OK(objr::advise(fd, memory, 2 * kPage, OBJRMAP_ADVISE_LOCK)); // locked and young are no obstacle
    Actor child([&](Actor& self) {
        expect_pages(memory, 4, 1);
        self.pause();
        expect_pages(memory, 4, 1);
        fill(memory, 50);
        self.pause();
        CHECK(holds(memory, 50));
    });
    child.await();
    const std::string before =
        objr::parse_answers(objr::ask("query", objr::selector_of(getpid(), memory))).at(0).page.at("pfn");
    const CommandResult result = command_at("revoke", getpid(), memory);
    CHECK(result.page.at("pfn") != before);
    CHECK_EQ(result.page.at("from"), before);
    CHECK(!result.certificate.empty());
    CHECK_EQ(result.certificate.at("found"), "0");
    CHECK_EQ(objr::parse_answers(objr::ask("query", "pfn " + before)).at(0).mappers.size(), 0u); // nobody has it
    expect_pages(memory, 4, 1);
    child.step();
    CHECK(holds(memory, 1));
    const auto answer = objr::parse_answers(objr::ask("query", objr::selector_of(getpid(), memory)));
    CHECK(answer.at(0).page.at("pfn") != before);
    child.finish();
    expect_pages(memory, 4, 1);
}

CASE(U7_revoke_of_shared_pages_and_windows) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, own_name(), 8 * kPage, OBJRMAP_CREATE));
    void* linear = map_pages(fd, 8);
    fill_pages(linear, 8, 1);
    void* window = map_pages(fd, 2);
    CHECK_OK(objr::remap(fd, window, kPage, 6));
    Actor child([&](Actor& self) {
        for (uint64_t tag = 7;; tag = tag == 7 ? 107 : 107) {
            CHECK(holds(at(linear, 6), tag));
            CHECK(holds(window, tag));
            self.pause();
        }
    });
    child.await();
    const std::string selector = "file " + own_name() + " pgoff 6";
    for (int round = 0; round < 3; ++round) {
        const auto results = command("revoke", selector);
        CHECK_EQ(results.size(), 1u);
        CHECK_EQ(results[0].certificate.at("found"), "0");
        CHECK(holds(window, round == 0 ? 7 : 107));
        fill(window, 107);
        CHECK(holds(at(linear, 6), 107));
        child.step();
    }
    child.kill();
}

// ---- all at once --------------------------------------------------------------------------------------------------

CASE_LIMIT(commands_at_the_same_time, 240) { // while their subjects fork, write, exit
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 32);
    fill_pages(memory, 32, 1);
    int ends[2];
    CHECK_OK(pipe(ends));
    std::vector<pid_t> commanders;
    const pid_t subject = getpid();
    for (const char* verb : {"referenced", "unmap", "mkclean", "revoke", "referenced"}) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (int round = 0; round < 60; ++round) {
                std::string selector = objr::selector_of(subject, at(memory, static_cast<size_t>(round) % 32));
                if (round % 10 == 0) selector = "range page 0 " + std::to_string(objr::stat("pool_pages") - 1);
                int error = 0;
                const std::string text = objr::ask("command", verb + std::string(" ") + selector, &error);
                CHECK(error == 0 || error == ENOENT || error == ENOMEM || error == EAGAIN);
                CHECK(!text.empty() && text.back() == '\n');
            }
            _exit(0);
        }
        commanders.push_back(pid);
    }
    for (int round = 0; round < 12; ++round) {
        in_child([&] {
            expect_pages(memory, 32, 1);
            fill_pages(memory, 32, 300);
            expect_pages(memory, 32, 300);
            CHECK_OK(munmap(at(memory, 7), 5 * kPage));
        });
        expect_pages(memory, 32, 1);
        fill_pages(memory, 32, 1);
    }
    for (const pid_t pid : commanders)
        expect_exit(pid);
    expect_pages(memory, 32, 1);
}

CASE_LIMIT(command_result_is_cut_and_says_so, 240) {
    need_module();
    void* memory = map_pages(device(), 1024);
    for (size_t page = 0; page < 1024; ++page)
        *reinterpret_cast<Byte*>(at(memory, page)) = 1;
    std::vector<std::unique_ptr<Actor>> children;
    for (int child = 0; child < 48; ++child) {
        children.push_back(std::make_unique<Actor>([&](Actor& self) { self.pause(); }));
        children.back()->await();
    }
    int error = 0;
    const std::string text =
        objr::ask("command", "referenced range page 0 " + std::to_string(objr::stat("pool_pages") - 1), &error);
    CHECK_EQ(error, 0);
    CHECK(text.size() > (4u << 20) - 300 && text.size() < (4u << 20) + 300);
    CHECK(std::regex_match(objr::lines_of(text).back(), std::regex("error the rest did not fit into .*")));
    for (auto& child : children)
        child->kill();
}
