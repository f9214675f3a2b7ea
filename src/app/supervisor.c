/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor.c: a loop over one signalfd and one channel.
 * Invariants:
 * 1. pid is 0 when no server runs; then channel is -1, and next_start says when the next begins.
 * 2. The sockets stay open from the start to the stop, whatever becomes of the server.
 * 3. Once stopping, no server is started any more.
 * 4. No thread is ever made here: fork(2) copies a process that has only this one.
 * 5. At most one reload is under way (reloading); what is asked meanwhile is one more (reload_due).
 *    READY is said when neither is left.
 * 6. Nothing here waits for the server: orders that its channel has no room for are dropped. */
#include "app/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/channel.h"
#include "app/notify.h"
#include "base/log.h"
#include "base/mem.h"

#define CRASHES_AT_ONCE 5u /* in a row, after which a new server starts without a pause */
#define BACKOFF_FIRST (100 * USEC_PER_MS)
#define BACKOFF_MOST (5 * USEC_PER_SEC)
#define STEADY (10 * USEC_PER_SEC)    /* a server that lived so long starts a new count */
#define KILL_GRACE (5 * USEC_PER_SEC) /* beyond drain */

struct supervisor {
    const struct supervisor_plan *plan;
    struct sockets sockets;
    int signals; /* signalfd */
    int channel;
    int config;
    pid_t pid;
    uint32_t generation;
    uint32_t crashes; /* since the last steady server */
    bool ready;       /* some server got ready once */
    bool stopping;
    bool reload_due; /* asked for while no server ran, or one was under way */
    bool reloading;  /* the server was told, and has not answered */
    bool over;
    bool child; /* this is the server's process, done */
    int status; /* exit status */
    usec_t started, next_start, kill_at;
};

/* ---- the process --------------------------------------------------------------------------- */

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        sigaddset(&set, taken[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
        return;
    r.rlim_cur = r.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &r);
}

static bool write_pid_file(const char *path)
{
    if (!path)
        return true;
    /* Written beside it and renamed: who finds the file finds a whole number in it. */
    char *beside = mem_printf("%s.new", path);
    FILE *f = fopen(beside, "we");
    bool good = f && fprintf(f, "%ld\n", (long) getpid()) > 0;
    if (f && fclose(f) != 0)
        good = false;
    good = good && rename(beside, path) == 0;
    mem_free(beside);
    if (!good)
        log_error("supervisor.pid_file", "cannot write the pid file %s: %s", path,
                  strerrordesc_np(errno));
    return good;
}

static bool open_sockets(struct supervisor *s)
{
    const struct supervisor_plan *plan = s->plan;
    bool good = true;
    const char *why = NULL;
    for (uint32_t i = 0; i < plan->n_listeners; i++) {
        if (sockets_alone(plan->listeners[i].address, &why))
            continue;
        log_error("listener.refused", "%.*s: %s", STR_ARG(plan->listeners[i].address), why);
        good = false;
    }
    for (uint32_t i = 0; good && i < plan->n_listeners; i++) {
        const struct supervisor_listener *l = &plan->listeners[i];
        if (sockets_find(&s->sockets, l->address))
            continue;
        mode_t before = l->mode ? umask(0777 & ~l->mode) : 0;
        good = sockets_open(&s->sockets, l->address, l->n, l->backlog, &why);
        if (l->mode)
            umask(before);
        if (!good)
            log_error("listener.refused", "%.*s: %s", STR_ARG(l->address), why);
    }
    return good;
}

/* ---- the server's life --------------------------------------------------------------------- */

/* In the child: signals that a terminal sends to the whole group are the supervisor's business. */
static void be_server(struct supervisor *s, int channel)
{
    close(s->signals);
    s->signals = -1;
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    struct server_start start = {.channel = channel,
                                 .config = s->config,
                                 .sockets = &s->sockets,
                                 .generation = s->generation};
    s->child = true;
    s->over = true;
    s->status = s->plan->serve(&start, s->plan->arg);
}

static void start_server(struct supervisor *s)
{
    int ends[2];
    if (!channel_open(ends)) {
        log_error("supervisor.channel", "no socket pair: %s", strerrordesc_np(errno));
        s->next_start = clock_now() + BACKOFF_FIRST;
        return;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        /* A supervisor that was killed takes the server with it, gracefully. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == parent)
            be_server(s, ends[1]);
        else
            s->over = s->child = true;
        return;
    }
    close(ends[1]);
    if (pid < 0) {
        log_error("supervisor.fork", "cannot start the server: %s", strerrordesc_np(errno));
        close(ends[0]);
        s->next_start = clock_now() + BACKOFF_FIRST;
        return;
    }
    s->pid = pid;
    s->channel = ends[0];
    s->started = clock_now();
}

/* A few crashes cost nothing; in a loop of them each one waits longer than the one before. */
static usec_t backoff(struct supervisor *s, usec_t now)
{
    if (now - s->started >= STEADY)
        s->crashes = 0;
    uint32_t n = s->crashes++;
    if (n < CRASHES_AT_ONCE)
        return 0;
    n -= CRASHES_AT_ONCE;
    usec_t wait = BACKOFF_FIRST << (n < 6 ? n : 6);
    return wait < BACKOFF_MOST ? wait : BACKOFF_MOST;
}

static void describe_end(int status, char out[64])
{
    if (WIFSIGNALED(status))
        snprintf(out, 64, "was ended by signal %d (%s)", WTERMSIG(status),
                 sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(out, 64, "exited with status %d", WEXITSTATUS(status));
}

static void server_ended(struct supervisor *s, int status)
{
    long pid = (long) s->pid;
    usec_t now = clock_now();
    s->pid = 0;
    s->reloading = false;
    close(s->channel);
    s->channel = -1;
    char end[64];
    describe_end(status, end);
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (s->stopping) {
        if (!clean) {
            log_error("server.ended", "the server (pid %ld) %s while stopping", pid, end);
            s->status = s->kill_at == 0 ? 0 : 1;
        }
        s->over = true;
        return;
    }
    if (!s->ready) { /* it has said why */
        s->status = 1;
        s->over = true;
        return;
    }
    usec_t wait = backoff(s, now);
    s->next_start = now + wait;
    s->generation++;
    log_error("server.ended", "the server (pid %ld) %s; a new one starts in %llu ms", pid, end,
              (unsigned long long) (wait / USEC_PER_MS));
    notify_status("restarting after a crash");
}

/* False: there is no room, for a server that is busy or stopped. A dead one is seen by SIGCHLD. */
static bool order(struct supervisor *s, enum channel_kind kind)
{
    struct channel_message m = channel_make(kind, 0, STR(""));
    struct pollfd p = {.fd = s->channel, .events = POLLOUT};
    if (s->channel < 0 || poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
        return false;
    return channel_send(s->channel, &m, -1);
}

static void order_reload(struct supervisor *s)
{
    if (!s->reload_due || s->reloading || !order(s, CHANNEL_RELOAD))
        return;
    s->reload_due = false;
    s->reloading = true;
}

/* ---- stopping ------------------------------------------------------------------------------ */

static void stop(struct supervisor *s)
{
    if (s->stopping) {
        /* Asked twice: at once. */
        s->kill_at = 0;
        if (s->pid > 0)
            kill(s->pid, SIGKILL);
        return;
    }
    s->stopping = true;
    notify_stopping();
    log_info("supervisor.stopping", "stopping: exchanges may finish within %llu s",
             (unsigned long long) (s->plan->drain / USEC_PER_SEC));
    /* While a copy is open here the kernel would go on to accept for nobody. */
    sockets_fini(&s->sockets, true);
    s->kill_at = clock_now() + s->plan->drain + KILL_GRACE;
    if (s->pid == 0)
        s->over = true;
    else if (!order(s, CHANNEL_STOP))
        kill(s->pid, SIGTERM); /* which says the same */
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t) sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            stop(s);
            break;
        case SIGHUP:
            notify_reloading(clock_now());
            s->reload_due = true;
            break;
        case SIGUSR1:
            (void) order(s, CHANNEL_REOPEN);
            break;
        default: /* SIGCHLD: looked at below */
            break;
        }
    }
}

/* ---- what the server asks for -------------------------------------------------------------- */

static void open_for_server(struct supervisor *s, const struct channel_message *ask)
{
    struct str address = str_c(ask->text);
    const char *why = "stopping";
    struct socket_row *row = sockets_find(&s->sockets, address);
    if (!row && !s->stopping &&
        sockets_open(&s->sockets, address, ask->number, (int) ask->backlog, &why))
        row = sockets_find(&s->sockets, address);
    if (!row) {
        struct channel_message no = channel_make(CHANNEL_REFUSED, 0, str_c(why));
        (void) channel_send(s->channel, &no, -1);
        return;
    }
    for (uint32_t i = 0; i < row->n; i++) {
        struct channel_message one = channel_make(CHANNEL_SOCKET, row->n - i - 1, address);
        if (!channel_send(s->channel, &one, row->fds[i]))
            return;
    }
}

static void server_says(struct supervisor *s, const struct channel_message *m, int fd)
{
    struct socket_row *row;
    switch (m->kind) {
    case CHANNEL_READY:
        if (!s->ready && s->plan->ready)
            s->plan->ready(s->plan->ready_arg);
        s->ready = true;
        if (!s->reload_due && !s->reloading)
            notify_ready();
        break;
    case CHANNEL_RELOADED:
        if ((m->number & CHANNEL_GOOD) && fd >= 0) {
            int old = s->config;
            s->config = fd;
            fd = old;
        }
        if (!(m->number & CHANNEL_ORDERED))
            break;
        s->reloading = false;
        if (!s->reload_due)
            notify_ready();
        break;
    case CHANNEL_LISTEN:
        open_for_server(s, m);
        break;
    case CHANNEL_UNLISTEN:
        row = sockets_find(&s->sockets, str_c(m->text));
        if (row)
            sockets_close(row, true);
        break;
    default:
        break;
    }
    if (fd >= 0)
        close(fd);
}

static void listen_to_server(struct supervisor *s)
{
    struct channel_message m;
    int fd;
    enum io io = IO_OK;
    while (s->channel >= 0 && (io = channel_receive(s->channel, &m, &fd, 0)) == IO_OK)
        server_says(s, &m, fd);
    if (io == IO_ERR) {
        log_error("supervisor.channel", "the server sent a malformed message; restarting it");
        if (s->pid > 0)
            kill(s->pid, SIGKILL);
    }
}

/* What it said last counts: it may have become ready just before. */
static void reap(struct supervisor *s)
{
    int status;
    pid_t pid = s->pid;
    if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid)
        return;
    s->pid = 0;
    listen_to_server(s);
    s->pid = pid;
    server_ended(s, status);
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Milliseconds until the next thing is due; -1: nothing. */
static int wait_ms(const struct supervisor *s, usec_t now)
{
    usec_t due = USEC_NEVER;
    if (s->stopping && s->kill_at)
        due = s->kill_at;
    else if (!s->stopping && s->pid == 0)
        due = s->next_start;
    else if (s->reload_due && !s->reloading) /* the channel had no room */
        due = now + 10 * USEC_PER_MS;
    if (due == USEC_NEVER)
        return -1;
    return due <= now ? 0 : (int) ((due - now + USEC_PER_MS - 1) / USEC_PER_MS);
}

static void supervise_once(struct supervisor *s)
{
    usec_t now = clock_now();
    if (!s->stopping && s->pid == 0 && now >= s->next_start)
        start_server(s);
    if (s->over)
        return;
    order_reload(s);
    if (s->stopping && s->kill_at && now >= s->kill_at && s->pid > 0) {
        log_error("server.stuck", "the server (pid %ld) did not stop in time; killing it",
                  (long) s->pid);
        s->kill_at = now + KILL_GRACE;
        kill(s->pid, SIGKILL);
    }
    struct pollfd p[2] = {{.fd = s->signals, .events = POLLIN},
                          {.fd = s->channel, .events = POLLIN}};
    if (poll(p, 2, wait_ms(s, now)) < 0 && errno != EINTR)
        return;
    if (p[1].revents)
        listen_to_server(s);
    take_signals(s);
    reap(s);
    /* A channel that ended before its process did would be polled in vain. */
    if (s->pid > 0 && (p[1].revents & POLLHUP))
        (void) poll(p, 1, 10);
}

int supervisor_run(const struct supervisor_plan *plan)
{
    struct supervisor s = {.plan = plan, .channel = -1, .config = plan->config, .status = 1};
    sockets_init(&s.sockets);
    raise_fd_limit();
    s.signals = open_signals();
    bool begun = s.signals >= 0 && open_sockets(&s) && write_pid_file(plan->pid_file);
    if (begun) {
        s.status = 0;
        while (!s.over)
            supervise_once(&s);
    }
    /* The child unlinks nothing: the files belong to the supervisor. */
    sockets_fini(&s.sockets, !s.child);
    if (s.config >= 0)
        close(s.config);
    if (s.signals >= 0)
        close(s.signals);
    if (!s.child && plan->pid_file && begun)
        (void) unlink(plan->pid_file);
    return s.status;
}
