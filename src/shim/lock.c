// SPDX-License-Identifier: GPL-2.0
/*
 * lock.c: the kernel's locks, for the core. The memory of a lock belongs to the core; its lockdep class comes from
 * enum objr_lock_class, so that reports name the rows of the core's lock table.
 */
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>

#include "shim/kernel.h"
#include "fail.h"

static struct lock_class_key objr_lock_keys[OBJR_LOCK_NR];

static const char *const objr_lock_names[OBJR_LOCK_NR] = {
	[OBJR_LOCK_WRITEBACK] = "objr_writeback",
	[OBJR_LOCK_SWAP_WRITE] = "objr_swap_write",
	[OBJR_LOCK_QUIESCE] = "objr_quiesce",
	[OBJR_LOCK_REGISTRY] = "objr_registry",
	[OBJR_LOCK_MM] = "objr_mm",
	[OBJR_LOCK_PAGE] = "objr_page",
	[OBJR_LOCK_ZAP_GRACE] = "objr_zap_grace",
	[OBJR_LOCK_I_MMAP] = "objr_i_mmap",
	[OBJR_LOCK_ANON] = "objr_anon_vma",
	[OBJR_LOCK_TREE] = "objr_tree",
	[OBJR_LOCK_COMPRESS] = "objr_compress",
	[OBJR_LOCK_UPPER_TABLE] = "objr_upper_table",
	[OBJR_LOCK_TABLE] = "objr_table",
	[OBJR_LOCK_PTE_CHAIN] = "objr_pte_chain",
	[OBJR_LOCK_SWAP] = "objr_swap",
	[OBJR_LOCK_POOL] = "objr_pool",
};

/* ---- spin locks -------------------------------------------------------------------------- */

void objr_spin_lock_init(void *lock, enum objr_lock_class cls)
{
	spinlock_t *spin = lock;

	spin_lock_init(spin);
	lockdep_set_class_and_name(spin, &objr_lock_keys[cls], objr_lock_names[cls]);
}

void objr_spin_lock(void *lock)
{
	spin_lock((spinlock_t *)lock);
}

void objr_spin_lock_nested(void *lock)
{
	spin_lock_nested((spinlock_t *)lock, SINGLE_DEPTH_NESTING);
}

int objr_spin_trylock(void *lock)
{
	return spin_trylock((spinlock_t *)lock);
}

void objr_spin_unlock(void *lock)
{
	spin_unlock((spinlock_t *)lock);
}

/* ---- mutexes ----------------------------------------------------------------------------- */

void objr_mutex_init(void *lock, enum objr_lock_class cls)
{
	struct mutex *mutex = lock;

	mutex_init(mutex);
	lockdep_set_class_and_name(mutex, &objr_lock_keys[cls], objr_lock_names[cls]);
}

void objr_mutex_lock(void *lock)
{
	mutex_lock(lock);
}

int objr_mutex_trylock(void *lock)
{
	return mutex_trylock(lock);
}

void objr_mutex_unlock(void *lock)
{
	mutex_unlock(lock);
}

/* ---- read-write semaphores --------------------------------------------------------------- */

void objr_init_rwsem(void *lock, enum objr_lock_class cls)
{
	struct rw_semaphore *sem = lock;

	init_rwsem(sem);
	lockdep_set_class_and_name(sem, &objr_lock_keys[cls], objr_lock_names[cls]);
}

void objr_down_read(void *lock)
{
	down_read(lock);
}

int objr_down_read_trylock(void *lock)
{
	return down_read_trylock(lock);
}

void objr_up_read(void *lock)
{
	up_read(lock);
}

void objr_down_write(void *lock)
{
	down_write(lock);
}

void objr_down_write_nested(void *lock)
{
	down_write_nested((struct rw_semaphore *)lock, SINGLE_DEPTH_NESTING);
}

int objr_down_write_trylock(void *lock)
{
	return down_write_trylock(lock);
}

void objr_up_write(void *lock)
{
	up_write(lock);
}

/* ---- per-cpu read-write semaphores ------------------------------------------------------- */

int objr_percpu_init_rwsem(void *lock, enum objr_lock_class cls)
{
	if (objr_allocation_fails())
		return -ENOMEM;
	return __percpu_init_rwsem(lock, objr_lock_names[cls], &objr_lock_keys[cls]);
}

void objr_percpu_free_rwsem(void *lock)
{
	percpu_free_rwsem(lock);
}

void objr_percpu_down_read(void *lock)
{
	percpu_down_read(lock);
}

void objr_percpu_up_read(void *lock)
{
	percpu_up_read(lock);
}

void objr_percpu_down_write(void *lock)
{
	percpu_down_write(lock);
}

void objr_percpu_up_write(void *lock)
{
	percpu_up_write(lock);
}

/* ---- rcu --------------------------------------------------------------------------------- */

void objr_rcu_read_lock(void)
{
	rcu_read_lock();
}

void objr_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

/* ---- the page lock: a bit ---------------------------------------------------------------- */

#ifdef CONFIG_DEBUG_LOCK_ALLOC
/* One map stands for the bits of all pages: they are too many for a map each. */
static struct lockdep_map objr_page_lock_map =
	STATIC_LOCKDEP_MAP_INIT("objr_page", &objr_lock_keys[OBJR_LOCK_PAGE]);
#endif

void objr_wait_on_bit_lock(unsigned long *word, int bit)
{
	wait_on_bit_lock(word, bit, TASK_UNINTERRUPTIBLE);
}

void objr_wake_up_bit(unsigned long *word, int bit)
{
	/* The cleared bit must be seen before the queue is found empty; how the core cleared it is its own affair. */
	smp_mb();
	wake_up_bit(word, bit);
}

void objr_page_lock_acquire(int trylock)
{
	might_sleep_if(!trylock);
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	lock_acquire_exclusive(&objr_page_lock_map, 0, trylock, NULL, _RET_IP_);
#endif
}

void objr_page_lock_release(void)
{
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	lock_release(&objr_page_lock_map, _RET_IP_);
#endif
}
