// SPDX-License-Identifier: GPL-2.0
//
// The device node as an interface: ioctls with rubbish, buffers that are pool memory, OBJRMAP_IOC_WHO.
#include <algorithm>
#include <random>

#include "harness.h"

using namespace harness;
using objr::kPage;

CASE(ioctl_every_number_and_size) {
    need_module();
    const int fd = device();
    void* page = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    std::mt19937_64 random(7);
    auto* words = static_cast<uint64_t*>(page);
    void* const pointers[] = {nullptr,
                              page,
                              reinterpret_cast<void*>(0x1000),
                              reinterpret_cast<void*>(~0xfffUL),
                              reinterpret_cast<void*>(0xffff888000000000UL),
                              static_cast<char*>(page) + 4 * kPage - 3};
    for (const unsigned type : {unsigned('o'), 0u, unsigned('T'), 255u})
        for (unsigned number = 0; number < 256; ++number) {
            if (type != 'o' && number % 16) continue;
            for (const unsigned direction : {_IOC_NONE, _IOC_READ, _IOC_WRITE, _IOC_READ | _IOC_WRITE})
                for (const unsigned size : {0u, 1u, 8u, 16u, 24u, 80u, 16383u}) {
                    for (size_t word = 0; word < 2048 / 8; ++word)
                        words[word] = number % 2 ? random() | 0x8080808080808080ULL : ~0ULL;
                    void* pointer = pointers[(number + size + direction) % std::size(pointers)];
                    const unsigned long command = _IOC(direction, type, number, size);
                    if (type == 'T' || command == FIOCLEX || command == FIONCLEX)
                        continue; // the terminal's and the file table's, handled before the driver
                    errno = 0;
                    CHECK_EQ(ioctl(fd, command, pointer), -1);
                    CHECK(errno == ENOTTY || errno == EINVAL || errno == EFAULT || errno == EBADF || errno == ENOENT);
                }
        }
    map_pages(fd, 1); // and it is still a plain descriptor
    CHECK_EQ(objr::stat("file_mappings"), 0u);
}

CASE(ioctl_bad_pointers) {
    need_module();
    const int fd = device();
    void* nothing = mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_OK(munmap(static_cast<char*>(nothing) + kPage, kPage));
    char* edge = static_cast<char*>(nothing) + kPage - 4; // the structure reaches over the end
    for (const unsigned long command : {OBJRMAP_IOC_FILE, OBJRMAP_IOC_OBJECT, OBJRMAP_IOC_TRUNCATE, OBJRMAP_IOC_WHO})
        for (void* pointer : {static_cast<void*>(nullptr), static_cast<void*>(edge), reinterpret_cast<void*>(~0xffUL),
                              reinterpret_cast<void*>(0xffffffff81000000UL)})
            CHECK_FAILS(ioctl(fd, command, pointer), EFAULT);
    CHECK_OK(objr::bind_object(fd, "after-rubbish", kPage, OBJRMAP_CREATE));
}

CASE(U9_ioctl_buffers_in_the_pool) {
    need_module();
    const int pool = device();
    void* memory = map_pages(pool, 8);
    // Requests that lie in pool pages: one untouched, one written, one read-only.
    CHECK_FAILS(ioctl(device(), OBJRMAP_IOC_OBJECT, at(memory, 0)), EINVAL); // all zero: no name
    auto* request = reinterpret_cast<objrmap_object*>(at(memory, 1));
    strcpy(request->name, "from-the-pool");
    request->size = 2 * kPage;
    request->flags = OBJRMAP_CREATE;
    CHECK_OK(mprotect(at(memory, 1), kPage, PROT_READ));
    const int fd = device();
    CHECK_OK(ioctl(fd, OBJRMAP_IOC_OBJECT, request));
    CHECK_OK(mprotect(at(memory, 1), kPage, PROT_READ | PROT_WRITE));
    // A truncation asked for by a word in the very object, on a page that it removes.
    auto* object = static_cast<unsigned char*>(map_pages(fd, 2));
    auto* size = reinterpret_cast<objrmap_truncate*>(object + kPage);
    size->size = kPage;
    CHECK_OK(ioctl(fd, OBJRMAP_IOC_TRUNCATE, size));
    CHECK_EQ(read_signal(size), SIGBUS);
    // WHO about the page that the question and the answer lie in; and with the answer across pages of the pool.
    auto* who = reinterpret_cast<objrmap_who*>(at(memory, 2));
    auto* out = reinterpret_cast<objrmap_mapper*>(at(memory, 3) - sizeof(objrmap_mapper) / 2);
    who->addr = reinterpret_cast<uint64_t>(who);
    who->out = reinterpret_cast<uint64_t>(out);
    who->count = 4;
    CHECK_OK(ioctl(pool, OBJRMAP_IOC_WHO, who));
    CHECK_EQ(who->count, 1u);
    CHECK_EQ(who->total, 1u);
    CHECK_EQ(out[0].pid, static_cast<unsigned>(getpid()));
    CHECK_EQ(static_cast<uint64_t>(out[0].addr), reinterpret_cast<uint64_t>(at(memory, 2)));
    // Into memory that is shared copy-on-write: the answer must not show in the other process.
    Actor child([&](Actor& self) {
        self.pause();
        CHECK_EQ(who->total, 1u);
        CHECK_EQ(out[0].pid, static_cast<unsigned>(getppid()));
    });
    child.await();
    CHECK_OK(ioctl(pool, OBJRMAP_IOC_WHO, who));
    CHECK(who->total >= 1 && who->total <= 2);
    child.finish();
    // A read-only page as the place of the answer: EFAULT.
    CHECK_OK(mprotect(at(memory, 5), kPage, PROT_READ));
    std::vector<objrmap_mapper> unused;
    objrmap_who bad{reinterpret_cast<uint64_t>(at(memory, 2)), reinterpret_cast<uint64_t>(at(memory, 5)), 4, 0};
    CHECK_FAILS(ioctl(pool, OBJRMAP_IOC_WHO, &bad), EFAULT);
}

CASE(who_names_the_mappers) {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    std::vector<objrmap_mapper> mappers;
    unsigned total = 0;
    fill(at(memory, 1), 1);
    CHECK(objr::who(fd, at(memory, 1), mappers, 8, &total));
    CHECK_EQ(mappers.size(), 1u);
    CHECK_EQ(total, 1u);
    CHECK_EQ(mappers[0].pid, static_cast<unsigned>(getpid()));
    CHECK_EQ(static_cast<uint64_t>(mappers[0].addr), reinterpret_cast<uint64_t>(at(memory, 1)));
    CHECK(!objr::who(fd, at(memory, 2), mappers) && errno == ENOENT); // nobody has touched it
    static int elsewhere = 1;
    CHECK(!objr::who(fd, &elsewhere, mappers) && (errno == ENOENT || errno == EINVAL || errno == EFAULT));
    CHECK(!objr::who(fd, nullptr, mappers));
    CHECK(!objr::who(fd, reinterpret_cast<void*>(~0UL), mappers));

    Actor one([&](Actor& self) {
        CHECK(holds(at(memory, 1), 1));
        self.pause();
        self.pause();
    });
    Actor two([&](Actor& self) {
        CHECK(holds(at(memory, 1), 1));
        self.pause();
        if (geteuid() == 0) {
            CHECK_OK(seteuid(65534));
            std::vector<objrmap_mapper> own;
            CHECK(objr::who(fd, at(memory, 1), own)); // only its own mapping
            CHECK_EQ(own.size(), 1u);
            CHECK_EQ(own[0].pid, static_cast<unsigned>(getpid()));
            CHECK_OK(seteuid(0));
        }
        fill(at(memory, 1), 2);
        self.pause();
    });
    one.await();
    two.await();
    if (geteuid() == 0) {
        CHECK(objr::who(fd, at(memory, 1), mappers, 8, &total));
        CHECK_EQ(total, 3u);
        CHECK_EQ(mappers.size(), 3u);
        for (const int pid : {static_cast<int>(getpid()), one.pid(), two.pid()})
            CHECK_EQ(
                std::count_if(mappers.begin(), mappers.end(),
                              [=](const objrmap_mapper& mapper) { return mapper.pid == static_cast<unsigned>(pid); }),
                1);
        CHECK(objr::who(fd, at(memory, 1), mappers, 2, &total)); // less room than there are
        CHECK_EQ(mappers.size(), 2u);
        CHECK_EQ(total, 3u);
        CHECK(objr::who(fd, at(memory, 1), mappers, 0, &total)); // only the number
        CHECK_EQ(total, 3u);
    }
    two.step();
    CHECK(objr::who(fd, at(memory, 1), mappers, 8, &total));
    CHECK_EQ(total, geteuid() == 0 ? 2u : 1u);
    one.step();
    one.finish();
    two.finish();
    objrmap_who huge{reinterpret_cast<uint64_t>(at(memory, 1)), 0x1000, ~0u, 0};
    CHECK_EQ(ioctl(fd, OBJRMAP_IOC_WHO, &huge), -1); // nothing is mapped at 0x1000
    CHECK(errno == EFAULT || errno == EINVAL);
}

CASE(read_write_and_seek_of_the_device) { // only mmap, ioctl and fsync mean something
    need_module();
    const int fd = device();
    char buffer[16] = {};
    CHECK(read(fd, buffer, sizeof(buffer)) < 0);
    CHECK(write(fd, buffer, sizeof(buffer)) < 0);
    lseek(fd, 100, SEEK_SET);
    CHECK_FAILS(ftruncate(fd, 4096), EINVAL);
    void* memory = map_pages(fd, 2);
    CHECK_OK(msync(memory, 2 * kPage, MS_SYNC)); // anonymous: nothing to write, no error
    CHECK_OK(fsync(fd));
    CHECK_OK(msync(memory, 2 * kPage, MS_ASYNC | MS_INVALIDATE));
}
