// SPDX-License-Identifier: GPL-2.0
// text_fixture.h: what test bodies need to read what the core writes.
#pragma once

#include "fixture.h"

#include "objrmap/inspect.h"

namespace objr::test {

// What the core prints, as one text.
class Text : Pinned {
public:
    explicit Text(objr_test* test) : out_(objr_test_out_create(64 * 1024)) {
        if (!out_) {
            objr_test_fail(test, __FILE__, __LINE__, "no memory for the text");
        }
    }
    ~Text() {
        if (out_) {
            objr_test_out_destroy(out_);
        }
    }
    explicit operator bool() const { return out_ != nullptr; }
    const char* c_str() const { return objr_test_out_text(out_); }

    // The whole stream; returns the number of its items.
    u32 query(const TestWorld& world, const char* selector) { return stream(world, selector, objr_show_query); }
    u32 graph(const TestWorld& world, const char* selector) { return stream(world, selector, objr_show_graph); }
    u32 list(const TestWorld& world, objr_list list) {
        objr_test_out_clear(out_);
        u32 items = 0;
        for (objr_u64 position = 0; objr_show_list(world.handle(), list, &position, out_) != 0;) {
            items++;
        }
        return items;
    }
    s32 verify(const TestWorld& world) {
        objr_test_out_clear(out_);
        return objr_show_verify(world.handle(), out_);
    }
    const char* stats(const TestWorld& world) {
        objr_test_out_clear(out_);
        objr_show_stats(world.handle(), out_);
        return c_str();
    }
    s32 command(const TestWorld& world, const char* words) {
        objr_command command;
        objr_command_parse(&command, words, __builtin_strlen(words));
        objr_test_out_clear(out_);
        return objr_run_command(world.handle(), &command, out_);
    }
    u32 count(const char* part) const {
        u32 found = 0;
        for (const char* at = __builtin_strstr(c_str(), part); at; at = __builtin_strstr(at + 1, part)) {
            found++;
        }
        return found;
    }

private:
    using Show = int (*)(objr_world*, const objr_query*, objr_u64*, objr_out*);
    u32 stream(const TestWorld& world, const char* selector, Show show) {
        objr_query query;
        objr_query_parse(&query, selector, __builtin_strlen(selector));
        objr_test_out_clear(out_);
        u32 items = 0;
        for (objr_u64 position = 0; show(world.handle(), &query, &position, out_) != 0;) {
            items++;
        }
        return items;
    }

    objr_out* out_;
};

// "page N" of what a process maps.
struct Selector {
    Selector(const World& world, const Page& page, const char* options = "", const char* verb = "") {
        words.words.add(verb).add("page ").decimal(world.pool.number(page)).add(options);
    }
    const char* c_str() const { return words.words.c_str(); }
    WordsOf<64> words;
};

} // namespace objr::test
