// SPDX-License-Identifier: GPL-2.0
// The words of what users write: selectors, and commands, which have a selector in them.
//
// Numbers are decimal or 0x hex. NAME may have \xNN for a byte, as names are printed. The first bad word is reported with what
// might stand in its place: the error and the message of the query are its.
#pragma once

#include "objrmap/inspect.h"

namespace objr {

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

class SelectorParser : Pinned {
public:
    static constexpr const char* kSelectors = "pfn, page, pid, mm, file or range";

    // query: zeroed. text need not be terminated; it must stay as long as the parser.
    SelectorParser(objr_query& query, const char* text, u64 length);

    // The next word. False: there is none; the word is empty then.
    bool next(Word& word);
    // A selector that begins with this word. False: it is bad.
    bool selector(const Word& first);
    // A number. False: there is none.
    bool number(u64& value) { return number(value, kNumber); }
    // The word is not what is expected here. False.
    bool bad(const Word& word, const char* expected);
    // Nothing was written. False.
    bool nothing(const char* what_to_write);

private:
    static constexpr const char* kNumber = "a number, decimal or 0x hex";
    static constexpr const char* kAddress = "an address, 0x hex or decimal";

    bool keyword(const char* expected);
    bool number(u64& value, const char* expected, u64 most = ~0ull);
    bool name();

    objr_query& query_;
    const char* at_;
    const char* end_;
    Words message_;
};

} // namespace objr
