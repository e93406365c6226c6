/* SPDX-License-Identifier: GPL-2.0 */
/*
 * debugfs.h: /sys/kernel/debug/objrmap comes and goes.
 */
#ifndef OBJRMAP_SHIM_DEBUGFS_H
#define OBJRMAP_SHIM_DEBUGFS_H

struct objr_world;

/* Cannot fail: without its directory the module still serves processes, and the log says why it is missing. */
void objr_debugfs_init(struct objr_world *world);
/* Returns when no call into the files is running any more; none comes after. */
void objr_debugfs_exit(void);

#endif
