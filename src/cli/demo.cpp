// SPDX-License-Identifier: GPL-2.0
//
// demo: the main job, shown to a person. Real processes use the pool, debugfs says who maps a page: a page that a family
// shares, copy-on-write happening, a file page that strangers share, the graph behind it; pages that go to swap and come back, move to
// other frames, and are more than the pool has; the check of it all, and what it costs under each scheme.
#include "demo_acts.h"
#include "demo_stage.h"

namespace demo {

namespace {

// The baker's life. Where he pauses others have their acts.
void be_baker(objr::Actor& self) {
    const int device = objr::open_device();
    if (device < 0) give_up(std::string(OBJRMAP_DEVICE) + ": " + strerror(errno));
    Bakery bakery(device);
    bakery.share();
    self.pause();
    bakery.take_away();
    bakery.move();
    self.pause();
    bakery.look_again();
    self.pause();
    all_leave();
}

void check_all() {
    headline(9, "Is all of it true?");
    say("   verify walks every page table forwards and the reverse map of every page backwards and compares:");
    std::string text;
    MUST(objr::verify(&text));
    text.pop_back();
    say("%s   # cat verify%s", dim(), plain());
    say("   %s%s%s", green(), text.c_str(), plain());
}

// Everything that was in use is back, and the pool what it was.
void leave(objr::Actor& baker, uint64_t pages) {
    headline(10, "Everybody leaves");
    all_leave();
    MUST(baker.finish());
    must_be_empty(objr::stat("pool_pages"));
    MUST(objr::stat("swapped_pages") == 0 && objr::stat("swap_bytes_stored") == 0);
    say("   All %llu pages are free again, and nothing is left in swap. The pool gets its old size:",
        static_cast<unsigned long long>(objr::stat("pool_pages")));
    command("resize " + std::to_string(pages * kPage >> 20));
    must_be_empty(pages);
    say("   %llu pages, all free.", static_cast<unsigned long long>(pages));
}

int run() {
    const auto values = objr::stats();
    if (values.empty()) give_up("no /sys/kernel/debug/objrmap/stats: load objrmap.ko, and mount debugfs");
    headline(1, "The pool");
    say("   objrmap.ko owns %llu pages of 4 KiB, %llu are free; processes get them by mmap of %s.",
        static_cast<unsigned long long>(values.at("pool_pages")),
        static_cast<unsigned long long>(values.at("free_pages")), OBJRMAP_DEVICE);
    objr::Actor baker(be_baker, "baker");
    if (!baker.await()) return 1;
    share_a_file();
    if (!baker.step()) return 1;
    use_more_than_the_pool();
    if (!baker.step()) return 1;
    check_all();
    leave(baker, values.at("pool_pages"));
    compare_schemes(values.at("pool_pages"));
    return 0;
}

} // namespace

} // namespace demo

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--color"))
            demo::use_colour();
        else if (!strcmp(argv[i], "--frames"))
            demo::use_frames();
        else {
            const bool help = !strcmp(argv[i], "--help");
            fprintf(help ? stdout : stderr, "usage: demo [--color] [--frames]\n"
                                            "Shows what objrmap.ko does. --frames: also prints the graphs in DOT, "
                                            "between lines `@@dot NAME` and `@@end`.\n");
            return help ? 0 : 2;
        }
    }
    return demo::run();
}
