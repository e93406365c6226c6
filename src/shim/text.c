// SPDX-License-Identifier: GPL-2.0
/*
 * text.c: the kernel log, warnings and text output, for the core.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bug.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/stdarg.h>
#include <linux/string.h>

#include "shim/kernel.h"
#include "text.h"

/* A line, with its newline or without. */
void objr_printk(enum objr_level level, const char *format, ...)
{
	const size_t length = strlen(format);
	const char *end = length && format[length - 1] == '\n' ? "" : "\n";
	struct va_format text = { .fmt = format };
	va_list arguments;

	va_start(arguments, format);
	text.va = &arguments;
	switch (level) {
	case OBJR_ERR:
		pr_err("%pV%s", &text, end);
		break;
	case OBJR_WARN:
		pr_warn("%pV%s", &text, end);
		break;
	case OBJR_NOTICE:
		pr_notice("%pV%s", &text, end);
		break;
	case OBJR_INFO:
		pr_info("%pV%s", &text, end);
		break;
	}
	va_end(arguments);
}

/* Of its own: the kernel's is shared by all drivers, and its line on what it has left out would name this function. */
int objr_printk_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&state);
}

void objr_warn(const char *what, const char *file, int line)
{
	WARN(1, KBUILD_MODNAME ": %s at %s:%d\n", what, file, line);
}

/* ---- text of the core ---------------------------------------------------------------------- */

/* Room for bytes more, and for the terminator that the kernel's printf writes. */
static bool objr_text_grow(struct objr_text *text, size_t bytes)
{
	size_t wanted = text->used + bytes + 1;
	size_t room = text->room;
	char *larger;

	if (wanted <= room)
		return true;
	if (wanted > text->most)
		return false;
	room = clamp(max(2 * room, wanted), (size_t)PAGE_SIZE, text->most);
	larger = kvmalloc(room, GFP_KERNEL_ACCOUNT);
	if (!larger)
		return false;
	if (text->used)
		memcpy(larger, text->bytes, text->used);
	kvfree(text->bytes);
	text->bytes = larger;
	text->room = room;
	return true;
}

static void objr_text_vprintf(struct objr_text *text, const char *format, va_list arguments)
{
	va_list again;
	int length;

	if (text->cut)
		return;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0 || !objr_text_grow(text, length)) {
		text->cut = true;
		return;
	}
	text->used += vsnprintf(text->bytes + text->used, length + 1, format, arguments);
}

void objr_text_free(struct objr_text *text)
{
	kvfree(text->bytes);
	text->bytes = NULL;
	text->used = 0;
	text->room = 0;
}

void objr_out_printf(struct objr_out *out, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (out->text)
		objr_text_vprintf(out->text, format, arguments);
	else
		seq_vprintf(out->seq, format, arguments);
	va_end(arguments);
}
