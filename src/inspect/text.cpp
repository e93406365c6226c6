// SPDX-License-Identifier: GPL-2.0
#include "objrmap/text.h"

namespace objr {

static constexpr const char* kHexDigits = "0123456789abcdef";

bool same_text(const char* a, const char* b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

// A byte that can stand for itself in a word.
static bool plain(unsigned char byte) { return byte > ' ' && byte < 0x7f && byte != '\\'; }

// ---- Words

Words& Words::add(char character) {
    if (used_ < room_) {
        buffer_[used_++] = character;
        buffer_[used_] = '\0';
    }
    return *this;
}

Words& Words::add(const char* text) {
    for (; *text != '\0'; text++) {
        add(*text);
    }
    return *this;
}

Words& Words::decimal(u64 number) {
    char digits[24];
    char* at = digits + sizeof(digits);
    *--at = '\0';
    do {
        *--at = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return add(at);
}

Words& Words::hex(u64 number) {
    char digits[24];
    char* at = digits + sizeof(digits);
    *--at = '\0';
    do {
        *--at = kHexDigits[number & 15];
        number >>= 4;
    } while (number != 0);
    return add("0x").add(at);
}

Words& Words::escaped(const char* bytes, u64 length, u32 most) {
    u32 written = 0;
    for (u64 i = 0; i < length; i++) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        const u32 width = plain(byte) || byte == ' ' ? 1 : 4;
        if (written + width > most) {
            return add("...");
        }
        written += width;
        if (width == 1) {
            add(static_cast<char>(byte));
        } else {
            add("\\x").add(kHexDigits[byte >> 4]).add(kHexDigits[byte & 15]);
        }
    }
    return *this;
}

// ---- escapes

void put_word(objr_out* out, const char* text) {
    for (; *text != '\0'; text++) {
        const auto byte = static_cast<unsigned char>(*text);
        if (plain(byte)) {
            objr_out_printf(out, "%c", byte);
        } else {
            objr_out_printf(out, "\\x%02x", byte);
        }
    }
}

void put_dot(objr_out* out, const char* text) {
    for (; *text != '\0'; text++) {
        const auto byte = static_cast<unsigned char>(*text);
        if (byte == '"') {
            objr_out_printf(out, "\\\"");
        } else if (plain(byte) || byte == ' ') {
            objr_out_printf(out, "%c", byte);
        } else {
            objr_out_printf(out, "\\\\x%02x", byte);
        }
    }
}

// Length of the UTF-8 character that text begins with, 0: it begins with none (RFC 3629).
static u32 utf8_length(const char* text) {
    const auto* byte = reinterpret_cast<const unsigned char*>(text);
    u32 length;
    u32 code;
    if (byte[0] < 0x80) {
        return 1;
    }
    if (byte[0] >= 0xc2 && byte[0] < 0xe0) {
        length = 2;
        code = byte[0] & 0x1fu;
    } else if (byte[0] >= 0xe0 && byte[0] < 0xf0) {
        length = 3;
        code = byte[0] & 0x0fu;
    } else if (byte[0] >= 0xf0 && byte[0] < 0xf5) {
        length = 4;
        code = byte[0] & 0x07u;
    } else {
        return 0;
    }
    for (u32 i = 1; i < length; i++) { // the terminator is no continuation
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (byte[i] & 0x3fu);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    const bool no_character = (code >= 0xd800 && code < 0xe000) || code > 0x10ffff;
    return overlong || no_character ? 0 : length;
}

void put_json(objr_out* out, const char* text) {
    while (*text != '\0') {
        const auto byte = static_cast<unsigned char>(*text);
        const u32 length = utf8_length(text);
        if (length == 0 || byte < ' ' || byte == 0x7f) {
            objr_out_printf(out, "\\u%04x", byte);
            text++;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            objr_out_printf(out, "\\");
        }
        for (u32 i = 0; i < length; i++) {
            objr_out_printf(out, "%c", *text++);
        }
    }
}

// ---- Emitter

void Emitter::separate() {
    if (json() && !first_) {
        objr_out_printf(out_, ",");
    }
    first_ = false;
}

void Emitter::key(const char* name) {
    separate();
    objr_out_printf(out_, json() ? "\"%s\":" : " %s=", name);
}

void Emitter::begin_answer() {
    if (json()) {
        objr_out_printf(out_, "{");
    }
    first_ = true;
}

void Emitter::end_answer() {
    if (json()) {
        objr_out_printf(out_, "}\n");
    }
}

void Emitter::begin_array(const char* name) {
    if (json()) {
        key(name);
        objr_out_printf(out_, "[");
        first_ = true;
        in_array_ = true;
    }
}

void Emitter::end_array() {
    if (json()) {
        objr_out_printf(out_, "]");
        first_ = false;
        in_array_ = false;
    }
}

void Emitter::begin_record(const char* word) {
    if (!json()) {
        objr_out_printf(out_, "%s", word);
        return;
    }
    if (in_array_) {
        separate();
    } else {
        key(word);
    }
    objr_out_printf(out_, "{");
    first_ = true;
}

void Emitter::end_record() {
    objr_out_printf(out_, json() ? "}" : "\n");
    first_ = false;
}

void Emitter::hex(const char* name, u64 value) {
    key(name);
    objr_out_printf(out_, json() ? "\"0x%llx\"" : "0x%llx", value);
}

void Emitter::decimal(const char* name, u64 value) {
    key(name);
    objr_out_printf(out_, "%llu", value);
}

void Emitter::word(const char* name, const char* value) {
    key(name);
    objr_out_printf(out_, json() ? "\"%s\"" : "%s", value);
}

void Emitter::name(const char* name, const char* value) {
    if (*value == '\0') {
        none(name);
        return;
    }
    key(name);
    if (json()) {
        objr_out_printf(out_, "\"");
        put_json(out_, value);
        objr_out_printf(out_, "\"");
    } else {
        put_word(out_, value);
    }
}

void Emitter::none(const char* name) {
    key(name);
    objr_out_printf(out_, json() ? "null" : "-");
}

void Emitter::range(const char* name, u64 start, u64 end) {
    key(name);
    objr_out_printf(out_, json() ? "\"0x%llx-0x%llx\"" : "0x%llx-0x%llx", start, end);
}

void Emitter::object(const char* name, const char* kind, u64 id, const char* chosen) {
    key(name);
    objr_out_printf(out_, json() ? "\"%s:%llu" : "%s:%llu", kind, id);
    if (chosen) {
        objr_out_printf(out_, ":");
        if (json()) {
            put_json(out_, chosen);
        } else {
            put_word(out_, chosen);
        }
    }
    if (json()) {
        objr_out_printf(out_, "\"");
    }
}

void Emitter::begin_words(const char* name) {
    key(name);
    if (json()) {
        objr_out_printf(out_, "[");
    }
    first_ = true;
}

void Emitter::item(const char* word) {
    if (!first_) {
        objr_out_printf(out_, ",");
    }
    objr_out_printf(out_, json() ? "\"%s\"" : "%s", word);
    first_ = false;
}

void Emitter::end_words() {
    if (json()) {
        objr_out_printf(out_, "]");
    } else if (first_) {
        objr_out_printf(out_, "-");
    }
    first_ = false;
}

} // namespace objr
