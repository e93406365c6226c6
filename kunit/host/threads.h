// SPDX-License-Identifier: GPL-2.0
//
// threads.h: what tests with many threads begin with.
#pragma once

#include "../cases/fixture.h"
#include "case_list.h"
#include "out.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace objr_host {

using Clock = std::chrono::steady_clock;
using objr::test::Random;

// Threads that do their step again and again until the time is over or the test has failed.
class Threads {
public:
    explicit Threads(std::chrono::milliseconds time) : end_(Clock::now() + time) {}
    ~Threads() { join(); }
    void join() {
        for (std::thread& thread : threads_)
            thread.join();
        threads_.clear();
    }
    void run(std::function<void(Random&)> step) {
        threads_.emplace_back([this, step = std::move(step), seed = threads_.size() + 1] {
            Random random(seed);
            while (Clock::now() < end_ && !testing::Test::HasFailure())
                step(random);
        });
    }

private:
    Clock::time_point end_;
    std::vector<std::thread> threads_;
};

inline std::string ask(objr_world* world, const std::string& selector) {
    objr_query query;
    objr_query_parse(&query, selector.data(), selector.size());
    objr_out out;
    for (objr_u64 position = 0; objr_show_query(world, &query, &position, &out) != 0;) {
    }
    return out.text;
}

inline void expect_verified(objr_world* world) {
    objr_out out;
    EXPECT_EQ(objr_show_verify(world, &out), 0) << out.text;
}

} // namespace objr_host
