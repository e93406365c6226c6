// SPDX-License-Identifier: GPL-2.0
//
// inspect_test.cpp: questions asked while the structures change: processes fork, write, move and exit on some threads,
// others read every file of debugfs. Whatever is answered must be true at one instant; verify must stay quiet.
#include "out.h"
#include "process.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace objr_host;

constexpr objr_u64 kPage = OBJR_PAGE_SIZE;
constexpr objr_u64 kBase = 0x7f0000000000;
constexpr objr_u64 kShared = 0x7e0000000000;
constexpr objr_u32 kReadWrite = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE;

class Inspection : public testing::Test {
protected:
    void SetUp() override {
        const objr_params params{.pool_mb = 2, .levels = 5, .scheme = "classic"};
        ASSERT_EQ(objr_world_create(&params, &world), 0);
    }
    void TearDown() override {
        if (world == nullptr) return;
        EXPECT_EQ(live_regions(), 0U);
        objr_out out;
        EXPECT_EQ(objr_show_verify(world, &out), 0) << out.text;
        EXPECT_EQ(out.text, "ok pages=512 mappings=0\n");
        objr_world_destroy(world);
    }

    template <class Show>
    std::string whole(Show&& show) {
        objr_out out;
        for (objr_u64 position = 0; show(&position, &out) != 0;) {
        }
        return out.text;
    }
    std::string query(const std::string& selector) {
        objr_query parsed;
        objr_query_parse(&parsed, selector.data(), selector.size());
        return whole([&](objr_u64* position, objr_out* out) { return objr_show_query(world, &parsed, position, out); });
    }
    std::string graph(const std::string& selector) {
        objr_query parsed;
        objr_query_parse(&parsed, selector.data(), selector.size());
        return whole([&](objr_u64* position, objr_out* out) { return objr_show_graph(world, &parsed, position, out); });
    }
    std::string list(objr_list which) {
        return whole([&](objr_u64* position, objr_out* out) { return objr_show_list(world, which, position, out); });
    }

    objr_world* world = nullptr;
};

// As many mapper lines follow a page as it counts mappings; pages of which one cannot say so are `retry`.
void expect_consistent(const std::string& answers) {
    const std::string mapcount = " mapcount=";
    std::istringstream lines(answers);
    std::string line;
    std::string page;
    unsigned expected = 0;
    unsigned found = 0;
    while (std::getline(lines, line)) {
        if (line.starts_with("page ")) {
            const std::size_t at = line.find(mapcount);
            ASSERT_NE(at, std::string::npos) << line;
            page = line;
            expected = static_cast<unsigned>(std::stoul(line.substr(at + mapcount.size())));
            found = 0;
        } else if (line.starts_with("mapper ")) {
            found++;
        } else if (line.starts_with("cost ")) {
            EXPECT_EQ(found, expected) << page;
        } else {
            EXPECT_TRUE(line == "retry" || line.starts_with("candidate ") || line.starts_with("error ")) << line;
        }
    }
}

TEST_F(Inspection, owners_and_process_translations) {
    Process parent(world, "par ent");
    ASSERT_EQ(parent.map(kBase, 4 * kPage, 0, kReadWrite), 0);
    ASSERT_EQ(parent.store(kBase + kPage, 5), Outcome::kOk);
    Process child(world, "child");
    ASSERT_EQ(parent.fork(child), 0);
    std::uint8_t byte;
    ASSERT_EQ(child.load(kBase + kPage, &byte), Outcome::kOk);
    const std::string pid = std::to_string(parent.pid());
    const std::string answer = query("pid " + pid + " addr 0x7f0000001fff");
    EXPECT_NE(answer.find("mapper pid=" + pid + " comm=par\\x20ent mm="), std::string::npos) << answer;
    EXPECT_NE(answer.find("mapper pid=" + std::to_string(child.pid()) + " comm=child mm="), std::string::npos)
        << answer;
    const std::string json = query("pid " + pid + " addr 0x7f0000001000 json");
    EXPECT_NE(json.find("\"pid\":" + pid + ",\"comm\":\"par ent\",\"mm\":"), std::string::npos) << json;
    EXPECT_NE(graph("pid " + pid + " addr 0x7f0000001000").find("pid " + pid + "\\npar ent\"];"), std::string::npos);
    EXPECT_NE(list(OBJR_LIST_MMS).find(" pid=" + pid + " comm=par\\x20ent vmas=1 "), std::string::npos);
    Process stranger(world, "stranger");
    EXPECT_EQ(query("pid " + std::to_string(stranger.pid()) + " addr 0x7f0000001000"),
              "error pid " + std::to_string(stranger.pid()) + " maps nothing of the pool\n");
}

TEST_F(Inspection, answers_while_everything_changes) {
    const objr_owner root{0, 0, 1};
    objr_object* object = nullptr;
    ASSERT_EQ(objr_object_of_name(world, "common", 8 * kPage, OBJR_OBJECT_CREATE, &root, &object), 0);
    constexpr unsigned kRounds = 120;
    std::atomic<unsigned> working{2};
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < 2; number++) {
        threads.emplace_back([&, number] {
            std::mt19937 random(number);
            for (unsigned round = 0; round < kRounds; round++) {
                Process parent(world, "parent");
                EXPECT_EQ(parent.map(kBase, 8 * kPage, 0, kReadWrite), 0);
                EXPECT_EQ(parent.map(kShared, 8 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
                Process child(world, "child");
                for (unsigned i = 0; i < 8; i++) {
                    EXPECT_EQ(parent.store(kBase + random() % 8 * kPage, 1), Outcome::kOk);
                    EXPECT_EQ(parent.store(kShared + random() % 8 * kPage, 1), Outcome::kOk);
                }
                EXPECT_EQ(parent.fork(child), 0);
                for (unsigned i = 0; i < 8; i++) {
                    std::uint8_t byte;
                    EXPECT_EQ(child.store(kBase + random() % 8 * kPage, 2), Outcome::kOk);
                    EXPECT_EQ(child.load(kShared + random() % 8 * kPage, &byte), Outcome::kOk);
                }
                EXPECT_EQ(child.unmap(kBase + 2 * kPage, 2 * kPage), 0);
                EXPECT_EQ(parent.move(kBase, kBase + 64 * kPage, 8 * kPage), 0);
            }
            working--;
        });
    }
    threads.emplace_back([&] {
        std::mt19937 random(7);
        while (working != 0) {
            expect_consistent(query("range page 0 511"));
            expect_consistent(query("page " + std::to_string(random() % 512) + " explain"));
            expect_consistent(query("file common pgoff " + std::to_string(random() % 9)));
            expect_consistent(query("mm " + std::to_string(random() % 400) + " addr 0x7f0000001000"));
            expect_consistent(list(OBJR_LIST_MAPPERS));
        }
    });
    threads.emplace_back([&] {
        while (working != 0) {
            objr_out out;
            EXPECT_EQ(objr_show_verify(world, &out), 0) << out.text;
            EXPECT_TRUE(out.text.starts_with("ok pages=512 mappings=")) << out.text;
            objr_show_stats(world, &out);
            list(OBJR_LIST_PAGES);
            list(OBJR_LIST_MMS);
            list(OBJR_LIST_ANON_VMAS);
            list(OBJR_LIST_FILES);
            const std::string drawn = graph("range page 480 511");
            EXPECT_TRUE(drawn.ends_with("}\n"));
        }
    });
    for (std::thread& thread : threads)
        thread.join();
    objr_object_put(object);
}

} // namespace
