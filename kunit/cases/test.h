/* SPDX-License-Identifier: GPL-2.0 */
/*
 * test.h: what test bodies say, whatever runs them: KUnit in the guest (kunit/guest/), GoogleTest on the host
 * (kunit/host/).
 *
 *	OBJR_TEST(spec_P1_mapcount)
 *	{
 *		OBJR_ASSERT(page != nullptr);
 *		OBJR_EXPECT_EQ(page->mapcount(), -1);
 *	}
 *
 * EXPECT records a failure and goes on. ASSERT records it and returns from the function it stands in, so that
 * destructors run; after a call of a helper that asserts, OBJR_PROPAGATE() returns too. The macros find the test in a
 * variable named `test`; helpers take it as their parameter of that name.
 *
 * The C part is the sink that each runner implements.
 */
#ifndef OBJRMAP_KUNIT_TEST_H
#define OBJRMAP_KUNIT_TEST_H

#include "shim/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct objr_test;

/* The test has failed at file:line. From any thread, any context; message is copied. */
void objr_test_fail(struct objr_test* test, const char* file, int line, const char* message);

/* 1: it has failed already. */
int objr_test_failed(const struct objr_test* test);

/* Cannot run here; the body returns after it. reason: a string literal. */
void objr_test_skip(struct objr_test* test, const char* reason);

/* The scheme this run of the case is to be made under; NULL: the case chooses. */
const char* objr_test_scheme(const struct objr_test* test);

/* 1: the core has a scheme of that name. For the runners; fixture.cpp has it. */
int objr_test_has_scheme(const char* name);

/* A line for the reader of the report. */
__attribute__((format(printf, 2, 3))) void objr_test_log(struct objr_test* test, const char* format, ...);

/*
 * Text output into memory: what the core prints between create or clear and text. bytes is the most it keeps, the
 * terminator included; what comes after is lost. Sleeps; create answers NULL when there is no memory.
 */
struct objr_out* objr_test_out_create(objr_u32 bytes);
const char* objr_test_out_text(struct objr_out* out);
void objr_test_out_clear(struct objr_out* out);
void objr_test_out_destroy(struct objr_out* out);

#ifdef __cplusplus
}

#include <type_traits>

namespace objr_test_detail {

/* A value as the reports print it: an integer of either sign. */
struct Number {
    unsigned long long magnitude;
    bool negative;

    friend constexpr bool operator==(Number, Number) = default;
};

template <class T>
constexpr Number number_of(T value) {
    if constexpr (std::is_enum_v<T>) {
        return number_of(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_integral_v<T>) {
        const auto bits = static_cast<unsigned long long>(value);
        if constexpr (std::is_signed_v<T>) {
            return {value < 0 ? 0 - bits : bits, value < 0};
        }
        return {bits, false};
    } else if constexpr (std::is_null_pointer_v<T>) {
        return {0, false};
    } else if constexpr (std::is_pointer_v<T>) {
        return {reinterpret_cast<unsigned long long>(value), false};
    } else if constexpr (requires { value.value(); }) {
        return number_of(value.value());
    } else {
        return number_of(value.value);
    }
}

/* Text put together in place; what does not fit is left out. */
class Line {
public:
    Line& add(const char* text) {
        while (*text != '\0' && used_ + 1 < sizeof(text_)) {
            text_[used_++] = *text++;
        }
        text_[used_] = '\0';
        return *this;
    }

    Line& add(Number number) {
        if (number.negative) {
            add("-");
        }
        add_base(number.magnitude, 10);
        if (number.magnitude > 9) {
            add(" (0x").add_base(number.magnitude, 16).add(")");
        }
        return *this;
    }

    const char* text() const { return text_; }

private:
    Line& add_base(unsigned long long n, unsigned base) {
        char digits[24];
        char* at = digits + sizeof(digits);
        *--at = '\0';
        do {
            *--at = "0123456789abcdef"[n % base];
            n /= base;
        } while (n != 0);
        return add(at);
    }

    char text_[240] = {};
    unsigned long used_ = 0;
};

/* Out of line: a failure's text must not take room in the stack frame of each body, the kernel's are small. */
[[gnu::noinline]] inline void report_eq(objr_test* test, const char* file, int line, const char* left_text,
                                        const char* right_text, Number left, Number right) {
    Line message;
    message.add(left_text).add(" is ").add(left).add(", expected ").add(right_text).add(" which is ").add(right);
    objr_test_fail(test, file, line, message.text());
}

inline bool expect_eq(objr_test* test, const char* file, int line, const char* left_text, const char* right_text,
                      Number left, Number right) {
    if (left == right) {
        return true;
    }
    report_eq(test, file, line, left_text, right_text, left, right);
    return false;
}

/* By hand: strstr would be a call into the kernel past the shim. */
inline bool contains(const char* text, const char* part) {
    for (;; text++) {
        unsigned long same = 0;
        while (part[same] != '\0' && text[same] == part[same]) {
            same++;
        }
        if (part[same] == '\0') {
            return true;
        }
        if (*text == '\0') {
            return false;
        }
    }
}

[[gnu::noinline]] inline bool expect_text(objr_test* test, const char* file, int line, const char* text,
                                          const char* part) {
    if (contains(text, part)) {
        return true;
    }
    Line message;
    message.add("no '").add(part).add("' in '").add(text).add("'");
    objr_test_fail(test, file, line, message.text());
    return false;
}

} // namespace objr_test_detail

/* Defines a case. It is run if kunit/cases/cases.h lists it. */
#define OBJR_TEST(name)                                                                                                \
    extern "C" void objr_case_##name(objr_test* test);                                                                 \
    void objr_case_##name([[maybe_unused]] objr_test* test)

#define OBJR_CHECK_(condition, text) ((condition) ? true : (objr_test_fail(test, __FILE__, __LINE__, text), false))
#define OBJR_CHECK_EQ_(left, right)                                                                                    \
    objr_test_detail::expect_eq(test, __FILE__, __LINE__, #left, #right, objr_test_detail::number_of(left),            \
                                objr_test_detail::number_of(right))

#define OBJR_EXPECT(condition) static_cast<void>(OBJR_CHECK_(condition, "not true: " #condition))
#define OBJR_ASSERT(condition)                                                                                         \
    do {                                                                                                               \
        if (!OBJR_CHECK_(condition, "not true: " #condition)) {                                                        \
            return;                                                                                                    \
        }                                                                                                              \
    } while (false)

/* Integers, enums, pointers, and types with a `value`, compared as numbers: left is what came, right is what should. */
#define OBJR_EXPECT_EQ(left, right) static_cast<void>(OBJR_CHECK_EQ_(left, right))
#define OBJR_ASSERT_EQ(left, right)                                                                                    \
    do {                                                                                                               \
        if (!OBJR_CHECK_EQ_(left, right)) {                                                                            \
            return;                                                                                                    \
        }                                                                                                              \
    } while (false)

/* The C string text has part in it. */
#define OBJR_EXPECT_TEXT(text, part)                                                                                   \
    static_cast<void>(objr_test_detail::expect_text(test, __FILE__, __LINE__, text, part))

/* After a helper that may have asserted. */
#define OBJR_PROPAGATE()                                                                                               \
    do {                                                                                                               \
        if (objr_test_failed(test)) {                                                                                  \
            return;                                                                                                    \
        }                                                                                                              \
    } while (false)

#define OBJR_TEST_SKIP(reason)                                                                                         \
    do {                                                                                                               \
        objr_test_skip(test, reason);                                                                                  \
        return;                                                                                                        \
    } while (false)

#define OBJR_TEST_LOG(...) objr_test_log(test, __VA_ARGS__)

#endif /* __cplusplus */
#endif /* OBJRMAP_KUNIT_TEST_H */
