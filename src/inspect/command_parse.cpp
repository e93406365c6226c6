// SPDX-License-Identifier: GPL-2.0
// The words of commands.
//
//   referenced SEL [peek] | unmap SEL | mkclean SEL | revoke SEL | migrate SEL | poison SEL | compact | reclaim N | resize MIB
//   swapin pid P addr X | swapin mm M addr X | swapoff | swapon
//   SEL: a selector of query_parse.cpp; and behind each: json
#include "command.h"
#include "query_parser.h"

namespace objr {

namespace {

// What comes behind a verb.
enum class Argument { pages, address, number, nothing };

struct Verb {
    const char* name;
    objr_verb verb;
    Argument argument = Argument::pages;
};
constexpr Verb kVerbs[] = {
    {"referenced", OBJR_VERB_REFERENCED},
    {"unmap", OBJR_VERB_UNMAP},
    {"mkclean", OBJR_VERB_MKCLEAN},
    {"revoke", OBJR_VERB_REVOKE},
    {"migrate", OBJR_VERB_MIGRATE},
    {"poison", OBJR_VERB_POISON},
    {"compact", OBJR_VERB_COMPACT, Argument::nothing},
    {"reclaim", OBJR_VERB_RECLAIM, Argument::number},
    {"resize", OBJR_VERB_RESIZE, Argument::number},
    {"swapin", OBJR_VERB_SWAPIN, Argument::address},
    {"swapoff", OBJR_VERB_SWAPOFF, Argument::nothing},
    {"swapon", OBJR_VERB_SWAPON, Argument::nothing},
};

// ", " between them, " or " before the last.
void list_verbs(Words& words) {
    constexpr u32 kCount = sizeof(kVerbs) / sizeof(kVerbs[0]);
    for (u32 n = 0; n < kCount; n++) {
        words.add(n == 0 ? "" : n + 1 == kCount ? " or " : ", ").add(kVerbs[n].name);
    }
}

// nullptr: it is not one.
const Verb* parse_verb(SelectorParser& parser) {
    WordsOf<sizeof(objr_query::message)> message;
    Word word;
    if (!parser.next(word)) {
        message.words.add("nothing commanded: write ");
        list_verbs(message.words);
        parser.nothing(message.words.c_str());
        return nullptr;
    }
    for (const Verb& known : kVerbs) {
        if (word.is(known.name)) {
            return &known;
        }
    }
    list_verbs(message.words);
    parser.bad(word, message.words.c_str());
    return nullptr;
}

// True: it is there, and good.
bool parse_argument(SelectorParser& parser, Argument argument, objr_query& query) {
    Word word;
    switch (argument) {
    case Argument::pages:
        return parser.next(word) ? parser.selector(word) : parser.bad(word, SelectorParser::kSelectors);
    case Argument::address: // what is swapped out is no page: it can only be named by its place
        parser.next(word);
        return word.is("pid") || word.is("mm") ? parser.selector(word)
                                               : parser.bad(word, "pid P addr X or mm M addr X");
    case Argument::number: return parser.number(query.first);
    case Argument::nothing: break;
    }
    return true;
}

bool parse_command(SelectorParser& parser, objr_command& command) {
    const Verb* verb = parse_verb(parser);
    if (!verb || !parse_argument(parser, verb->argument, command.query)) {
        return false;
    }
    command.verb = verb->verb;
    const bool may_peek = command.verb == OBJR_VERB_REFERENCED;
    for (Word word; parser.next(word);) {
        if (word.is("json")) {
            command.query.options |= static_cast<u32>(QueryOption::json);
        } else if (may_peek && word.is("peek")) {
            command.options |= OBJR_COMMAND_PEEK;
        } else {
            return parser.bad(word, may_peek ? "peek, json or the end" : "json or the end");
        }
    }
    return true;
}

} // namespace

const char* name_of_verb(u32 verb) {
    for (const Verb& known : kVerbs) {
        if (known.verb == verb) {
            return known.name;
        }
    }
    return "none";
}

} // namespace objr

using namespace objr;

extern "C" void objr_command_parse(objr_command* command, const char* text, objr_u64 length) {
    *command = {};
    SelectorParser parser(command->query, text, length);
    if (parse_command(parser, *command)) {
        return;
    }
    command->error = command->query.error;
    __builtin_memcpy(command->message, command->query.message, sizeof(command->message));
    command->verb = OBJR_VERB_NONE;
    command->options = 0;
    command->query.kind = static_cast<u32>(QueryKind::none);
    command->query.options = 0; // what is wrong is said in a line
}
