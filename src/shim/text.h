/* SPDX-License-Identifier: GPL-2.0 */
/*
 * text.h: where the core's text goes in the kernel.
 */
#ifndef OBJRMAP_SHIM_TEXT_H
#define OBJRMAP_SHIM_TEXT_H

struct seq_file;

struct objr_out {
	struct seq_file *seq;
};

#endif
