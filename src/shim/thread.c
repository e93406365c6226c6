// SPDX-License-Identifier: GPL-2.0
/*
 * thread.c: kernel threads and wait queues, for the core.
 */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "shim/kernel.h"
#include "fail.h"

struct objr_thread {
	struct task_struct *task;
	void (*function)(void *argument);
	void *argument;
};

static int objr_thread_run(void *argument)
{
	struct objr_thread *thread = argument;

	thread->function(thread->argument);
	return 0;
}

struct objr_thread *objr_thread_start(const char *name, void (*function)(void *argument),
				      void *argument)
{
	struct objr_thread *thread;

	if (objr_allocation_fails())
		return NULL;
	thread = kzalloc(sizeof(*thread), GFP_KERNEL);
	if (!thread)
		return NULL;
	thread->function = function;
	thread->argument = argument;
	thread->task = kthread_create(objr_thread_run, thread, "%s", name);
	if (IS_ERR(thread->task)) {
		kfree(thread);
		return NULL;
	}
	/* The reference: function may have returned before objr_thread_stop comes. */
	get_task_struct(thread->task);
	wake_up_process(thread->task);
	return thread;
}

void objr_thread_stop(struct objr_thread *thread)
{
	kthread_stop(thread->task);
	put_task_struct(thread->task);
	kfree(thread);
}

/* ---- waiting ----------------------------------------------------------------------------- */

void objr_init_waitqueue(void *queue)
{
	init_waitqueue_head((wait_queue_head_t *)queue);
}

int objr_wait_while_equal(void *queue, const objr_u32 *word, objr_u32 value)
{
	wait_queue_head_t *head = queue;

	if (!(current->flags & PF_KTHREAD))
		return wait_event_killable(*head, READ_ONCE(*word) != value) ? -EINTR : 0;
	/* Idle: a thread without work is no load, and nothing that hangs. */
	wait_event_idle(*head, READ_ONCE(*word) != value || kthread_should_stop());
	return kthread_should_stop() ? -EINTR : 0;
}

void objr_wake_up_all(void *queue)
{
	wake_up_all((wait_queue_head_t *)queue);
}
