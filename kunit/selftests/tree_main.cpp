// SPDX-License-Identifier: GPL-2.0
//
// tree: the long runs under memory pressure, for scripts/stress --pressure.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <sys/prctl.h>

#include "client.h"
#include "tree.h"

static int usage(FILE* to, int status) {
    fprintf(to, "usage: tree [--seconds N] [--processes N] [--multiple PERCENT] [--kills N] [--seed N] [--file PATH]\n"
                "Processes that fork one another want PERCENT (300) of the pool of " OBJRMAP_DEVICE
                " together and check every\n"
                "word of their memory, while others take pages away, move them and switch schemes.\n"
                "--kills N: until so many of all these have got SIGKILL; --seconds is the limit then.\n");
    return status;
}

int main(int argc, char** argv) {
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
        else
            return usage(stderr, 2);
    }
    if (!objr::stat("pool_pages")) {
        fprintf(stderr, "tree: no pool: load objrmap.ko, and mount debugfs\n");
        return 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    printf("# tree: seed %llu, %u s, %u processes\n", static_cast<unsigned long long>(options.seed), options.seconds,
           options.processes);
    fflush(stdout);
    const tree::Outcome outcome = tree::run(options);
    if (!outcome.failure.empty()) printf("# %s\n", outcome.failure.c_str());
    printf("%s 1 - tree: %s\n", outcome.failure.empty() ? "ok" : "not ok", outcome.summary.c_str());
    return outcome.failure.empty() ? 0 : 1;
}
