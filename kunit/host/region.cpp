// SPDX-License-Identifier: GPL-2.0
//
// region.cpp: the process MMU of include/shim/kernel.h. There are no processes on the host: test bodies map with a region
// of NULL and read and write through the software MMU. Any other region is a mistake.
#include "host.h"
#include "lock_checker.h"

#include <cstring>

using namespace objr_host;

namespace {

void no_region(const void* region, const char* what) {
    if (region != nullptr) die("%s is called with %p: hosted tests have no process and no region", what, region);
}

} // namespace

extern "C" {

int objr_fault_install(void* token, objr_u64, objr_u64, int, int) {
    no_region(token, "objr_fault_install");
    return 0;
}

objr_u64 objr_mm_of_pid(objr_u32) { return 0; }

void objr_region_get(struct objr_region* region) { no_region(region, "objr_region_get"); }

objr_u32 objr_region_harvest(struct objr_region* region, objr_u64, int, objr_u64*) {
    check_may_sleep("region_harvest");
    no_region(region, "objr_region_harvest");
    return 0;
}

objr_u64 objr_region_mm(const struct objr_region* region) {
    no_region(region, "objr_region_mm");
    return 0;
}

objr_u32 objr_region_owner(struct objr_region* region, char comm[16]) {
    check_may_sleep("region_owner");
    no_region(region, "objr_region_owner");
    std::strcpy(comm, "-");
    return 0;
}

void objr_region_put(struct objr_region* region) {
    check_may_sleep("region_put");
    no_region(region, "objr_region_put");
}

int objr_region_scan(struct objr_region* region, objr_u64, objr_u64, int (*)(void*, objr_u64, objr_u64, objr_u32),
                     void*) {
    check_may_sleep("region_scan");
    no_region(region, "objr_region_scan");
    return 0;
}

void objr_region_zap(struct objr_region* region, objr_u64, objr_u64, enum objr_held) {
    check_may_sleep("region_zap");
    no_region(region, "objr_region_zap");
}
}
