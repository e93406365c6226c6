// SPDX-License-Identifier: GPL-2.0
/* A shift by more than the width: UBSAN. */
#include <linux/module.h>

static unsigned int result;

static int __init shift_init(void)
{
	unsigned int distance = 40;

	OPTIMIZER_HIDE_VAR(distance);
	result = 1u << distance;
	return 0;
}

static void __exit shift_exit(void)
{
}

module_init(shift_init);
module_exit(shift_exit);
MODULE_DESCRIPTION("runner test: undefined shift");
MODULE_LICENSE("GPL");
