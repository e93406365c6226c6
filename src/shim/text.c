// SPDX-License-Identifier: GPL-2.0
/*
 * text.c: the kernel log, warnings and text output, for the core.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bug.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
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

void objr_warn(const char *what, const char *file, int line)
{
	WARN(1, KBUILD_MODNAME ": %s at %s:%d\n", what, file, line);
}

/* A full buffer is seq_file's business: it comes again with a larger one. */
void objr_out_printf(struct objr_out *out, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	seq_vprintf(out->seq, format, arguments);
	va_end(arguments);
}
