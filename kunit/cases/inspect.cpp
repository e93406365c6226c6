// SPDX-License-Identifier: GPL-2.0
// Text out of structures: selectors, answers, lists, graphs, and that the verifier sees what is wrong.
#include "text_fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

objr_query parsed(const char* text) {
    objr_query query;
    objr_query_parse(&query, text, __builtin_strlen(text));
    return query;
}

// " scheme=NAME" and what follows.
struct InScheme {
    InScheme(const World& world, const char* before, const char* behind) {
        words.words.add(before).add(world.scheme().name()).add(behind);
    }
    const char* c_str() const { return words.words.c_str(); }
    WordsOf<160> words;
};

} // namespace

// ---- selectors

OBJR_TEST(inspect_parse) {
    objr_query query = parsed("pfn 0x1A2b3\n");
    OBJR_EXPECT_EQ(query.error, 0);
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::pfn));
    OBJR_EXPECT_EQ(query.first, 0x1a2b3);

    query = parsed("  page\t12 json explain ");
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::page));
    OBJR_EXPECT_EQ(query.first, 12);
    OBJR_EXPECT(wants(query, QueryOption::json) && wants(query, QueryOption::explain));

    query = parsed("pid 231 addr 0xffffffffffffffff");
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::pid));
    OBJR_EXPECT_EQ(query.first, 231);
    OBJR_EXPECT_EQ(query.address, ~0ull);

    query = parsed("mm 3 addr 18446744073709551615 explain");
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::mm));
    OBJR_EXPECT_EQ(query.address, ~0ull);
    OBJR_EXPECT(!wants(query, QueryOption::json) && wants(query, QueryOption::explain));

    query = parsed("file a\\x20b\\\\x41 pgoff 7");
    OBJR_EXPECT_EQ(query.error, -OBJR_EINVAL); // a lone backslash is no escape
    query = parsed("file a\\x20b\\x5cc pgoff 7");
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::file));
    OBJR_EXPECT(same_text(query.name, "a b\\c"));
    OBJR_EXPECT_EQ(query.first, 7);

    query = parsed("range page 3 9");
    OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::range));
    OBJR_EXPECT_EQ(query.first, 3);
    OBJR_EXPECT_EQ(query.last, 9);

    objr_query_parse(&query, "page 5\0\0", 8); // some write their terminator
    OBJR_EXPECT_EQ(query.error, 0);
}

OBJR_TEST(inspect_parse_errors) {
    static constexpr struct {
        const char* text;
        const char* part;
    } kBad[] = {
        {"", "nothing selected: write pfn X, page N"},
        {" \n", "range page A B"},
        {"pgn 0x5", "bad word 'pgn': expected pfn, page, pid, mm, file or range"},
        {"pfn", "the line ends too early: expected a number, decimal or 0x hex"},
        {"pfn 0x", "bad word '0x': expected a number"},
        {"pfn 5g", "bad word '5g'"},
        {"pfn -1", "bad word '-1'"},
        {"page 18446744073709551616", "expected a number below 2^64"},
        {"page 0x10000000000000000", "expected a number below 2^64"},
        {"pid 4294967296 addr 0", "expected a number below 2^32"},
        {"pid 5 adr 0", "bad word 'adr': expected addr"},
        {"pid 5 addr", "expected an address"},
        {"file", "expected the name of a file or object"},
        {"file a\\x0", "expected \\xNN"},
        {"file a\\x00 pgoff 0", "without zero bytes"},
        {"file 0123456789012345678901234567890123456789012345678901234567890123 pgoff 0", "at most 63 bytes"},
        {"range page 5 4", "the last page, 4, is before the first, 5"},
        {"page 5 jason", "bad word 'jason': expected json, explain or the end"},
        {"page 5 6", "bad word '6'"},
        {"\x01\xff\n", "bad word '\\x01\\xff'"},
    };
    for (const auto& bad : kBad) {
        const objr_query query = parsed(bad.text);
        OBJR_EXPECT_EQ(query.error, -OBJR_EINVAL);
        OBJR_EXPECT_EQ(query.kind, static_cast<u32>(QueryKind::none));
        OBJR_EXPECT_TEXT(query.message, bad.part);
    }
}

// Whatever is written: a selector or a reason, in printable characters.
OBJR_TEST(inspect_parse_noise) {
    static constexpr const char* kWords[] = {
        "pfn", "page",    "pid",   "mm",     "file", "range",  "addr",
        "0x5", "explain", "pgoff", "\\x20a", "12",   "\xc3\n", "99999999999999999999"};
    constexpr u32 kBytes = 4095;
    char* text = static_cast<char*>(objr_kvzalloc(kBytes));
    OBJR_ASSERT(text != nullptr);
    Random random(2);
    for (u32 round = 0; round < 400; round++) {
        const u32 length = static_cast<u32>(random.below(round % 8 == 0 ? kBytes : 60));
        u32 used = 0;
        while (used < length) {
            const char* word = kWords[random.below(sizeof(kWords) / sizeof(kWords[0]))];
            for (; round % 2 == 0 && *word != '\0' && used < length; word++) {
                text[used++] = *word;
            }
            if (used < length) {
                text[used++] = static_cast<char>(round % 2 == 0 ? ' ' : random.next());
            }
        }
        objr_query query;
        objr_query_parse(&query, text, length);
        OBJR_EXPECT((query.error == 0) == (query.kind != 0));
        OBJR_EXPECT((query.error == 0) == (query.message[0] == '\0'));
        u32 end = 0;
        while (end < sizeof(query.message) && query.message[end] >= ' ' && query.message[end] <= '~') {
            end++;
        }
        OBJR_EXPECT(end < sizeof(query.message) && query.message[end] == '\0');
    }
    objr_kvfree(text);
}

// ---- answers

OBJR_TEST(inspect_answer) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process parent(test, world);
    Process child(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(parent.map(0, 4));
    parent.store(2, 7);
    OBJR_ASSERT(parent.fork_to(child));
    OBJR_EXPECT_EQ(child.load(2), 7);
    Page* shared = parent.page(2);
    OBJR_ASSERT(shared != nullptr);

    OBJR_EXPECT_EQ(text.query(world, Selector(*world, *shared).c_str()), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "page pfn=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " kind=anon mapcount=2 refcount=2 flags=lru pgoff=0x7f0000002 object=");
    OBJR_EXPECT_TEXT(text.c_str(), InScheme(*world, " scheme=", "\nmapper pid=- comm=- mm=").c_str());
    OBJR_EXPECT_TEXT(text.c_str(), " vma=0x7f0000000000-0x7f0000004000 vaddr=0x7f0000002000 pte=0x80");
    OBJR_EXPECT_TEXT(text.c_str(), " bits=P,US,A,D,NX young=1 dirty=1\n");
    OBJR_EXPECT_TEXT(text.c_str(), "cost candidates=2 hits=2 false_hits=0 levels=");
    OBJR_EXPECT_TEXT(text.c_str(), " lock_waits=0 stop=mapcount\n");
    if (world.is("classic")) {
        OBJR_EXPECT_TEXT(text.c_str(), " object=anon_vma:");
        OBJR_EXPECT_TEXT(text.c_str(), " levels=8 ");
    }
    OBJR_EXPECT_EQ(text.count("mapper "), 2);
    OBJR_EXPECT_EQ(text.count("\n"), 4);

    child.store(2, 8); // copies
    text.query(world, Selector(*world, *shared, " explain").c_str());
    OBJR_EXPECT_TEXT(text.c_str(), "mapcount=1 refcount=1");
    OBJR_EXPECT_EQ(text.count("mapper "), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "\ncost candidates=1 hits=1 ");
    if (!world.is("pte_chain")) {
        OBJR_EXPECT_EQ(text.count("candidate "), 2);
        OBJR_EXPECT_EQ(text.count(" vaddr=0x7f0000002000 why="), 2);
        OBJR_EXPECT_EQ(text.count(" miss=none\n"), 1);
        OBJR_EXPECT_EQ(text.count(" miss=other-pfn\n"), 1);
    }
    text.query(world, Selector(*world, *child.page(2)).c_str());
    if (world.is("classic")) {
        OBJR_EXPECT_TEXT(text.c_str(), "cost candidates=2 hits=1 false_hits=1 ");
    } else {
        OBJR_EXPECT_TEXT(text.c_str(), "cost candidates=1 hits=1 false_hits=0 ");
    }
    OBJR_EXPECT_TEXT(text.c_str(), "bits=P,RW,US,A,D,NX young=1 dirty=1");

    WordsOf<64> selector;
    selector.words.add("mm ").decimal(child.mm().id()).add(" addr 0x7f0000002abc");
    OBJR_EXPECT_EQ(text.query(world, selector.words.c_str()), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "vaddr=0x7f0000002000 ");
}

// What leads each scheme to an anonymous page's first mapping.
static const char* way_to_anon(const TestWorld& world) {
    return world.is("classic")  ? "anon-list"
           : world.is("chain")  ? "anon-tree"
           : world.is("anonmm") ? "named-mm"
                                : "entry";
}

OBJR_TEST(inspect_json) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 1));
    process.store(0, 1);
    text.query(world, Selector(*world, *process.page(0), " json explain").c_str());
    OBJR_EXPECT_TEXT(text.c_str(), "{\"page\":{\"pfn\":\"0x");
    OBJR_EXPECT_TEXT(text.c_str(), "\"kind\":\"anon\",\"mapcount\":1,\"refcount\":1,\"flags\":[\"lru\",\"anon_"
                                   "exclusive\"],\"pgoff\":\"0x7f0000000\",");
    OBJR_EXPECT_TEXT(text.c_str(), "},\"mappers\":[{\"pid\":null,\"comm\":null,\"mm\":");
    OBJR_EXPECT_TEXT(
        text.c_str(),
        "\"bits\":[\"P\",\"RW\",\"US\",\"A\",\"D\",\"NX\"],\"young\":1,\"dirty\":1}],\"candidates\":[{\"mm\":");
    WordsOf<120> candidate;
    candidate.words.add("\"vaddr\":\"0x7f0000000000\",\"why\":\"").add(way_to_anon(world));
    OBJR_EXPECT_TEXT(text.c_str(), candidate.words.add("\",\"miss\":\"none\"}],\"cost\":{").c_str());
    OBJR_EXPECT_TEXT(text.c_str(), "\"stop\":\"mapcount\"}}\n");
    text.query(world, "page 999999 json");
    OBJR_EXPECT_TEXT(text.c_str(), "{\"error\":\"no page 999999: the pool has pages 0 to 255\"}\n");
}

OBJR_TEST(inspect_free_and_range) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_EXPECT_EQ(text.query(world, "page 3"), 1);
    OBJR_EXPECT_TEXT(
        text.c_str(),
        InScheme(*world, "index=3 kind=free mapcount=0 refcount=0 flags=free pgoff=0x0 object=- scheme=", "\ncost ")
            .c_str());
    OBJR_EXPECT_TEXT(text.c_str(), "stop=unmapped\n");
    OBJR_EXPECT_EQ(text.query(world, "range page 250 400"), 6);
    OBJR_EXPECT_EQ(text.count("kind=free"), 6);
    OBJR_EXPECT_EQ(text.query(world, "range page 255 255"), 1);
    OBJR_EXPECT_EQ(text.query(world, "range page 256 257"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error no page 256: the pool has pages 0 to 255\n");
    OBJR_EXPECT_EQ(text.query(world, "range page 0xffffffffffffffff 0xffffffffffffffff"), 1);
    OBJR_EXPECT_EQ(text.query(world, "pfn 0xffffffffffffffff"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error pfn 0xffffffffffffffff is not in the pool");
    OBJR_EXPECT_EQ(text.query(world, "page 0 nonsense"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error bad word 'nonsense'");
    text.query(world, "page 0 json nonsense");
    OBJR_EXPECT_TEXT(text.c_str(), "error bad word 'nonsense'");
}

OBJR_TEST(inspect_address_errors) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 2));
    WordsOf<64> hole, untouched, empty;
    const u32 id = process.mm().id();
    hole.words.add("mm ").decimal(id).add(" addr 0x1000");
    untouched.words.add("mm ").decimal(id).add(" addr ").hex(at(0).value);
    text.query(world, hole.words.c_str());
    OBJR_EXPECT_TEXT(text.c_str(), "error no page at 0x1000: mm ");
    OBJR_EXPECT_TEXT(text.c_str(), " maps nothing there\n");
    text.query(world, untouched.words.c_str());
    OBJR_EXPECT_TEXT(text.c_str(), " has not touched it yet: no page table\n");
    process.store(1, 1);
    text.query(world, untouched.words.c_str());
    OBJR_EXPECT_TEXT(text.c_str(), " has not touched it yet: the entry is empty\n");
    text.query(world, "mm 4294967295 addr 0");
    OBJR_EXPECT_TEXT(text.c_str(), "error no mm 4294967295: the file mms lists them\n");
    text.query(world, "pid 4294967295 addr 0");
    OBJR_EXPECT_TEXT(text.c_str(), "error no process 4294967295");
}

OBJR_TEST(inspect_file) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Object object(test, world, "bag", 4);
    Process writer(test, world);
    Process reader(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(writer.map(0, 4, kShared, object.get(), 0));
    OBJR_ASSERT(reader.map(8, 10, kReadOnly, object.get(), 2));
    writer.store(3, 5);
    OBJR_EXPECT_EQ(reader.load(9), 5);
    OBJR_EXPECT_EQ(text.query(world, "file bag pgoff 3"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), " kind=file mapcount=2 refcount=3 ");
    OBJR_EXPECT_TEXT(text.c_str(), " pgoff=0x3 object=file:");
    OBJR_EXPECT_TEXT(text.c_str(), InScheme(*world, ":bag scheme=", "\n").c_str());
    OBJR_EXPECT_TEXT(text.c_str(), " vaddr=0x7f0000009000 ");
    OBJR_EXPECT_TEXT(text.c_str(), " vaddr=0x7f0000003000 ");
    text.query(world, "file bag pgoff 1");
    OBJR_EXPECT_TEXT(text.c_str(), ": it is not in memory\n");
    text.query(world, "file bag pgoff 4");
    OBJR_EXPECT_TEXT(text.c_str(), ": it is beyond the end\n");
    OBJR_EXPECT_EQ(text.query(world, "file box pgoff 0"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error no file or object named box: ");
}

// A name of bytes that would break a line or a string: printed, it selects the file again.
OBJR_TEST(inspect_names_are_escaped) {
    TestWorld world(test);
    Text text(test);
    objr_memory_file* inode = objr_memory_file_create("a b\"\xc3\xa4\xff=", kPageSize, kPageSize, 1);
    OBJR_PROPAGATE();
    OBJR_ASSERT(inode != nullptr);
    {
        objr_backing* backing = objr_memory_file_open(inode, 0);
        Result<FileMapping*> file =
            backing ? FileMapping::of_file(*world, backing) : Result<FileMapping*>(Errno{OBJR_ENOMEM});
        OBJR_ASSERT(file);
        Object object(*file);
        Process process(test, world);
        OBJR_ASSERT(process.alive() && process.map(0, 1, kReadOnly, object.get(), 0));
        process.load(0);
        OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_FILES), 1);
        OBJR_EXPECT_TEXT(text.c_str(), " name=a\\x20b\"\\xc3\\xa4\\xff= size=4096 cached=1 swapped=0 vmas=1 ");
        text.query(world, "file a\\x20b\"\\xc3\\xa4\\xff= pgoff 0");
        OBJR_EXPECT_TEXT(text.c_str(), ":a\\x20b\"\\xc3\\xa4\\xff= scheme=");
        text.query(world, "file a\\x20b\"\\xc3\\xa4\\xff= pgoff 0 json");
        OBJR_EXPECT_TEXT(text.c_str(), ":a b\\\"\xc3\xa4\\u00ff=\",\"scheme\":");
        text.graph(world, "file a\\x20b\"\\xc3\\xa4\\xff= pgoff 0");
        OBJR_EXPECT_TEXT(text.c_str(), "\\na b\\\"\\\\xc3\\\\xa4\\\\xff=\"];\n");
    }
    objr_memory_file_destroy(inode);
}

// ---- lists, statistics, graph

OBJR_TEST(inspect_lists) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    for (objr_list list : {OBJR_LIST_MAPPERS, OBJR_LIST_PAGES, OBJR_LIST_MMS, OBJR_LIST_ANON_VMAS, OBJR_LIST_FILES}) {
        OBJR_EXPECT_EQ(text.list(world, list), 0);
        objr_u64 beyond = 1ull << 40; // as after the end of a file
        OBJR_EXPECT_EQ(objr_show_list(world.handle(), list, &beyond, nullptr), 0);
    }
    Object object(test, world, "bag", 4);
    Process parent(test, world);
    Process child(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(parent.map(0, 4));
    OBJR_ASSERT(parent.map(8, 12, kShared, object.get(), 0));
    parent.store(0, 1);
    parent.store(1, 1);
    parent.store(8, 1);
    OBJR_ASSERT(parent.fork_to(child));
    OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_MAPPERS), 3);
    OBJR_EXPECT_EQ(text.count("mapper "), 5); // the child has not touched the object
    OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_PAGES), 3);
    OBJR_EXPECT_EQ(text.count("page pfn=0x"), 3);
    OBJR_EXPECT_EQ(text.count(":bag "), 1);
    OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_MMS), 2);
    OBJR_EXPECT_TEXT(text.c_str(), " parent=- pid=- comm=- vmas=2 pages=8 resident=3 tables=4 anon=");
    OBJR_EXPECT_TEXT(text.c_str(), " pid=- comm=- vmas=2 pages=8 resident=2 tables=4 anon=");
    OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_FILES), 1);
    OBJR_EXPECT_TEXT(text.c_str(), " kind=object name=bag size=16384 cached=1 swapped=0 vmas=2 ");
    OBJR_EXPECT_TEXT(text.c_str(), " writable=1 dirty=0\n");

    OBJR_EXPECT_TEXT(text.stats(world),
                     "pool_pages 256\nfree_pages 253\nanon_pages 2\nfile_pages 1\nmapped_pages 3\nmappings 5\n");
    OBJR_EXPECT_TEXT(text.c_str(), "\nmms 2\nvmas 4\nanon_vmas ");
    OBJR_EXPECT_TEXT(text.c_str(), "\nfile_mappings 1\ntable_pages 8\n");
    if (world.is("classic")) {
        OBJR_EXPECT_TEXT(text.c_str(), "\nanon_vmas 1\nanon_vma_chains 0\n");
        OBJR_EXPECT_EQ(text.list(world, OBJR_LIST_ANON_VMAS), 1);
        OBJR_EXPECT_TEXT(text.c_str(), " vmas=2 refs=1\n");
        text.list(world, OBJR_LIST_FILES);
        OBJR_EXPECT_TEXT(text.c_str(), " vmas=2 vm_sets=1 ");
    }
}

OBJR_TEST(inspect_graph) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process parent(test, world);
    Process child(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(parent.map(0, 2));
    parent.store(0, 1);
    OBJR_ASSERT(parent.fork_to(child));
    child.store(0, 2);
    OBJR_EXPECT_EQ(text.graph(world, Selector(*world, *parent.page(0)).c_str()), 3); // head, page, tail
    OBJR_EXPECT_TEXT(text.c_str(), "digraph objrmap {\n");
    WordsOf<40> label;
    OBJR_EXPECT_TEXT(text.c_str(), label.words.add("[label=\"").add(way_to_anon(world)).add("\"];").c_str());
    OBJR_EXPECT_EQ(text.count("[shape=ellipse"), world.is("pte_chain") ? 0 : 1);
    if (!world.is("pte_chain")) { // it has nobody to ask who does not map the page
        OBJR_EXPECT_EQ(text.count("[shape=component"), 2);
        OBJR_EXPECT_EQ(text.count("other-pfn"), 1);
    }
    OBJR_EXPECT_EQ(text.count("{"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "}\n");
    OBJR_EXPECT_EQ(text.graph(world, "range page 0 255"), 258);
    OBJR_EXPECT_EQ(text.graph(world, "file nobody pgoff 0"), 3);
    OBJR_EXPECT_TEXT(text.c_str(), "  // error no file or object named nobody");
    OBJR_EXPECT_TEXT(text.c_str(), "}\n");
    OBJR_EXPECT_EQ(text.graph(world, ""), 3);
    OBJR_EXPECT_TEXT(text.c_str(), "  // error nothing selected");
}

// Every allocation of an answer fails once: an error line, and nothing is kept.
OBJR_TEST(inspect_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 1));
    process.store(0, 1);
    const Selector selector(*world, *process.page(0), " explain");
    objr_test_fail_nth_allocation(1);
    const u32 items = text.query(world, selector.c_str());
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(items, 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error no kernel memory");
    objr_test_fail_nth_allocation(1);
    const s32 result = text.verify(world);
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(result, -OBJR_ENOMEM);
    OBJR_EXPECT_TEXT(text.c_str(), "error no kernel memory to check 256 pages");
}

// ---- the verifier against broken structures

namespace {

// Something is broken, the verifier names it, it is mended.
template <class Break, class Mend>
void expect_bad(objr_test* test, TestWorld& world, const char* reported, Break&& broken, Mend&& mend) {
    Text text(test);
    if (!text) {
        return;
    }
    broken();
    const s32 result = text.verify(world);
    mend();
    OBJR_EXPECT_EQ(result, 1);
    OBJR_EXPECT_TEXT(text.c_str(), reported);
    OBJR_EXPECT_EQ(text.verify(world), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "ok pages=256 mappings=");
}

} // namespace

OBJR_TEST(verify_sees_broken_pages) {
    TestWorld world(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));
    process.store(1, 1);
    Page& page = *process.page(1);
    expect_bad(
        test, world, "bad V1: page ", [&] { page.mapcount.fetch_add(1); }, [&] { page.mapcount.fetch_sub(1); });
    expect_bad(
        test, world, "bad V3: page ", [&] { page.refcount.fetch_sub(1); }, [&] { page.refcount.fetch_add(1); });
    if (!world.is("pte_chain")) { // where the index has no part in the walk
        expect_bad(
            test, world, "the reverse map finds 0, not that of mm ", [&] { page.index++; }, [&] { page.index--; });
    }
    const MappingWord mapping = page.mapping();
    expect_bad(
        test, world, "bad V5: page ", [&] { page.set_mapping(MappingWord()); }, [&] { page.set_mapping(mapping); });

    Page* unused = nullptr;
    for (u32 n = 0; n < world->pool.size() && !unused; n++) {
        unused = world->pool.page(n).has(PageFlag::free) ? &world->pool.page(n) : nullptr;
    }
    OBJR_ASSERT(unused != nullptr);
    u8* bytes = static_cast<u8*>(world->pool.address(*unused));
    expect_bad(
        test, world, " is not zero", [&] { bytes[4095] = 1; }, [&] { bytes[4095] = 0; });
    expect_bad(
        test, world, "bad V4: free page ", [&] { unused->refcount.store(1); }, [&] { unused->refcount.store(0); });
}

OBJR_TEST(verify_sees_broken_swap) {
    TestWorld world(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));
    process.store(1, 1);
    Page& page = *process.page(1);
    SwapSpace& swap = world->swap;
    auto enter = [&] {
        PageLock lock(page);
        OBJR_EXPECT(swap.add_to_cache_locked(page));
    };
    auto set_entry = [&](Pte pte) {
        PageTable& table = *process.mm().tables().leaf(at(2));
        Guard guard(table.lock);
        table.set(at(2), pte);
    };
    auto word = [&]() -> u64& { return process.mm().tables().leaf(at(1))->entries[PageTable::slot(at(1))]; };
    auto set_bits = [&](u64 bits) { word() |= bits; };
    auto clear_bits = [&](u64 bits) { word() &= ~bits; };
    auto leave = [&] {
        PageLock lock(page);
        swap.remove_from_cache_locked(page);
    };
    expect_bad(test, world, "bad W4: page ", enter, leave);
    enter();
    const SwapEntry entry = SwapSpace::entry_of(page);
    expect_bad(
        test, world, "bad W2: slot 0 counts 1 swap PTEs, the page tables have 0", [&] { swap.duplicate(entry); },
        [&] {
            OBJR_EXPECT(swap.release(entry));
            leave();
        });
    enter();
    expect_bad(
        test, world, "bad W1: slot 0 has page ",
        [&] {
            page.clear(PageFlag::swapcache);
            set_entry(Pte::swap(entry));
            swap.duplicate(entry);
        },
        [&] {
            set_entry(Pte());
            OBJR_EXPECT(swap.release(entry));
            page.set(PageFlag::swapcache);
            leave();
        });
    expect_bad(
        test, world, "bad V3: page ", [&] { page.set(PageFlag::swapcache); }, [&] { page.clear(PageFlag::swapcache); });
    expect_bad(
        test, world, "bad W1: page ",
        [&] {
            world->pool.get(page);
            page.clear(PageFlag::anon_exclusive);
            page.set(PageFlag::swapcache);
        },
        [&] {
            page.clear(PageFlag::swapcache);
            page.set(PageFlag::anon_exclusive);
            world->pool.put(page);
        });
    expect_bad(
        test, world, "bad V7: mm ", [&] { set_bits(Pte::kLocked); }, [&] { clear_bits(Pte::kLocked); });
    expect_bad(
        test, world, "bad V7: page ", [&] { static_cast<void>(page.lock_mapping()); },
        [&] { static_cast<void>(page.unlock_mapping()); });
    expect_bad(
        test, world, "bad S1: the counter swapped_pages ", [&] { world->counters.add(Count::swapped_pages); },
        [&] { world->counters.sub(Count::swapped_pages); });
}

OBJR_TEST(verify_sees_broken_kept_slots) {
    TestWorld world(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));
    process.store(1, 1);
    Page& page = *process.page(1);
    SwapSpace& swap = world->swap;
    u64& entry = process.mm().tables().leaf(at(1))->entries[PageTable::slot(at(1))];
    const u64 writable = entry;
    entry &= ~(Pte::kWrite | Pte::kDirty);
    {
        PageLock lock(page);
        OBJR_ASSERT(swap.add_to_cache_locked(page));
        OBJR_ASSERT(swap.write_locked(page));
        OBJR_ASSERT(swap.keep_locked(page));
    }
    expect_bad(
        test, world, "bad W5: slot 0 is kept, but ", [&] { page.set(PageFlag::dirty); },
        [&] { page.clear(PageFlag::dirty); });
    expect_bad(
        test, world, "bad W5: page ", [&] { entry |= Pte::kWrite; }, [&] { entry &= ~Pte::kWrite; });
    expect_bad(
        test, world, "bad S1: the counter swap_slots_kept ", [&] { world->counters.add(Count::swap_kept); },
        [&] { world->counters.sub(Count::swap_kept); });
    PageLock lock(page);
    swap.give_up_locked(page);
    entry = writable;
}

OBJR_TEST(verify_sees_broken_tables) {
    TestWorld world(test);
    OBJR_PROPAGATE();
    Process process(test, world);
    Process child(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));
    process.store(1, 1);
    OBJR_ASSERT(process.fork_to(child));
    child.load(1);
    PageTable* table = process.mm().tables().leaf(at(0));
    OBJR_ASSERT(table != nullptr);
    u64& entry = table->entries[PageTable::slot(at(1))];
    u64& outside = table->entries[PageTable::slot(at(4))];
    const u64 good = entry;
    auto mend = [&] { entry = good; };
    expect_bad(
        test, world, "bad T2: ", [&] { table->live++; }, [&] { table->live--; });
    expect_bad(
        test, world, "bad M1: ", [&] { outside = good; }, [&] { outside = 0; });
    expect_bad(
        test, world, "bad A5: ", [&] { entry = Pte::file(Pgoff(1)).word(); }, mend);
    expect_bad(
        test, world, "bad M2: ", [&] { entry |= Pte::kWrite; }, mend); // the child maps it too
    expect_bad(
        test, world, "can be executed", [&] { entry &= ~Pte::kNoExecute; }, mend);
    expect_bad(
        test, world, "which is not in the pool", [&] { entry = (entry & ~Pte::kPfnMask) | 0x1000; }, mend);
    expect_bad(
        test, world, "bad S1: ", [&] { process.mm().resident_add(1); }, [&] { process.mm().resident_add(-1); });
    expect_bad(
        test, world, "bad T1: ", [&] { table->level = 2; }, [&] { table->level = 1; });
}

OBJR_TEST(verify_sees_broken_objects) {
    TestWorld world(test, 1, 4, "classic"); // a list is easily broken
    OBJR_PROPAGATE();
    Object object(test, world, "bag", 4);
    Process process(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(process.map(0, 4));
    OBJR_ASSERT(process.map(8, 12, kShared, object.get(), 0));
    process.store(1, 1);
    process.store(8, 1);
    Vma& anon = *process.vma(1);
    Vma& shared = *process.vma(8);
    Page& cached = *process.page(8);
    FrameReserve frames(*world, Patience::files);
    Result<Page*> unmapped = object->get_locked_page(2, frames);
    OBJR_ASSERT(unmapped);
    (*unmapped)->unlock();
    world->pool.put(**unmapped);
    expect_bad(
        test, world, "bad F", [&] { (*unmapped)->index++; }, [&] { (*unmapped)->index--; });
    if (world.is("classic")) {
        AnonVma& family = *anon.anon_vma;
        expect_bad(
            test, world, "bad A3: ", [&] { family.vmas.erase(anon); }, [&] { family.vmas.push_back(anon); });
        expect_bad(
            test, world, "bad S1: anon_vma ", [&] { family.vma_count.fetch_add(1); },
            [&] { family.vma_count.fetch_sub(1); });
    }
    expect_bad(
        test, world, "bad A3: ", [&] { object->i_mmap.erase(shared); }, [&] { object->i_mmap.insert(shared); });
    expect_bad(
        test, world, "bad A2: ", [&] { cached.index++; }, [&] { cached.index--; });
    expect_bad(
        test, world, "bad A2: ", [&] { shared.pgoff++; }, [&] { shared.pgoff--; });
    constexpr u32 kNonlinear = static_cast<u32>(VmFlag::nonlinear);
    expect_bad(
        test, world, "bad F2: ", [&] { shared.flags |= kNonlinear; }, [&] { shared.flags &= ~kNonlinear; });
    expect_bad(
        test, world, "bad A5: ", [&] { anon.flags |= kNonlinear; }, [&] { anon.flags &= ~kNonlinear; });
    expect_bad(
        test, world, "bad S1: the counter mappings ", [&] { world->counters.add(Count::mappings); },
        [&] { world->counters.sub(Count::mappings); });
    expect_bad(
        test, world, "bad S1: the counter table_pages ", [&] { world->counters.add(Count::table_pages); },
        [&] { world->counters.sub(Count::table_pages); });
    expect_bad(
        test, world, "bad A1: ", [&] { anon.end = anon.start; }, [&] { anon.end = at(4); });
}
