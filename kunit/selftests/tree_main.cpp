// SPDX-License-Identifier: GPL-2.0
//
// tree: the long runs under memory pressure, for scripts/stress --pressure.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include <sys/prctl.h>

#include "client.h"
#include "own_file.h"
#include "sharers.h"
#include "tree.h"

static int usage(FILE* to, int status) {
    fprintf(
        to,
        "usage: tree [--seconds N] [--processes N] [--multiple PERCENT] [--kills N] [--seed N] [--file PATH]\n"
        "       tree --sharers N | --own-file CALLS\n"
        "Processes that fork one another want PERCENT (300) of the pool of " OBJRMAP_DEVICE
        " together and check every\n"
        "word of their memory, while others take pages away, move them and switch schemes.\n"
        "--kills N: until so many of all these have got SIGKILL; --seconds is the limit then.\n"
        "--sharers N: the pool is full of pages that N processes share, and then somebody needs memory.\n"
        "--own-file CALLS: writers with CALLS system calls each from pool memory to the file behind it, and back.\n");
    return status;
}

static int report(const std::string& failure, const std::string& summary) {
    if (!failure.empty()) printf("# %s\n", failure.c_str());
    printf("%s 1 - %s\n", failure.empty() ? "ok" : "not ok", summary.c_str());
    return failure.empty() ? 0 : 1;
}

static int share(unsigned processes) {
    std::string summary;
    const std::string failure = sharers::run(processes, &summary);
    return report(failure, summary);
}

static int write_own_file(const tree::Options& tree, unsigned calls) {
    own_file::Options options;
    options.path = tree.file;
    options.seed = tree.seed;
    options.calls = calls;
    options.patience = 240;
    std::string failure;
    for (const unsigned processes : {1U, 4U, 8U})
        for (const int flags : {0, O_SYNC}) {
            options.processes = processes;
            options.flags = flags;
            if (failure.empty()) failure = own_file::run(options);
        }
    return report(failure, "own file: " + std::to_string(calls) +
                               " calls by each of 1, 4 and 8 writers, with and without "
                               "O_SYNC, " +
                               std::to_string(objr::stat("writebacks")) + " writebacks");
}

int main(int argc, char** argv) {
    unsigned sharing = 0, calls = 0;
    tree::Options options;
    options.seed = static_cast<uint64_t>(time(nullptr));
    options.seconds = 60;
    options.processes = 24;
    options.file = "/tmp/tree-file";
    options.chatty = true;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--help") return usage(stdout, 0);
        if (++i == argc) return usage(stderr, 2);
        if (word == "--file") {
            options.file = argv[i];
            continue;
        }
        char* end = nullptr;
        const unsigned long long value = strtoull(argv[i], &end, 10);
        if (*end || end == argv[i]) return usage(stderr, 2);
        if (word == "--seconds" && value)
            options.seconds = static_cast<unsigned>(value);
        else if (word == "--processes" && value && value <= tree::kMostMembers)
            options.processes = static_cast<unsigned>(value);
        else if (word == "--multiple" && value)
            options.multiple = static_cast<double>(value) / 100;
        else if (word == "--kills")
            options.kills = static_cast<unsigned>(value);
        else if (word == "--seed")
            options.seed = value;
        else if (word == "--sharers" && value)
            sharing = static_cast<unsigned>(value);
        else if (word == "--own-file" && value)
            calls = static_cast<unsigned>(value);
        else
            return usage(stderr, 2);
    }
    if (!objr::stat("pool_pages")) {
        fprintf(stderr, "tree: no pool: load objrmap.ko, and mount debugfs\n");
        return 2;
    }
    if (sharing) return share(sharing);
    if (calls) return write_own_file(options, calls);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    printf("# tree: seed %llu, %u s, %u processes\n", static_cast<unsigned long long>(options.seed), options.seconds,
           options.processes);
    fflush(stdout);
    const tree::Outcome outcome = tree::run(options);
    return report(outcome.failure, "tree: " + outcome.summary);
}
