// SPDX-License-Identifier: GPL-2.0
//
// The life of a member of the tree: it looks at all that it has, writes some of it anew, forks, and ends. Looking means every
// word of the page. Choices depend on the seed and on the member's number only.
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <random>
#include <vector>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "client.h"
#include "page_content.h"
#include "tree.h"

using objr::kPage;

namespace tree {

const char* const kOpNames[kOps] = {"sweeps",       "visits", "shared", "windows", "views", "syncs",
                                    "through-file", "advice", "renew",  "moves",   "forks", "exits"};

namespace {

constexpr size_t kChunkPages = 32; // one VMA
constexpr size_t kWindowPages = 16;
constexpr unsigned kMostDepth = 3; // founder, children, grandchildren, and theirs

// Private memory. The vector of contents is inherited by fork as the memory is.
struct Chunk {
    unsigned char* base;
    PageContent pages[kChunkPages];

    unsigned char* at(size_t index) const { return base + index * kPage; }
};

// Pages of a store; in a window any page may be anywhere.
struct View {
    unsigned char* base = nullptr;
    std::vector<unsigned> shows;
};

Board* signalled; // for the handler: accesses are not refused as long as there is swap space

void on_fault(int signal, siginfo_t* info, void*) {
    fail(*signalled, "%s (code %d) at %p", strsignal(signal), info->si_code, info->si_addr);
}

class Member {
public:
    Member(Board& board, unsigned seat) : board_(board) { move_in(seat, 0); }

    [[noreturn]] void live() {
        open_all();
        while (!stopped(board_))
            act();
        look_at_everything();
        _exit(0);
    }

private:
    Board& board_;
    unsigned seat_ = 0, depth_ = 0;
    uint64_t number_ = 0, writes_ = 0;
    std::mt19937_64 random_;
    int device_ = -1, scratch_ = -1, real_file_ = -1;
    int stores_[kStores] = {-1, -1};
    std::vector<Chunk> chunks_;
    View views_[kStores], windows_[kStores];
    unsigned char* own_view_ = nullptr;
    std::vector<PageContent> own_pages_; // of the private view; version 0: shows the file's page
    std::optional<std::pair<unsigned char*, size_t>> locked_;

    size_t below(size_t end) { return static_cast<size_t>(random_() % end); }
    void count(Op op) { add(board_.ops[op]); }

    void move_in(unsigned seat, unsigned depth) {
        seat_ = seat;
        depth_ = depth;
        number_ = add(board_.born);
        writes_ = 0;
        random_.seed(board_.seed * 1000003 + number_);
        prctl(PR_SET_NAME, depth ? "tree-child" : "tree-founder");
    }

    uint64_t next_version() { return number_ << 32 | ++writes_; }

    // Something was refused. For lack of memory it may be: nothing has changed then.
    void expect_scarce(const char* what) {
        if (errno != ENOMEM && errno != EAGAIN) fail(board_, "%s: %s", what, strerror(errno));
        add(board_.refused);
    }

    // ---- what a founder sets up

    unsigned char* map(int fd, size_t pages, uint64_t pgoff = 0) {
        void* base = objr::map(fd, pages * kPage, PROT_READ | PROT_WRITE, pgoff);
        if (base == MAP_FAILED) fail(board_, "mmap of %zu pages: %s", pages, strerror(errno));
        return static_cast<unsigned char*>(base);
    }

    void open_all() {
        struct sigaction action {};
        signalled = &board_;
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGBUS, &action, nullptr);
        sigaction(SIGSEGV, &action, nullptr);
        device_ = objr::open_device();
        real_file_ = open(board_.file, O_RDWR | O_CLOEXEC);
        scratch_ = static_cast<int>(syscall(SYS_memfd_create, "tree-scratch", 1U));
        const int own = objr::open_device();
        stores_[kObject] = objr::open_device();
        stores_[kFile] = objr::open_device();
        if (device_ < 0 || real_file_ < 0 || scratch_ < 0 || own < 0 || stores_[kObject] < 0 || stores_[kFile] < 0)
            fail(board_, "opening: %s", strerror(errno));
        if (objr::bind_object(stores_[kObject], kObjectName, board_.pages[kObject] * kPage, OBJRMAP_CREATE) ||
            objr::bind_file(stores_[kFile], real_file_, OBJRMAP_SHARED) ||
            objr::bind_file(own, real_file_, OBJRMAP_PRIVATE))
            fail(board_, "binding: %s", strerror(errno));
        for (unsigned store = 0; store < kStores; ++store) {
            set_up(views_[store], stores_[store], board_.pages[store]);
            set_up(windows_[store], stores_[store], std::min(kWindowPages, board_.pages[store]));
        }
        own_view_ = map(own, board_.view_pages);
        own_pages_.assign(board_.view_pages, {});
        close(own); // the mapping keeps it
        while (chunks_.size() < board_.own_chunks && !stopped(board_)) {
            add_chunk();
            for (size_t index = 0; index < kChunkPages; ++index)
                write(chunks_.back(), index);
        }
    }

    void set_up(View& view, int fd, size_t pages) {
        view.base = map(fd, pages);
        view.shows.resize(pages);
        for (size_t index = 0; index < pages; ++index)
            view.shows[index] = static_cast<unsigned>(index);
    }

    void add_chunk() { chunks_.push_back({map(device_, kChunkPages, below(1000)), {}}); }

    // ---- private pages

    [[noreturn]] void wrong(const char* what, const void* page, const PageContent& content, size_t word) {
        const auto* words = static_cast<const volatile uint64_t*>(page);
        size_t differ = 0;
        content.each([&](size_t i, uint64_t value) {
            differ += words[i] != value;
            return true;
        });
        fail(board_,
             "%s page %p: word %zu is 0x%" PRIx64 "; must be version 0x%" PRIx64 " for 0x%" PRIx64
             "; %zu of %zu words differ",
             what, page, word, uint64_t{words[word]}, content.version, content.home, differ, memory::kWords);
    }

    void look(const char* what, const void* page, const PageContent& content) {
        const size_t word = content.difference(page);
        if (word != memory::kWords) wrong(what, page, content, word);
    }

    void look(const Chunk& chunk, size_t index) { look("private", chunk.at(index), chunk.pages[index]); }

    // Known before it is there: a fatal fault while writing is not taken for a lost page.
    void write(Chunk& chunk, size_t index) {
        chunk.pages[index] = {reinterpret_cast<uintptr_t>(chunk.at(index)), next_version()};
        chunk.pages[index].put(chunk.at(index));
    }

    // One chunk after another, as a program streams through its memory.
    void sweep() {
        size_t which = below(chunks_.size());
        const size_t rewrite = below(4);
        for (size_t pages = 0; pages < 2 * kChunkPages && !stopped(board_); which = (which + 1) % chunks_.size())
            for (size_t index = 0; index < kChunkPages; ++index, ++pages) {
                look(chunks_[which], index);
                if (rewrite && below(3) < rewrite - 1) write(chunks_[which], index);
            }
    }

    void visit() {
        for (size_t n = 0; n < 8; ++n) {
            Chunk& chunk = chunks_[below(chunks_.size())];
            const size_t index = below(kChunkPages);
            look(chunk, index);
            if (below(2)) write(chunk, index);
        }
    }

    // Gives a chunk back and gets another, of zeros.
    void renew() {
        const size_t which = below(chunks_.size());
        const size_t index = below(kChunkPages);
        look(chunks_[which], index);
        if (munmap(chunks_[which].base, kChunkPages * kPage)) {
            expect_scarce("munmap");
            return;
        }
        chunks_[which] = chunks_.back();
        chunks_.pop_back();
        add_chunk();
        look(chunks_.back(), index);
        write(chunks_.back(), index);
    }

    // The content moves along: it still says where it was written.
    void move() {
        Chunk& chunk = chunks_[below(chunks_.size())];
        const size_t bytes = kChunkPages * kPage;
        void* room = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) return;
        if (mremap(chunk.base, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, room) != room) {
            expect_scarce("mremap");
            munmap(room, bytes);
            return;
        }
        chunk.base = static_cast<unsigned char*>(room);
        look(chunk, below(kChunkPages));
    }

    // By write(2) out of the pool and by read(2) into it: the faults come in kernel mode.
    void through_file() {
        const Chunk& from = chunks_[below(chunks_.size())];
        Chunk& to = chunks_[below(chunks_.size())];
        const size_t source = below(kChunkPages), target = below(kChunkPages);
        const PageContent content = from.pages[source];
        const auto place = static_cast<off_t>(seat_ * kPage); // relatives have the same file
        if (pwrite(scratch_, from.at(source), kPage, place) != static_cast<ssize_t>(kPage))
            fail(board_, "write from private page %p: %s", static_cast<void*>(from.at(source)), strerror(errno));
        to.pages[target] = content;
        if (pread(scratch_, to.at(target), kPage, place) != static_cast<ssize_t>(kPage))
            fail(board_, "read into private page %p: %s", static_cast<void*>(to.at(target)), strerror(errno));
        look(to, target);
    }

    // ---- shared pages

    static PageContent content_of(size_t page, uint64_t version) { return {page * kPage, version}; }

    // Nobody else writes to it meanwhile; false: the end has come first.
    bool hold(SharedPage& shared) {
        const pid_t self = getpid();
        for (unsigned tries = 0;; ++tries) {
            pid_t none = 0;
            if (__atomic_compare_exchange_n(&shared.holder, &none, self, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return true;
            if (stopped(board_)) return false;
            tries < 20 ? static_cast<void>(sched_yield()) : static_cast<void>(usleep(500));
        }
    }

    static void let_go(SharedPage& shared) { __atomic_store_n(&shared.holder, 0, __ATOMIC_SEQ_CST); }

    // What is seen of a shared page that is held.
    void look_at_shared(const char* what, StoreKind store, size_t page, const void* place) {
        const SharedPage& shared = board_.shared[store][page];
        const PageContent content = content_of(page, shared.written);
        if (shared.intent == shared.written) {
            look(what, place, content);
            return;
        }
        const size_t word = difference_of_torn(place, content, content_of(page, shared.intent));
        if (word != memory::kWords) wrong(what, place, content, word);
    }

    void write_shared(StoreKind store, size_t page, void* place) {
        SharedPage& shared = board_.shared[store][page];
        if (shared.intent == shared.written) __atomic_store_n(&shared.intent, next_version(), __ATOMIC_SEQ_CST);
        content_of(page, shared.intent).put(place);
        __atomic_store_n(&shared.written, shared.intent, __ATOMIC_SEQ_CST);
    }

    void visit_shared(const char* what, StoreKind store, const View& view) {
        for (size_t n = 0; n < 4; ++n) {
            const size_t index = below(view.shows.size()), page = view.shows[index];
            const bool writes = below(3) == 0;
            SharedPage& shared = board_.shared[store][page];
            if (!hold(shared)) return;
            look_at_shared(what, store, page, view.base + index * kPage);
            if (writes) write_shared(store, page, view.base + index * kPage);
            let_go(shared);
        }
    }

    void use_window() {
        const auto store = static_cast<StoreKind>(below(kStores));
        View& window = windows_[store];
        const size_t first = below(window.shows.size()), pages = 1 + below(window.shows.size() - first);
        const size_t pgoff = below(board_.pages[store] - pages + 1);
        if (objr::remap(device_, window.base + first * kPage, pages * kPage, pgoff,
                        below(3) ? OBJRMAP_REMAP_NONBLOCK : 0))
            expect_scarce("remap");
        else
            for (size_t index = 0; index < pages; ++index)
                window.shows[first + index] = static_cast<unsigned>(pgoff + index);
        visit_shared("window's", store, window);
    }

    // A private view of the file: copied pages are this process's, the others show the file as it is.
    void use_own_view() {
        for (size_t n = 0; n < 4; ++n) {
            const size_t page = below(board_.view_pages);
            unsigned char* place = own_view_ + page * kPage;
            look_at_own(page);
            if (below(4)) continue;
            own_pages_[page] = {reinterpret_cast<uintptr_t>(place), next_version()};
            own_pages_[page].put(place);
        }
    }

    void look_at_own(size_t page) {
        const unsigned char* place = own_view_ + page * kPage;
        if (own_pages_[page].version) {
            look("copied view", place, own_pages_[page]);
            return;
        }
        SharedPage& shared = board_.shared[kFile][page];
        if (!hold(shared)) return;
        look_at_shared("private view's", kFile, page, place);
        let_go(shared);
    }

    // What was written before msync is what read(2) finds behind it.
    void sync() {
        const size_t page = below(board_.pages[kFile]);
        unsigned char* place = views_[kFile].base + page * kPage;
        SharedPage& shared = board_.shared[kFile][page];
        if (!hold(shared)) return;
        write_shared(kFile, page, place);
        if (msync(place, kPage, MS_SYNC)) fail(board_, "msync of page %zu: %s", page, strerror(errno));
        alignas(8) unsigned char found[kPage];
        if (pread(real_file_, found, kPage, static_cast<off_t>(page * kPage)) != static_cast<ssize_t>(kPage))
            fail(board_, "read of page %zu of the file: %s", page, strerror(errno));
        look("read after msync:", found, content_of(page, shared.written));
        let_go(shared);
    }

    // ---- advice

    void unlock() {
        if (locked_ && objr::advise(device_, locked_->first, locked_->second, OBJRMAP_ADVISE_UNLOCK))
            fail(board_, "unlocking: %s", strerror(errno));
        locked_.reset();
    }

    void advise() {
        static const unsigned kinds[] = {OBJRMAP_ADVISE_COLD,   OBJRMAP_ADVISE_PAGEOUT, OBJRMAP_ADVISE_WILLNEED,
                                         OBJRMAP_ADVISE_RANDOM, OBJRMAP_ADVISE_NORMAL,  OBJRMAP_ADVISE_DONTNEED,
                                         OBJRMAP_ADVISE_LOCK};
        const unsigned advice = kinds[below(std::size(kinds))];
        Chunk& chunk = chunks_[below(chunks_.size())];
        const size_t first = below(kChunkPages);
        const size_t pages = 1 + below(advice == OBJRMAP_ADVISE_LOCK ? 2 : kChunkPages - first);
        unlock();
        if (board_.no_advice[advice] || first + pages > kChunkPages) return;
        if (objr::advise(device_, chunk.at(first), pages * kPage, advice)) {
            if (errno == EOPNOTSUPP)
                board_.no_advice[advice] = true;
            else
                expect_scarce("advice");
            return;
        }
        if (advice == OBJRMAP_ADVISE_LOCK) locked_ = {chunk.at(first), pages * kPage};
        for (size_t index = first; index < first + pages; ++index) {
            if (advice == OBJRMAP_ADVISE_DONTNEED) chunk.pages[index] = {};
            if (below(2)) look(chunk, index);
        }
    }

    // ---- fork and exit

    // Taken in one step, so that whoever is killed here or later leaves no seat that nobody can clear.
    int take_seat() {
        for (unsigned seat = 0; seat < board_.processes; ++seat) {
            pid_t free = 0;
            if (!__atomic_load_n(&board_.seats[seat].taken_by, __ATOMIC_RELAXED) &&
                __atomic_compare_exchange_n(&board_.seats[seat].taken_by, &free, getpid(), false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST))
                return static_cast<int>(seat);
        }
        return -1;
    }

    void fork_one() {
        if (depth_ == kMostDepth) return;
        const int seat = take_seat();
        if (seat < 0) return;
        Seat& child = board_.seats[seat];
        child.depth = depth_ + 1;
        const long pid =
            syscall(SYS_clone, CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, nullptr, &child.pid, nullptr, nullptr);
        if (pid < 0) {
            expect_scarce("fork");
            __atomic_store_n(&child.taken_by, 0, __ATOMIC_SEQ_CST);
            return;
        }
        if (pid) return;
        move_in(static_cast<unsigned>(seat), depth_ + 1);
        locked_.reset(); // locks are not inherited
        if (below(3) == 0) look_at_everything();
    }

    void look_at_everything() {
        for (const Chunk& chunk : chunks_)
            for (size_t index = 0; index < kChunkPages; ++index)
                look(chunk, index);
        for (size_t page = 0; page < board_.view_pages; ++page)
            if (own_pages_[page].version) look_at_own(page);
    }

    void act() {
        static const unsigned weights[kOps] = {20, 20, 14, 8, 10, 4, 6, 8, 3, 3, 2, 2};
        size_t pick = below(100);
        unsigned op = 0;
        while (pick >= weights[op])
            pick -= weights[op++];
        count(static_cast<Op>(op));
        switch (op) {
        case kSweep: sweep(); break;
        case kVisit: visit(); break;
        case kShared: {
            const auto store = static_cast<StoreKind>(below(kStores));
            visit_shared("shared", store, views_[store]);
            break;
        }
        case kWindow: use_window(); break;
        case kOwnView: use_own_view(); break;
        case kSync: sync(); break;
        case kThroughFile: through_file(); break;
        case kAdvise: advise(); break;
        case kRenew:
            unlock();
            renew();
            break;
        case kMove:
            unlock();
            move();
            break;
        case kFork: fork_one(); break;
        default:
            if (below(3)) break;
            if (below(2)) look_at_everything();
            _exit(0);
        }
    }
};

} // namespace

void live(Board& board, unsigned seat) { Member(board, seat).live(); }

} // namespace tree
