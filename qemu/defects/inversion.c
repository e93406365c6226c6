// SPDX-License-Identifier: GPL-2.0
/* Two locks taken in both orders: lockdep sees the possible deadlock although none happens. */
#include <linux/module.h>
#include <linux/mutex.h>

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static int __init inversion_init(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static void __exit inversion_exit(void)
{
}

module_init(inversion_init);
module_exit(inversion_exit);
MODULE_DESCRIPTION("runner test: lock inversion");
MODULE_LICENSE("GPL");
