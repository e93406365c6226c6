// SPDX-License-Identifier: GPL-2.0
/*
 * work.c: threads of the kernel's own, for the core.
 */
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "shim/kernel.h"

struct objr_work {
	struct work_struct work;
	void (*function)(void *argument);
	void *argument;
};

static void objr_work_run(struct work_struct *work)
{
	struct objr_work *detached = container_of(work, struct objr_work, work);

	detached->function(detached->argument);
}

void objr_run_detached(void (*function)(void *argument), void *argument)
{
	struct objr_work detached = { .function = function, .argument = argument };

	if (current->flags & PF_KTHREAD) {
		function(argument);
		return;
	}
	INIT_WORK_ONSTACK(&detached.work, objr_work_run);
	queue_work(system_unbound_wq, &detached.work);
	flush_work(&detached.work);
	destroy_work_on_stack(&detached.work);
}
