// SPDX-License-Identifier: GPL-2.0
#include "demo_acts.h"
#include "demo_stage.h"

namespace demo {

void share_a_file() {
    headline(5, "A file page, shared and private");
    say("   clerk maps ledger.txt shared, auditor maps it private; they are no relatives and use other addresses.");
    const char* path = "/tmp/ledger.txt";
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(file >= 0 && write(file, "balance: 100\n", 13) == 13);
    objr::Actor& clerk = enter("clerk", [&](objr::Actor& self) {
        const int device = objr::open_device();
        MUST(objr::bind_file(device, file, OBJRMAP_SHARED) == 0);
        auto* ledger = static_cast<char*>(map(device, 1));
        memcpy(ledger, "balance: 250", 12);
        self.pause();
        MUST(msync(ledger, kPage, MS_SYNC) == 0);
        self.pause();
    });
    MUST(clerk.await());
    objr::Actor& auditor = enter("auditor", [&](objr::Actor& self) {
        map(objr::open_device(), 16);
        const int device = objr::open_device();
        MUST(objr::bind_file(device, file, OBJRMAP_PRIVATE) == 0);
        auto* ledger = static_cast<char*>(map(device, 1));
        MUST(memcmp(ledger, "balance: 250", 12) == 0); // what the clerk wrote, not what is on disk
        self.pause();
        memcpy(ledger, "balance: 999", 12); // a note of his own
        self.pause();
    });
    MUST(auditor.await());
    const std::string selector = "file ledger.txt pgoff 0";
    const Answer both = query(selector);
    show(selector, both);
    MUST(both.mappers.size() == 2 && both.mapper_of(clerk.pid()) == 1 && both.mapper_of(auditor.pid()) == 1);
    print_graph(picture("3-file-page", selector));
    char text[13] = {};
    MUST(pread(file, text, 12, 0) == 12);
    say("   The auditor reads the clerk's \"balance: 250\" at once; the file itself says \"%s\" until msync.", text);
    MUST(auditor.step() && clerk.step());
    MUST(pread(file, text, 12, 0) == 12);
    MUST(query(selector).mappers.size() == 1);
    say("   Then the auditor writes into his private view and the clerk calls msync: the file says \"%s\",", text);
    say("   and the auditor's 999 is in a page that nobody else sees.");
    MUST(strcmp(text, "balance: 250") == 0);
    close(file);
    unlink(path);
}

} // namespace demo
