/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. While exit.fd >= 0 the child is not reaped: pid and the group are its own, so that a kill
 *    never meets another process.
 * 2. The group is killed before the child is reaped: nothing that it began outlives it. (What made
 *    a session of its own asked to.)
 * 3. All descriptors of this process are close-on-exec; child_start closes what is not. */
#include "net/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/panic.h"

static void close_pipe(struct child *c)
{
    int fd = c->pipe.fd;
    if (fd < 0)
        return;
    loop_remove(c->loop, &c->pipe);
    close(fd);
}

/* Reads what is there; what is too much is read and dropped, so that the child never waits. */
static void read_output(struct child *c)
{
    char rest[4096];
    while (c->pipe.fd >= 0) {
        size_t room = sizeof c->output - c->n;
        ssize_t n = read(c->pipe.fd, room ? c->output + c->n : rest, room ? room : sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            close_pipe(c);
        else if (room)
            c->n += (size_t) n;
        else
            c->more = true;
    }
}

static void on_pipe(struct watch *w, unsigned events)
{
    (void) events;
    read_output(list_entry(w, struct child, pipe));
}

static usec_t time_of(const struct timeval *t)
{
    return (usec_t) t->tv_sec * USEC_PER_SEC + (usec_t) t->tv_usec;
}

/* Reaps it; false: it has not ended (or, with wait, cannot: it was reaped by somebody else). */
static bool reap(struct child *c, int options)
{
    struct rusage used = {0};
    int status = 0;
    pid_t got;
    do {
        got = wait4(c->pid, &status, options, &used);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    c->exit_status = got > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    c->signal = got > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    c->cpu = time_of(&used.ru_utime) + time_of(&used.ru_stime);
    return true;
}

static void close_all(struct child *c)
{
    int fd = c->exit.fd;
    read_output(c);
    close_pipe(c);
    loop_remove(c->loop, &c->exit);
    close(fd);
}

static void on_exit_event(struct watch *w, unsigned events)
{
    struct child *c = list_entry(w, struct child, exit);
    siginfo_t info = {0};
    if (!(events & EV_READ))
        return;
    if (waitid(P_PID, (id_t) c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
        return;
    if (info.si_pid)
        kill(-c->pid, SIGKILL); /* what it left behind */
    if (!reap(c, WNOHANG))
        return;
    close_all(c);
    c->ended(c);
}

void child_init(struct child *c, struct loop *l, void (*ended)(struct child *c))
{
    memset(c, 0, sizeof *c);
    c->exit = (struct watch){.fd = -1, .on_event = on_exit_event};
    c->pipe = (struct watch){.fd = -1, .on_event = on_pipe};
    c->loop = l;
    c->ended = ended;
}

/* What the new process is made of; out: the pipe's end that it writes to. 0 or an errno. */
static int spawn(struct child *c, char *const argv[], char *const env[], int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int err = posix_spawn_file_actions_init(&files);
    if (err)
        return err;
    err = posix_spawnattr_init(&how);
    if (err) {
        posix_spawn_file_actions_destroy(&files);
        return err;
    }
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                       POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    err = posix_spawn_file_actions_addchdir_np(&files, "/");
    err = err ? err : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    err = err ? err : posix_spawn_file_actions_adddup2(&files, out, 1);
    err = err ? err : posix_spawn_file_actions_adddup2(&files, out, 2);
    err = err ? err : posix_spawn_file_actions_addclosefrom_np(&files, 3);
    err = err ? err : posix_spawnp(&c->pid, argv[0], &files, &how, argv, env);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return err;
}

const char *child_start(struct child *c, char *const argv[], char *const env[])
{
    must(c->exit.fd < 0 && argv[0]);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return strerrordesc_np(errno);
    c->n = 0;
    c->more = false;
    int err = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? errno : spawn(c, argv, env, ends[1]);
    close(ends[1]);
    if (err) {
        close(ends[0]);
        return strerrordesc_np(err);
    }
    int pidfd = (int) syscall(SYS_pidfd_open, c->pid, 0);
    if (pidfd >= 0 && loop_add(c->loop, &c->exit, pidfd) && loop_add(c->loop, &c->pipe, ends[0]))
        return NULL;
    const char *why = strerrordesc_np(pidfd < 0 ? errno : ENOMEM);
    kill(-c->pid, SIGKILL);
    (void) reap(c, 0);
    if (c->exit.fd >= 0)
        loop_remove(c->loop, &c->exit);
    if (pidfd >= 0)
        close(pidfd);
    close(ends[0]);
    return why;
}

void child_kill(struct child *c)
{
    if (c->exit.fd >= 0)
        kill(-c->pid, SIGKILL);
}

void child_finish(struct child *c)
{
    if (c->exit.fd < 0)
        return;
    kill(-c->pid, SIGKILL);
    (void) reap(c, 0);
    close_all(c);
}
