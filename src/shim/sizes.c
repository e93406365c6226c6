// SPDX-License-Identifier: GPL-2.0
/*
 * sizes.c: sizes and alignments of the kernel types that C++ objects embed.
 *
 * Compiled to assembly only; Kbuild makes generated/objr-kernel-sizes.h out of the marked lines, as the kernel does
 * for its asm-offsets. They depend on the kernel's options (lock debugging above all): each build has its own header.
 */
#include <linux/kbuild.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#define OBJR_LAYOUT(name, type)				\
	do {						\
		DEFINE(OBJR_SIZEOF_##name, sizeof(type));	\
		DEFINE(OBJR_ALIGNOF_##name, __alignof__(type));	\
	} while (0)

static void __used objr_kernel_sizes(void)
{
	OBJR_LAYOUT(SPINLOCK, spinlock_t);
	OBJR_LAYOUT(MUTEX, struct mutex);
	OBJR_LAYOUT(RWSEM, struct rw_semaphore);
	OBJR_LAYOUT(PERCPU_RWSEM, struct percpu_rw_semaphore);
	OBJR_LAYOUT(RCU_HEAD, struct rcu_head);
	OBJR_LAYOUT(XARRAY, struct xarray);
	OBJR_LAYOUT(WAITQ, wait_queue_head_t);
	/* Size 0 without CONFIG_LOCKDEP. */
	OBJR_LAYOUT(LOCKDEP_MAP, struct lockdep_map);
}
