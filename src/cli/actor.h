// SPDX-License-Identifier: GPL-2.0
//
// A child process that is led step by step, with a name one recognises: each pause() in its body ends when the leader
// calls go(). No sleeping anywhere: both sides wait for a byte on a socket pair.
#ifndef OBJRMAP_CLI_ACTOR_H
#define OBJRMAP_CLI_ACTOR_H

#include <cerrno>
#include <functional>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace objr {

class Actor {
public:
    // Forks; pid() is -1 and errno set when that failed. The child's body ends in exit status 0 when it returns.
    explicit Actor(const std::function<void(Actor&)>& body, const char* comm = nullptr) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return;
        pid_ = fork();
        if (pid_ == 0) {
            close(ends[0]);
            channel_ = ends[1];
            if (comm) prctl(PR_SET_NAME, comm);
            body(*this);
            _exit(0);
        }
        close(ends[1]);
        channel_ = ends[0];
    }
    Actor(const Actor&) = delete;
    Actor& operator=(const Actor&) = delete;
    ~Actor() {
        if (channel_ >= 0) close(channel_);
    }

    // In the child: says that it has come here, waits to be let on. Without a leader there is nothing to go on for.
    void pause() {
        if (!put('p') || !get()) _exit(2);
    }

    // In the leader.
    int pid() const { return pid_; }
    bool await() { return get(); } // until the child's next pause; false: it has ended
    bool go() { return put('g'); } // the child may leave it
    bool step() { return go() && await(); }
    // Until it has ended: its wait status, -1: it is no child.
    int wait() {
        int status = -1;
        while (waitpid(pid_, &status, 0) < 0)
            if (errno != EINTR) return -1;
        return status;
    }
    bool finish() { return go() && wait() == 0; }

private:
    bool put(char byte) { return send(channel_, &byte, 1, MSG_NOSIGNAL) == 1; }
    bool get() {
        char byte;
        ssize_t got;
        do {
            got = read(channel_, &byte, 1);
        } while (got < 0 && errno == EINTR);
        return got == 1;
    }

    pid_t pid_ = -1;
    int channel_ = -1;
};

} // namespace objr

#endif // OBJRMAP_CLI_ACTOR_H
