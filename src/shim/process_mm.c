// SPDX-License-Identifier: GPL-2.0
/*
 * process_mm.c: the process address spaces that map the pool, their regions, and who runs in them.
 *
 * Locking: objr_process_mms_lock guards the table and the counts of users. It is taken under mmap_lock or under
 * nothing, and nothing is taken under it. Context: everything here may sleep but objr_region_get.
 */
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "process.h"

static DEFINE_HASHTABLE(objr_process_mms, 8);
static DEFINE_MUTEX(objr_process_mms_lock);
static atomic64_t objr_region_origins = ATOMIC64_INIT(0);

/* ---- address spaces ---------------------------------------------------------------------------------------- */

static void objr_process_mm_put(struct objr_process_mm *pmm)
{
	if (!refcount_dec_and_test(&pmm->refs))
		return;
	mmdrop(pmm->mm);
	kfree(pmm);
}

struct objr_process_mm *objr_process_mm_find(struct mm_struct *mm)
{
	struct objr_process_mm *pmm;

	mutex_lock(&objr_process_mms_lock);
	hash_for_each_possible(objr_process_mms, pmm, node, (unsigned long)mm) {
		if (pmm->mm == mm) {
			pmm->users++;
			break;
		}
	}
	mutex_unlock(&objr_process_mms_lock);
	return pmm;
}

struct objr_process_mm *objr_process_mm_get(struct objr_world *world, struct mm_struct *mm)
{
	struct objr_process_mm *pmm = objr_process_mm_find(mm);

	if (pmm)
		return pmm;

	pmm = kzalloc(sizeof(*pmm), GFP_KERNEL_ACCOUNT);
	if (!pmm)
		return NULL;
	if (objr_mm_create(world, &pmm->core)) {
		kfree(pmm);
		return NULL;
	}
	mmgrab(mm);
	pmm->mm = mm;
	pmm->users = 1;
	refcount_set(&pmm->refs, 1);

	/* mm's mmap_lock is held for write: nobody else makes its record meanwhile. */
	mutex_lock(&objr_process_mms_lock);
	hash_add(objr_process_mms, &pmm->node, (unsigned long)mm);
	mutex_unlock(&objr_process_mms_lock);
	return pmm;
}

void objr_process_mm_use(struct objr_process_mm *pmm)
{
	mutex_lock(&objr_process_mms_lock);
	pmm->users++;
	mutex_unlock(&objr_process_mms_lock);
}

void objr_process_mm_unuse(struct objr_process_mm *pmm)
{
	bool last;

	mutex_lock(&objr_process_mms_lock);
	last = --pmm->users == 0;
	if (last)
		hash_del(&pmm->node);
	mutex_unlock(&objr_process_mms_lock);
	if (!last)
		return;
	objr_mm_put(pmm->core);
	objr_process_mm_put(pmm);
}

/* ---- regions ------------------------------------------------------------------------------------------------ */

struct objr_region *objr_region_create(struct objr_process_mm *pmm, struct inode *inode,
				       unsigned long bias, const struct objr_region *source)
{
	struct objr_region *region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);

	if (!region)
		return NULL;
	refcount_set(&region->refs, 1);
	refcount_inc(&pmm->refs);
	region->pmm = pmm;
	ihold(inode);
	region->inode = inode;
	region->bias = bias;
	region->moved_from = source ? source->bias : bias;
	region->origin = source ? source->origin : atomic64_inc_return(&objr_region_origins);
	return region;
}

void objr_region_get(struct objr_region *region)
{
	refcount_inc(&region->refs);
}

void objr_region_put(struct objr_region *region)
{
	if (!refcount_dec_and_test(&region->refs))
		return;
	iput(region->inode);
	objr_process_mm_put(region->pmm);
	kfree(region);
}

/* ---- who runs in an address space --------------------------------------------------------------------------- */

void objr_process_mm_seen(struct objr_process_mm *pmm)
{
	pid_t known = READ_ONCE(pmm->tgid);
	pid_t tgid;

	if (current->mm != pmm->mm)
		return;
	tgid = task_tgid_nr(current);
	if (!known || tgid < known)
		WRITE_ONCE(pmm->tgid, tgid);
}

/* How many threads of the process of leader run in mm. Under RCU. */
static int objr_threads_in(struct task_struct *leader, struct mm_struct *mm)
{
	struct task_struct *thread;
	int count = 0;

	for_each_thread(leader, thread) {
		if (!(thread->flags & PF_KTHREAD) && READ_ONCE(thread->mm) == mm)
			count++;
	}
	return count;
}

/* The process with the lowest tgid that runs in mm; NULL for nobody. Under RCU. */
static struct task_struct *objr_lowest_process(struct mm_struct *mm)
{
	struct task_struct *process, *lowest = NULL;

	for_each_process(process) {
		if (lowest && task_tgid_nr(process) > task_tgid_nr(lowest))
			continue;
		if (objr_threads_in(process, mm))
			lowest = process;
	}
	return lowest;
}

u32 objr_region_owner(struct objr_region *region, char comm[16])
{
	struct objr_process_mm *pmm = region->pmm;
	struct mm_struct *mm = pmm->mm;
	pid_t tgid = READ_ONCE(pmm->tgid);
	struct task_struct *leader = NULL;
	char name[TASK_COMM_LEN] = "-";
	int users, threads = 0;

	BUILD_BUG_ON(TASK_COMM_LEN != 16);

	rcu_read_lock();
	users = atomic_read(&mm->mm_users);
	if (tgid && users) {
		leader = pid_task(find_pid_ns(tgid, &init_pid_ns), PIDTYPE_TGID);
		if (leader)
			threads = objr_threads_in(leader, mm);
	}
	/* Nobody known is left in it, or somebody else may be in it as well. */
	if (users > threads)
		leader = objr_lowest_process(mm);
	tgid = 0;
	if (leader && users) {
		tgid = task_tgid_nr(leader);
		get_task_comm(name, leader);
		WRITE_ONCE(pmm->tgid, tgid);
	}
	rcu_read_unlock();

	memcpy(comm, name, sizeof(name));
	return tgid;
}

u64 objr_mm_of_pid(u32 pid)
{
	struct task_struct *leader, *thread;
	struct mm_struct *mm = NULL;

	if (!pid || pid > PID_MAX_LIMIT)
		return 0;

	rcu_read_lock();
	leader = pid_task(find_pid_ns(pid, &init_pid_ns), PIDTYPE_TGID);
	if (leader) {
		/* The leader may have exited before its threads. */
		for_each_thread(leader, thread) {
			if (thread->flags & PF_KTHREAD)
				continue;
			mm = READ_ONCE(thread->mm);
			if (mm)
				break;
		}
	}
	rcu_read_unlock();
	return (uintptr_t)mm;
}

int objr_region_alive(const struct objr_region *region)
{
	return atomic_read(&region->pmm->mm->mm_users) != 0;
}

u64 objr_region_mm(const struct objr_region *region)
{
	return (uintptr_t)region->pmm->mm;
}
