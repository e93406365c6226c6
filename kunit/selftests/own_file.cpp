// SPDX-License-Identifier: GPL-2.0
//
// What a page of such a file may hold: the module keeps pages of its own, so what write(2) has put into the file is seen through
// the mapping only if the page is not in the pool or leaves it clean; if it is dirty there, write-back overwrites the file some time
// later. Of each page is known which contents are possible, through the mapping and in the file; whoever looks must find one of them,
// whole. A store through the mapping leaves one, and msync after it one in the file as well.
#include "own_file.h"

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "actor.h"
#include "client.h"
#include "page_content.h"

using objr::kPage;

namespace own_file {

namespace {

// In memory that all share.
struct Board {
    int failed;
    char failure[500];
};

struct Possible {
    PageContent mapped; // last stored, or seen, through the mapping
    PageContent filed; // last written by write(2), after that; only if `two`
    bool two = false;
    std::vector<PageContent> stale; // what the file may have yet, from before the last stores
};

class Writer {
public:
    Writer(Board& board, const Options& options, unsigned number, size_t pages, int file)
        : board_(board), options_(options), number_(number), pages_(pages), known_(pages), file_(file),
          random_(options.seed * 1000 + number) {}

    void run();

private:
    static constexpr size_t kMostPages = 8; // of one call

    Board& board_;
    const Options& options_;
    const unsigned number_;
    const size_t pages_; // each process has as many, one run of the file
    std::vector<Possible> known_;
    std::vector<PageContent> own_{kMostPages}; // what is in private memory
    int file_, device_ = -1;
    unsigned char *mapping_ = nullptr, *private_ = nullptr;
    std::mt19937_64 random_;
    uint64_t writes_ = 0;

    size_t below(size_t end) { return static_cast<size_t>(random_() % end); }
    unsigned char* at(size_t page) const { return mapping_ + page * kPage; }
    off_t place(size_t page) const { return static_cast<off_t>((number_ * pages_ + page) * kPage); }
    PageContent fresh(const void* page) {
        return {reinterpret_cast<uintptr_t>(page), (uint64_t{number_} + 1) << 40 | ++writes_};
    }

    [[noreturn]] __attribute__((format(printf, 2, 3))) void fail(const char* format, ...);
    void set_up();
    PageContent look(size_t page);
    void store(size_t page);
    void stored(size_t page, const PageContent& content);
    void written(size_t page, const PageContent& content);
    void write_pages();
    void read_pages();
    void write_private();
    void sync(size_t page);
};

void Writer::fail(const char* format, ...) {
    int none = 0;
    if (__atomic_compare_exchange_n(&board_.failed, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(board_.failure, sizeof(board_.failure), format, arguments);
        va_end(arguments);
    }
    _exit(1);
}

void Writer::set_up() {
    device_ = objr::open_device();
    if (device_ < 0 || objr::bind_file(device_, file_, OBJRMAP_SHARED)) fail("binding: %s", strerror(errno));
    void* memory = objr::map(device_, pages_ * kPage, PROT_READ | PROT_WRITE, number_ * pages_);
    const int plain = objr::open_device();
    void* own = plain < 0 ? MAP_FAILED : objr::map(plain, kMostPages * kPage);
    if (memory == MAP_FAILED || own == MAP_FAILED) fail("mmap: %s", strerror(errno));
    mapping_ = static_cast<unsigned char*>(memory);
    private_ = static_cast<unsigned char*>(own);
}

// Which of the possible contents the mapping shows.
PageContent Writer::look(size_t page) {
    Possible& known = known_[page];
    if (known.mapped.is_in(at(page))) return known.mapped;
    if (known.two && known.filed.is_in(at(page))) { // read from the file just now
        known = {known.filed, {}, false, {}};
        return known.mapped;
    }
    fail("page %zu of writer %u shows neither what was stored nor what was written: word 0 is 0x%llx", page, number_,
         static_cast<unsigned long long>(*reinterpret_cast<volatile uint64_t*>(at(page))));
}

// Something has been stored through the mapping: the page is dirty, and nobody sees anything else through it.
void Writer::stored(size_t page, const PageContent& content) {
    Possible& known = known_[page];
    known.stale.push_back(known.mapped);
    if (known.two) known.stale.push_back(known.filed);
    known.mapped = content;
    known.two = false;
    if (known.stale.size() > 8) sync(page);
}

void Writer::store(size_t page) {
    const PageContent content = fresh(at(page));
    content.put(at(page));
    stored(page, content);
}

void Writer::written(size_t page, const PageContent& content) {
    Possible& known = known_[page];
    known.stale.clear();
    known.filed = content;
    known.two = true;
}

// Mapped pages to other places of their own file, or to themselves.
void Writer::write_pages() {
    const size_t count = 1 + below(kMostPages), from = below(pages_ - count + 1);
    size_t to = below(4) ? below(pages_ - count + 1) : from;
    if (to != from && to < from + count && from < to + count) to = from;
    std::vector<PageContent> contents;
    for (size_t n = 0; n < count; ++n) {
        look(from + n);
        if (known_[from + n].two) store(from + n); // it must not change when it leaves the pool meanwhile
        contents.push_back(known_[from + n].mapped);
    }
    const ssize_t wrote = pwrite(file_, at(from), count * kPage, place(to));
    if (wrote != static_cast<ssize_t>(count * kPage))
        fail("write of %zu pages: %zd, %s", count, wrote, strerror(errno));
    for (size_t n = 0; n < count; ++n)
        written(to + n, contents[n]);
}

// From the file into pages that lie behind other places of it.
void Writer::read_pages() {
    const size_t from = below(pages_), to = below(pages_);
    const ssize_t got = pread(file_, at(to), kPage, place(from));
    if (got != static_cast<ssize_t>(kPage)) fail("read of a page: %zd, %s", got, strerror(errno));
    const Possible source = known_[from];
    std::vector<PageContent> candidates = source.stale;
    candidates.push_back(source.mapped);
    if (source.two) candidates.push_back(source.filed);
    for (const PageContent& content : candidates)
        if (content.is_in(at(to))) {
            stored(to, content);
            return;
        }
    fail("page %zu of writer %u, read into page %zu, is none of what it may be", from, number_, to);
}

// Private memory of the pool, which reclaim can swap out meanwhile.
void Writer::write_private() {
    const size_t count = 1 + below(kMostPages), to = below(pages_ - count + 1);
    for (size_t n = 0; n < count; ++n) {
        if (!own_[n].is_in(private_ + n * kPage)) fail("private page %zu of writer %u is wrong", n, number_);
        own_[n] = fresh(private_ + n * kPage);
        own_[n].put(private_ + n * kPage);
    }
    const ssize_t wrote = pwrite(file_, private_, count * kPage, place(to));
    if (wrote != static_cast<ssize_t>(count * kPage)) fail("write of private pages: %zd, %s", wrote, strerror(errno));
    for (size_t n = 0; n < count; ++n)
        written(to + n, own_[n]);
}

// What has been stored is what the file has then.
void Writer::sync(size_t page) {
    if (below(2) ? msync(at(page), kPage, MS_SYNC) : fsync(device_)) fail("msync or fsync: %s", strerror(errno));
    if (below(4) == 0 && fsync(file_)) fail("fsync of the file: %s", strerror(errno));
    alignas(8) unsigned char found[kPage];
    if (pread(file_, found, kPage, place(page)) != static_cast<ssize_t>(kPage)) fail("read: %s", strerror(errno));
    if (!known_[page].mapped.is_in(found)) fail("page %zu of writer %u: msync has not written it", page, number_);
    known_[page].stale.clear();
}

void Writer::run() {
    set_up();
    for (size_t page = 0; page < pages_; ++page)
        store(page);
    for (unsigned call = 0; call < options_.calls && !board_.failed; ++call) {
        alarm(options_.patience);
        switch (below(8)) {
        case 0:
        case 1:
        case 2: write_pages(); break;
        case 3:
        case 4: read_pages(); break;
        case 5: write_private(); break;
        default: {
            const size_t page = below(pages_);
            store(page);
            if (below(2)) sync(page);
        }
        }
    }
    for (size_t page = 0; page < pages_; ++page) {
        alarm(options_.patience);
        look(page);
    }
}

} // namespace

std::string run(const Options& options) {
    void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return strerror(errno);
    auto* board = static_cast<Board*>(memory);
    const auto all = static_cast<size_t>(options.multiple * static_cast<double>(objr::stat("pool_pages")));
    const size_t pages = all / options.processes;
    const int file = open(options.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | options.flags, 0600);
    if (file < 0 || ftruncate(file, static_cast<off_t>(pages * options.processes * kPage)))
        return options.path + ": " + strerror(errno);
    std::vector<std::unique_ptr<objr::Actor>> crew;
    for (unsigned number = 0; number < options.processes; ++number)
        crew.push_back(std::make_unique<objr::Actor>(
            [&](objr::Actor&) { Writer(*board, options, number, pages, file).run(); }, "own-file"));
    std::string failure;
    for (auto& actor : crew)
        if (const int status = actor->wait(); status && failure.empty())
            failure = "a writer ended with wait status " + std::to_string(status) +
                      (WIFSIGNALED(status) ? std::string(" (") + strsignal(WTERMSIG(status)) + ")" : "");
    if (board->failed) failure = board->failure;
    close(file);
    munmap(board, sizeof(Board));
    return failure;
}

} // namespace own_file
