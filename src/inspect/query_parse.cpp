// SPDX-License-Identifier: GPL-2.0
// Selectors as users write them into `query` and `graph`: words between blanks, any bytes at all.
//
//   pfn X | page N | pid P addr X | mm M addr X | file NAME pgoff N | range page A B      then: json, explain
//
// Numbers are decimal or 0x hex. NAME may have \xNN for a byte, as names are printed. The first bad word is reported with what
// might stand in its place.
#include "objrmap/inspect.h"

namespace objr {

namespace {

struct Word {
    const char* bytes = nullptr;
    u64 length = 0;

    bool is(const char* text) const {
        u64 i = 0;
        while (i < length && text[i] != '\0' && text[i] == bytes[i]) {
            i++;
        }
        return i == length && text[i] == '\0';
    }
};

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

class Parser {
public:
    Parser(objr_query& query, const char* text, u64 length)
        : query_(query), at_(text), end_(text + length), message_(query.message, sizeof(query.message)) {}

    void parse();

private:
    static constexpr const char* kSelectors = "pfn, page, pid, mm, file or range";
    static constexpr const char* kNumber = "a number, decimal or 0x hex";
    static constexpr const char* kAddress = "an address, 0x hex or decimal";

    bool parse_selector(const Word& first);
    bool parse_options();
    bool next(Word& word);
    bool keyword(const char* expected);
    bool number(u64& value, const char* expected, u64 most = ~0ull);
    bool name();
    bool bad(const Word& word, const char* expected);

    objr_query& query_;
    const char* at_;
    const char* end_;
    Words message_;
};

bool Parser::bad(const Word& word, const char* expected) {
    if (word.length == 0) {
        message_.add("selector ends too early: expected ").add(expected);
    } else {
        message_.add("bad word '").escaped(word.bytes, word.length).add("': expected ").add(expected);
    }
    query_.error = -OBJR_EINVAL;
    return false;
}

// False: there are no more; the word is empty then.
bool Parser::next(Word& word) {
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

bool Parser::keyword(const char* expected) {
    Word word;
    next(word);
    return word.is(expected) || bad(word, expected);
}

bool Parser::number(u64& value, const char* expected, u64 most) {
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
bool Parser::name() {
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

bool Parser::parse_selector(const Word& first) {
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

bool Parser::parse_options() {
    Word word;
    while (next(word)) {
        if (word.is("json")) {
            query_.options |= static_cast<u32>(QueryOption::json);
        } else if (word.is("explain")) {
            query_.options |= static_cast<u32>(QueryOption::explain);
        } else {
            return bad(word, "json, explain or the end");
        }
    }
    return true;
}

void Parser::parse() {
    while (at_ != end_ && end_[-1] == '\0') { // programs that write their terminator too
        end_--;
    }
    Word word;
    if (!next(word)) {
        message_.add(
            "nothing selected: write pfn X, page N, pid P addr X, mm M addr X, file NAME pgoff N or range page A B");
        query_.error = -OBJR_EINVAL;
        return;
    }
    if (!parse_selector(word) || !parse_options()) {
        query_.kind = static_cast<u32>(QueryKind::none);
        query_.options = 0; // what is wrong is said in a line, whether `json` came before or behind it
    }
}

} // namespace

} // namespace objr

extern "C" void objr_query_parse(objr_query* query, const char* text, objr_u64 length) {
    *query = {};
    objr::Parser(*query, text, length).parse();
}
