// SPDX-License-Identifier: GPL-2.0
/* No defect: allocates, locks, frees, leaves. */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

static DEFINE_MUTEX(lock);
static void *memory;

static int __init clean_init(void)
{
	mutex_lock(&lock);
	memory = kmalloc(100, GFP_KERNEL);
	mutex_unlock(&lock);
	return memory ? 0 : -ENOMEM;
}

static void __exit clean_exit(void)
{
	kfree(memory);
}

module_init(clean_init);
module_exit(clean_exit);
MODULE_DESCRIPTION("runner test: no defect");
MODULE_LICENSE("GPL");
