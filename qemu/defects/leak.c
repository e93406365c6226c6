// SPDX-License-Identifier: GPL-2.0
/* Forgets allocations when it is unloaded: kmemleak. Many, since a stale pointer on some stack may hide one. */
#include <linux/module.h>
#include <linux/slab.h>

static void *kept[16];

static noinline void forget(void)
{
	int i;

	for (i = 0; i < 16; i++)
		kept[i] = kmalloc(200, GFP_KERNEL);
}

static int __init leak_init(void)
{
	forget();
	return 0;
}

static void __exit leak_exit(void)
{
}

module_init(leak_init);
module_exit(leak_exit);
MODULE_DESCRIPTION("runner test: memory leak");
MODULE_LICENSE("GPL");
