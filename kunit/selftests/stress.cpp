// SPDX-License-Identifier: GPL-2.0
//
// Many processes at random on the pool: they map, fork, write, unmap, move, protect, share objects and files, show windows of
// them, lock, exit and are killed, while others read debugfs, take pages away by commands, switch schemes and run verify.
// Every process knows what must be in its memory: each write has a tag
// of its own, so that lost, old and foreign content is told apart; in shared pages each process has a word of its own.
// At the end all pages must be back and verify must say ok.
//
// A population of slots lives in memory that all share; a process is the tenant of a slot. Forked processes become
// children of the coordinator (CLONE_PARENT), which alone frees slots, after it has reaped the tenant.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <new>
#include <numeric>
#include <random>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client.h"
#include "memory.h"

using objr::kPage;

namespace {

// ---- what all processes share -------------------------------------------------------------------------------------

constexpr unsigned kSlots = 480; // a shared page has a word for each
constexpr unsigned kObjects = 4, kObjectPages = 16;
constexpr unsigned kFiles = 2, kFilePages = 8;

enum Op {
    kMap,
    kWrite,
    kCheck,
    kUnmap,
    kMove,
    kProtect,
    kFork,
    kExit,
    kShared,
    kPrivateView,
    kSync,
    kReopen,
    kRemap,
    kAdvise,
    kOps
};
const char* const kOpNames[kOps] = {"map",  "write",  "check",   "unmap", "move",   "protect", "fork",
                                    "exit", "shared", "private", "sync",  "reopen", "remap",   "advise"};

struct Slot {
    int taken;
    pid_t pid;
    int fate; // kMortal, or who has taken the tenant's fate in his hands
    long charged; // pages that the tenant may hold at most
};

// A tenant that is killed between taking a slot for its child and the child's moving in would leave that slot taken for
// ever; so while it forks it cannot be killed, and once it is to be killed it does not fork.
enum Fate { kMortal, kForking, kKilled };

bool decide(Slot& slot, Fate fate) {
    int mortal = kMortal;
    return __atomic_compare_exchange_n(&slot.fate, &mortal, int{fate}, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

struct Shared {
    Slot slots[kSlots];
    int stop;
    int failed;
    char failure[600];
    long charged, limit; // pages of all tenants
    uint64_t ops[kOps], refused, queries, retries, verifies, commands, switches, switches_refused;
    uint64_t writes; // tags given
    // The last values of a slot's word in the pages of files, which outlive their users: about to be written, and written.
    uint64_t intent[kFiles][kFilePages][kSlots], written[kFiles][kFilePages][kSlots];
};
Shared* all;

struct Options {
    unsigned seconds = 0, processes = 300; // 0: 60 s, or an hour for --switch
    unsigned switches = 0; // end after so many switches of the scheme
    uint64_t seed = 0;
    bool tiny = false; // the pool is smaller than what they want
    bool inject = false; // now and then an allocation of theirs fails, in the kernel or in the module
    bool scarce() const { return tiny || inject; } // SIGBUS is an answer
} options;

template <typename T>
T add(T& counter, T amount) {
    return __atomic_add_fetch(&counter, amount, __ATOMIC_RELAXED);
}

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
    int none = 0;
    if (__atomic_compare_exchange_n(&all->failed, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        const int used = snprintf(all->failure, sizeof(all->failure), "process %d: ", getpid());
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(all->failure + used, sizeof(all->failure) - static_cast<size_t>(used), format, arguments);
        va_end(arguments);
    }
    _exit(1);
}

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Pages are charged before they can be had; false: there would be too many.
bool charge(Slot& slot, long pages) {
    if (!options.tiny && add(all->charged, pages) > all->limit) {
        add(all->charged, -pages);
        return false;
    }
    slot.charged += pages;
    return true;
}

void uncharge(Slot& slot, long pages) {
    slot.charged -= pages;
    if (!options.tiny) add(all->charged, -pages);
}

// ---- one process --------------------------------------------------------------------------------------------------

constexpr uint64_t kForeign = ~0ULL; // a private view's page that has not been copied: the object's content

struct Area { // one range with one protection
    enum Kind { kAnon, kObject, kFile, kPrivate } kind;
    unsigned char* base;
    std::vector<uint64_t> tags; // of each page (kAnon, kPrivate)
    int prot;
    unsigned object; // which object or file
    std::vector<unsigned> shows; // of each page: which one of the object's it is

    size_t pages() const { return tags.size(); }
    unsigned char* page(size_t index) const { return base + index * kPage; }
};

class Tenant {
public:
    Tenant(unsigned slot, uint64_t seed) : random_(seed) { move_in(slot); }

    [[noreturn]] void live() {
        while (!all->stop)
            act();
        check_everything();
        _exit(0);
    }

private:
    std::mt19937_64 random_;
    unsigned number_ = 0; // of the slot
    Slot* slot_ = nullptr;
    std::vector<Area> areas_;
    int device_ = -1;
    int objects_[kObjects] = {-1, -1, -1, -1}, files_[kFiles] = {-1, -1};
    uint64_t mine_[kObjects][kObjectPages] = {}; // this process's word in objects; kForeign: not known

    void move_in(unsigned slot) {
        number_ = slot;
        slot_ = &all->slots[slot];
        slot_->pid = getpid();
        for (auto& object : mine_)
            for (uint64_t& word : object)
                word = kForeign;
        if (device_ < 0) device_ = objr::open_device();
        if (device_ < 0) {
            expect_scarce("opening the device");
            _exit(0);
        }
    }

    size_t below(size_t end) { return static_cast<size_t>(random_() % end); }
    void count(Op op) { add(all->ops[op], uint64_t{1}); }
    void refused() { add(all->refused, uint64_t{1}); }

    // Something said no. Only memory may be the reason, and only where it is scarce.
    void expect_scarce(const char* what) {
        if (errno != ENOMEM && errno != EAGAIN && !(options.inject && errno == ENFILE))
            fail("%s: %s", what, strerror(errno));
        refused();
    }

    // ---- looking

    void check_page(const Area& area, size_t index) {
        if (!(area.prot & PROT_READ)) return;
        if (const int signal = memory::read_signal(area.page(index))) {
            if (!options.scarce() || signal != SIGBUS)
                fail("%s reading %p (kind %d)", strsignal(signal), static_cast<void*>(area.page(index)), area.kind);
            return;
        }
        if (area.kind == Area::kObject || area.kind == Area::kFile || area.tags[index] == kForeign) {
            check_words(area, index);
            return;
        }
        const uint64_t tag = area.tags[index];
        const size_t word = memory::first_difference(area.page(index), tag);
        if (word == memory::kWords) return;
        const uint64_t found = reinterpret_cast<const volatile uint64_t*>(area.page(index))[word];
        const uint64_t found_tag = memory::tag_of(found, word);
        fail("%p word %zu is 0x%llx, of tag %llu:%llu; must be of tag %llu:%llu (kind %d)",
             static_cast<void*>(area.page(index)), word, static_cast<unsigned long long>(found),
             static_cast<unsigned long long>(found_tag >> 40),
             static_cast<unsigned long long>(found_tag & ((1ULL << 40) - 1)),
             static_cast<unsigned long long>(tag >> 40), static_cast<unsigned long long>(tag & ((1ULL << 40) - 1)),
             area.kind);
    }

    // A page of words: each is zero or was written by the tenant of its slot.
    void check_words(const Area& area, size_t index) {
        const auto* words = reinterpret_cast<const volatile uint64_t*>(area.page(index));
        for (unsigned slot = 0; slot < kSlots; ++slot) {
            const uint64_t word = words[slot];
            if (word && (word >> 40) != slot + 1)
                fail("shared page %p: word %u is 0x%llx, foreign", static_cast<void*>(area.page(index)), slot,
                     static_cast<unsigned long long>(word));
        }
        if (area.kind == Area::kPrivate) return;
        const size_t page = area.shows[index];
        const uint64_t word = words[number_];
        if (area.kind == Area::kObject) {
            uint64_t& known = mine_[area.object][page];
            if (known != kForeign && known != word)
                fail("object %u page %zu: own word is 0x%llx, was 0x%llx", area.object, page,
                     static_cast<unsigned long long>(word), static_cast<unsigned long long>(known));
            known = word;
        } else {
            uint64_t& written = all->written[area.object][page][number_];
            const uint64_t intent = all->intent[area.object][page][number_];
            if (word != written && word != intent &&
                !options.inject) // they differ when an earlier tenant was killed while writing
                fail("file %u page %zu: own word is 0x%llx, was 0x%llx", area.object, page,
                     static_cast<unsigned long long>(word), static_cast<unsigned long long>(written));
        }
    }

    void check_everything() {
        for (const Area& area : areas_)
            for (size_t index = 0; index < area.pages(); ++index)
                check_page(area, index);
    }

    // ---- changing

    bool writable(unsigned char* place) {
        const int signal = memory::write_signal(place);
        if (!signal) return true;
        if (!options.scarce() || signal != SIGBUS) fail("%s writing %p", strsignal(signal), static_cast<void*>(place));
        refused();
        return false;
    }

    void write_page(Area& area, size_t index) {
        // Tried on the own word: in a shared page another's would lose what he writes meanwhile.
        if (!(area.prot & PROT_WRITE) || !writable(area.page(index) + number_ * sizeof(uint64_t))) return;
        if (area.kind == Area::kAnon || area.kind == Area::kPrivate) {
            const uint64_t tag = (uint64_t{number_} + 1) << 40 | (add(all->writes, uint64_t{1}) & ((1ULL << 40) - 1));
            area.tags[index] = tag;
            memory::fill(area.page(index), tag);
            return;
        }
        auto* word = reinterpret_cast<volatile uint64_t*>(area.page(index)) + number_;
        const size_t page = area.shows[index];
        const uint64_t value = (uint64_t{number_} + 1) << 40 | (add(all->writes, uint64_t{1}) & ((1ULL << 40) - 1));
        check_words(area, index);
        if (area.kind == Area::kObject) {
            if (store(word, value)) mine_[area.object][page] = value;
        } else {
            __atomic_store_n(&all->written[area.object][page][number_], uint64_t{*word}, __ATOMIC_SEQ_CST);
            __atomic_store_n(&all->intent[area.object][page][number_], value, __ATOMIC_SEQ_CST);
            if (store(word, value))
                __atomic_store_n(&all->written[area.object][page][number_], value, __ATOMIC_SEQ_CST);
        }
    }

    // Another's msync may have made the page read-only since it was tried.
    bool store(volatile uint64_t* word, uint64_t value) {
        const int signal = memory::signal_of([=] { *word = value; });
        if (signal && (!options.scarce() || signal != SIGBUS))
            fail("%s writing %p", strsignal(signal), reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(word)));
        return !signal;
    }

    bool owns_pages(const Area& area) const { return area.kind == Area::kAnon || area.kind == Area::kPrivate; }

    void add_area(Area::Kind kind, int fd, size_t pages, unsigned object, unsigned first) {
        const bool owns = kind == Area::kAnon || kind == Area::kPrivate;
        if (owns && !charge(*slot_, static_cast<long>(pages))) return;
        void* base = objr::map(fd, pages * kPage, PROT_READ | PROT_WRITE, kind == Area::kAnon ? below(1000) : first);
        if (base == MAP_FAILED) {
            expect_scarce("mmap");
            if (owns) uncharge(*slot_, static_cast<long>(pages));
            return;
        }
        std::vector<unsigned> shows(pages);
        std::iota(shows.begin(), shows.end(), first);
        areas_.push_back({kind, static_cast<unsigned char*>(base),
                          std::vector<uint64_t>(pages, kind == Area::kPrivate ? kForeign : 0), PROT_READ | PROT_WRITE,
                          object, std::move(shows)});
    }

    // Cuts an area so that [first, first + count) is one of its own; returns its place in areas_.
    size_t cut(size_t which, size_t first, size_t count) {
        const Area whole = areas_[which];
        auto part = [&](size_t from, size_t end) {
            Area piece = whole;
            piece.base = whole.page(from);
            piece.tags.assign(whole.tags.begin() + static_cast<long>(from),
                              whole.tags.begin() + static_cast<long>(end));
            piece.shows.assign(whole.shows.begin() + static_cast<long>(from),
                               whole.shows.begin() + static_cast<long>(end));
            return piece;
        };
        areas_[which] = part(first, first + count);
        if (first) areas_.push_back(part(0, first));
        if (first + count < whole.pages()) areas_.push_back(part(first + count, whole.pages()));
        return which;
    }

    void drop(size_t which) {
        areas_[which] = std::move(areas_.back());
        areas_.pop_back();
    }

    void unmap_some() {
        const size_t which = below(areas_.size());
        const size_t first = below(areas_[which].pages());
        const size_t count = 1 + below(areas_[which].pages() - first);
        if (munmap(areas_[which].page(first), count * kPage)) {
            expect_scarce("munmap");
            return;
        }
        const size_t gone = cut(which, first, count);
        if (owns_pages(areas_[gone])) uncharge(*slot_, static_cast<long>(count));
        drop(gone);
    }

    void move_some() {
        const size_t which = below(areas_.size());
        const size_t first = below(areas_[which].pages());
        const size_t count = 1 + below(areas_[which].pages() - first);
        void* room = mmap(nullptr, count * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) return;
        if (mremap(areas_[which].page(first), count * kPage, count * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) !=
            room) {
            expect_scarce("mremap");
            return;
        }
        areas_[cut(which, first, count)].base = static_cast<unsigned char*>(room);
    }

    void protect_some() {
        static const int kinds[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};
        const int prot = kinds[below(4)];
        const size_t which = below(areas_.size());
        const size_t first = below(areas_[which].pages());
        const size_t count = 1 + below(areas_[which].pages() - first);
        if (mprotect(areas_[which].page(first), count * kPage, prot)) {
            expect_scarce("mprotect");
            return;
        }
        areas_[cut(which, first, count)].prot = prot;
    }

    // An area lies within one of the kernel's mappings, as a window must: what was cut by unmap, move or mprotect is never joined.
    void remap_some() {
        if (objr::standin()) return; // Linux makes many mappings of it, which then do not move as one
        Area& area = areas_[below(areas_.size())];
        if (owns_pages(area)) return;
        const size_t first = below(area.pages()), count = 1 + below(area.pages() - first);
        const unsigned pages = area.kind == Area::kFile ? kFilePages : kObjectPages;
        const auto pgoff = static_cast<unsigned>(below(pages - count + 1));
        if (objr::remap(device_, area.page(first), count * kPage, pgoff, below(3) ? 0 : OBJRMAP_REMAP_NONBLOCK)) {
            expect_scarce("remap");
            return;
        }
        std::iota(area.shows.begin() + static_cast<long>(first), area.shows.begin() + static_cast<long>(first + count),
                  pgoff);
    }

    void advise_some() {
        static const unsigned kinds[] = {OBJRMAP_ADVISE_LOCK,   OBJRMAP_ADVISE_UNLOCK,     OBJRMAP_ADVISE_UNLOCK,
                                         OBJRMAP_ADVISE_RANDOM, OBJRMAP_ADVISE_SEQUENTIAL, OBJRMAP_ADVISE_NORMAL};
        const Area& area = areas_[below(areas_.size())];
        const size_t first = below(area.pages()), count = 1 + below(area.pages() - first);
        const unsigned advice = kinds[below(std::size(kinds))];
        if (!objr::advise(device_, area.page(first), count * kPage, advice)) return;
        if (advice == OBJRMAP_ADVISE_LOCK && !(area.prot & PROT_READ)) return; // locked, but not brought in
        if (advice == OBJRMAP_ADVISE_LOCK && options.scarce() && errno == EIO) return;
        expect_scarce("advise");
    }

    void fork_one() {
        unsigned slot = static_cast<unsigned>(below(options.processes));
        unsigned tried = 0;
        for (; tried < options.processes; ++tried, slot = (slot + 1) % options.processes) {
            int free = 0;
            if (!__atomic_load_n(&all->slots[slot].taken, __ATOMIC_RELAXED) &&
                __atomic_compare_exchange_n(&all->slots[slot].taken, &free, 1, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST))
                break;
        }
        if (tried == options.processes) return;
        Slot& child = all->slots[slot];
        const long pages = slot_->charged;
        if (!charge(child, pages)) {
            __atomic_store_n(&child.taken, 0, __ATOMIC_SEQ_CST);
            return;
        }
        const uint64_t seed = random_();
        const long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
        if (pid < 0) {
            expect_scarce("fork");
            uncharge(child, pages);
            __atomic_store_n(&child.taken, 0, __ATOMIC_SEQ_CST);
            return;
        }
        if (pid == 0) {
            move_in(slot);
            random_.seed(seed);
            if (below(2)) // look first, or write first
                check_everything();
            return;
        }
        count(kFork);
    }

    static std::string file_path(unsigned file) { return "/tmp/stress-file-" + std::to_string(file); }

    // The descriptor of an object or file, opened when it is not.
    int shared_descriptor(bool file, unsigned which, bool own_view) {
        int& kept = file ? files_[which] : objects_[which];
        if (kept >= 0 && !own_view) return kept;
        const int fd = objr::open_device();
        if (fd < 0) {
            expect_scarce("open");
            return -1;
        }
        int result;
        if (file) {
            const int real = open(file_path(which).c_str(), O_RDWR | O_CLOEXEC);
            if (real < 0) {
                expect_scarce("opening a file");
                close(fd);
                return -1;
            }
            result = objr::bind_file(fd, real, own_view ? OBJRMAP_PRIVATE : OBJRMAP_SHARED);
            const int saved = errno;
            close(real);
            errno = saved;
        } else {
            result = objr::bind_object(fd, "stress-" + std::to_string(which), kObjectPages * kPage,
                                       OBJRMAP_CREATE | (own_view ? OBJRMAP_PRIVATE : OBJRMAP_SHARED));
        }
        if (result) {
            expect_scarce(file ? "binding a file" : "binding an object");
            close(fd);
            return -1;
        }
        return own_view ? fd : (kept = fd);
    }

    void map_shared() {
        const bool file = below(2);
        const unsigned which = static_cast<unsigned>(below(file ? kFiles : kObjects)),
                       pages = file ? kFilePages : kObjectPages;
        const int fd = shared_descriptor(file, which, false);
        if (fd < 0) return;
        const unsigned first = static_cast<unsigned>(below(pages));
        add_area(file ? Area::kFile : Area::kObject, fd, 1 + below(pages - first), which, first);
    }

    void map_private_view() {
        const bool file = below(2);
        const unsigned which = static_cast<unsigned>(below(file ? kFiles : kObjects)),
                       pages = file ? kFilePages : kObjectPages;
        const int fd = shared_descriptor(file, which, true);
        if (fd < 0) return;
        const unsigned first = static_cast<unsigned>(below(pages));
        add_area(Area::kPrivate, fd, 1 + below(pages - first), which, first);
        close(fd); // the mapping keeps it
    }

    void close_shared() { // the mappings stay; without any, what is known of an object is its past
        const bool file = below(2);
        const unsigned which = static_cast<unsigned>(below(file ? kFiles : kObjects));
        int& fd = file ? files_[which] : objects_[which];
        if (fd >= 0) close(fd);
        fd = -1;
        if (!file) forget_unmapped(which);
    }

    void forget_unmapped(unsigned object) {
        for (const Area& area : areas_)
            if (area.kind == Area::kObject && area.object == object) return;
        if (objects_[object] < 0)
            for (uint64_t& word : mine_[object])
                word = kForeign;
    }

    void act() {
        static const unsigned usual[kOps] = {10, 32, 24, 8, 6, 8, 6, 1, 5, 3, 2, 2, 5, 4};
        static const unsigned restless[kOps] = {10, 32, 24, 8, 6, 4, 14, 8, 8, 3, 2, 2, 16, 4};
        const unsigned* weights = options.switches ? restless : usual;
        static const unsigned sum = std::accumulate(weights, weights + kOps, 0U);
        size_t pick = below(sum);
        unsigned op = 0;
        while (pick >= weights[op])
            pick -= weights[op++];
        if (areas_.empty() && op != kFork && op != kExit) op = kMap;
        if (op != kFork) count(static_cast<Op>(op));
        switch (op) {
        case kMap:
            if (areas_.size() < 24) add_area(Area::kAnon, device_, 1 + below(12), 0, 0);
            break;
        case kWrite: {
            Area& area = areas_[below(areas_.size())];
            write_page(area, below(area.pages()));
            break;
        }
        case kCheck: {
            const Area& area = areas_[below(areas_.size())];
            if (below(4))
                check_page(area, below(area.pages()));
            else
                for (size_t index = 0; index < area.pages(); ++index)
                    check_page(area, index);
            break;
        }
        case kUnmap:
            unmap_some();
            for (unsigned object = 0; object < kObjects; ++object)
                forget_unmapped(object);
            break;
        case kMove: move_some(); break;
        case kProtect: protect_some(); break;
        case kFork: {
            Slot* own = slot_; // a child comes back in another
            if (decide(*own, kForking)) {
                fork_one();
                if (slot_ == own) __atomic_store_n(&own->fate, int{kMortal}, __ATOMIC_SEQ_CST);
            }
            break;
        }
        case kExit:
            if (below(2)) check_everything();
            _exit(0);
        case kShared:
            if (areas_.size() < 24) map_shared();
            break;
        case kPrivateView:
            if (areas_.size() < 24) map_private_view();
            break;
        case kSync: {
            const Area& area = areas_[below(areas_.size())];
            if (msync(area.base, area.pages() * kPage, MS_SYNC)) expect_scarce("msync");
            break;
        }
        case kRemap: remap_some(); break;
        case kAdvise: advise_some(); break;
        default: close_shared();
        }
    }
};

// ---- those who look on --------------------------------------------------------------------------------------------

// Takes pages away, forgets their uses: nobody loses anything by it.
void command(std::mt19937_64& random, const std::string& selector) {
    static const char* const verbs[] = {"referenced", "unmap", "unmap", "mkclean", "revoke"};
    const std::string text = std::string(verbs[random() % std::size(verbs)]) + " " + selector;
    int error = 0;
    const std::string result = objr::ask("command", text, &error);
    add(all->commands, uint64_t{1});
    if (error && error != ENOENT && error != ENOMEM && error != EAGAIN && error != EBUSY && error != ENOSPC)
        fail("command %s: %s: %s", text.c_str(), strerror(error), result.c_str());
    if (result.empty() || result.back() != '\n') fail("command %s answers '%s'", text.c_str(), result.c_str());
}

std::string selector_range(std::mt19937_64& random, uint64_t pages) {
    const uint64_t first = random() % pages;
    return std::to_string(first) + " " + std::to_string(std::min(first + random() % 64, pages - 1));
}

// Reads every debugfs file and asks who maps random pages: each answer must be whole.
[[noreturn]] void look_on(uint64_t seed) {
    static const char* const files[] = {"stats", "mappers", "pages", "mms",  "anon_vmas",
                                        "files", "scheme",  "query", "graph"};
    prctl(PR_SET_NAME, "onlooker");
    std::mt19937_64 random(seed);
    const uint64_t pages = objr::stat("pool_pages");
    while (!all->stop) {
        const char* file = files[random() % std::size(files)];
        if (random() % 8 == 0) objr::read_text(objr::kDebugfs + file, random() % 4 ? 65536 : 1 + random() % 50);
        std::string selector = "page " + std::to_string(random() % pages);
        const Slot& slot = all->slots[random() % options.processes];
        if (random() % 3 == 0)
            selector = "file stress-" + std::to_string(random() % kObjects) + " pgoff " +
                       std::to_string(random() % (kObjectPages + 1));
        else if (random() % 3 == 0)
            selector = "pid " + std::to_string(slot.pid) + " addr 0x7f" + std::to_string(random() % 10) + "000";
        if (random() % 6 == 0) {
            objr::ask("graph", selector);
            continue;
        }
        if (random() % 3 == 0) {
            command(random, random() % 20 ? selector : "range page " + selector_range(random, pages));
            continue;
        }
        const std::string text = objr::ask("query", selector);
        add(all->queries, uint64_t{1});
        if (text.find("retry") != std::string::npos) {
            add(all->retries, uint64_t{1});
            continue;
        }
        for (const objr::Answer& answer : objr::parse_answers(text))
            if (strtoull(answer.page.at("mapcount").c_str(), nullptr, 10) != answer.mappers.size())
                fail("query %s: mapcount %s but %zu mappers: %s", selector.c_str(), answer.page.at("mapcount").c_str(),
                     answer.mappers.size(), text.c_str());
    }
    _exit(0);
}

void verify_once() {
    std::string text;
    if (!objr::verify(&text)) fail("verify: %s", text.c_str());
    add(all->verifies, uint64_t{1});
}

// To another scheme than the one in force, if it lets itself be had: anonmm may refuse, and says why.
void switch_once(std::mt19937_64& random) {
    std::string active, why;
    std::vector<std::string> names = objr::schemes(&active);
    names.erase(std::remove(names.begin(), names.end(), active), names.end());
    if (names.empty()) fail("there is no scheme to switch to but %s", active.c_str());
    const std::string& name = names[random() % names.size()];
    const int error = objr::switch_scheme(name, &why);
    if (!error) {
        add(all->switches, uint64_t{1});
    } else if (error == EBUSY && why.rfind("error ", 0) == 0) {
        add(all->switches_refused, uint64_t{1});
    } else {
        fail("switch to %s: %s: %s", name.c_str(), strerror(error), why.c_str());
    }
}

// Both stop everybody: leave them some time between.
[[noreturn]] void switch_and_verify(uint64_t seed) {
    prctl(PR_SET_NAME, "verifier");
    std::mt19937_64 random(seed);
    while (!all->stop) {
        const double start = now();
        switch_once(random);
        verify_once();
        if (options.switches && all->switches >= options.switches) all->stop = 1;
        const double rest = options.switches ? 0.05 + 0.5 * (now() - start) : 0.2 + 3 * (now() - start);
        usleep(static_cast<useconds_t>(std::min(5.0, rest) * 1e6));
    }
    _exit(0);
}

// ---- the coordinator ----------------------------------------------------------------------------------------------

unsigned population;
std::vector<pid_t> onlookers;

void tell(double start) {
    fprintf(stderr, "%3.0f s: %u processes", now() - start, population);
    for (unsigned op = 0; op < kOps; ++op)
        fprintf(stderr, ", %llu %s", static_cast<unsigned long long>(all->ops[op]), kOpNames[op]);
    fprintf(stderr,
            "; %llu refused; %llu queries (%llu retry), %llu commands, %llu switches (%llu refused), %llu verify\n",
            static_cast<unsigned long long>(all->refused), static_cast<unsigned long long>(all->queries),
            static_cast<unsigned long long>(all->retries), static_cast<unsigned long long>(all->commands),
            static_cast<unsigned long long>(all->switches), static_cast<unsigned long long>(all->switches_refused),
            static_cast<unsigned long long>(all->verifies));
}

// Takes in one dead child; false: none is dead now, and errno is ECHILD when none is left.
bool reap() {
    int status = 0;
    errno = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return false;
    const auto onlooker = std::find(onlookers.begin(), onlookers.end(), pid);
    bool killed = false;
    if (onlooker != onlookers.end()) {
        onlookers.erase(onlooker);
    } else {
        for (unsigned number = 0; number < options.processes; ++number) {
            Slot& slot = all->slots[number];
            if (!slot.taken || slot.pid != pid) continue;
            killed = slot.fate == kKilled;
            uncharge(slot, slot.charged);
            slot.fate = kMortal;
            slot.pid = 0;
            __atomic_store_n(&slot.taken, 0, __ATOMIC_SEQ_CST);
            break;
        }
    }
    if (status && !(killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) && !all->failed) {
        all->failed = 1;
        snprintf(all->failure, sizeof(all->failure), "process %d ended with wait status 0x%x (%s)", pid,
                 static_cast<unsigned>(status), WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
    }
    return true;
}

void settle(unsigned number, uint64_t seed) {
    Slot& slot = all->slots[number];
    int free = 0;
    if (!__atomic_compare_exchange_n(&slot.taken, &free, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, "stress");
        if (options.inject) objr::write_text("/proc/self/make-it-fail", "1");
        Tenant(number, seed).live();
    }
    if (pid < 0)
        __atomic_store_n(&slot.taken, 0, __ATOMIC_SEQ_CST);
    else
        slot.pid = pid;
}

void run(std::mt19937_64& random) {
    const double start = now(), end = start + options.seconds;
    double next_word = start + 10, next_kill = start + 1;
    if (!objr::standin())
        for (int i = 0; i < 3; ++i) {
            const uint64_t seed = random();
            const pid_t pid = fork();
            if (pid == 0) i < 2 ? look_on(seed) : switch_and_verify(seed);
            onlookers.push_back(pid);
        }
    while (now() < end && !all->failed && !all->stop) {
        while (reap())
            ;
        population = 0;
        for (unsigned number = 0; number < options.processes; ++number)
            population += __atomic_load_n(&all->slots[number].taken, __ATOMIC_RELAXED) != 0;
        for (unsigned spawn = 0; population + spawn < options.processes && spawn < 16; ++spawn)
            settle(static_cast<unsigned>(random() % options.processes), random());
        if (now() > next_kill) {
            next_kill = now() + 0.1;
            Slot& slot = all->slots[random() % options.processes];
            if (slot.taken && slot.pid > 0 && decide(slot, kKilled)) kill(slot.pid, SIGKILL);
        }
        if (now() > next_word) {
            next_word += 10;
            tell(start);
        }
        usleep(5000);
    }
    tell(start);
    all->stop = 1;
    if (all->switches < options.switches && !all->failed) {
        all->failed = 1;
        snprintf(all->failure, sizeof(all->failure), "only %llu of %u switches in %u s",
                 static_cast<unsigned long long>(all->switches), options.switches, options.seconds);
    }
    const double patience = now() + 120; // each looks once more at all that it has
    while (now() < patience && !all->failed) {
        if (!reap()) {
            if (errno == ECHILD) break;
            usleep(5000);
        }
    }
    if (now() >= patience && !all->failed) {
        all->failed = 1;
        snprintf(all->failure, sizeof(all->failure), "processes did not end within 120 s of being told to");
    }
    errno = 0;
    while (errno != ECHILD) { // only after a failure is anybody left
        for (const Slot& slot : all->slots)
            if (slot.taken && slot.pid > 0) kill(slot.pid, SIGKILL);
        for (const pid_t pid : onlookers)
            kill(pid, SIGKILL);
        errno = 0;
        if (!reap() && errno != ECHILD) usleep(5000);
    }
}

// Allocations of the processes that ask for it may fail from now on, those that may wait included.
bool start_injection() {
    for (const char* kind : {"failslab", "fail_page_alloc"}) {
        const std::string directory = std::string("/sys/kernel/debug/") + kind + "/";
        for (const auto& [name, value] : std::map<std::string, std::string>{{"ignore-gfp-wait", "N"},
                                                                            {"task-filter", "Y"},
                                                                            {"verbose", "0"},
                                                                            {"interval", "200"},
                                                                            {"probability", "100"},
                                                                            {"times", "-1"}})
            if (objr::write_text(directory + name, value)) return false;
    }
    objr::write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
    std::set_new_handler([] {}); // what fails once succeeds when tried again
    return true;
}

int usage(FILE* to, int status) {
    fprintf(
        to,
        "usage: stress [--seconds N] [--processes N] [--switch N] [--seed N] [--tiny] [--inject]\n"
        "Random work of many processes on %s (60 s, 300 processes); every process checks its memory.\n"
        "--switch N: until the scheme has been switched N times, with a verify after each; --seconds is the limit.\n"
        "--tiny: the pool is too small for them, SIGBUS is expected and survived.\n"
        "--inject: one in 200 of their allocations fails (needs a kernel with fault injection).\n",
        OBJRMAP_DEVICE);
    return status;
}

} // namespace

int main(int argc, char** argv) {
    options.seed = static_cast<uint64_t>(time(nullptr));
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--help") return usage(stdout, 0);
        if (word == "--inject") {
            options.inject = true;
            continue;
        }
        if (word == "--tiny") {
            options.tiny = true;
            continue;
        }
        char* end = nullptr;
        const unsigned long long value = ++i < argc ? strtoull(argv[i], &end, 10) : 0;
        if (!end || *end || end == argv[i]) return usage(stderr, 2);
        if (word == "--seconds" && value)
            options.seconds = static_cast<unsigned>(value);
        else if (word == "--processes" && value && value <= kSlots)
            options.processes = static_cast<unsigned>(value);
        else if (word == "--switch" && value)
            options.switches = static_cast<unsigned>(value);
        else if (word == "--seed")
            options.seed = value;
        else
            return usage(stderr, 2);
    }
    if (!options.seconds) options.seconds = options.switches ? 3600 : 60;
    all =
        static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (all == MAP_FAILED) {
        perror("stress: mmap");
        return 1;
    }
    const uint64_t pool = objr::standin() ? 32768 : objr::stat("pool_pages");
    if (!pool) {
        fprintf(stderr, "stress: no pool: load objrmap.ko, and mount debugfs\n");
        return 2;
    }
    // What is being freed while somebody looks at it, and the pages of objects and files, are not charged.
    all->limit = static_cast<long>(pool * 3 / 4) - kObjects * kObjectPages - kFiles * kFilePages;
    if (!options.tiny && all->limit < static_cast<long>(options.processes)) {
        fprintf(
            stderr,
            "stress: a pool of %llu pages is too small for %u processes; use --tiny, or load with a larger pool_mb\n",
            static_cast<unsigned long long>(pool), options.processes);
        return 2;
    }
    if (options.inject && !start_injection()) {
        fprintf(stderr, "stress: --inject needs a kernel with failslab and fail_page_alloc: take the debug kernel\n");
        return 2;
    }
    for (unsigned file = 0; file < kFiles; ++file) {
        const int fd =
            open(("/tmp/stress-file-" + std::to_string(file)).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, kFilePages * kPage)) {
            perror("stress: creating a file in /tmp");
            return 1;
        }
        close(fd);
    }
    printf("# stress: seed %llu, %u s, %u processes, pool of %llu pages%s\n",
           static_cast<unsigned long long>(options.seed), options.seconds, options.processes,
           static_cast<unsigned long long>(pool), options.scarce() ? ", scarce" : "");
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::mt19937_64 random(options.seed);
    run(random);

    bool good = !all->failed;
    if (!good) printf("# %s\n", all->failure);
    if (!objr::standin()) {
        uint64_t free = 0;
        for (const double end = now() + 60; (free = objr::stat("free_pages")) != pool && now() < end;)
            usleep(10000);
        std::string text;
        const bool verified = objr::verify(&text);
        if (free != pool || !verified) {
            good = false;
            printf("# at the end %llu of %llu pages are free; verify: %s", static_cast<unsigned long long>(free),
                   static_cast<unsigned long long>(pool), text.c_str());
        }
    }
    uint64_t operations = 0;
    for (const uint64_t count : all->ops)
        operations += count;
    printf("%s 1 - stress of %u processes: %llu operations, %llu forks, %llu queries, %llu commands, %llu switches, "
           "%llu verifications\n",
           good ? "ok" : "not ok", options.processes, static_cast<unsigned long long>(operations),
           static_cast<unsigned long long>(all->ops[kFork]), static_cast<unsigned long long>(all->queries),
           static_cast<unsigned long long>(all->commands), static_cast<unsigned long long>(all->switches),
           static_cast<unsigned long long>(all->verifies));
    return good ? 0 : 1;
}
