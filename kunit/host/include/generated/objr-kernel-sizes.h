// SPDX-License-Identifier: GPL-2.0
//
// The hosted counterpart of the header that Kbuild generates: room that the core reserves for kernel types. The fakes of
// kunit/host/fake_types.h are checked against it.
#pragma once

#define OBJR_SIZEOF_SPINLOCK 48
#define OBJR_ALIGNOF_SPINLOCK 8
#define OBJR_SIZEOF_MUTEX 48
#define OBJR_ALIGNOF_MUTEX 8
#define OBJR_SIZEOF_RWSEM 64
#define OBJR_ALIGNOF_RWSEM 8
#define OBJR_SIZEOF_PERCPU_RWSEM 16
#define OBJR_ALIGNOF_PERCPU_RWSEM 8
#define OBJR_SIZEOF_RCU_HEAD 16
#define OBJR_ALIGNOF_RCU_HEAD 8
#define OBJR_SIZEOF_XARRAY 96
#define OBJR_ALIGNOF_XARRAY 8
#define OBJR_SIZEOF_WAITQ 24
#define OBJR_ALIGNOF_WAITQ 8
#define OBJR_SIZEOF_LOCKDEP_MAP 0
#define OBJR_ALIGNOF_LOCKDEP_MAP 8
