// SPDX-License-Identifier: GPL-2.0
/*
 * sink.c: failures, log lines and captured text of the test bodies, for KUnit.
 *
 * Nothing here ends the thread: KUnit's own assertions do, and no destructor of a C++ body would run then.
 */
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stdarg.h>

#include "cases/test.h"
#include "shim/kernel.h"
#include "../../src/shim/text.h"
#include "sink.h"

/* Enough to see what is wrong; a loop that goes wrong must not fill the log. */
#define OBJR_FAILURES_SHOWN 20

/*
 * A KTAP diagnostic. KUnit hears of it when the body has returned: its own way to fail allocates, and a body may hold a
 * spin lock here.
 */
void objr_test_fail(struct objr_test *test, const char *file, int line, const char *message)
{
	if (atomic_inc_return(&test->failures) <= OBJR_FAILURES_SHOWN)
		pr_err("    # %s: %s:%d: %s\n", test->kunit->name, file, line, message);
}

int objr_test_failed(const struct objr_test *test)
{
	return atomic_read(&test->failures) != 0;
}

void objr_test_skip(struct objr_test *test, const char *reason)
{
	test->skip = reason;
}

const char *objr_test_scheme(const struct objr_test *test)
{
	return test->scheme;
}

void objr_test_log(struct objr_test *test, const char *format, ...)
{
	struct va_format text = { .fmt = format };
	va_list arguments;

	va_start(arguments, format);
	text.va = &arguments;
	kunit_info(test->kunit, "%pV", &text);
	va_end(arguments);
}

/* ---- captured text ----------------------------------------------------------------------- */

struct objr_test_out {
	struct objr_out out;
	struct seq_file seq;
	char text[];
};

struct objr_out *objr_test_out_create(objr_u32 bytes)
{
	struct objr_test_out *capture = kvzalloc(struct_size(capture, text, bytes), GFP_KERNEL);

	if (!capture)
		return NULL;
	capture->seq.buf = capture->text;
	/* One byte stays for the terminator. */
	capture->seq.size = bytes ? bytes - 1 : 0;
	capture->out.seq = &capture->seq;
	return &capture->out;
}

const char *objr_test_out_text(struct objr_out *out)
{
	struct objr_test_out *capture = container_of(out, struct objr_test_out, out);

	if (capture->seq.size)
		capture->text[capture->seq.count] = '\0';
	return capture->text;
}

void objr_test_out_clear(struct objr_out *out)
{
	container_of(out, struct objr_test_out, out)->seq.count = 0;
}

void objr_test_out_destroy(struct objr_out *out)
{
	if (out)
		kvfree(container_of(out, struct objr_test_out, out));
}
