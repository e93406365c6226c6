// SPDX-License-Identifier: GPL-2.0
//
// What all acts of the demo need: the narrator's voice, answers of debugfs as a person reads them, and conditions without which the
// show does not go on.
#ifndef OBJRMAP_CLI_DEMO_STAGE_H
#define OBJRMAP_CLI_DEMO_STAGE_H

#include <memory>

#include "actor.h"
#include "client.h"

namespace demo {

using objr::Answer;
using objr::kPage;

// ---- the narrator

void use_colour();
void use_frames(); // also print graphs, between frames, for the caller of the demo to take
const char* bold();
const char* dim();
const char* green();
const char* plain();

__attribute__((format(printf, 1, 2))) void say(const char* format, ...); // a line
void headline(int number, const char* text);

// ---- what must be for the demonstration to be true

[[noreturn]] void give_up(const std::string& what);
void must(bool condition, const char* what);
#define MUST(condition) ::demo::must(condition, #condition)

// ---- asking. What is not answered as expected ends the demo.

void* map(int device, size_t pages);
Answer query(const std::string& selector); // about one page
std::string refused_query(const std::string& selector); // why there is no page, shown too
// The answer as a table: one line for each mapping.
void show(const std::string& selector, const Answer& answer);

// A command that is carried out on one page, or on none.
struct Result {
    objr::Fields fields; // of the line that tells the result
    std::vector<objr::Fields> mappers;

    unsigned long number(const char* field) const { return strtoul(fields.at(field).c_str(), nullptr, 0); }
};
Result command(const std::string& words); // is shown, the result is not

// Waits until all pages are back: descriptors are closed a moment after exit.
void must_be_empty(uint64_t pages);

// ---- graphs

// A picture for later. Returns the graph.
std::string picture(const char* name, const std::string& selector);
void print_graph(const std::string& dot); // as a tree of text

// ---- the processes on stage. They stay until all has been shown; each process has those that it made.

objr::Actor& enter(const char* name, const std::function<void(objr::Actor&)>& part);
void all_leave();

} // namespace demo

#endif // OBJRMAP_CLI_DEMO_STAGE_H
