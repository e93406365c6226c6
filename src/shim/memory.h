/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory.h: what a module's init calls before anything else of the shim or the core.
 */
#ifndef OBJRMAP_SHIM_MEMORY_H
#define OBJRMAP_SHIM_MEMORY_H

/* Finds the direct map, which KASLR moves from boot to boot. */
void objr_memory_init(void);

#endif
