// SPDX-License-Identifier: GPL-2.0
//
// threads_test.cpp: many threads on few processes: they load, store, map, unmap, move, protect, fork and exit in each other's
// address spaces, share a family and objects, truncate and write back, while others ask and verify. What is read must be
// of the right family or object; the thread sanitizer, the lock checker and the verifier see the rest.
#include "threads.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

// A page that has just been taken from the pool can be found by its number before its owner has done anything with it.
TEST(ManyThreads, queries_meet_new_pages) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Object object(test, world, "new", 16);
    {
        Process process(test, world);
        ASSERT_TRUE(process.map(0, 4));
        ASSERT_TRUE(process.map(16, 32, kShared, object.get(), 0));
        Threads threads(std::chrono::milliseconds(500));
        threads.run([&](Random& random) {
            process.store(random.below(4), 1);
            static_cast<void>(process.load(16 + random.below(16)));
            static_cast<void>(process.unmap(0, 4));
            EXPECT_TRUE(process.map(0, 4));
            EXPECT_TRUE(object->truncate(8 * kPageSize));
            EXPECT_TRUE(object->truncate(16 * kPageSize));
        });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random&) { ask(world.handle(), "range page 224 255"); });
        threads.join();
    }
    object.close();
}

// The real file behind an object is cut and grows again behind the module's back, while it is mapped and written back.
TEST(ManyThreads, file_is_cut_by_others) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    objr_memory_file* memory = objr_memory_file_create("cut", 8 * kPageSize, 8 * kPageSize, 1);
    ASSERT_NE(memory, nullptr);
    objr_backing* other = objr_memory_file_open(memory, 1);
    ASSERT_NE(other, nullptr);
    {
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        ASSERT_TRUE(opened);
        Object file(*opened);
        Process process(test, world);
        ASSERT_TRUE(process.map(0, 8, kShared, file.get(), 0));
        Threads threads(std::chrono::milliseconds(500));
        threads.run([&](Random& random) {
            EXPECT_EQ(objr_backing_truncate(other, (1 + random.below(8)) * kPageSize), 0);
            EXPECT_EQ(objr_backing_truncate(other, 8 * kPageSize), 0);
        });
        threads.run([&](Random&) { EXPECT_TRUE(file->sync(0, ~0ull, true)); });
        threads.run([&](Random& random) { static_cast<void>(process.try_store(random.below(8), 1)); });
        threads.run([&](Random&) { expect_verified(world.handle()); });
        threads.join();
    }
    objr_backing_put(other);
    EXPECT_EQ(objr_memory_file_users(memory), 0U);
    objr_memory_file_destroy(memory);
}

// ---- everything at once

constexpr u64 kArena = 32; // pages for each of: anonymous memory, the named object, the file
constexpr u64 kObjectPages = 12;
constexpr u64 kChecked = 8; // the word of each page that is looked at

// The word says whose it is: a family's, or an object's.
constexpr u64 tagged(u64 tag, u64 value) { return (tag << 32) | (value & 0xffff); }
constexpr u64 kObjectTag = 1u << 30;

// A place in which a process may live. The family is that of the one it was forked from.
struct Place {
    std::shared_mutex life; // exclusive: birth and death; shared: everything else
    std::unique_ptr<Process> process; // guarded by life
    u64 family = 0; // guarded by life
};

class Crowd {
public:
    Crowd(objr_test* test, TestWorld& world, FileMapping* object, FileMapping* file)
        : test_(test), world_(world), objects_{nullptr, object, file} {}

    void step(Random& random) {
        Place& place = places_[random.below(kPlaces)];
        const u64 what = random.below(64);
        if (what < 2) return die(place);
        if (what < 6) return fork(places_[random.below(kPlaces)], place);
        std::shared_lock alive(place.life);
        if (!place.process) {
            alive.unlock();
            return be_born(place);
        }
        Process& process = *place.process;
        const u64 arena = random.below(3);
        const u64 first = random.below(kArena);
        const u64 pages = 1 + random.below(std::min<u64>(8, kArena - first));
        const u64 page = arena * kArena + first;
        if (what < 12) {
            const u32 flags = arena != 0 && random.below(2) != 0 ? kShared : kReadWrite;
            static_cast<void>(process.map(page, page + pages, flags, objects_[arena], random.below(kObjectPages)));
        } else if (what < 14) {
            static_cast<void>(process.unmap(page, page + pages));
        } else if (what < 16) {
            const u64 to = arena * kArena + random.below(kArena - pages + 1);
            static_cast<void>(process.mm().move(at(page), at(to), pages * kPageSize, nullptr));
        } else if (what < 17) {
            const Populate populate = random.below(2) != 0 ? Populate::yes : Populate::no;
            const u64 pgoff = random.below(kObjectPages); // refused where nothing is shared
            static_cast<void>(process.mm().remap(at(page), pages * kPageSize, pgoff, populate));
        } else if (what < 21) {
            static constexpr Advice kAdvice[] = {Advice::dontneed, Advice::cold, Advice::pageout, Advice::willneed};
            static_cast<void>(process.mm().advise(at(page), at(page + pages), kAdvice[random.below(4)]));
        } else if (what < 22) {
            const u32 flags = OBJR_VM_READ | (random.below(2) != 0 ? OBJR_VM_WRITE : 0);
            static_cast<void>(process.mm().protect(at(page), at(page + pages), flags));
        } else {
            use(process, page, arena == 0 ? place.family : kObjectTag + arena, random);
        }
    }

private:
    static constexpr u64 kPlaces = 6;

    void be_born(Place& place) {
        std::unique_lock guard(place.life);
        if (place.process) return;
        place.process = std::make_unique<Process>(test_, world_);
        place.family = 1 + families_.fetch_add(1);
    }

    void die(Place& place) {
        std::unique_lock guard(place.life);
        bury(place);
    }

    // Queries may hold its Mm for some time yet, and that its processor.
    void bury(Place& place) {
        if (!place.process) return;
        place.process->exit();
        std::lock_guard guard(graves_lock_);
        graves_.push_back(std::move(place.process));
    }

    void fork(Place& parent, Place& child) {
        if (&parent == &child) return;
        std::unique_lock guard(child.life, std::defer_lock);
        std::shared_lock alive(parent.life, std::defer_lock);
        std::lock(guard, alive);
        if (!parent.process) return;
        bury(child);
        child.process = std::make_unique<Process>(test_, world_);
        child.family = parent.family;
        EXPECT_TRUE(parent.process->fork_to(*child.process));
    }

    void use(Process& process, u64 page, u64 tag, Random& random) {
        if (random.below(2) != 0) {
            static_cast<void>(process.cpu().store(process.mm(), at(page) + kChecked, tagged(tag, random.next())));
            return;
        }
        u64 value = 0;
        if (process.cpu().load(process.mm(), at(page) + kChecked, &value)) {
            EXPECT_TRUE(value == 0 || value >> 32 == tag)
                << "page " << page << " should be of " << tag << " but reads " << std::hex << value;
        }
    }

    objr_test* test_;
    TestWorld& world_;
    FileMapping* objects_[3]; // of each arena
    Place places_[kPlaces];
    std::atomic<u64> families_{0};
    std::mutex graves_lock_;
    std::vector<std::unique_ptr<Process>> graves_; // guarded by graves_lock_
};

std::string show(objr_world* world, Random& random) {
    switch (random.below(6)) {
    case 0: return ask(world, "page " + std::to_string(random.below(512)) + " explain");
    case 1: return ask(world, "file crowd pgoff " + std::to_string(random.below(kObjectPages)));
    case 2: return ask(world, "file crowded pgoff " + std::to_string(random.below(kObjectPages)) + " json");
    case 3: return ask(world, "range page 440 511");
    default: break;
    }
    objr_out out;
    const auto list = static_cast<objr_list>(random.below(OBJR_LIST_FILES + 1));
    for (objr_u64 position = 0; objr_show_list(world, list, &position, &out) != 0;) {
    }
    return out.text;
}

int command(objr_world* world, Random& random) {
    static constexpr const char* kVerbs[] = {"referenced", "unmap",   "mkclean", "revoke",
                                             "revoke",     "migrate", "migrate"};
    std::string words = kVerbs[random.below(std::size(kVerbs))];
    switch (random.below(32) == 0 ? 4 : random.below(4)) {
    case 4: words = "compact"; break;
    case 0: words += " file crowd pgoff " + std::to_string(random.below(kObjectPages)); break;
    case 1: words += " file crowded pgoff " + std::to_string(random.below(kObjectPages)); break;
    default: words += " page " + std::to_string(511 - random.below(80)); break;
    }
    objr_command command;
    objr_command_parse(&command, words.data(), words.size());
    objr_out out;
    const int result = objr_run_command(world, &command, &out);
    EXPECT_NE(result, -OBJR_EINVAL) << words << ": " << out.text;
    return result;
}

// As reclaim: a page of the file that nobody maps goes.
void evict_some(World& world, FileMapping* file, u64 pgoff) {
    SharedGuard quiesce(world.quiesce);
    if (Page* page = file->find_page(pgoff)) {
        {
            PageLock lock(*page);
            if (page->mapping() == MappingWord::file(file)) file->evict_locked(*page);
        }
        world.pool.put(*page);
    }
}

TEST(ManyThreads, everything_at_once) {
    objr_test body;
    objr_test* test = &body;
    objr_memory_file* memory =
        objr_memory_file_create("crowded", kObjectPages * kPageSize, kObjectPages * kPageSize, 1);
    ASSERT_NE(memory, nullptr);
    for (u64 page = 0; page < kObjectPages; page++) {
        const u64 word = tagged(kObjectTag + 2, page);
        ASSERT_EQ(objr_memory_file_write(memory, page * kPageSize + kChecked, &word, sizeof(word)), sizeof(word));
    }
    {
        TestWorld world(test, 2);
        Object object(test, world, "crowd", kObjectPages);
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        ASSERT_TRUE(opened);
        Object file(*opened);
        Crowd crowd(test, world, object.get(), file.get());
        Threads threads(std::chrono::milliseconds(2500));
        for (int i = 0; i < 4; i++)
            threads.run([&](Random& random) { crowd.step(random); });
        threads.run([&](Random& random) {
            FileMapping* target = random.below(2) != 0 ? object.get() : file.get();
            if (random.below(4) != 0) {
                EXPECT_TRUE(target->sync(random.below(4), random.below(kObjectPages), false));
            } else {
                EXPECT_TRUE(target->truncate((1 + random.below(kObjectPages)) * kPageSize - random.below(2) * 100));
            }
        });
        threads.run([&](Random&) { // the file's last reference comes and goes
            if (Result<FileMapping*> again = FileMapping::of_file(*world, objr_memory_file_open(memory, 0)))
                (*again)->put();
        });
        threads.run([&](Random& random) {
            write_back_some(*world, 1 + random.below(8));
            evict_some(*world, file.get(), random.below(kObjectPages));
        });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) { show(world.handle(), random); });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) {
                // A full scan has found an entry that the reverse map did not know of.
                EXPECT_NE(command(world.handle(), random), -OBJR_EIO);
            });
        threads.run([&](Random& random) {
            char reason[120];
            u32 count = 0;
            while (scheme_name(count)) {
                count++;
            }
            const int result = objr_set_scheme(world.handle(), scheme_name(static_cast<u32>(random.below(count))),
                                               reason, sizeof(reason));
            EXPECT_TRUE(result == 0 || result == -OBJR_EBUSY) << reason;
            expect_verified(world.handle());
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        });
        threads.join();
    }
    EXPECT_EQ(objr_memory_file_users(memory), 0U);
    objr_memory_file_destroy(memory);
}

// Whoever closes a file last writes back what everybody has stored, also what came while the write-back was under way.
TEST(ManyThreads, nothing_is_lost_at_the_last_close) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    constexpr u64 kWriters = 3;
    objr_memory_file* memory = objr_memory_file_create("closed", kWriters * kPageSize, kWriters * kPageSize, 1);
    ASSERT_NE(memory, nullptr);
    std::atomic<u64> next{0};
    u64 written[kWriters] = {};
    Threads threads(std::chrono::milliseconds(700));
    for (u64 i = 0; i < kWriters; i++) {
        threads.run([&, mine = next++](Random& random) {
            Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
            ASSERT_TRUE(opened);
            Object file(*opened);
            Process process(test, world);
            ASSERT_TRUE(process.map(mine, mine + 1, kShared, file.get(), mine));
            EXPECT_TRUE(written[mine] == 0 || process.load(mine) == written[mine]);
            process.store(mine, ++written[mine]);
            if (random.below(2) != 0) {
                EXPECT_TRUE(process.mm().advise(at(mine), at(mine + 1), Advice::dontneed));
            }
            if (random.below(2) != 0) process.store(mine, ++written[mine]);
        });
    }
    threads.run([&](Random& random) { write_back_some(*world, 1 + random.below(4)); });
    threads.run([&](Random& random) {
        u64 id = 0;
        if (FileMapping* file = world->hold_file_from(id)) {
            evict_some(*world, file, random.below(kWriters));
            file->let_go();
        }
    });
    threads.join();
    for (u64 i = 0; i < kWriters; i++) {
        u64 word = 0;
        objr_memory_file_read(memory, i * kPageSize, &word, sizeof(word));
        EXPECT_EQ(word, written[i]);
    }
    EXPECT_EQ(objr_memory_file_users(memory), 0U);
    objr_memory_file_destroy(memory);
}

} // namespace
