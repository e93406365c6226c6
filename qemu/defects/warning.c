// SPDX-License-Identifier: GPL-2.0
/* A WARN(). */
#include <linux/bug.h>
#include <linux/module.h>

static int __init warning_init(void)
{
	WARN(1, "a planted warning");
	return 0;
}

static void __exit warning_exit(void)
{
}

module_init(warning_init);
module_exit(warning_exit);
MODULE_DESCRIPTION("runner test: warning");
MODULE_LICENSE("GPL");
