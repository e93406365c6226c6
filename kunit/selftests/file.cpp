// SPDX-License-Identifier: GPL-2.0
//
// Real files on the pool (OBJRMAP_IOC_FILE): what is read, when writes reach the file, what is refused. On tmpfs, ramfs
// and a disk filesystem (ext4 on a loop device).
#include <linux/fs.h>
#include <linux/memfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/vfs.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

#define CASE_ON_EACH(name)                                                                                             \
    static void name(const std::string& directory);                                                                    \
    static const harness::Registration register_##name##_tmpfs{#name "/tmpfs", [] { name(directory_on("tmpfs")); },    \
                                                               60};                                                    \
    static const harness::Registration register_##name##_ramfs{#name "/ramfs", [] { name(directory_on("ramfs")); },    \
                                                               60};                                                    \
    static const harness::Registration register_##name##_ext4{#name "/ext4", [] { name(directory_on("ext4")); }, 60};  \
    static void name(const std::string& directory)

static int bound(int file, unsigned flags) {
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, file, flags));
    return fd;
}

static int opened(const std::string& path, int flags) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC);
    CHECK_OK(fd);
    return fd;
}

static bool same(const void* memory, const std::string& text) { return memcmp(memory, text.data(), text.size()) == 0; }

static std::string pages_text(size_t pages) {
    std::string text;
    for (size_t page = 0; page < pages; ++page)
        text += page_text(static_cast<char>('A' + page % 20));
    return text;
}

// ---- reading ------------------------------------------------------------------------------------------------------

CASE_ON_EACH(file_is_read) {
    const std::string text = pages_text(7) + "the end";
    const int file = make_file(directory + "/f", text);
    for (const unsigned flags : {OBJRMAP_SHARED, OBJRMAP_PRIVATE}) {
        void* memory = map_pages(bound(file, flags), 8);
        CHECK(same(memory, text));
        for (size_t byte = 7; byte < kPage; ++byte)
            CHECK_EQ(static_cast<int>(at(memory, 7)[byte]), 0); // the rest of the last page is zero
        CHECK_OK(munmap(memory, 8 * kPage));
    }
    void* window = map_pages(bound(file, OBJRMAP_SHARED), 2, PROT_READ, 5);
    CHECK(same(window, text.substr(5 * kPage, 2 * kPage)));
}

CASE_ON_EACH(file_with_holes) {
    const int file = make_file(directory + "/f", "");
    CHECK_OK(ftruncate(file, 64 * kPage));
    CHECK_EQ(pwrite(file, "x", 1, 40 * kPage), 1);
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 64);
    CHECK(holds(at(memory, 3), 0));
    CHECK_EQ(*at(memory, 40), 'x');
    fill(at(memory, 10), 5);
    CHECK_OK(msync(memory, 64 * kPage, MS_SYNC));
    std::vector<unsigned char> page(kPage);
    CHECK_EQ(pread(file, page.data(), kPage, 10 * kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 5));
    CHECK_EQ(pread(file, page.data(), kPage, 11 * kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 0));
}

// ---- writes reach the file ----------------------------------------------------------------------------------------

CASE_ON_EACH(file_written_by_msync) {
    const std::string text = pages_text(4) + "tail";
    const int file = make_file(directory + "/f", text);
    void* memory = map_pages(bound(file, OBJRMAP_SHARED), 5);
    memcpy(at(memory, 1), "changed", 7);
    memcpy(at(memory, 4), "TAIL and beyond", 15); // what is beyond the end stays out
    CHECK_OK(msync(memory, 5 * kPage, MS_SYNC));
    std::string expected = text;
    expected.replace(kPage, 7, "changed").replace(4 * kPage, 4, "TAIL");
    CHECK(content_of(directory + "/f") == expected);
    memcpy(at(memory, 2), "again", 5);
    CHECK_OK(msync(at(memory, 2), kPage, MS_SYNC));
    expected.replace(2 * kPage, 5, "again");
    CHECK(content_of(directory + "/f") == expected);
    // Clean pages become dirty again by the next write: also one after msync, with no fault in between to be missed.
    memcpy(at(memory, 2), "third", 5);
    CHECK_OK(msync(memory, 5 * kPage, MS_SYNC));
    expected.replace(2 * kPage, 5, "third");
    CHECK(content_of(directory + "/f") == expected);
    struct stat status {};
    CHECK_OK(fstat(file, &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), text.size());
}

CASE_ON_EACH(file_written_by_fsync) {
    if (objr::standin()) skip("fsync of the device");
    const int file = make_file(directory + "/f", pages_text(4));
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 4);
    std::string expected = pages_text(4);
    for (const char* word : {"first", "other", "final"}) {
        memcpy(at(memory, 3), word, 5);
        expected.replace(3 * kPage, 5, word);
        CHECK_OK(strcmp(word, "other") ? fsync(fd) : fdatasync(fd));
        CHECK(content_of(directory + "/f") == expected);
    }
}

// The limit is for what a process writes itself, not for what the pool writes for it: as with the kernel's own msync.
CASE_ON_EACH(file_written_beyond_the_limit_of_size) {
    const int file = make_file(directory + "/f", pages_text(4));
    const int fd = bound(file, OBJRMAP_SHARED);
    std::string expected = pages_text(4);
    in_child([&] {
        void* memory = map_pages(fd, 4);
        const rlimit limit{kPage, kPage};
        CHECK_OK(setrlimit(RLIMIT_FSIZE, &limit)); // beyond it is SIGXFSZ
        memcpy(at(memory, 3), "beyond", 6);
        CHECK_OK(msync(memory, 4 * kPage, MS_SYNC));
    });
    expected.replace(3 * kPage, 6, "beyond");
    CHECK(content_of(directory + "/f") == expected);
}

CASE_ON_EACH(file_written_at_last_close) {
    const std::string path = directory + "/f";
    close(make_file(path, pages_text(4)));
    std::string expected = pages_text(4);
    int file = opened(path, O_RDWR);
    int fd = bound(file, OBJRMAP_SHARED);
    close(file);
    void* memory = map_pages(fd, 4);
    memcpy(memory, "closed", 6);
    expected.replace(0, 6, "closed");
    CHECK_OK(close(fd));
    CHECK_OK(munmap(memory, 4 * kPage)); // the mapping was last
    CHECK(becomes([&] { return content_of(path) == expected; }));
    // By exit, and by a process that is killed.
    for (const char* word : {"exited", "killed"}) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            memory = map_pages(bound(opened(path, O_RDWR), OBJRMAP_SHARED), 4);
            memcpy(at(memory, 2), word, 6);
            if (*word == 'k') raise(SIGKILL);
            _exit(0);
        }
        CHECK_EQ(waitpid(pid, nullptr, 0), pid);
        expected.replace(2 * kPage, 6, word);
        CHECK(becomes([&] { return content_of(path) == expected; }));
    }
}

CASE_ON_EACH(U2_file_private_never_reaches_it) {
    const std::string path = directory + "/f", text = pages_text(4);
    const int file = make_file(path, text);
    int fd = bound(file, OBJRMAP_PRIVATE);
    void* memory = map_pages(fd, 4);
    for (size_t page = 0; page < 4; ++page)
        fill(at(memory, page), page + 1);
    CHECK_OK(msync(memory, 4 * kPage, MS_SYNC));
    if (!objr::standin()) fsync(fd);
    CHECK(content_of(path) == text);
    in_child([&] {
        CHECK(holds(memory, 1));
        fill(memory, 9);
    });
    CHECK(holds(memory, 1));
    // A shared view of the same file beside it.
    void* shared = map_pages(bound(file, OBJRMAP_SHARED), 4);
    CHECK(same(shared, text));
    CHECK_OK(munmap(memory, 4 * kPage));
    CHECK_OK(close(fd));
    CHECK(content_of(path) == text);
}

CASE_ON_EACH(file_private_needs_only_reading) {
    const std::string path = directory + "/f";
    close(make_file(path, pages_text(2)));
    void* memory = map_pages(bound(opened(path, O_RDONLY), OBJRMAP_PRIVATE), 2);
    fill(memory, 1);
    CHECK(holds(memory, 1));
    CHECK(same(at(memory, 1), pages_text(2).substr(kPage)));
    CHECK(content_of(path) == pages_text(2));
}

CASE_ON_EACH(file_shared_without_write_access) {
    const std::string path = directory + "/f";
    close(make_file(path, pages_text(2)));
    const int fd = bound(opened(path, O_RDONLY), OBJRMAP_SHARED);
    void* memory = map_pages(fd, 2, PROT_READ);
    CHECK(same(memory, pages_text(2)));
    CHECK_FAILS(objr::map(fd, kPage, PROT_READ | PROT_WRITE), EACCES);
    CHECK_FAILS(mprotect(memory, kPage, PROT_READ | PROT_WRITE), EACCES);
    CHECK_EQ(write_signal(memory), SIGSEGV);
    if (!objr::standin()) { // a descriptor that cannot be read gives no view at all
        const int unreadable = opened(path, O_WRONLY);
        CHECK(objr::bind_file(device(), unreadable, OBJRMAP_SHARED) < 0 && (errno == EACCES || errno == EBADF));
        CHECK(objr::bind_file(device(), unreadable, OBJRMAP_PRIVATE) < 0 && (errno == EACCES || errno == EBADF));
    }
}

// ---- sharing ------------------------------------------------------------------------------------------------------

CASE_ON_EACH(file_descriptors_share_pages) {
    const std::string path = directory + "/f";
    const int file = make_file(path, pages_text(4));
    void* one = map_pages(bound(file, OBJRMAP_SHARED), 4);
    std::string other_path = path;
    if (link(path.c_str(), (directory + "/hard-link").c_str()) == 0) other_path = directory + "/hard-link";
    void* two = map_pages(bound(opened(other_path, O_RDWR), OBJRMAP_SHARED), 2, PROT_READ | PROT_WRITE, 2);
    void* mine = map_pages(bound(opened(path, O_RDONLY), OBJRMAP_PRIVATE), 4);
    fill(at(one, 2), 1);
    CHECK(holds(two, 1));
    CHECK(holds(at(mine, 2), 1));
    fill(at(two, 1), 2);
    CHECK(holds(at(one, 3), 2));
    fill(at(mine, 2), 3);
    CHECK(holds(at(one, 2), 1));
    fill(at(one, 2), 4);
    CHECK(holds(at(mine, 2), 3));
    in_child([&] { // another process, by its own descriptors
        void* its = map_pages(bound(opened(path, O_RDWR), OBJRMAP_SHARED), 4);
        CHECK(holds(at(its, 2), 4));
        fill(at(its, 1), 5);
    });
    CHECK(holds(at(one, 1), 5));
    if (!objr::standin()) CHECK_EQ(objr::stat("file_mappings"), 1u);
}

CASE_ON_EACH(file_mapping_over_fork) {
    const int file = make_file(directory + "/f", pages_text(4));
    void* shared = map_pages(bound(file, OBJRMAP_SHARED), 4);
    void* mine = map_pages(bound(file, OBJRMAP_PRIVATE), 4);
    fill(at(mine, 1), 1);
    Actor child([&](Actor& self) {
        fill(shared, 2);
        CHECK(holds(at(mine, 1), 1));
        fill(at(mine, 1), 3);
        self.pause();
        CHECK(holds(at(mine, 1), 3));
        CHECK(holds(at(mine, 0), 2)); // never written by either: the file's
        CHECK(holds(at(shared, 3), 4));
    });
    child.await();
    CHECK(holds(shared, 2));
    CHECK(holds(at(mine, 1), 1));
    fill(at(shared, 3), 4);
    child.finish();
}

CASE_ON_EACH(file_reader_outlives_the_writer) { // what the writer left dirty is written when the reader goes
    const std::string path = directory + "/f";
    close(make_file(path, pages_text(2)));
    Actor reader([&](Actor& self) {
        void* memory = map_pages(bound(opened(path, O_RDONLY), OBJRMAP_SHARED), 2, PROT_READ);
        CHECK(same(memory, pages_text(2)));
        self.pause();
        CHECK(holds(at(memory, 1), 1));
    });
    reader.await();
    in_child([&] {
        void* memory = map_pages(bound(opened(path, O_RDWR), OBJRMAP_SHARED), 2);
        fill(at(memory, 1), 1);
    });
    reader.finish();
    CHECK(becomes([&] {
        const std::string text = content_of(path);
        return text.size() == 2 * kPage && holds(text.data() + kPage, 1);
    }));
}

CASE_ON_EACH(file_unlinked_while_mapped) {
    const std::string path = directory + "/f";
    const int file = make_file(path, pages_text(2));
    void* memory = map_pages(bound(file, OBJRMAP_SHARED), 2);
    CHECK_OK(unlink(path.c_str()));
    CHECK(same(memory, pages_text(2)));
    fill(memory, 1);
    CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
    std::vector<unsigned char> page(kPage);
    CHECK_EQ(pread(file, page.data(), kPage, 0), static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 1));
}

// ---- size ---------------------------------------------------------------------------------------------------------

CASE_ON_EACH(file_beyond_the_end_and_growing) {
    const int file = make_file(directory + "/f", page_text('a') + "x");
    void* memory = map_pages(bound(file, OBJRMAP_SHARED), 5);
    CHECK_EQ(read_signal(at(memory, 1)), 0);
    CHECK_EQ(read_signal(at(memory, 2)), SIGBUS);
    CHECK_EQ(write_signal(at(memory, 2)), SIGBUS);
    CHECK_OK(ftruncate(file, 4 * kPage)); // "size is re-read at fault"
    CHECK(holds(at(memory, 3), 0));
    fill(at(memory, 3), 1);
    CHECK_EQ(read_signal(at(memory, 4)), SIGBUS);
    CHECK_OK(msync(memory, 5 * kPage, MS_SYNC));
    std::vector<unsigned char> page(kPage);
    CHECK_EQ(pread(file, page.data(), kPage, 3 * kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 1));
    struct stat status {};
    CHECK_OK(fstat(file, &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), 4 * kPage);
}

CASE_ON_EACH(U6_file_truncate_cuts_every_sharer) {
    const std::string path = directory + "/f";
    const int file = make_file(path, pages_text(8));
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 8);
    void* mine = map_pages(bound(file, OBJRMAP_PRIVATE), 8);
    fill(at(memory, 6), 1);
    fill(at(mine, 7), 2);
    CHECK(at(memory, 3)[kPage - 1] != 0); // the page of the new end is in memory
    Actor sharer([&](Actor& self) {
        void* view = map_pages(bound(opened(path, O_RDWR), OBJRMAP_SHARED), 8);
        CHECK(holds(at(view, 6), 1));
        self.pause();
        CHECK_EQ(read_signal(at(view, 6)), SIGBUS);
        CHECK_EQ(read_signal(at(view, 4)), SIGBUS);
        CHECK(same(at(view, 3), pages_text(8).substr(3 * kPage, kPage - 10)));
        CHECK_EQ(static_cast<int>(at(view, 3)[kPage - 1]), 0); // the cut page is zero behind the end
    });
    sharer.await();
    CHECK_OK(objr::truncate_object(fd, 4 * kPage - 10));
    struct stat status {};
    CHECK_OK(fstat(file, &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), 4 * kPage - 10);
    CHECK_EQ(read_signal(at(memory, 4)), SIGBUS);
    CHECK_EQ(read_signal(at(memory, 7)), SIGBUS);
    CHECK_EQ(read_signal(at(mine, 7)), SIGBUS);
    CHECK_EQ(static_cast<int>(at(memory, 3)[kPage - 1]), 0);
    sharer.finish();
    CHECK_OK(objr::truncate_object(fd, 8 * kPage));
    CHECK_EQ(static_cast<int>(at(memory, 3)[kPage - 10]), 0);
    CHECK(holds(at(memory, 6), 0));
    CHECK_OK(fstat(file, &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), 8 * kPage);
    CHECK_OK(msync(memory, 8 * kPage, MS_SYNC));
    CHECK(content_of(path).substr(0, 4 * kPage - 10) == pages_text(8).substr(0, 4 * kPage - 10));
}

CASE_ON_EACH(
    file_cut_behind_our_back) { // by plain ftruncate: no crash, no growth by write-back, SIGBUS once it is noticed
    if (objr::standin()) skip("the kernel notices at once");
    const std::string path = directory + "/f";
    const int file = make_file(path, pages_text(8));
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    CHECK_OK(ftruncate(file, 3 * kPage + 100));
    CHECK_OK(msync(memory, 8 * kPage, MS_SYNC)); // re-reads the size
    struct stat status {};
    CHECK_OK(fstat(file, &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), 3 * kPage + 100);
    CHECK(holds(at(memory, 2), 3));
    CHECK_EQ(read_signal(at(memory, 5)), SIGBUS);
}

// ---- truncate without the right to --------------------------------------------------------------------------------

CASE(file_truncate_needs_write_access) {
    need_module();
    const std::string path = directory_on("tmpfs") + "/f";
    close(make_file(path, pages_text(4)));
    const int fd = bound(opened(path, O_RDONLY), OBJRMAP_SHARED);
    CHECK(objr::truncate_object(fd, kPage) < 0);
    const int mine = bound(opened(path, O_RDONLY), OBJRMAP_PRIVATE);
    CHECK(objr::truncate_object(mine, kPage) < 0);
    struct stat status {};
    CHECK_OK(stat(path.c_str(), &status));
    CHECK_EQ(static_cast<size_t>(status.st_size), 4 * kPage);
}

// ---- refused ------------------------------------------------------------------------------------------------------

CASE(file_kinds_refused) {
    need_module();
    const std::string directory = directory_on("tmpfs");
    auto refused = [](int fd, int error) {
        CHECK_OK(fd);
        for (const unsigned flags : {OBJRMAP_SHARED, OBJRMAP_PRIVATE}) {
            const int own = device();
            CHECK(objr::bind_file(own, fd, flags) < 0);
            if (error) CHECK_EQ(errno, error);
            map_pages(own, 1); // still a plain descriptor
            close(own);
        }
        close(fd);
    };
    int ends[2];
    CHECK_OK(pipe(ends));
    refused(ends[0], EINVAL);
    refused(open(directory.c_str(), O_RDONLY | O_DIRECTORY), EINVAL);
    refused(open("/dev/null", O_RDWR), EINVAL);
    refused(open("/dev/zero", O_RDWR), EINVAL);
    refused(device(), EINVAL);
    refused(open(directory.c_str(), O_PATH), EBADF);
    refused(open("/proc/self/stat", O_RDONLY), 0); // a regular file by its mode, without pages
    refused(open("/sys/kernel/debug/objrmap/stats", O_RDONLY), 0);
    CHECK_FAILS(objr::bind_file(device(), -1, OBJRMAP_SHARED), EBADF);
    CHECK_FAILS(objr::bind_file(device(), 1 << 20, OBJRMAP_SHARED), EBADF);
    const int fd = device();
    CHECK_FAILS(objr::bind_file(fd, fd, OBJRMAP_SHARED), EINVAL); // itself
    const int file = make_file(directory + "/f", "x");
    for (const unsigned flags : {OBJRMAP_CREATE, OBJRMAP_EXCL, 8u, 0x80000000u, ~0u})
        CHECK_FAILS(objr::bind_file(fd, file, flags), EINVAL);
    CHECK_OK(objr::bind_file(fd, file, OBJRMAP_SHARED));
    CHECK_FAILS(objr::bind_file(fd, file, OBJRMAP_SHARED), EBUSY);
    const int used = device();
    map_pages(used, 1);
    CHECK_FAILS(objr::bind_file(used, file, OBJRMAP_SHARED), EBUSY);
}

CASE(file_append_only_and_sealed_refused) {
    need_module();
    const std::string directory = directory_on("tmpfs");
    close(make_file(directory + "/f", pages_text(1)));
    CHECK_FAILS(objr::bind_file(device(), opened(directory + "/f", O_RDWR | O_APPEND), OBJRMAP_SHARED), EPERM);
    for (const int seal : {F_SEAL_WRITE, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL}) {
        const int memory_file = static_cast<int>(memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC));
        CHECK_OK(memory_file);
        CHECK_EQ(write(memory_file, "content", 7), 7);
        CHECK_OK(fcntl(memory_file, F_ADD_SEALS, seal));
        CHECK_FAILS(objr::bind_file(device(), memory_file, OBJRMAP_SHARED), EPERM);
    }
    const int plain = static_cast<int>(memfd_create("plain", MFD_CLOEXEC));
    CHECK_OK(plain);
    CHECK_OK(ftruncate(plain, 2 * kPage));
    void* memory = map_pages(bound(plain, OBJRMAP_SHARED), 2);
    fill(memory, 1);
    CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
    std::vector<unsigned char> page(kPage);
    CHECK_EQ(pread(plain, page.data(), kPage, 0), static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 1));
}

CASE(file_sealed_after_binding) { // either the seal is refused, or the write-back; neither in silence
    need_module();
    const int memory_file = static_cast<int>(memfd_create("sealed-later", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    CHECK_OK(memory_file);
    CHECK_OK(ftruncate(memory_file, 2 * kPage));
    void* memory = map_pages(bound(memory_file, OBJRMAP_SHARED), 2);
    fill(memory, 1);
    if (fcntl(memory_file, F_ADD_SEALS, F_SEAL_WRITE) == 0)
        CHECK(msync(memory, 2 * kPage, MS_SYNC) < 0);
    else
        CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
    CHECK(holds(memory, 1));
}

CASE(file_of_a_tebibyte) {
    const int file = make_file(directory_on("tmpfs") + "/f", "");
    CHECK_OK(ftruncate(file, off_t{1} << 40));
    CHECK_EQ(pwrite(file, "end", 3, (off_t{1} << 40) - 3), 3);
    void* memory = objr::map(bound(file, OBJRMAP_SHARED), 4 * kPage, PROT_READ | PROT_WRITE, (1ULL << 28) - 2);
    CHECK(memory != MAP_FAILED);
    CHECK_EQ(memcmp(at(memory, 1) + kPage - 3, "end", 3), 0);
    fill(memory, 1);
    CHECK_EQ(read_signal(at(memory, 2)), SIGBUS);
    CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
    std::vector<unsigned char> page(kPage);
    CHECK_EQ(pread(file, page.data(), kPage, static_cast<off_t>(((1ULL << 28) - 2) * kPage)),
             static_cast<ssize_t>(kPage));
    CHECK(holds(page.data(), 1));
}

CASE(file_immutable_refused) {
    need_module();
    const std::string directory = directory_on("ext4");
    const int file = make_file(directory + "/f", pages_text(1));
    for (const int attribute : {FS_IMMUTABLE_FL, FS_APPEND_FL}) {
        int flags = attribute;
        if (ioctl(file, FS_IOC_SETFLAGS, &flags)) skip(with_errno("FS_IOC_SETFLAGS"));
        CHECK_FAILS(objr::bind_file(device(), file, OBJRMAP_SHARED), EPERM);
        flags = 0;
        CHECK_OK(ioctl(file, FS_IOC_SETFLAGS, &flags));
    }
    CHECK_OK(objr::bind_file(device(), file, OBJRMAP_SHARED));
}

CASE(file_swap_refused) {
    need_module();
    need_root();
    const std::string path = directory_on("ext4") + "/swap";
    const size_t pages = 64;
    const int file = make_file(path, std::string(pages * kPage, '\0'));
    struct { // what mkswap writes: version and last page behind the boot bits, the magic at the end of the first page
        uint32_t version, last_page, bad_pages;
    } header{1, pages - 1, 0};
    CHECK_EQ(pwrite(file, &header, sizeof(header), 1024), static_cast<ssize_t>(sizeof(header)));
    CHECK_EQ(pwrite(file, "SWAPSPACE2", 10, kPage - 10), 10);
    CHECK_OK(fsync(file));
    if (swapon(path.c_str(), 0)) skip(with_errno("swapon"));
    const int fd = device();
    const int shared = objr::bind_file(fd, file, OBJRMAP_SHARED), shared_error = errno;
    const int mine = objr::bind_file(fd, file, OBJRMAP_PRIVATE), mine_error = errno;
    CHECK_OK(swapoff(path.c_str()));
    CHECK(shared < 0 && shared_error == EPERM);
    CHECK(mine < 0 && mine_error == EPERM);
    CHECK_OK(objr::bind_file(fd, file, OBJRMAP_SHARED));
}

// ---- read(2), write(2) and the file behind the page ---------------------------------------------------------------

CASE_ON_EACH(U9_write_to_the_file_from_its_own_page) {
    const int file = make_file(directory + "/f", pages_text(4));
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 4);
    // Not yet present: the fault happens inside write(), which holds the inode's lock.
    CHECK_EQ(pwrite(file, at(memory, 1), kPage, 0), static_cast<ssize_t>(kPage));
    CHECK_EQ(pwrite(file, at(memory, 2), kPage, 2 * kPage), static_cast<ssize_t>(kPage)); // onto itself
    CHECK_EQ(pwrite(file, at(memory, 3), kPage, kPage), static_cast<ssize_t>(kPage));
    std::vector<char> seen(4 * kPage);
    CHECK_EQ(pread(file, seen.data(), 4 * kPage, 0), static_cast<ssize_t>(4 * kPage));
    const std::string text = pages_text(4);
    CHECK(same(seen.data(), text.substr(kPage, kPage)));
    CHECK(same(seen.data() + kPage, text.substr(3 * kPage, kPage)));
    CHECK(same(seen.data() + 2 * kPage, text.substr(2 * kPage)));
    // Dirty pages, and a write that makes the file longer.
    fill(at(memory, 3), 7);
    CHECK_EQ(pwrite(file, at(memory, 3), kPage, 6 * kPage), static_cast<ssize_t>(kPage));
    CHECK_EQ(pread(file, seen.data(), kPage, 6 * kPage), static_cast<ssize_t>(kPage));
    CHECK(holds(seen.data(), 7));
}

CASE_ON_EACH(U9_read_of_the_file_into_its_own_page) {
    const int file = make_file(directory + "/f", pages_text(4));
    void* memory = map_pages(bound(file, OBJRMAP_SHARED), 4);
    const std::string text = pages_text(4);
    CHECK_EQ(pread(file, at(memory, 1), kPage, 0), static_cast<ssize_t>(kPage));
    CHECK(same(at(memory, 1), text.substr(0, kPage)));
    CHECK_EQ(pread(file, at(memory, 2), kPage, 2 * kPage), static_cast<ssize_t>(kPage)); // itself
    CHECK(same(at(memory, 2), text.substr(2 * kPage, kPage)));
    CHECK_OK(msync(memory, 4 * kPage, MS_SYNC));
    std::string expected = text;
    expected.replace(kPage, kPage, text.substr(0, kPage));
    CHECK(content_of(directory + "/f") == expected);
    // A private page of the same file as buffer.
    void* mine = map_pages(bound(file, OBJRMAP_PRIVATE), 4);
    CHECK_EQ(pread(file, at(mine, 3), kPage, 0), static_cast<ssize_t>(kPage));
    CHECK(same(at(mine, 3), text.substr(0, kPage)));
    CHECK_EQ(pwrite(file, at(mine, 3), kPage, 2 * kPage), static_cast<ssize_t>(kPage));
}

CASE_ON_EACH(file_external_write_is_seen_for_pages_not_cached) {
    const int file = make_file(directory + "/f", pages_text(4));
    void* memory = map_pages(bound(file, OBJRMAP_SHARED), 4);
    CHECK(same(memory, page_text('A')));
    CHECK_EQ(pwrite(file, "external", 8, 2 * kPage), 8);
    CHECK(same(at(memory, 2), "external"));
}

// ---- errors of the file -------------------------------------------------------------------------------------------

CASE(file_error_is_told_once_to_each) {
    need_module();
    need_root();
    const std::string place = directory_on("ext4"); // tmpfs gives a hole its page when it is read
    const int file = opened(place + "/f", O_RDWR | O_CREAT);
    CHECK_OK(ftruncate(file, 4 * kPage)); // holes
    const int first = bound(file, OBJRMAP_SHARED);
    const int second = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(first, 4);
    fill(at(memory, 0), 1);
    fill(at(memory, 3), 4);
    const int filler = opened(place + "/filler", O_RDWR | O_CREAT);
    const std::string page(kPage, 'x');
    while (write(filler, page.data(), page.size()) > 0) {
    }
    CHECK_EQ(errno, ENOSPC);
    CHECK_FAILS(fsync(first), ENOSPC);
    CHECK_OK(ftruncate(filler, 0));
    CHECK_OK(fsync(first)); // it has been told, and nothing was lost
    CHECK_EQ(content_of(place + "/f"), std::string(static_cast<char*>(memory), 4 * kPage));
    CHECK_FAILS(fsync(second), ENOSPC); // what failed while it was open
    CHECK_OK(fsync(second));
    const int third = bound(file, OBJRMAP_SHARED); // after all that
    CHECK_OK(fsync(third));
    CHECK_OK(munmap(memory, 4 * kPage));
    for (const int fd : {file, first, second, third, filler})
        CHECK_OK(close(fd));
}

CASE(file_error_of_write_back_is_reported) { // a filesystem without room, and with room again
    need_module();
    const std::string directory = directory_on("ext4");
    const int file = make_file(directory + "/f", "");
    CHECK_OK(ftruncate(file, 64 * kPage)); // holes only, which are read without taking room
    const int filler = make_file(directory + "/filler", "");
    const std::string block(64 * kPage, 'f');
    while (write(filler, block.data(), block.size()) > 0)
        ;
    CHECK_EQ(errno, ENOSPC);
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 64);
    for (size_t page = 0; page < 10; ++page)
        fill(at(memory, page), page + 1);
    CHECK_FAILS(msync(memory, 64 * kPage, MS_SYNC), ENOSPC);
    for (size_t page = 0; page < 10; ++page)
        CHECK(holds(at(memory, page), page + 1)); // nothing that is in memory is lost
    CHECK_FAILS(fsync(fd), ENOSPC);
    CHECK_OK(unlink((directory + "/filler").c_str()));
    CHECK_OK(close(filler));
    CHECK(becomes([&] { return msync(memory, 64 * kPage, MS_SYNC) == 0; })); // pages that failed are still dirty
    std::vector<unsigned char> page(kPage);
    for (size_t index = 0; index < 10; ++index) {
        CHECK_EQ(pread(file, page.data(), kPage, static_cast<off_t>(index * kPage)), static_cast<ssize_t>(kPage));
        CHECK(holds(page.data(), index + 1));
    }
}

CASE(file_filesystem_can_be_unmounted_afterwards) {
    need_module();
    need_root();
    const std::string directory = directory_on("tmpfs");
    const std::string place = directory + "/own";
    CHECK_OK(mkdir(place.c_str(), 0700));
    if (system(("mount -t tmpfs none " + place).c_str())) skip("mount");
    const int file = make_file(place + "/f", pages_text(4));
    const int fd = bound(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    close(file);
    close(fd);
    CHECK(system(("umount " + place + " 2>/dev/null").c_str()) != 0); // in use
    CHECK_OK(munmap(memory, 4 * kPage));
    CHECK(becomes([&] { return system(("umount " + place + " 2>/dev/null").c_str()) == 0; }));
}

CASE(file_many_processes_and_writebacks) { // shared counters of several processes, with msync all the time
    const std::string path = directory_on("tmpfs") + "/f";
    close(make_file(path, std::string(4 * kPage, '\0')));
    std::vector<pid_t> workers;
    for (int worker = 0; worker < 6; ++worker) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (int round = 0; round < 10; ++round) { // binds anew each round: what was written must be there again
                const int file = opened(path, O_RDWR);
                const int fd = bound(file, OBJRMAP_SHARED);
                void* memory = map_pages(fd, 4);
                for (size_t page = 0; page < 4; ++page) {
                    auto* word = reinterpret_cast<volatile uint64_t*>(at(memory, page)) + worker;
                    CHECK_EQ(*word, static_cast<uint64_t>(round));
                    *word = static_cast<uint64_t>(round) + 1;
                }
                if (round % 3 == 0) CHECK_OK(msync(memory, 4 * kPage, MS_SYNC));
                CHECK_OK(munmap(memory, 4 * kPage));
                close(fd);
                close(file);
            }
            _exit(0);
        }
        workers.push_back(pid);
    }
    for (const pid_t pid : workers)
        expect_exit(pid);
}
