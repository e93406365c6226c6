// SPDX-License-Identifier: GPL-2.0
/* Takes a reference to itself and never gives it back: it cannot be unloaded. */
#include <linux/module.h>

static int __init stuck_init(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

static void __exit stuck_exit(void)
{
}

module_init(stuck_init);
module_exit(stuck_exit);
MODULE_DESCRIPTION("runner test: cannot be unloaded");
MODULE_LICENSE("GPL");
