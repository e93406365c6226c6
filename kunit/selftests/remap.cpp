// SPDX-License-Identifier: GPL-2.0
//
// Nonlinear mappings (OBJRMAP_IOC_REMAP): what remap_file_pages(2) promises, in real processes: windows of objects and files,
// fork, copies of the descriptor, holes, moves, truncation, and who is found by the reverse map.
#include <memory>
#include <random>

#include "harness.h"

using namespace harness;
using objr::kPage;

namespace {

std::string own_name(const char* suffix = "") { return "remap-" + std::to_string(getpgrp()) + suffix; }

// A shared view of a new object whose page n is filled with tag n + 1.
struct Shown {
    explicit Shown(size_t pages, const char* suffix = "") : name(own_name(suffix)), fd(device()) {
        CHECK_OK(objr::bind_object(fd, name, pages * kPage, OBJRMAP_CREATE));
        linear = map_pages(fd, pages);
        for (size_t page = 0; page < pages; ++page)
            fill(at(linear, page), page + 1);
    }
    ~Shown() {
        if (objr::standin()) unlink(("/dev/shm/objrmap-" + name).c_str());
    }
    std::string name;
    int fd;
    void* linear;
};

// The pages of window show these pages of the object.
void expect_shows(void* window, std::initializer_list<size_t> pages) {
    size_t index = 0;
    for (const size_t page : pages) {
        if (!holds(at(window, index), page + 1))
            fail(__FILE__, __LINE__,
                 "page " + std::to_string(index) + " of the window does not show page " + std::to_string(page));
        ++index;
    }
}

uint64_t mapper_count(const std::string& selector) {
    int error = 0;
    const auto answers = objr::parse_answers(objr::ask("query", selector, &error));
    CHECK_EQ(error, 0);
    CHECK_EQ(answers.size(), 1u);
    return answers[0].mappers.size();
}

} // namespace

CASE(C12_remap_shows_other_pages) {
    Shown object(8);
    void* window = map_pages(object.fd, 4);
    expect_shows(window, {0, 1, 2, 3});
    CHECK_OK(objr::remap(object.fd, at(window, 1), 2 * kPage, 5));
    expect_shows(window, {0, 5, 6, 3});
    CHECK_OK(objr::remap(object.fd, window, 4 * kPage, 4)); // all of it, over what was nonlinear
    expect_shows(window, {4, 5, 6, 7});
    CHECK_OK(objr::remap(object.fd, at(window, 3), kPage, 0));
    CHECK_OK(objr::remap(object.fd, at(window, 2), kPage, 0)); // one page twice
    expect_shows(window, {4, 5, 0, 0});
    CHECK_OK(objr::remap(object.fd, window, 4 * kPage, 0)); // and back
    expect_shows(window, {0, 1, 2, 3});
}

CASE(C12_remap_writes_reach_everybody) {
    Shown object(8);
    void* window = map_pages(object.fd, 4);
    CHECK_OK(objr::remap(object.fd, window, 2 * kPage, 6));
    fill(window, 100);
    CHECK(holds(at(object.linear, 6), 100));
    fill(at(object.linear, 7), 101);
    CHECK(holds(at(window, 1), 101));
    fill(at(window, 2), 102); // the linear rest
    CHECK(holds(at(object.linear, 2), 102));
    CHECK(holds(at(object.linear, 0), 1)); // what is shown no more was not touched
    CHECK_OK(objr::remap(object.fd, at(window, 3), kPage, 6));
    fill(at(window, 3), 103); // two places of one mapping show one page
    CHECK(holds(window, 103));
}

CASE(C12_remap_before_the_first_touch) { // nothing is there that could be dropped
    Shown object(8);
    void* window = map_pages(object.fd, 8);
    CHECK_OK(objr::remap(object.fd, at(window, 2), 3 * kPage, 0));
    expect_shows(window, {0, 1, 0, 1, 2, 5, 6, 7});
}

CASE(C12_remap_of_what_is_linear_changes_nothing) {
    need_module();
    Shown object(8);
    void* window = map_pages(object.fd, 8);
    const uint64_t vmas = objr::stat("vmas"), mappings = objr::stat("mappings");
    CHECK_OK(objr::remap(object.fd, at(window, 2), 3 * kPage, 2));
    CHECK_EQ(objr::stat("vmas"), vmas);
    CHECK_EQ(objr::stat("mappings"), mappings); // not even populated
    expect_shows(window, {0, 1, 2, 3, 4, 5, 6, 7});
}

CASE(C12_remap_populates_unless_told_not_to) {
    need_module();
    Shown object(16);
    void* window = map_pages(object.fd, 16);
    const uint64_t before = objr::stat("mappings");
    CHECK_OK(objr::remap(object.fd, window, 4 * kPage, 8));
    CHECK_EQ(objr::stat("mappings"), before + 4);
    CHECK_OK(objr::remap(object.fd, at(window, 8), 4 * kPage, 0, OBJRMAP_REMAP_NONBLOCK));
    CHECK_EQ(objr::stat("mappings"), before + 4);
    CHECK(holds(at(window, 9), 2)); // a fault finds the page
    CHECK_EQ(objr::stat("mappings"), before + 5);
    CHECK_OK(objr::remap(object.fd, window, 2 * kPage, 0, OBJRMAP_REMAP_NONBLOCK)); // over what is mapped
    CHECK_EQ(objr::stat("mappings"), before + 3);
    expect_shows(window, {0, 1, 10, 11});
}

CASE(C12_remap_in_a_file) {
    const std::string path = directory_on("tmpfs") + "/book";
    std::string content;
    for (char page = 'a'; page < 'a' + 8; ++page)
        content += std::string(kPage, page);
    const int real = make_file(path, content);
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, real, OBJRMAP_SHARED));
    auto* place = static_cast<char*>(map_pages(fd, 8));
    volatile char* window = place;
    CHECK_OK(objr::remap(fd, place, 4 * kPage, 4));
    CHECK_EQ(window[0], 'e');
    CHECK_EQ(window[3 * kPage], 'h');
    CHECK_EQ(window[4 * kPage], 'e'); // linear: the same page once more
    for (size_t byte = 0; byte < kPage; ++byte)
        window[byte] = 'E';
    for (size_t byte = kPage; byte < kPage + 10; ++byte)
        window[byte] = 'F';
    CHECK_EQ(window[4 * kPage], 'E');
    CHECK_OK(objr::standin() ? fsync(real) : fsync(fd));
    const std::string now = content_of(path);
    CHECK_EQ(now.substr(0, 4 * kPage), content.substr(0, 4 * kPage));
    CHECK_EQ(now.substr(4 * kPage, kPage), std::string(kPage, 'E'));
    CHECK_EQ(now.substr(5 * kPage, 12), std::string(10, 'F') + "ff");
    // Clean now: a write through the window must fault, be noticed and reach the file at the next fsync, and at the end.
    window[0] = '1';
    CHECK_OK(objr::standin() ? fsync(real) : fsync(fd));
    CHECK_EQ(content_of(path)[4 * kPage], '1');
    window[kPage] = '2';
    CHECK_OK(munmap(place, 8 * kPage));
    close(fd);
    CHECK(becomes([&] { return content_of(path)[5 * kPage] == '2'; }));
}

CASE(remap_in_another_process_stays_there) {
    Shown object(8);
    void* window = map_pages(object.fd, 4);
    CHECK_OK(objr::remap(object.fd, at(window, 1), kPage, 7));
    Actor child([&](Actor& self) {
        expect_shows(window, {0, 7, 2, 3}); // inherited
        CHECK_OK(objr::remap(object.fd, window, 2 * kPage, 4));
        expect_shows(window, {4, 5, 2, 3});
        fill(window, 105);
        self.pause();
        expect_shows(at(window, 1), {5, 2, 3});
        CHECK(holds(window, 105));
        in_child([&] { CHECK(holds(window, 105)); });
    });
    child.await();
    expect_shows(window, {0, 7, 2, 3});
    CHECK(holds(at(object.linear, 4), 105));
    CHECK_OK(objr::remap(object.fd, at(window, 2), 2 * kPage, 0));
    expect_shows(window, {0, 7, 0, 1});
    child.finish();
}

CASE(remap_and_holes_moves_rights) {
    Shown object(16);
    void* window = map_pages(object.fd, 12);
    CHECK_OK(objr::remap(object.fd, at(window, 2), 8 * kPage, 8));
    expect_shows(window, {0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 10, 11});
    CHECK_OK(munmap(at(window, 5), 2 * kPage)); // a hole in the middle of what is nonlinear
    CHECK_EQ(read_signal(at(window, 5)), SIGSEGV);
    expect_shows(window, {0, 1, 8, 9, 10});
    expect_shows(at(window, 7), {13, 14, 15, 10, 11});
    CHECK_OK(mprotect(at(window, 8), kPage, PROT_READ));
    CHECK(holds(at(window, 8), 15));
    CHECK_EQ(write_signal(at(window, 8)), SIGSEGV);
    CHECK_OK(mprotect(at(window, 8), kPage, PROT_READ | PROT_WRITE));
    fill(at(window, 8), 15);
    CHECK(holds(at(object.linear, 14), 15));
    if (!objr::standin()) { // Linux emulates windows by mappings of their own, which do not move as one
        void* room = mmap(nullptr, 5 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(mremap(window, 5 * kPage, 5 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
        expect_shows(room, {0, 1, 8, 9, 10});
        CHECK_EQ(read_signal(window), SIGSEGV);
        CHECK_OK(objr::remap(object.fd, room, kPage, 3)); // at the new place, too
        expect_shows(room, {3, 1, 8, 9, 10});
        CHECK(mremap(room, 5 * kPage, 2 * kPage, 0) == room); // cut off
        expect_shows(room, {3, 1});
        in_child([&] { expect_shows(room, {3, 1}); });
    }
}

CASE(U6_truncate_reaches_windows) { // also where the address alone would not tell
    need_module();
    Shown object(8);
    void* window = map_pages(object.fd, 4);
    CHECK_OK(objr::remap(object.fd, window, 2 * kPage, 6));
    Actor child([&](Actor& self) {
        expect_shows(window, {6, 7, 2, 3});
        self.pause();
        CHECK_EQ(read_signal(window), SIGBUS);
        expect_shows(at(window, 2), {2, 3});
        self.pause();
        CHECK(holds(window, 0)); // grown again: zeros
    });
    child.await();
    CHECK_OK(objr::truncate_object(object.fd, 5 * kPage));
    CHECK_EQ(read_signal(window), SIGBUS);
    CHECK_EQ(read_signal(at(window, 1)), SIGBUS);
    expect_shows(at(window, 2), {2, 3});
    child.step();
    CHECK_OK(objr::remap(object.fd, at(window, 1), kPage, 5)); // beyond the end: allowed, and SIGBUS
    CHECK_EQ(read_signal(at(window, 1)), SIGBUS);
    CHECK_OK(objr::truncate_object(object.fd, 8 * kPage));
    CHECK(holds(at(window, 1), 0));
    child.finish();
    CHECK(holds(window, 0));
}

CASE(C13_windows_are_found) {
    need_module();
    Shown object(8);
    const std::string page_six = "file " + object.name + " pgoff 6";
    CHECK_EQ(mapper_count(page_six), 1u);
    void* window = map_pages(object.fd, 4);
    CHECK_OK(objr::remap(object.fd, at(window, 1), kPage, 6));
    CHECK_EQ(mapper_count(page_six), 2u);
    const auto answers = objr::parse_answers(objr::ask("query", page_six));
    bool found = false;
    for (const objr::Fields& mapper : answers.at(0).mappers)
        found |= strtoull(mapper.at("vaddr").c_str(), nullptr, 16) == reinterpret_cast<uint64_t>(at(window, 1));
    CHECK(found);
    CHECK_OK(objr::remap(object.fd, at(window, 2), kPage, 6));
    CHECK_EQ(mapper_count(page_six), 3u); // one process, three times
    Actor child([&](Actor& self) {
        CHECK(holds(at(window, 1), 7));
        CHECK(holds(at(window, 2), 7));
        self.pause();
    });
    child.await();
    CHECK_EQ(mapper_count(objr::selector_of(child.pid(), at(window, 2))), 5u); // the child's linear one is untouched
    std::vector<objrmap_mapper> mine;
    CHECK(objr::who(object.fd, at(window, 1), mine));
    CHECK_EQ(mine.size(), 5u);
    child.finish();
    CHECK_OK(objr::remap(object.fd, window, 4 * kPage, 0));
    CHECK_EQ(mapper_count(page_six), 1u);
}

CASE(remap_refuses) {
    need_module();
    Shown object(8);
    auto* window = static_cast<unsigned char*>(map_pages(object.fd, 4));
    const auto address = reinterpret_cast<uint64_t>(window);
    struct {
        objrmap_remap request;
        const char* what;
    } const wrong[] = {
        {{address + 1, kPage, 5, 0, 0}, "unaligned start"},
        {{address, kPage + 1, 5, 0, 0}, "unaligned size"},
        {{address, kPage - 1, 5, 0, 0}, "less than a page"},
        {{address, 0, 5, 0, 0}, "size 0"},
        {{address, kPage, 5, 2, 0}, "unknown flag"},
        {{address, kPage, 5, ~0u, 0}, "all flags"},
        {{address, kPage, 5, 0, 1}, "reserved"},
        {{address, 5 * kPage, 0, 0, 0}, "beyond the mapping"},
        {{address - kPage, 2 * kPage, 0, 0, 0}, "before the mapping"},
        {{0, kPage, 0, 0, 0}, "address 0"},
        {{~uint64_t{0} & ~(kPage - 1), kPage, 0, 0, 0}, "end of all addresses"},
        {{address, ~uint64_t{0} & ~(kPage - 1), 0, 0, 0}, "overflowing range"},
        {{address, kPage, ~uint64_t{0}, 0, 0}, "overflowing pgoff"},
        {{address, kPage, uint64_t{1} << 52, 0, 0}, "pgoff of no file"},
        {{address, 2 * kPage, (uint64_t{1} << 51) - 1, 0, 0}, "last page of no file"},
    };
    for (const auto& [request, what] : wrong) {
        objrmap_remap copy = request;
        errno = 0;
        if (ioctl(object.fd, OBJRMAP_IOC_REMAP, &copy) != -1 || errno != EINVAL)
            fail(__FILE__, __LINE__, std::string(what) + " was not refused with EINVAL");
    }
    CHECK_FAILS(ioctl(object.fd, OBJRMAP_IOC_REMAP, nullptr), EFAULT);
    CHECK_FAILS(ioctl(object.fd, OBJRMAP_IOC_REMAP, reinterpret_cast<void*>(~uint64_t{0} - 8)), EFAULT);
    expect_shows(window, {0, 1, 2, 3}); // nothing has changed

    // Memory that is no shared view.
    void* anonymous = map_pages(device(), 4);
    CHECK_FAILS(objr::remap(object.fd, anonymous, kPage, 2), EINVAL);
    const int private_fd = device();
    CHECK_OK(objr::bind_object(private_fd, object.name, 0, OBJRMAP_PRIVATE));
    void* private_view = map_pages(private_fd, 4);
    CHECK_FAILS(objr::remap(private_fd, private_view, kPage, 2), EINVAL);
    CHECK(holds(at(private_view, 0), 1));
    void* foreign = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_FAILS(objr::remap(object.fd, foreign, kPage, 2), EINVAL);

    // Two mappings side by side are two, also of one object.
    CHECK_OK(munmap(at(window, 1), kPage));
    CHECK_FAILS(objr::remap(object.fd, window, 3 * kPage, 4), EINVAL);
    CHECK(objr::map(object.fd, kPage, PROT_READ | PROT_WRITE, 1, at(window, 1)) != MAP_FAILED);
    CHECK_FAILS(objr::remap(object.fd, window, 3 * kPage, 4), EINVAL);
    expect_shows(window, {0, 1, 2, 3});

    // Which descriptor is used does not matter, nor that it is bound to something else.
    CHECK_OK(objr::remap(private_fd, window, kPage, 5));
    CHECK_OK(objr::remap(device(), at(window, 2), 2 * kPage, 5));
    expect_shows(window, {5, 1, 5, 6});
}

CASE(remap_of_a_read_only_view) {
    need_module();
    const std::string path = directory_on("tmpfs") + "/read-only";
    std::string content;
    for (char page = 'a'; page < 'a' + 4; ++page)
        content += std::string(kPage, page);
    close(make_file(path, content));
    const int real = open(path.c_str(), O_RDONLY | O_CLOEXEC), fd = device();
    CHECK_OK(real);
    CHECK_OK(objr::bind_file(fd, real, OBJRMAP_SHARED));
    auto* window = static_cast<char*>(map_pages(fd, 4, PROT_READ));
    CHECK_OK(objr::remap(fd, window, 2 * kPage, 2));
    CHECK_EQ(window[0], 'c');
    CHECK_EQ(window[kPage], 'd');
    CHECK_EQ(write_signal(window), SIGSEGV);
}

CASE(U9_remap_request_in_pool_memory) { // also within the very range that it asks for
    need_module();
    Shown object(8);
    void* window = map_pages(object.fd, 4);
    void* anonymous = map_pages(device(), 1);
    auto* request = static_cast<objrmap_remap*>(anonymous);
    *request = {reinterpret_cast<uint64_t>(window), 2 * kPage, 4, 0, 0};
    CHECK_OK(ioctl(object.fd, OBJRMAP_IOC_REMAP, request));
    expect_shows(window, {4, 5, 2, 3});
    request = reinterpret_cast<objrmap_remap*>(at(window, 2));
    *request = {reinterpret_cast<uint64_t>(window), 4 * kPage, 4, 0, 0};
    CHECK_OK(ioctl(object.fd, OBJRMAP_IOC_REMAP, request));
    expect_shows(window, {4, 5, 6, 7});
    auto* there = reinterpret_cast<objrmap_remap*>(at(object.linear, 2));
    CHECK_EQ(there->size, 4 * kPage); // the request itself is data of page 2
    // Read-only memory will do, and what was never touched is zeros: refused.
    void* zeros = map_pages(device(), 1, PROT_READ);
    CHECK_FAILS(ioctl(object.fd, OBJRMAP_IOC_REMAP, zeros), EINVAL);
}

CASE_LIMIT(remap_at_random,
           120) { // two processes, each its own windows on one object, against a list of what they show
    constexpr size_t kWindow = 12, kObject = 16;
    Shown object(kObject);
    std::vector<std::unique_ptr<Actor>> actors;
    for (unsigned seed = 1; seed <= 2; ++seed)
        actors.push_back(std::make_unique<Actor>([&, seed](Actor& self) {
            std::mt19937_64 random(seed);
            void* window = map_pages(object.fd, kWindow, PROT_READ | PROT_WRITE, 2);
            size_t shows[kWindow];
            for (size_t page = 0; page < kWindow; ++page)
                shows[page] = page + 2;
            self.pause();
            for (int round = 0; round < 300; ++round) {
                const size_t first = random() % kWindow, count = 1 + random() % (kWindow - first);
                const size_t pgoff = random() % (kObject - count + 1);
                const unsigned flags = random() % 3 ? 0 : OBJRMAP_REMAP_NONBLOCK;
                CHECK_OK(objr::remap(object.fd, at(window, first), count * kPage, pgoff, flags));
                for (size_t page = 0; page < count; ++page)
                    shows[first + page] = pgoff + page;
                for (size_t look = 0; look < 6; ++look) {
                    const size_t page = random() % kWindow;
                    CHECK(holds(at(window, page), shows[page] + 1));
                    if (look == 0) fill(at(window, page), shows[page] + 1); // writes what is there
                }
                if (round % 60 == 0)
                    in_child([&] {
                        for (size_t page = 0; page < kWindow; ++page)
                            CHECK(holds(at(window, page), shows[page] + 1));
                    });
            }
        }));
    for (auto& actor : actors)
        actor->await();
    for (auto& actor : actors)
        actor->go();
    for (auto& actor : actors)
        actor->wait_end();
    for (size_t page = 0; page < kObject; ++page)
        CHECK(holds(at(object.linear, page), page + 1));
}
