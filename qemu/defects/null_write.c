// SPDX-License-Identifier: GPL-2.0
/* Writes through a null pointer: the guest dies at once. */
#include <linux/module.h>

static int __init null_write_init(void)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	WRITE_ONCE(*nowhere, 1);
	return 0;
}

static void __exit null_write_exit(void)
{
}

module_init(null_write_init);
module_exit(null_write_exit);
MODULE_DESCRIPTION("runner test: null pointer");
MODULE_LICENSE("GPL");
