// SPDX-License-Identifier: GPL-2.0
/* An allocation that may sleep, under a spin lock: DEBUG_ATOMIC_SLEEP. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static DEFINE_SPINLOCK(lock);

static int __init atomic_sleep_init(void)
{
	void *memory;

	spin_lock(&lock);
	memory = kmalloc(64, GFP_KERNEL);
	spin_unlock(&lock);
	kfree(memory);
	return 0;
}

static void __exit atomic_sleep_exit(void)
{
}

module_init(atomic_sleep_init);
module_exit(atomic_sleep_exit);
MODULE_DESCRIPTION("runner test: sleeping in atomic context");
MODULE_LICENSE("GPL");
