// SPDX-License-Identifier: GPL-2.0
/*
 * main.c: loading and unloading of objrmap.ko, and its parameters.
 *
 * Parameters are kept as text and judged here, so that a bad one is refused with one line that says what is allowed.
 * The world is made first and destroyed last. Nothing can be using it by then: every open descriptor, mapping and
 * debugfs file holds a reference to the module.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pgtable.h>
#include <linux/string.h>

#include "shim/module.h"
#include "debugfs.h"
#include "memory.h"
#include "process.h"

#define OBJR_POOL_MB_MAX 1048576u

static char *pool_mb = "64";
module_param(pool_mb, charp, 0444);
MODULE_PARM_DESC(pool_mb, "Size of the pool in MiB, 1 to 1048576 (default 64)");

static char *scheme = "chain";
module_param(scheme, charp, 0444);
MODULE_PARM_DESC(scheme, "Reverse-mapping scheme: chain (default), classic, anonmm or pte_chain");

static char *swap = "lz4";
module_param(swap, charp, 0444);
MODULE_PARM_DESC(swap, "Where unmapped anonymous pages go: lz4:N for up to N MiB of memory, compressed; memory:N, as they are; without :N half as much as the pool (default lz4); /path of a file; none");

static char *low_watermark = "4";
module_param(low_watermark, charp, 0444);
MODULE_PARM_DESC(low_watermark, "Percent of the pool: with fewer free pages a thread begins to take pages away, 0 to 50 (default 4)");

static char *high_watermark = "8";
module_param(high_watermark, charp, 0444);
MODULE_PARM_DESC(high_watermark, "Percent of the pool: with so many free pages it stops, low_watermark to 50 (default 8)");

static char *mode = "0600";
module_param(mode, charp, 0444);
MODULE_PARM_DESC(mode, "Permissions of /dev/objrmap, octal (default 0600)");

static struct objr_world *objr_the_world;

static int objr_parse_pool_mb(u32 *mib)
{
	u64 available = objr_mb_for_pool();

	if (kstrtou32(pool_mb, 10, mib) || *mib < 1 || *mib > OBJR_POOL_MB_MAX) {
		pr_err("pool_mb=%s is not allowed: give a number of MiB from 1 to %u\n", pool_mb,
		       OBJR_POOL_MB_MAX);
		return -EINVAL;
	}
	if (*mib > available) {
		pr_err("pool_mb=%u would leave the machine too little memory: give at most %llu\n", *mib,
		       available);
		return -ENOMEM;
	}
	return 0;
}

static int objr_open_swap_file(struct objr_backing **file)
{
	int error = objr_backing_open_swap(swap, file);

	switch (error) {
	case 0:
		break;
	case -EISDIR:
		error = -EINVAL;
		fallthrough;
	case -EINVAL:
		pr_err("swap=%s is no regular file: give the path of one, or lz4:N\n", swap);
		break;
	case -EPERM:
		pr_err("swap=%s is append-only, immutable, sealed or in use by swapon: give another file\n",
		       swap);
		break;
	case -ETXTBSY:
		pr_err("swap=%s is open for writing, or being run, by somebody: give a file of its own\n",
		       swap);
		break;
	case -EOPNOTSUPP:
		pr_err("swap=%s: its filesystem cannot be swapped to: give a file on a disk filesystem or tmpfs\n",
		       swap);
		break;
	default:
		pr_err("swap=%s cannot be opened for reading and writing (error %d): make it first, for example by fallocate -l 64M\n",
		       swap, error);
		break;
	}
	return error;
}

/* A size in MiB behind the name of a kind of memory: how much swap may take, as it needs it. */
static bool objr_swap_size(const char *kind, u32 pool, u32 *mib)
{
	size_t length = strlen(kind);

	if (strncmp(swap, kind, length))
		return false;
	if (!swap[length]) {
		*mib = max(pool / 2, 1u);
		return true;
	}
	return swap[length] == ':' && !kstrtou32(swap + length + 1, 10, mib) && *mib >= 1 &&
	       *mib <= OBJR_POOL_MB_MAX;
}

static int objr_parse_swap(struct objr_params *params)
{
	if (!strcmp(swap, "none"))
		return 0;
	if (swap[0] == '/')
		return objr_open_swap_file(&params->swap_file);
	if (objr_swap_size("lz4", params->pool_mb, &params->swap_mb)) {
		params->swap_kind = OBJR_SWAP_LZ4;
		return 0;
	}
	if (objr_swap_size("memory", params->pool_mb, &params->swap_mb))
		return 0;
	pr_err("swap=%s is not allowed: give lz4:N or memory:N with N from 1 to %u MiB, lz4, memory, the absolute path of a file, or none\n",
	       swap, OBJR_POOL_MB_MAX);
	return -EINVAL;
}

static int objr_parse_watermarks(u32 *low, u32 *high)
{
	const u32 most = 50;

	if (kstrtou32(low_watermark, 10, low) || kstrtou32(high_watermark, 10, high) || *low > *high ||
	    *high > most) {
		pr_err("low_watermark=%s high_watermark=%s are not allowed: give percents of the pool, 0 <= low <= high <= %u\n",
		       low_watermark, high_watermark, most);
		return -EINVAL;
	}
	return 0;
}

static int objr_parse_mode(umode_t *bits)
{
	u16 value;

	if (kstrtou16(mode, 8, &value) || value > 0777) {
		pr_err("mode=%s is not allowed: give octal permissions from 0 to 0777\n", mode);
		return -EINVAL;
	}
	*bits = value;
	return 0;
}

static int __init objr_init(void)
{
	struct objr_params params = {
		.levels = pgtable_l5_enabled() ? 5 : 4,
		.scheme = scheme,
		.daemons = 1,
	};
	umode_t bits;
	int error;

	error = objr_parse_pool_mb(&params.pool_mb);
	if (error)
		return error;
	error = objr_parse_mode(&bits);
	if (error)
		return error;
	error = objr_parse_watermarks(&params.low_watermark, &params.high_watermark);
	if (error)
		return error;
	/* Last: a file that it opens is the world's. */
	error = objr_parse_swap(&params);
	if (error)
		return error;

	objr_memory_init();
	error = objr_world_create(&params, &objr_the_world);
	if (error == -ENOMEM)
		pr_err("no memory for a pool of %u MiB with swap=%s: free some, or give less\n",
		       params.pool_mb, swap);
	if (error)
		return error;

	error = objr_device_init(objr_the_world, bits);
	if (error) {
		pr_err("/dev/objrmap could not be made: error %d\n", error);
		objr_world_destroy(objr_the_world);
		return error;
	}
	/* Last, as it cannot fail: a module whose init fails goes away under those who have its files open. */
	objr_debugfs_init(objr_the_world);

	pr_info("pool of %u MiB, swap to %s, scheme %s, %u-level page tables\n", params.pool_mb, swap,
		params.scheme, params.levels);
	return 0;
}

static void __exit objr_exit(void)
{
	objr_debugfs_exit();
	/* They may hold regions, and so inodes of the device's filesystem. */
	objr_world_stop(objr_the_world);
	objr_device_exit();
	objr_world_destroy(objr_the_world);
}

module_init(objr_init);
module_exit(objr_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("objrmap developers");
MODULE_DESCRIPTION("Object-based reverse mapping for a private page pool, given to processes by /dev/objrmap");
