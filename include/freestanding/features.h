/* SPDX-License-Identifier: GPL-2.0 */
/*
 * features.h: stands in for the C library's header of this name, the only one that libstdc++'s freestanding headers ask for.
 */
#ifndef OBJR_FREESTANDING_FEATURES_H
#define OBJR_FREESTANDING_FEATURES_H

/* No release of the C library is new enough: there is none in the kernel. */
#define __GLIBC_PREREQ(major, minor) 0

#endif
