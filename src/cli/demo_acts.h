// SPDX-License-Identifier: GPL-2.0
//
// The acts of the demo, in the order in which they are played.
#ifndef OBJRMAP_CLI_DEMO_ACTS_H
#define OBJRMAP_CLI_DEMO_ACTS_H

#include <string>

#include "actor.h"
#include "client.h"

namespace demo {

// A family with one page of its own: it is shared, copied, taken away, moved. All of it is the life of the process that is
// the baker; the apprentices are its children.
class Bakery {
public:
    explicit Bakery(int device);

    void share(); // acts 2 to 4: one page, copy-on-write, the structure
    void take_away(); // act 6
    void move(); // act 7
    void look_again(); // after act 8: is all as it was?

private:
    std::string place_of(const objr::Actor& who) const { return objr::selector_of(who.pid(), recipe_); }
    std::string place() const { return objr::selector_of(getpid(), recipe_); }
    void look(objr::Actor& self, const char* expected, int times) const; // and pauses, each time
    void copy(const objr::Answer& before);
    void ask_who_used_it(const std::string& page, unsigned long expected); // how many have
    void bring_back();

    const int device_;
    char* const recipe_;
    objr::Actor* anna_ = nullptr;
    objr::Actor* ben_ = nullptr;
};

void share_a_file(); // act 5

// Act 8. The librarian stays, with what is in memory and what is in swap.
void use_more_than_the_pool();

void compare_schemes(uint64_t pool_pages); // act 11

} // namespace demo

#endif // OBJRMAP_CLI_DEMO_ACTS_H
