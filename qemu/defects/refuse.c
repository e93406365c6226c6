// SPDX-License-Identifier: GPL-2.0
/* Refuses to load. */
#include <linux/module.h>

static int __init refuse_init(void)
{
	pr_err("refuse: not in this kernel\n");
	return -EINVAL;
}

static void __exit refuse_exit(void)
{
}

module_init(refuse_init);
module_exit(refuse_exit);
MODULE_DESCRIPTION("runner test: refuses to load");
MODULE_LICENSE("GPL");
