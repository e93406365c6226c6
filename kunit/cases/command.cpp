// SPDX-License-Identifier: GPL-2.0
// Commands: what is written, what they do to the pages of a selector, and what is read back.
#include "text_fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

objr_command parsed(const char* text) {
    objr_command command;
    objr_command_parse(&command, text, __builtin_strlen(text));
    return command;
}

} // namespace

OBJR_TEST(command_parse) {
    objr_command command = parsed("referenced pfn 0x1a2b3 peek\n");
    OBJR_EXPECT_EQ(command.error, 0);
    OBJR_EXPECT_EQ(command.verb, OBJR_VERB_REFERENCED);
    OBJR_EXPECT_EQ(command.options, OBJR_COMMAND_PEEK);
    OBJR_EXPECT_EQ(command.query.kind, static_cast<u32>(QueryKind::pfn));
    OBJR_EXPECT_EQ(command.query.first, 0x1a2b3);
    OBJR_EXPECT(!wants(command.query, QueryOption::json));

    command = parsed("referenced range page 3 9 json peek");
    OBJR_EXPECT_EQ(command.options, OBJR_COMMAND_PEEK);
    OBJR_EXPECT(wants(command.query, QueryOption::json));
    OBJR_EXPECT_EQ(command.query.last, 9);

    OBJR_EXPECT_EQ(parsed("  unmap\tpid 5 addr 0x1000 ").verb, OBJR_VERB_UNMAP);
    OBJR_EXPECT_EQ(parsed("mkclean file a\\x20b pgoff 7").verb, OBJR_VERB_MKCLEAN);
    OBJR_EXPECT_EQ(parsed("revoke page 4 json").verb, OBJR_VERB_REVOKE);
    OBJR_EXPECT_EQ(parsed("migrate pid 7 addr 0x1000").verb, OBJR_VERB_MIGRATE);
    OBJR_EXPECT_EQ(parsed("compact json").verb, OBJR_VERB_COMPACT);
    OBJR_EXPECT_EQ(parsed("compact").error, 0);
}

OBJR_TEST(command_parse_errors) {
    static constexpr struct {
        const char* text;
        const char* part;
    } kBad[] = {
        {"", "nothing commanded: write referenced, unmap, mkclean"},
        {" \n", "nothing commanded"},
        {"unmapp page 3", "bad word 'unmapp': expected referenced, unmap, mkclean"},
        {"reclaim", "the line ends too early"},
        {"unmap", "the line ends too early: expected pfn, page"},
        {"unmap pgn 3", "bad word 'pgn': expected pfn, page"},
        {"unmap page", "the line ends too early: expected a number"},
        {"unmap page 3 peek", "bad word 'peek': expected json or the end"},
        {"referenced page 3 explain", "bad word 'explain': expected peek, json or the end"},
        {"revoke range page 4 3", "the last page, 3, is before the first, 4"},
        {"\x01\xff", "bad word '\\x01\\xff'"},
    };
    for (const auto& bad : kBad) {
        const objr_command command = parsed(bad.text);
        OBJR_EXPECT_EQ(command.error, -OBJR_EINVAL);
        OBJR_EXPECT_EQ(command.verb, OBJR_VERB_NONE);
        OBJR_EXPECT_TEXT(command.message, bad.part);
    }
}

// Which pages a command is run on, and what it says where there is none.
OBJR_TEST(command_selects) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));

    OBJR_EXPECT_EQ(text.command(world, "mkclean range page 0 255"), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(text.count("\n"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error no page of the range is in use");
    OBJR_EXPECT_EQ(text.command(world, "mkclean page 256"), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), "error no page 256: the pool has pages 0 to 255");
    OBJR_EXPECT_EQ(text.command(world, "mkclean range page 300 400"), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(text.command(world, "mkclean page 7"), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), "error page 7 is free");
    OBJR_EXPECT_EQ(text.command(world, "mkclean file nosuch pgoff 0"), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), "error no file or object named nosuch");
    OBJR_EXPECT_EQ(text.command(world, "mkclean pages 7"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "error bad word 'pages'");

    for (u64 page = 0; page < 3; page++) {
        process.store(page, page);
    }
    OBJR_EXPECT_EQ(text.command(world, "mkclean range page 0 255"), 0);
    OBJR_EXPECT_EQ(text.count("mkclean pfn=0x"), 3);
    OBJR_EXPECT_EQ(text.count("\n"), 3);
    OBJR_EXPECT_EQ(text.command(world, "mkclean range page 250 1000"), 0); // up to the last there is
    OBJR_EXPECT_EQ(text.count("mkclean pfn=0x"), 3);
}

OBJR_TEST(command_mkclean) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Object object(test, world, "ledger", 2);
    Process one(test, world);
    Process two(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(one.map(0, 2, kShared, object.get()));
    OBJR_ASSERT(two.map(0, 2, kShared, object.get()));
    one.store(1, 5);
    two.store(1, 6);

    OBJR_EXPECT_EQ(text.command(world, "mkclean file ledger pgoff 1"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=2 cleaned=2 dirty=1\n");
    OBJR_EXPECT(!one.pte(1).dirty() && !one.pte(1).writable() && !two.pte(1).writable());
    OBJR_EXPECT_EQ(text.command(world, "mkclean file ledger pgoff 1 json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), ",\"mapcount\":2,\"cleaned\":0,\"dirty\":1}}\n");
    OBJR_EXPECT_EQ(text.command(world, "mkclean file ledger pgoff 0"), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), "error no page at pgoff 0x0 of file ");

    two.store(1, 7); // faults, is counted again
    OBJR_EXPECT_EQ(one.load(1), 7);
    OBJR_EXPECT_EQ(text.command(world, "mkclean file ledger pgoff 1"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), " cleaned=1 dirty=1\n");
}

OBJR_TEST(command_unmap) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process one(test, world);
    Process two(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(one.map(0, 4));
    one.store(1, 5);
    OBJR_ASSERT(one.fork_to(two));
    WordsOf<80> command;
    command.words.add("unmap page ").decimal(world->pool.number(*one.page(1)));
    for (u32 i = 0; i < 4 && one.page(1); i++) { // with the rules of 2.6.24 each use refuses once
        OBJR_EXPECT_EQ(text.command(world, command.words.c_str()), 0);
    }
    OBJR_EXPECT_TEXT(text.c_str(), "unmap pfn=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=0 answer=SUCCESS why=none taken=");
    OBJR_EXPECT(one.pte(1).is_swap() && two.pte(1).is_swap());
    OBJR_EXPECT_EQ(text.command(world, command.words.c_str()), -OBJR_ENOENT); // its frame is free
    OBJR_EXPECT_TEXT(text.c_str(), " is free");
    OBJR_EXPECT_EQ(two.load(1), 5);

    OBJR_ASSERT(one.mm().advise(at(0), at(4), Advice::lock));
    WordsOf<80> locked;
    locked.words.add("unmap page ").decimal(world->pool.number(*one.page(2))).add(" json");
    OBJR_EXPECT_EQ(text.command(world, locked.words.c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "\"answer\":\"FAIL\",\"why\":\"locked-region\",\"taken\":0,\"mm\":");
}
