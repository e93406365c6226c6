// SPDX-License-Identifier: GPL-2.0
#include "demo_acts.h"
#include "demo_stage.h"

namespace demo {

namespace {

const char* const kBakers = "flour, water, salt";
const char* const kAnnas = "rye, sourdough";

std::string range_of(const Answer& a, const Answer& b) {
    const unsigned long first = std::stoul(a.page.at("index")), second = std::stoul(b.page.at("index"));
    return "range page " + std::to_string(std::min(first, second)) + " " + std::to_string(std::max(first, second));
}

// Its line in `mms`.
objr::Fields address_space_of(int pid) {
    for (const std::string& line : objr::lines_of(objr::read_text(objr::kDebugfs + "mms")))
        if (objr::Fields fields = objr::fields_of(line); fields["pid"] == std::to_string(pid)) return fields;
    give_up("no line of pid " + std::to_string(pid) + " in mms");
}

} // namespace

Bakery::Bakery(int device) : device_(device), recipe_(static_cast<char*>(map(device, 8)) + 5 * kPage) {}

void Bakery::look(objr::Actor& self, const char* expected, int times) const {
    for (; times != 0; --times) {
        MUST(strcmp(recipe_, expected) == 0);
        self.pause();
    }
}

// ---- acts 2 to 4 --------------------------------------------------------------------------------------------------

void Bakery::share() {
    headline(2, "One page, three processes");
    say("   A baker writes a recipe into a page of the pool and forks two apprentices. Nothing is copied: all three");
    say("   map the same page, read-only. The module is asked from the page's side.");
    strcpy(recipe_, kBakers);
    anna_ = &enter("apprentice-anna", [this](objr::Actor& self) {
        look(self, kBakers, 1); // so that it is mapped here too
        strcpy(recipe_, kAnnas);
        self.pause();
        MUST(objr::advise(device_, recipe_, kPage, OBJRMAP_ADVISE_LOCK) == 0);
        self.pause();
        look(self, kAnnas, 2); // acts 7 and 8
    });
    ben_ = &enter("apprentice-ben", [this](objr::Actor& self) {
        look(self, kBakers, 5); // act 2, three times in act 6, act 8
    });
    MUST(anna_->await() && ben_->await());
    const Answer before = query(place());
    show(place(), before);
    MUST(before.mappers.size() == 3 && before.mapper_of(getpid()) && before.mapper_of(anna_->pid()) &&
         before.mapper_of(ben_->pid()));
    const std::string dot = picture("1-shared-page", place());

    copy(before);

    headline(4, "The structure behind the first answer");
    say("   page -> anon_vma -> VMAs -> page-table entries -> processes, as `graph` drew it before the copy:");
    print_graph(dot);
}

void Bakery::copy(const Answer& before) {
    headline(3, "Copy-on-write happens");
    say("   apprentice-anna writes. She gets a page of her own; two processes are left on the old one.");
    const uint64_t copies = objr::stat("cow_faults");
    MUST(anna_->step());
    const std::string by_frame = "pfn " + before.page.at("pfn");
    const Answer old_page = query(by_frame);
    show(by_frame, old_page);
    MUST(old_page.mappers.size() == 2 && !old_page.mapper_of(anna_->pid()));
    const Answer new_page = query(place_of(*anna_));
    show(place_of(*anna_), new_page);
    MUST(new_page.mappers.size() == 1 && new_page.mapper_of(anna_->pid()) == 1 &&
         new_page.page.at("pfn") != before.page.at("pfn"));
    MUST(objr::stat("cow_faults") == copies + 1);
    say("   The baker still reads \"%s\": one copy was made, of this page only.", recipe_);
    picture("2-after-copy-on-write", range_of(old_page, new_page));
}

// ---- act 6 --------------------------------------------------------------------------------------------------------

void Bakery::ask_who_used_it(const std::string& page, unsigned long expected) {
    const Result asked = command("referenced " + page);
    std::string names;
    for (const objr::Fields& mapper : asked.mappers)
        if (mapper.at("young") == "1") names += (names.empty() ? "" : ", ") + mapper.at("comm");
    say("   %lu processes map it, %lu of them used it: %s", asked.number("mapped"), asked.number("young"),
        names.c_str());
    MUST(asked.number("mapped") == 2 && asked.number("young") == expected);
}

void Bakery::take_away() {
    headline(6, "A page goes out and comes back");
    const std::string frame = "pfn " + query(place()).page.at("pfn");
    say("   Who uses the recipe that the baker and ben share? A use is told once: the second answer is about the time");
    say("   since the first, and there ben alone looked at it.");
    MUST(strcmp(recipe_, kBakers) == 0 && ben_->step());
    ask_who_used_it(frame, 2);
    MUST(ben_->step());
    ask_who_used_it(frame, 1);

    say("   Now it is taken away from both. Each has a swap entry in its place; the frame is free.");
    auto before = objr::stats();
    const Result gone = command("unmap " + frame);
    say("   %s%s%s, taken from %lu", green(), gone.fields.at("answer").c_str(), plain(), gone.number("taken"));
    MUST(gone.fields.at("answer") == "SUCCESS" && gone.number("taken") == 2);
    MUST(refused_query(place()).find("swapped out") != std::string::npos);
    MUST(query(frame).page.at("kind") == "free");
    auto after = objr::stats();
    MUST(after["free_pages"] == before["free_pages"] + 1 && after["swapped_pages"] == before["swapped_pages"] + 1 &&
         after["swap_outs"] == before["swap_outs"] + 1);
    say("   Its 4096 bytes, nearly all zero, are %llu in a slot of compressed memory.",
        static_cast<unsigned long long>(after["swap_bytes_stored"] - before["swap_bytes_stored"]));

    say("   apprentice-anna has locked her page. It stays:");
    MUST(anna_->step());
    const Result refused = command("unmap " + place_of(*anna_));
    say("   %s%s%s: %s, mm %s at %s", green(), refused.fields.at("answer").c_str(), plain(),
        refused.fields.at("why").c_str(), refused.fields.at("mm").c_str(), refused.fields.at("vaddr").c_str());
    MUST(refused.fields.at("answer") == "FAIL" && refused.fields.at("why") == "locked-region");
    bring_back();
}

void Bakery::bring_back() {
    auto before = objr::stats();
    say("   Ben looks at the recipe: it is read back, and all there. The baker has not noticed yet.");
    MUST(ben_->step());
    const Answer back = query(place_of(*ben_));
    show(place_of(*ben_), back);
    MUST(back.mappers.size() == 1 && back.mapper_of(ben_->pid()) == 1);
    MUST(objr::stat("swapcache_pages") == before["swapcache_pages"] + 1);
    MUST(strcmp(recipe_, kBakers) == 0);
    const Answer both = query(place());
    MUST(both.mappers.size() == 2 && both.page.at("pfn") == back.page.at("pfn"));
    auto after = objr::stats();
    MUST(after["swap_ins"] == before["swap_ins"] + 1 && after["swapped_pages"] == before["swapped_pages"] - 1 &&
         after["swap_slots_kept"] == before["swap_slots_kept"] + 1);
    say("   Then the baker reads \"%s\", on the same page: one read for both. Until somebody writes to it", recipe_);
    say("   its slot is kept: to go once more it needs not be written again.");
    picture("4-back-from-swap", place());
}

// ---- act 7 --------------------------------------------------------------------------------------------------------

void Bakery::move() {
    headline(7, "Another frame under a running process");
    say("   anna's locked page may not be taken away, but it may be moved:");
    const Answer before = query(place_of(*anna_));
    const Result moved = command("migrate " + place_of(*anna_));
    const Answer after = query(place_of(*anna_));
    MUST(moved.number("taken") == 1 && after.page.at("pfn") != before.page.at("pfn") &&
         after.mappers[0].at("vaddr") == before.mappers[0].at("vaddr"));
    MUST(anna_->step());
    say("   from frame %s to frame %s; at the same address she reads \"%s\".", before.page.at("pfn").c_str(),
        after.page.at("pfn").c_str(), kAnnas);
}

void Bakery::look_again() {
    MUST(anna_->step() && ben_->step() && strcmp(recipe_, kBakers) == 0);
    const objr::Fields anna = address_space_of(anna_->pid());
    MUST(anna.at("reclaimed") == "0" && anna.at("locked") == "1");
    say("   The bakery has not lost a word meanwhile, and anna's locked page was in memory all the time.");
}

} // namespace demo
