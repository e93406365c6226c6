// SPDX-License-Identifier: GPL-2.0
//
// What is swapped to, seen by programs: compressed memory, files on tmpfs and on a disk, and what goes wrong with them. Pages are
// taken away by the command `unmap`. A case that has a swap file loads the module with it and gets the usual one back at its end.
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "commands.h"

using namespace harness;
using objr::kPage;

namespace {

constexpr size_t kPages = 64;

// What kind of content page n has: nothing, one word, letters, or noise.
void write_page(void* memory, size_t n) {
    auto* words = reinterpret_cast<uint64_t*>(at(memory, n));
    switch (n % 4) {
    case 0: memset(words, 0, kPage); break;
    case 1: std::fill(words, words + memory::kWords, n); break;
    case 2: memcpy(words, page_text(static_cast<char>('a' + n % 26)).data(), kPage); break;
    default: fill(words, n + 1); break;
    }
}

bool page_is_right(void* memory, size_t n) {
    static unsigned char expected[kPage] __attribute__((aligned(4096)));
    static void* const base = expected;
    write_page(static_cast<unsigned char*>(base) - n * kPage, n);
    return !memcmp(at(memory, n), expected, kPage);
}

void write_pages(void* memory, size_t count) {
    for (size_t n = 0; n < count; ++n)
        write_page(memory, n);
}

void expect_right(void* memory, size_t count, size_t except = SIZE_MAX) {
    for (size_t n = 0; n < count; ++n)
        if (n != except && !page_is_right(memory, n))
            fail(__FILE__, __LINE__, "page " + std::to_string(n) + " came back wrong");
}

// Page n leaves memory; the reason if it stays in the swap cache.
std::string unmap_page(void* memory, size_t n) {
    for (int i = 0; i < 100; ++i) {
        const CommandResult result = command_at("unmap", getpid(), at(memory, n));
        if (result.page.at("answer") == "SUCCESS") return result.page.at("why");
    }
    fail(__FILE__, __LINE__, "page " + std::to_string(n) + " cannot be unmapped");
}

void unmap_pages(void* memory, size_t count) {
    for (size_t n = 0; n < count; ++n)
        CHECK_EQ(unmap_page(memory, n), "none");
}

void expect_verified() {
    std::string text;
    if (!objr::verify(&text)) fail(__FILE__, __LINE__, "verify: " + text);
}

// The module, loaded anew with a file to swap to.
void load_with(const std::string& swap) {
    CHECK(becomes([] { return unload_module() == 0 || errno == ENOENT; }));
    CHECK_OK(load_module("pool_mb=4 swap=" + swap));
    CHECK(becomes([] { return access(OBJRMAP_DEVICE, F_OK) == 0; }));
}

// A file of its own with that many pages; holes: without blocks.
std::string make_swap_file(const std::string& directory, size_t pages, bool holes = false) {
    const std::string path = directory + "/swapfile";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_OK(fd);
    if (holes)
        CHECK_OK(ftruncate(fd, static_cast<off_t>(pages * kPage)));
    else
        for (size_t n = 0; n < pages; ++n)
            CHECK_EQ(write(fd, page_text('x').data(), kPage), static_cast<ssize_t>(kPage));
    CHECK_OK(fsync(fd));
    close(fd);
    return path;
}

void forget_cached(const std::string& path) {
    sync();
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK_OK(fd);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

void use_file_on(const std::string& filesystem) {
    need_module();
    need_root();
    const std::string path = make_swap_file(directory_on(filesystem), 300);
    load_with(path);
    CHECK_EQ(objr::stat("swap_slots"), 300u);

    errno = 0;
    CHECK_FAILS(open(path.c_str(), O_RDWR | O_CLOEXEC), ETXTBSY);
    CHECK_FAILS(truncate(path.c_str(), kPage), ETXTBSY);
    const int fd = device();
    const int real = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK_OK(real);
    CHECK_FAILS(objr::bind_file(fd, real, OBJRMAP_PRIVATE), EPERM);

    void* memory = map_pages(fd, kPages);
    write_pages(memory, kPages);
    for (int round = 0; round < 3; ++round) {
        unmap_pages(memory, kPages);
        CHECK_EQ(objr::stat("swapped_pages"), kPages);
        expect_verified();
        if (round == 1) forget_cached(path);
        in_child([&] { expect_right(memory, kPages); });
        expect_right(memory, kPages);
    }
    unmap_pages(memory, kPages);
    int error = 0;
    std::string text = objr::ask("command", "swapoff", &error);
    if (error) fail(__FILE__, __LINE__, "swapoff: " + text);
    CHECK_EQ(objr::stat("swapped_pages"), 0u);
    text = objr::ask("command", "swapon", &error);
    CHECK_EQ(error, 0);
    expect_right(memory, kPages);
    CHECK_OK(munmap(memory, kPages * kPage));
    close(fd);
    close(real);
    CHECK(becomes([] { return unload_module() == 0; }));
    const int writer = open(path.c_str(), O_RDWR | O_CLOEXEC); // anybody's again
    CHECK_OK(writer);
    close(writer);
    unlink(path.c_str());
    load_with("none"); // which is looked at when the case has ended
}

} // namespace

// ---- compressed memory --------------------------------------------------------------------------------------------

CASE_WITH(U5_swap_to_compressed_memory, 60, "pool_mb=4 swap=lz4:1") {
    need_module();
    need_root();
    const int fd = device();
    void* memory = map_pages(fd, 4 * kPages);
    write_pages(memory, 4 * kPages);
    for (int round = 0; round < 2; ++round) {
        unmap_pages(memory, 4 * kPages);
        CHECK_EQ(objr::stat("swapped_pages"), 4 * kPages);
        CHECK_EQ(objr::stat("swap_slots"), 1024u);
        CHECK_EQ(objr::stat("swap_incompressible"), kPages);
        CHECK(objr::stat("swap_bytes_stored") >= kPages * kPage);
        CHECK(objr::stat("swap_bytes_stored") < 2 * kPages * kPage);
        in_child([&] {
            expect_right(memory, 4 * kPages);
            write_page(at(memory, 1), 5);
        });
        expect_right(memory, 4 * kPages);
        expect_verified();
    }
    CHECK(objr::stat("swap_readaheads") > 0);
    CHECK(objr::stat("swap_readahead_hits") > 0);
    CHECK_OK(munmap(memory, 4 * kPages * kPage));
    CHECK_EQ(objr::stat("swap_bytes_stored"), 0u);
}

CASE_WITH(U5_compressed_memory_full, 60, "pool_mb=4 swap=lz4:1") {
    need_module();
    need_root();
    const size_t pages = 400;
    const int fd = device();
    void* memory = map_pages(fd, pages);
    for (size_t n = 0; n < pages; ++n)
        fill(at(memory, n), n + 1);
    size_t kept = 0;
    for (size_t n = 0; n < pages; ++n)
        kept += unmap_page(memory, n) != "none";
    CHECK(kept >= 100 && kept < 250);
    expect_verified();
    for (size_t n = 0; n < pages; ++n)
        CHECK(holds(at(memory, n), n + 1));
    CHECK_EQ(objr::stat("swapped_pages"), 0u);
}

// ---- files --------------------------------------------------------------------------------------------------------

CASE_WITH(U5_swap_to_a_file_on_tmpfs, 120, "swap=none") { use_file_on("tmpfs"); }
CASE_WITH(U5_swap_to_a_file_on_ext4, 120, "swap=none") { use_file_on("ext4"); }

// The disk is full before the file is: what does not get out stays in memory, and gets out when there is room.
CASE_WITH(U5_swap_file_on_a_full_disk, 120, "swap=none") {
    need_module();
    need_root();
    const std::string place = directory_on("tmpfs") + "/small";
    CHECK_OK(mkdir(place.c_str(), 0700));
    if (mount("none", place.c_str(), "tmpfs", 0, "size=128k")) skip(with_errno("mount"));
    const std::string path = make_swap_file(place, 512, true);
    load_with(path);
    const int fd = device();
    void* memory = map_pages(fd, kPages);
    write_pages(memory, kPages);
    size_t kept = 0;
    for (size_t n = 0; n < kPages; ++n)
        kept += unmap_page(memory, n) == "swap-store-full";
    CHECK(kept >= kPages / 2 && kept < kPages);
    CHECK(objr::stat("swap_write_errors") >= kept);
    expect_verified();
    expect_right(memory, kPages);
    CHECK_EQ(objr::stat("swapped_pages"), 0u);
    CHECK_OK(mount("none", place.c_str(), nullptr, MS_REMOUNT, "size=4m"));
    unmap_pages(memory, kPages);
    expect_right(memory, kPages);
    CHECK_OK(munmap(memory, kPages * kPage));
    close(fd);
    CHECK(becomes([] { return unload_module() == 0; }));
    CHECK(becomes([&] { return umount(place.c_str()) == 0; }));
    load_with("none");
}

// The bytes of one page are overwritten on the disk: it is not given to anybody, and all others are.
CASE_WITH(U5_swap_file_overwritten, 120, "swap=none") {
    need_module();
    need_root();
    const std::string path = make_swap_file(directory_on("ext4"), 256);
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK_OK(file);
    int block_size = 0;
    CHECK_OK(ioctl(file, FIGETBSZ, &block_size));
    load_with(path);
    const int fd = device();
    void* memory = map_pages(fd, kPages);
    write_pages(memory, kPages);
    unmap_pages(memory, kPages); // slot n has page n: the first of a fresh space
    constexpr size_t kVictim = 7;
    int block = static_cast<int>(kVictim * kPage / static_cast<size_t>(block_size));
    CHECK_OK(ioctl(file, FIBMAP, &block));
    CHECK(block > 0);
    const int image = open("/tmp/selftests-ext4.image", O_RDWR | O_CLOEXEC);
    if (image < 0) skip("the disk is no image file");
    const off_t position = static_cast<off_t>(block) * block_size;
    sync();
    char before[16];
    CHECK_EQ(pread(image, before, sizeof(before), position), 16);
    CHECK_EQ(pwrite(image, "overwritten here", 16, position), 16);
    forget_cached(path);
    CHECK_EQ(read_signal(at(memory, kVictim)), SIGBUS);
    CHECK_EQ(write_signal(at(memory, kVictim)), SIGBUS);
    expect_right(memory, kPages, kVictim);
    CHECK(objr::stat("swap_read_errors") >= 2);
    CHECK_EQ(objr::stat("swapped_pages"), 1u);
    expect_verified();
    in_child([&] { CHECK_EQ(read_signal(at(memory, kVictim)), SIGBUS); }); // a child gets no more
    CHECK_EQ(pwrite(image, before, sizeof(before), position), 16);
    forget_cached(path);
    CHECK(page_is_right(memory, kVictim));
    close(file);
}

// Errors of the disk itself, where the kernel can make them.
CASE_WITH(U5_swap_file_on_a_failing_disk, 120, "swap=none") {
    need_module();
    need_root();
    const std::string path = make_swap_file(directory_on("ext4"), 256);
    struct stat status {};
    CHECK_OK(stat(path.c_str(), &status));
    const std::string disk = "/sys/block/loop" + std::to_string(minor(status.st_dev)) + "/make-it-fail";
    const std::string all = "/sys/kernel/debug/fail_make_request/";
    if (access(disk.c_str(), W_OK) || access(all.c_str(), F_OK)) skip("this kernel cannot make a disk fail");
    const auto set = [](const std::string& file, const char* value) {
        const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
        CHECK_OK(fd);
        CHECK(write(fd, value, strlen(value)) > 0);
        close(fd);
    };
    set(all + "interval", "1");
    set(all + "times", "-1");
    set(all + "verbose", "0");
    set(all + "probability", "100");
    load_with(path);
    const int fd = device();
    void* memory = map_pages(fd, kPages);
    write_pages(memory, kPages);
    unmap_pages(memory, kPages / 2);
    forget_cached(path);
    set(disk, "1");
    CHECK_EQ(read_signal(at(memory, 3)), SIGBUS);
    CHECK_EQ(unmap_page(memory, kPages - 1), "swap-store-full");
    CHECK(page_is_right(memory, kPages - 1));
    set(disk, "0");
    CHECK(objr::stat("swap_read_errors") >= 1);
    CHECK(objr::stat("swap_write_errors") >= 1);
    CHECK_EQ(unmap_page(memory, kPages - 1), "none");
    expect_right(memory, kPages);
    expect_verified();
}
