/* SPDX-License-Identifier: GPL-2.0 */
/*
 * debugfs.h: /sys/kernel/debug/objrmap comes and goes; and what its files share.
 */
#ifndef OBJRMAP_SHIM_DEBUGFS_H
#define OBJRMAP_SHIM_DEBUGFS_H

#include <linux/fs.h>

struct objr_world;
struct seq_file;

/* Most that may be written at once: a selector, a command. */
#define OBJR_SELECTOR_MAX 4095

/* Cannot fail: without its directory the module still serves processes, and the log says why it is missing. */
void objr_debugfs_init(struct objr_world *world);
/* Returns when no call into the files is running any more; none comes after. */
void objr_debugfs_exit(void);

/* Forget what has been read of an answer that is no longer the one to show. The caller holds seq->lock. */
void objr_seq_restart(struct seq_file *seq);

/* debugfs_scheme.c */
extern const struct file_operations objr_scheme_fops;

/* debugfs_command.c */
extern const struct file_operations objr_command_fops;
/* The result of the last command, which outlives the files. None is open any more. */
void objr_command_exit(void);

#endif
