// SPDX-License-Identifier: GPL-2.0
//
// Loading and unloading: refused while anybody uses the module, clean afterwards; parameters are judged at load.
#include <sys/stat.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

CASE(module_stays_while_it_is_used) {
    need_module();
    need_root();
    const int fd = device();
    CHECK_FAILS(unload_module(), EAGAIN); // an open descriptor
    void* memory = map_pages(fd, 2);
    fill(memory, 1);
    close(fd);
    CHECK_FAILS(unload_module(), EAGAIN); // a mapping
    Actor child([&](Actor& self) {
        self.pause();
        CHECK(holds(memory, 1));
        self.pause();
    });
    child.await();
    CHECK_OK(munmap(memory, 2 * kPage));
    CHECK_FAILS(unload_module(), EAGAIN); // a child's inherited mapping
    child.step();
    child.finish();
    const int verify = open((objr::kDebugfs + "mappers").c_str(), O_RDONLY | O_CLOEXEC);
    CHECK_OK(verify);
    char byte;
    CHECK(read(verify, &byte, 1) >= 0);
    if (unload_module() == 0) { // an open debugfs file need not keep it: then it reads no more
        CHECK(read(verify, &byte, 1) <= 0);
        close(verify);
        CHECK_OK(load_module(""));
    }
}

CASE_LIMIT(module_reload_and_parameters, 120) {
    need_module();
    need_root();
    if (module_file().empty()) skip("no objrmap.ko in the guest to load again");
    const uint64_t mib = objr::stat("pool_pages") / 256;
    const std::string right = "pool_mb=" + std::to_string(mib);
    for (int round = 0; round < 3; ++round) {
        CHECK(becomes([] { return unload_module() == 0; }));
        CHECK(access(OBJRMAP_DEVICE, F_OK) != 0);
        CHECK(access(objr::kDebugfs.c_str(), F_OK) != 0);
        for (const char* wrong : {"pool_mb=0",
                                  "pool_mb=-1",
                                  "pool_mb=x",
                                  "pool_mb=",
                                  "pool_mb=1048577",
                                  "pool_mb=64k",
                                  "scheme=none",
                                  "scheme=",
                                  "mode=rw",
                                  "mode=99999",
                                  "pool_mb=99999999999999999999",
                                  "swap=",
                                  "swap=lz4:",
                                  "swap=lz4:0",
                                  "swap=lz4:x",
                                  "swap=lz4:1048577",
                                  "swap=lz4x",
                                  "swap=memory:-1",
                                  "swap=zram",
                                  "swap=file",
                                  "swap=/tmp",
                                  "swap=/dev/null",
                                  "swap=/etc/fstab"}) { // /etc/fstab: too small
            if (round) break; // once is enough
            errno = 0;
            if (load_module(wrong) == 0 || errno != EINVAL) {
                const int error = errno;
                if (access(OBJRMAP_DEVICE, F_OK) != 0) load_module(right);
                fail(__FILE__, __LINE__,
                     std::string(wrong) + " at load: errno " + std::to_string(error) + ", EINVAL was expected");
            }
        }
        CHECK_OK(load_module(right + (round == 1 ? " mode=0666" : "")));
        CHECK(becomes([] { return access(OBJRMAP_DEVICE, F_OK) == 0; }));
        struct stat status {};
        CHECK_OK(stat(OBJRMAP_DEVICE, &status));
        CHECK_EQ(status.st_mode & 0777, round == 1 ? 0666u : 0600u);
        CHECK_EQ(objr::stat("pool_pages"), mib * 256);
        CHECK_EQ(objr::stat("free_pages"), mib * 256);
        in_child([] { // this process's own mapping would keep the module
            fill(map_pages(device(), 100), 2);
            in_child([] { fill(map_pages(device(), 8), 3); });
        });
    }
}
