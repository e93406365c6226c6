/* SPDX-License-Identifier: GPL-2.0 */
/*
 * text.h: where the core's text goes in the kernel: into a seq_file, which asks again with a larger buffer when the
 * text did not fit, or into memory that grows, for text that cannot be asked for twice.
 */
#ifndef OBJRMAP_SHIM_TEXT_H
#define OBJRMAP_SHIM_TEXT_H

#include <linux/types.h>

struct seq_file;

/* Text in memory of its own. Zeroed but for most: empty. One user at a time. */
struct objr_text {
	char *bytes; /* kvmalloc, not terminated; NULL: empty */
	size_t used;
	size_t room;
	size_t most; /* it does not grow beyond */
	bool cut; /* something did not fit, for want of room or of memory: nothing is added after that */
};

void objr_text_free(struct objr_text *text);

/* One of the two. */
struct objr_out {
	struct seq_file *seq;
	struct objr_text *text;
};

#endif
