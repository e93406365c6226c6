// SPDX-License-Identifier: GPL-2.0
/* Reads memory after kfree(): KASAN. */
#include <linux/module.h>
#include <linux/slab.h>

static int sum;

static int __init use_after_free_init(void)
{
	char *memory = kzalloc(64, GFP_KERNEL);

	if (!memory)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(memory);
	kfree(memory);
	sum += READ_ONCE(memory[8]);
	return 0;
}

static void __exit use_after_free_exit(void)
{
}

module_init(use_after_free_init);
module_exit(use_after_free_exit);
MODULE_DESCRIPTION("runner test: use after free");
MODULE_LICENSE("GPL");
