// SPDX-License-Identifier: GPL-2.0
//
// What a program says to the module and what it hears back: /dev/objrmap and the debugfs files, for the demo, the
// selftests and the stress test.
//
// With OBJRMAP_STANDIN=1 in the environment the same calls are served by the kernel's own memory (anonymous memory,
// files below /dev/shm): the programs' expectations are then checked against Linux itself, without the module. There is
// no debugfs then; callers ask standin().
//
// Functions return what the system call returns (-1 and errno), text functions throw nothing and return what they got.
#ifndef OBJRMAP_CLI_CLIENT_H
#define OBJRMAP_CLI_CLIENT_H

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/uapi/objrmap.h"

namespace objr {

constexpr size_t kPage = 4096;
inline const std::string kDebugfs = "/sys/kernel/debug/objrmap/";

inline bool standin() {
    static const bool yes = getenv("OBJRMAP_STANDIN") != nullptr;
    return yes;
}

// ---- the device ---------------------------------------------------------------------------------------------------

struct StandinBinding {
    int fd;
    bool shared;
};
inline std::map<int, StandinBinding>& standin_bindings() {
    static std::map<int, StandinBinding> bindings;
    return bindings;
}

inline int open_device(int flags = O_RDWR) { return open(standin() ? "/dev/zero" : OBJRMAP_DEVICE, flags | O_CLOEXEC); }

inline void* map(int device, size_t length, int prot = PROT_READ | PROT_WRITE, uint64_t pgoff = 0, void* at = nullptr,
                 int flags = 0) {
    if (at) flags |= MAP_FIXED;
    const auto offset = static_cast<off_t>(pgoff * kPage);
    if (!standin()) return mmap(at, length, prot, flags | MAP_SHARED, device, offset);
    const auto bound = standin_bindings().find(device);
    if (bound == standin_bindings().end()) return mmap(at, length, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mmap(at, length, prot, flags | (bound->second.shared ? MAP_SHARED : MAP_PRIVATE), bound->second.fd, offset);
}

inline int bind_file(int device, int fd, unsigned flags) {
    if (standin()) {
        standin_bindings()[device] = {dup(fd), !(flags & OBJRMAP_PRIVATE)};
        return 0;
    }
    objrmap_file request{fd, flags};
    return ioctl(device, OBJRMAP_IOC_FILE, &request);
}

inline int bind_object(int device, const std::string& name, uint64_t size, unsigned flags) {
    if (standin()) {
        const int open_flags =
            O_RDWR | O_CLOEXEC | (flags & OBJRMAP_CREATE ? O_CREAT : 0) | (flags & OBJRMAP_EXCL ? O_EXCL : 0);
        const int fd = open(("/dev/shm/objrmap-" + name).c_str(), open_flags, 0600);
        if (fd < 0 || (size && ftruncate(fd, static_cast<off_t>(size)))) return -1;
        standin_bindings()[device] = {fd, !(flags & OBJRMAP_PRIVATE)};
        return 0;
    }
    objrmap_object request{};
    memcpy(request.name, name.data(),
           std::min(name.size(), sizeof(request.name))); // one too long is refused: no terminator
    request.size = size;
    request.flags = flags;
    return ioctl(device, OBJRMAP_IOC_OBJECT, &request);
}

inline int truncate_object(int device, uint64_t size) {
    if (standin()) {
        const auto bound = standin_bindings().find(device);
        return bound == standin_bindings().end() ? (errno = EINVAL, -1)
                                                 : ftruncate(bound->second.fd, static_cast<off_t>(size));
    }
    objrmap_truncate request{size};
    return ioctl(device, OBJRMAP_IOC_TRUNCATE, &request);
}

// remap_file_pages for pool memory; start and size in bytes, pgoff in pages.
inline int remap(int device, void* start, uint64_t size, uint64_t pgoff, unsigned flags = 0) {
    if (standin()) return remap_file_pages(start, size, 0, pgoff, flags & OBJRMAP_REMAP_NONBLOCK ? MAP_NONBLOCK : 0);
    objrmap_remap request{reinterpret_cast<uint64_t>(start), size, pgoff, flags, 0};
    return ioctl(device, OBJRMAP_IOC_REMAP, &request);
}

inline int advise(int device, void* start, uint64_t length, unsigned advice) {
    if (standin()) {
        if (advice == OBJRMAP_ADVISE_LOCK) return mlock(start, length);
        if (advice == OBJRMAP_ADVISE_UNLOCK) return munlock(start, length);
        return madvise(start, length, static_cast<int>(advice)); // NORMAL, RANDOM, SEQUENTIAL are the same numbers
    }
    objrmap_advise request{reinterpret_cast<uint64_t>(start), length, advice, 0};
    return ioctl(device, OBJRMAP_IOC_ADVISE, &request);
}

// Mappers of the page at addr, as the caller may see them; false: errno says why. *total: how many there are.
inline bool who(int device, const void* addr, std::vector<objrmap_mapper>& mappers, unsigned room = 64,
                unsigned* total = nullptr) {
    mappers.assign(room, {});
    objrmap_who request{reinterpret_cast<uint64_t>(addr), reinterpret_cast<uint64_t>(mappers.data()), room, 0};
    if (ioctl(device, OBJRMAP_IOC_WHO, &request)) return false;
    mappers.resize(request.count < room ? request.count : room);
    if (total) *total = request.total;
    return true;
}

// ---- files of text ------------------------------------------------------------------------------------------------

// What is in the file from its present position on, read in pieces of `piece` bytes. *error: errno of a read that failed.
inline std::string read_all(int fd, size_t piece = 65536, int* error = nullptr) {
    std::string text;
    std::vector<char> buffer(piece);
    if (error) *error = 0;
    for (;;) {
        const ssize_t got = read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && error) *error = errno;
        if (got <= 0) return text;
        text.append(buffer.data(), static_cast<size_t>(got));
    }
}

inline std::string read_text(const std::string& path, size_t piece = 65536) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    std::string text = read_all(fd, piece);
    close(fd);
    return text;
}

inline int write_text(const std::string& path, const std::string& text) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    const ssize_t wrote = write(fd, text.data(), text.size());
    const int saved = errno;
    close(fd);
    errno = saved;
    return wrote == static_cast<ssize_t>(text.size()) ? 0 : -1;
}

// Writes a selector to a debugfs file and reads the answer from the same open file. *error: errno of the write (or 0).
inline std::string ask(const std::string& file, const std::string& selector, int* error = nullptr) {
    if (error) *error = 0;
    const int fd = open((kDebugfs + file).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        if (error) *error = errno;
        return {};
    }
    if (write(fd, selector.data(), selector.size()) != static_cast<ssize_t>(selector.size()) && error) *error = errno;
    std::string text = read_all(fd);
    close(fd);
    return text;
}

// ---- schemes ------------------------------------------------------------------------------------------------------

// All there are; *active: the one in force. "[chain] classic anonmm pte_chain"
inline std::vector<std::string> schemes(std::string* active = nullptr) {
    std::vector<std::string> names;
    std::string name;
    for (const char character : read_text(kDebugfs + "scheme")) {
        if (character != ' ' && character != '\n') {
            name += character;
            continue;
        }
        if (name.size() > 2 && name.front() == '[') {
            name = name.substr(1, name.size() - 2);
            if (active) *active = name;
        }
        if (!name.empty()) names.push_back(name);
        name.clear();
    }
    return names;
}

// Switches; 0, or errno and the reason why not.
inline int switch_scheme(const std::string& name, std::string* why = nullptr) {
    int error = 0;
    const std::string text = ask("scheme", name, &error);
    if (why) *why = error ? text : std::string();
    return error;
}

// ---- stats and verify ---------------------------------------------------------------------------------------------

inline std::map<std::string, uint64_t> stats() {
    std::map<std::string, uint64_t> values;
    const std::string text = read_text(kDebugfs + "stats");
    for (size_t at = 0; at < text.size();) {
        const size_t end = text.find('\n', at);
        const std::string line = text.substr(at, end - at);
        const size_t blank = line.find(' ');
        if (blank != std::string::npos) values[line.substr(0, blank)] = strtoull(line.c_str() + blank + 1, nullptr, 10);
        if (end == std::string::npos) break;
        at = end + 1;
    }
    return values;
}

inline uint64_t stat(const std::string& name) { return stats()[name]; }

inline bool verify(std::string* text = nullptr) {
    const std::string answer = read_text(kDebugfs + "verify");
    if (text) *text = answer;
    return answer.rfind("ok ", 0) == 0;
}

// ---- answers of query ---------------------------------------------------------------------------------------------

using Fields = std::map<std::string, std::string>;

// "page pfn=0x1 index=5": the fields of one line, without its first word.
inline Fields fields_of(const std::string& line) {
    Fields fields;
    for (size_t at = line.find(' '); at != std::string::npos;) {
        const size_t end = line.find(' ', at + 1);
        const std::string word = line.substr(at + 1, end == std::string::npos ? end : end - at - 1);
        const size_t equals = word.find('=');
        if (equals != std::string::npos) fields[word.substr(0, equals)] = word.substr(equals + 1);
        at = end;
    }
    return fields;
}

// One page, its mappers and what finding them cost.
struct Answer {
    Fields page;
    std::vector<Fields> mappers;
    Fields cost;

    int mapper_of(int pid) const { // how many of the mappings are pid's
        int count = 0;
        for (const Fields& mapper : mappers)
            count += mapper.at("pid") == std::to_string(pid);
        return count;
    }
};

inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        size_t end = text.find('\n', at);
        if (end == std::string::npos) end = text.size();
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

inline std::vector<Answer> parse_answers(const std::string& text) {
    std::vector<Answer> answers;
    for (const std::string& line : lines_of(text)) {
        if (line.rfind("page ", 0) == 0)
            answers.push_back({fields_of(line), {}, {}});
        else if (line.rfind("mapper ", 0) == 0 && !answers.empty())
            answers.back().mappers.push_back(fields_of(line));
        else if (line.rfind("cost ", 0) == 0 && !answers.empty())
            answers.back().cost = fields_of(line);
    }
    return answers;
}

inline std::string selector_of(int pid, const void* addr) {
    char text[64];
    snprintf(text, sizeof(text), "pid %d addr 0x%llx", pid,
             static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(addr)));
    return text;
}

} // namespace objr

#endif // OBJRMAP_CLI_CLIENT_H
