// SPDX-License-Identifier: GPL-2.0
/*
 * time.c: the clock and the scheduler, for the core.
 */
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>

#include "shim/kernel.h"

objr_u64 objr_ktime_get_ns(void)
{
	return ktime_get_ns();
}

objr_u32 objr_cpu(void)
{
	return raw_smp_processor_id();
}

void objr_cond_resched(void)
{
	cond_resched();
}

void objr_sleep_a_tick(void)
{
	schedule_timeout_uninterruptible(1);
}

int objr_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

void objr_might_sleep(void)
{
	might_sleep();
}
