/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory_backing.h: a regular file made of memory, for tests: implements the objr_backing_ functions of shim/kernel.h in
 * the KUnit module and in the hosted build.
 *
 * objr_memory_file stands for the inode, objr_backing for a descriptor on it: backings of one file have one key. The
 * test owns the file and destroys it after the last backing was put (the core puts what it was given).
 *
 * A new file holds a pattern: objr_memory_file_byte(seed, position) at each position. Everything is safe from any
 * number of threads.
 */
#ifndef OBJRMAP_KUNIT_MEMORY_BACKING_H
#define OBJRMAP_KUNIT_MEMORY_BACKING_H

#include "shim/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct objr_memory_file;

/* size bytes now, never more than most; most is fixed, in bytes. NULL: no memory. */
struct objr_memory_file* objr_memory_file_create(const char* name, objr_u64 size, objr_u64 most, objr_u32 seed);
/* A WARN if a backing is left; then the memory is leaked. */
void objr_memory_file_destroy(struct objr_memory_file* file);

/* writable: opened for writing and shared. NULL: no memory. Ended by objr_backing_put. */
struct objr_backing* objr_memory_file_open(struct objr_memory_file* file, int writable);
/* Backings that have not been put. */
objr_u32 objr_memory_file_users(struct objr_memory_file* file);

objr_u64 objr_memory_file_size(struct objr_memory_file* file);
/* As write(2) and read(2) by somebody else: between byte position and the end of the file; returns the bytes done. */
objr_u64 objr_memory_file_read(struct objr_memory_file* file, objr_u64 position, void* data, objr_u64 bytes);
objr_u64 objr_memory_file_write(struct objr_memory_file* file, objr_u64 position, const void* data, objr_u64 bytes);

enum objr_memory_file_op {
    OBJR_MEMORY_FILL,
    OBJR_MEMORY_WRITE,
    OBJR_MEMORY_SYNC,
    OBJR_MEMORY_TRUNCATE,
    OBJR_MEMORY_OPS
};
/* How often op was asked for, failed ones included. */
objr_u32 objr_memory_file_calls(struct objr_memory_file* file, enum objr_memory_file_op op);
/* Before each write, under no lock of the file: hook(context). NULL: nothing. Set while nobody writes. */
void objr_memory_file_on_write(struct objr_memory_file* file, void (*hook)(void* context), void* context);
/* The same before each sync says how it ended. */
void objr_memory_file_on_sync(struct objr_memory_file* file, void (*hook)(void* context), void* context);
/* op goes well `after` more times and then fails with -error until told otherwise; error 0: never. */
void objr_memory_file_fail(struct objr_memory_file* file, enum objr_memory_file_op op, int error, objr_u32 after);

/* Never 0, so that a byte of the file is not taken for one behind its end. */
static inline objr_u8 objr_memory_file_byte(objr_u32 seed, objr_u64 position) {
    objr_u64 mixed = (position + seed + 1) * 0x9e3779b97f4a7c15ULL;

    return (objr_u8)(mixed >> 56) | 1;
}

#ifdef __cplusplus
}
#endif

#endif /* OBJRMAP_KUNIT_MEMORY_BACKING_H */
