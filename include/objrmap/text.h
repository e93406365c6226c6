// SPDX-License-Identifier: GPL-2.0
// Text: how the core writes for people and programs (Linux: lib/seq_file.c, string_escape_mem).
//
// Words: sentences put together in a fixed buffer, for messages. Emitter: one answer, written either as lines of
// `word name=value name=value` or as one JSON object, from the same calls.
//
// Invariants:
//   E1 a line has no blank but those between its fields, and no value is empty: it can be split at blanks and at the first '='.
//   E2 what is 0x... in a line is a string of the same characters in JSON, what is decimal is a number, '-' is null.
//   E3 text that users chose (names of files, comm) can break neither form: bytes that would are escaped.
#pragma once

#include "objrmap/types.h"

namespace objr {

// C string equality.
bool same_text(const char* a, const char* b);

// A text of at most `bytes` - 1 characters; what does not fit is left out. Always terminated.
class Words : Pinned {
public:
    Words(char* buffer, u32 bytes) : buffer_(buffer), room_(bytes - 1) { buffer_[0] = '\0'; }

    Words& add(const char* text);
    Words& add(char character);
    Words& decimal(u64 number);
    Words& hex(u64 number); // with 0x
    // Any bytes, printable: \xNN for what is not; at most `most` characters, then "...".
    Words& escaped(const char* bytes, u64 length, u32 most = 32);
    bool empty() const { return used_ == 0; }
    const char* c_str() const { return buffer_; }

private:
    char* buffer_;
    u32 room_;
    u32 used_ = 0;
};

// With a buffer of its own.
template <u32 Bytes>
class WordsOf {
    char buffer_[Bytes];

public:
    Words words{buffer_, Bytes};
};

// Bytes as one word of a line: \xNN for blanks, backslashes and all that is not printable ASCII.
void put_word(objr_out* out, const char* text);
// Bytes within the quotes of a JSON string: valid UTF-8 as it is, other bytes as the character of that number.
void put_json(objr_out* out, const char* text);
// Bytes within the quotes of a Graphviz string: put_word, and quotes escaped.
void put_dot(objr_out* out, const char* text);

enum class Format { text, json };

class Emitter : Pinned {
public:
    Emitter(objr_out* out, Format format) : out_(out), format_(format) {}

    // An answer: nothing, or the object around everything.
    void begin_answer();
    void end_answer();
    // An array of records of one kind; nothing in text.
    void begin_array(const char* name);
    void end_array();
    // A line, or an object: named in the answer, nameless in an array.
    void begin_record(const char* word);
    void end_record();

    // Fields of a record.
    void hex(const char* name, u64 value);
    void decimal(const char* name, u64 value);
    void word(const char* name, const char* value); // the core's own words only
    void name(const char* name, const char* value); // what users chose; empty: none
    void none(const char* name);
    void range(const char* name, u64 start, u64 end);
    void object(const char* name, const char* kind, u64 id,
                const char* chosen); // kind:id, kind:id:chosen; chosen may be nullptr
    // A list of words; empty: '-' or [].
    void begin_words(const char* name);
    void item(const char* word);
    void end_words();

private:
    bool json() const { return format_ == Format::json; }
    void separate(); // the comma between two things in JSON
    void key(const char* name);

    objr_out* out_;
    Format format_;
    bool first_ = true; // in the innermost bracket
    bool in_array_ = false;
};

} // namespace objr
