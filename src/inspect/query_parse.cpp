// SPDX-License-Identifier: GPL-2.0
// Selectors as users write them into `query` and `graph`: words between blanks, any bytes at all.
//
//   pfn X | page N | pid P addr X | mm M addr X | file NAME pgoff N | range page A B      then: json, explain
#include "query_parser.h"

namespace objr {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Value of a hexadecimal digit, 16: it is none.
u32 digit_value(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<u32>(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return static_cast<u32>(c - 'a') + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return static_cast<u32>(c - 'A') + 10;
    }
    return 16;
}

} // namespace

SelectorParser::SelectorParser(objr_query& query, const char* text, u64 length)
    : query_(query), at_(text), end_(text + length), message_(query.message, sizeof(query.message)) {
    while (at_ != end_ && end_[-1] == '\0') { // programs that write their terminator too
        end_--;
    }
}

bool SelectorParser::bad(const Word& word, const char* expected) {
    if (word.length == 0) {
        message_.add("the line ends too early: expected ").add(expected);
    } else {
        message_.add("bad word '").escaped(word.bytes, word.length).add("': expected ").add(expected);
    }
    query_.error = -OBJR_EINVAL;
    return false;
}

// False: there are no more; the word is empty then.
bool SelectorParser::next(Word& word) {
    while (at_ != end_ && is_blank(*at_)) {
        at_++;
    }
    word.bytes = at_;
    while (at_ != end_ && !is_blank(*at_)) {
        at_++;
    }
    word.length = static_cast<u64>(at_ - word.bytes);
    return word.length != 0;
}

bool SelectorParser::keyword(const char* expected) {
    Word word;
    next(word);
    return word.is(expected) || bad(word, expected);
}

bool SelectorParser::number(u64& value, const char* expected, u64 most) {
    Word word;
    next(word);
    const bool hex = word.length > 2 && word.bytes[0] == '0' && (word.bytes[1] == 'x' || word.bytes[1] == 'X');
    const u32 base = hex ? 16 : 10;
    value = 0;
    for (u64 i = hex ? 2 : 0; i < word.length; i++) {
        const u32 digit = digit_value(word.bytes[i]);
        if (digit >= base) {
            return bad(word, expected);
        }
        if (value > (~0ull - digit) / base) {
            return bad(word, "a number below 2^64");
        }
        value = value * base + digit;
    }
    if (word.length == 0) {
        return bad(word, expected);
    }
    return value <= most || bad(word, "a number below 2^32");
}

// As it is printed: a backslash, x and two digits stand for a byte.
bool SelectorParser::name() {
    Word word;
    if (!next(word)) {
        return bad(word, "the name of a file or object");
    }
    u32 used = 0;
    for (u64 i = 0; i < word.length; i++) {
        char byte = word.bytes[i];
        if (byte == '\\') {
            const bool complete = i + 3 < word.length && word.bytes[i + 1] == 'x';
            const u32 high = complete ? digit_value(word.bytes[i + 2]) : 16;
            const u32 low = complete ? digit_value(word.bytes[i + 3]) : 16;
            if (high > 15 || low > 15) {
                return bad(word, "\\xNN for a byte behind each \\");
            }
            byte = static_cast<char>(high << 4 | low);
            i += 3;
        }
        if (byte == '\0') {
            return bad(word, "a name without zero bytes");
        }
        if (used + 1 >= sizeof(query_.name)) {
            return bad(word, "a name of at most 63 bytes");
        }
        query_.name[used++] = byte;
    }
    query_.name[used] = '\0';
    return true;
}

bool SelectorParser::selector(const Word& first) {
    constexpr u64 kIds = 0xffffffff;
    QueryKind kind = QueryKind::none;
    bool good = false;
    if (first.is("pfn")) {
        kind = QueryKind::pfn;
        good = number(query_.first, kNumber);
    } else if (first.is("page")) {
        kind = QueryKind::page;
        good = number(query_.first, kNumber);
    } else if (first.is("pid")) {
        kind = QueryKind::pid;
        good = number(query_.first, "a process id", kIds) && keyword("addr") && number(query_.address, kAddress);
    } else if (first.is("mm")) {
        kind = QueryKind::mm;
        good = number(query_.first, "the id of an mm", kIds) && keyword("addr") && number(query_.address, kAddress);
    } else if (first.is("file")) {
        kind = QueryKind::file;
        good = name() && keyword("pgoff") && number(query_.first, kNumber);
    } else if (first.is("range")) {
        kind = QueryKind::range;
        good = keyword("page") && number(query_.first, kNumber) && number(query_.last, kNumber);
    } else {
        return bad(first, kSelectors);
    }
    if (good && kind == QueryKind::range && query_.last < query_.first) {
        message_.add("bad range: the last page, ")
            .decimal(query_.last)
            .add(", is before the first, ")
            .decimal(query_.first);
        query_.error = -OBJR_EINVAL;
        return false;
    }
    query_.kind = static_cast<u32>(kind);
    return good;
}

bool SelectorParser::nothing(const char* what_to_write) {
    message_.add(what_to_write);
    query_.error = -OBJR_EINVAL;
    return false;
}

namespace {

bool parse_query(SelectorParser& parser, objr_query& query) {
    Word word;
    if (!parser.next(word)) {
        return parser.nothing(
            "nothing selected: write pfn X, page N, pid P addr X, mm M addr X, file NAME pgoff N or range page A B");
    }
    if (!parser.selector(word)) {
        return false;
    }
    while (parser.next(word)) {
        if (word.is("json")) {
            query.options |= static_cast<u32>(QueryOption::json);
        } else if (word.is("explain")) {
            query.options |= static_cast<u32>(QueryOption::explain);
        } else {
            return parser.bad(word, "json, explain or the end");
        }
    }
    return true;
}

} // namespace

} // namespace objr

extern "C" void objr_query_parse(objr_query* query, const char* text, objr_u64 length) {
    *query = {};
    objr::SelectorParser parser(*query, text, length);
    if (!objr::parse_query(parser, *query)) {
        query->kind = static_cast<objr_u32>(objr::QueryKind::none);
        query->options = 0; // what is wrong is said in a line, whether `json` came before or behind it
    }
}
