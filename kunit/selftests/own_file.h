// SPDX-License-Identifier: GPL-2.0
//
// write(2) from pool memory to the very file that lies behind it, and read(2) back into the pool, with a file larger than the
// pool: each call holds the file's lock while it faults on pages that only writing to the file would free.
#ifndef OBJRMAP_SELFTESTS_OWN_FILE_H
#define OBJRMAP_SELFTESTS_OWN_FILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace own_file {

struct Options {
    std::string path; // of the file, made here
    unsigned processes = 1; // at once, each on pages of its own
    unsigned calls = 300; // of each
    double multiple = 2; // of the pool: the size of the file
    int flags = 0; // to open the file with, besides O_RDWR: O_SYNC
    uint64_t seed = 1;
    unsigned patience = 60; // seconds without the end of a call, after which a process gets SIGALRM and dies of it
};

// Empty: all went well; else what did not. Leaves no process.
std::string run(const Options& options);

} // namespace own_file

#endif // OBJRMAP_SELFTESTS_OWN_FILE_H
