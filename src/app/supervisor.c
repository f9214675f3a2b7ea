/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor.c: a loop over one signalfd and one channel.
 * Invariants:
 * 1. server.pid is 0 when no server runs; then its channel is -1, and next_start says when the next
 *    begins. Those that were followed and still finish what they had are in old.
 * 2. The sockets stay open from the start to the stop, whatever becomes of the server.
 * 3. Once stopping, no server is started any more.
 * 4. No thread is ever made here: fork(2) copies a process that has only this one.
 * 5. At most one reload is under way (reloading); what is asked meanwhile is one more (reload_due).
 *    READY is said when neither is left.
 * 6. No reload is begun while an upgrade is under way.
 * 7. Nothing here waits for the server: orders that its channel has no room for are dropped. */
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

#include "app/activation.h"
#include "app/handover.h"
#include "app/notify.h"
#include "app/pid_file.h"
#include "app/state_lock.h"
#include "app/supervisor_inside.h"
#include "base/log.h"
#include "base/mem.h"

#define CRASHES_AT_ONCE 5u /* in a row, after which a new server starts without a pause */
#define BACKOFF_FIRST (100 * USEC_PER_MS)
#define BACKOFF_MOST (5 * USEC_PER_SEC)
#define ADDRESSES_MOST 2100u /* a reload may name a thousand new listeners beside a thousand old */
#define STEADY (10 * USEC_PER_SEC) /* a server that lived so long starts a new count */

/* ---- the process --------------------------------------------------------------------------- */

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
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

static bool take_pid_file(struct supervisor *s)
{
    char *why = NULL;
    if (s->plan->pid_file)
        s->pid_lock = pid_file_take(s->plan->pid_file, &why);
    if (why)
        log_error("supervisor.pid_file", "%s", why);
    bool good = !why;
    mem_free(why);
    return good;
}

void supervisor_set_modes(const struct supervisor *s)
{
    for (uint32_t i = 0; i < s->plan->n_listeners; i++) {
        const struct socket_wish *l = &s->plan->listeners[i];
        const struct socket_row *row = sockets_find(&s->sockets, l->address);
        if (row)
            sockets_set_mode(row, l->mode);
    }
}

static bool open_sockets(struct supervisor *s)
{
    const struct supervisor_plan *plan = s->plan;
    bool good = true;
    const char *why = NULL;
    activation_take(&s->sockets, plan->listeners, plan->n_listeners);
    for (uint32_t i = 0; i < plan->n_listeners; i++) {
        if (sockets_find(&s->sockets, plan->listeners[i].address) ||
            sockets_alone(plan->listeners[i].address, &why))
            continue;
        log_error("listener.refused", "%.*s: %s", STR_ARG(plan->listeners[i].address), why);
        good = false;
    }
    for (uint32_t i = 0; good && i < plan->n_listeners; i++) {
        const struct socket_wish *l = &plan->listeners[i];
        if (sockets_find(&s->sockets, l->address))
            continue;
        good = sockets_open(&s->sockets, l, &why);
        if (!good)
            log_error("listener.refused", "%.*s: %s", STR_ARG(l->address), why);
    }
    return good;
}

/* ---- the server's life --------------------------------------------------------------------- */

void supervisor_forget(struct supervisor *s)
{
    int mine[] = {s->signals,  s->door,          s->state_lock,
                  s->pid_lock, s->upgrade.asker, s->upgrade.next.channel};
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        if (mine[i] >= 0)
            close(mine[i]);
    }
    for (uint32_t i = 0; i < s->n_old; i++) {
        if (s->old[i].channel >= 0)
            close(s->old[i].channel);
    }
    s->n_old = 0;
    s->signals = s->door = s->state_lock = s->pid_lock = s->upgrade.asker =
        s->upgrade.next.channel = -1;
}

/* In the child. */
static void be_server(struct supervisor *s, int channel)
{
    supervisor_forget(s);
    struct server_start start = {.channel = channel,
                                 .config = s->config,
                                 .began = s->plan->config,
                                 .state = -1,
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
    s->server = (struct served){.pid = pid, .channel = ends[0]};
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

void supervisor_describe_end(int status, char out[64])
{
    if (WIFSIGNALED(status))
        snprintf(out, 64, "was ended by signal %d (%s)", WTERMSIG(status),
                 sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(out, 64, "exited with status %d", WEXITSTATUS(status));
}

/* Stopping: over when the last one has ended. */
static void ended_while_stopping(struct supervisor *s, long pid, int status)
{
    char end[64];
    supervisor_describe_end(status, end);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        log_error("server.ended", "the server (pid %ld) %s while stopping", pid, end);
        s->status = s->kill_at == 0 ? 0 : 1;
    }
    s->over = s->server.pid == 0 && s->n_old == 0;
}

static void server_ended(struct supervisor *s, int status)
{
    long pid = (long) s->server.pid;
    usec_t now = clock_now();
    s->reloading = false;
    close(s->server.channel);
    s->server = (struct served){.channel = -1};
    char end[64];
    supervisor_describe_end(status, end);
    if (s->stopping) {
        sockets_let_go(&s->sockets, STR("")); /* its page's file may soon be another Weir's */
        ended_while_stopping(s, pid, status);
        return;
    }
    if (upgrade_server_ended(s)) {
        log_error("server.ended", "the server (pid %ld) %s", pid, end);
        return;
    }
    if (!s->ready) {
        if (WIFSIGNALED(status)) /* else it has said why */
            log_error("server.failed", "the server (pid %ld) %s before it served", pid, end);
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

bool supervisor_order(const struct served *p, enum channel_kind kind, int fd)
{
    struct channel_message m = channel_make(kind, 0, STR(""));
    struct pollfd ready = {.fd = p->channel, .events = POLLOUT};
    if (p->channel < 0 || poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
        return false;
    return channel_send(p->channel, &m, fd);
}

static void order_reload(struct supervisor *s)
{
    if (!s->reload_due || s->reloading || s->upgrade.phase != UPGRADE_NONE ||
        !supervisor_order(&s->server, CHANNEL_RELOAD, -1))
        return;
    s->reload_due = false;
    s->reloading = true;
    s->taken = false;
}

/* ---- stopping ------------------------------------------------------------------------------ */

/* Asked twice: at once. */
static void kill_all(struct supervisor *s)
{
    s->kill_at = 0;
    if (s->server.pid > 0)
        kill(s->server.pid, SIGKILL);
    for (uint32_t i = 0; i < s->n_old; i++)
        kill(s->old[i].pid, SIGKILL);
}

static void end_one(const struct served *p)
{
    if (p->pid > 0 && !supervisor_order(p, CHANNEL_STOP, -1))
        kill(p->pid, SIGTERM); /* which says the same */
}

/* Where the server's page is, which it serves until its end, to say that it is stopping. */
static struct str admin_address(const struct supervisor_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_listeners; i++) {
        if (plan->listeners[i].mode != MODE_BY_UMASK)
            return plan->listeners[i].address;
    }
    return STR("");
}

static void stop(struct supervisor *s)
{
    if (s->stopping) {
        kill_all(s);
        return;
    }
    s->stopping = true;
    upgrade_fail(s, "Weir is being stopped");
    notify_stopping();
    log_info("supervisor.stopping", "stopping: exchanges may finish within %llu s",
             (unsigned long long) (s->drain / USEC_PER_SEC));
    /* While a copy is open here the kernel would go on to accept for nobody. */
    sockets_let_go(&s->sockets, s->server.pid > 0 ? admin_address(s->plan) : STR(""));
    s->kill_at = clock_now() + s->drain + KILL_GRACE;
    end_one(&s->server);
    for (uint32_t i = 0; i < s->n_old; i++)
        end_one(&s->old[i]);
    s->over = s->server.pid == 0 && s->n_old == 0;
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
            if (s->stopping) { /* nobody would tell the service manager that it has ended */
                log_info("supervisor.stopping", "SIGHUP: Weir stops, and reads nothing again");
                break;
            }
            notify_reloading(clock_now());
            s->reload_due = true;
            break;
        case SIGUSR1:
            (void) supervisor_order(&s->server, CHANNEL_REOPEN, -1);
            for (uint32_t i = 0; i < s->n_old; i++)
                (void) supervisor_order(&s->old[i], CHANNEL_REOPEN, -1);
            break;
        case SIGUSR2:
            upgrade_begin(s, NULL, 0, -1);
            break;
        default: /* SIGCHLD: looked at below */
            break;
        }
    }
}

/* ---- what the server asks for -------------------------------------------------------------- */

static size_t count(const struct sockets *s)
{
    size_t n = 0;
    list_each(node, &s->rows)
        n++;
    return n;
}

/* The server's word is not taken for how much there may be of anything. */
static void open_for_server(struct supervisor *s, const struct channel_message *ask)
{
    struct str address = str_c(ask->text);
    struct socket_wish wish = {address, ask->number, (int) ask->backlog, ask->mode};
    const char *why = "Weir is being stopped and opens no address any more";
    struct socket_row *row = s->stopping ? NULL : sockets_find(&s->sockets, address);
    if (ask->number == 0 || ask->number > CHANNEL_SOCKETS || count(&s->sockets) >= ADDRESSES_MOST)
        why = "that many sockets are not opened";
    else if (!row && !s->stopping && sockets_open(&s->sockets, &wish, &why))
        row = sockets_find(&s->sockets, address);
    if (!row) {
        struct channel_message no = channel_make(CHANNEL_REFUSED, 0, str_c(why));
        (void) channel_send(s->server.channel, &no, -1);
        return;
    }
    for (uint32_t i = 0; i < row->n; i++) {
        struct channel_message one = channel_make(CHANNEL_SOCKET, row->n - i - 1, address);
        if (!channel_send(s->server.channel, &one, row->fds[i]))
            return;
    }
}

/* A configuration is in use, whoever asked for it: none was refused since. */
static void take_load(struct supervisor *s)
{
    s->taken = true;
    if (s->refused && !s->reloading && !s->reload_due)
        notify_status("serving");
    s->refused = false;
}

static void server_says(struct supervisor *s, const struct channel_message *m, int fd)
{
    struct socket_row *row;
    if (upgrade_says(s, false, m, &fd)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    switch (m->kind) {
    case CHANNEL_READY:
        if (!s->ready && s->plan->ready)
            s->plan->ready(s->plan->ready_arg, &s->sockets);
        s->ready = true;
        if (!s->reload_due && !s->reloading)
            notify_ready("serving");
        break;
    case CHANNEL_RELOADED:
        if (m->number & CHANNEL_LOADED)
            take_load(s);
        if ((m->number & CHANNEL_GOOD) && fd >= 0) {
            int old = s->config;
            s->config = fd;
            fd = old == s->plan->config ? -1 : old; /* a server after a crash is told of that one */
            s->drain = m->drain ? (m->drain - 1) * USEC_PER_MS : s->drain;
        }
        if (!(m->number & CHANNEL_ORDERED))
            break;
        s->reloading = false;
        s->refused = !s->taken;
        if (!s->reload_due)
            notify_ready(s->taken ? "serving"
                                  : "serving; the last reload was refused, see the log");
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

/* False: what came is no message of Weir. */
static bool listen_to_server(struct supervisor *s)
{
    struct channel_message m;
    int fd;
    enum io io = IO_OK;
    int channel = s->server.channel; /* of this one, whoever follows it */
    while (channel >= 0 && channel == s->server.channel &&
           (io = channel_receive(channel, &m, &fd, 0)) == IO_OK)
        server_says(s, &m, fd);
    if (io != IO_ERR)
        return true;
    log_error("supervisor.channel", "the server sent a malformed message; restarting it");
    if (s->server.pid > 0)
        kill(s->server.pid, SIGKILL);
    return false;
}

static void listen_to_next(struct supervisor *s)
{
    struct channel_message m;
    int fd;
    enum io io = IO_OK;
    while (s->upgrade.next.channel >= 0 &&
           (io = channel_receive(s->upgrade.next.channel, &m, &fd, 0)) == IO_OK) {
        (void) upgrade_says(s, true, &m, &fd);
        if (fd >= 0)
            close(fd);
    }
    if (io == IO_ERR)
        upgrade_fail(s, "its server sent a malformed message");
}

/* One that finishes what it had has nothing to say any more. */
static void listen_to_old(struct served *p)
{
    struct channel_message m;
    int fd;
    while (p->channel >= 0 && channel_receive(p->channel, &m, &fd, 0) == IO_OK) {
        if (fd >= 0)
            close(fd);
    }
}

static void old_ended(struct supervisor *s, uint32_t i, int status)
{
    long pid = (long) s->old[i].pid;
    if (s->old[i].channel >= 0)
        close(s->old[i].channel);
    bool failed = s->old[i].failed;
    s->old[i] = s->old[--s->n_old];
    if (s->stopping && !failed)
        ended_while_stopping(s, pid, status);
    else if (s->stopping)
        s->over = s->server.pid == 0 && s->n_old == 0;
    else if (!failed)
        log_info("upgrade.finished", "the server (pid %ld) of the program before has ended", pid);
}

/* It stays to be waited for: until then its id is nobody else's. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    return pid > 0 && waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid;
}

/* What it said last counts: it may have become ready just before. */
static void bury(struct supervisor *s, pid_t pid)
{
    int status = 0;
    if (pid == s->server.pid)
        (void) listen_to_server(s);
    else if (pid == s->upgrade.next.pid)
        listen_to_next(s);
    (void) waitpid(pid, &status, 0);
    if (pid == s->server.pid)
        server_ended(s, status);
    else if (pid == s->upgrade.next.pid)
        upgrade_next_ended(s, status);
    for (uint32_t i = s->n_old; i-- > 0;) {
        if (s->old[i].pid == pid)
            old_ended(s, i, status);
    }
}

static void reap(struct supervisor *s)
{
    pid_t all[OLD_MOST + 3] = {s->server.pid, s->upgrade.next.pid};
    for (uint32_t i = 0; i < s->n_old; i++)
        all[2 + i] = s->old[i].pid;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (has_ended(all[i]))
            bury(s, all[i]);
    }
}

/* ---- the loop ------------------------------------------------------------------------------ */

static usec_t sooner(usec_t a, usec_t b)
{
    return a < b ? a : b;
}

/* Milliseconds until the next thing is due; -1: nothing. again: there was no room for an order. */
static int wait_ms(const struct supervisor *s, usec_t now, bool again)
{
    usec_t due = s->stopping && s->kill_at ? s->kill_at : USEC_NEVER;
    if (!s->stopping && s->server.pid == 0)
        due = sooner(due, s->next_start);
    if (s->upgrade.phase != UPGRADE_NONE)
        due = sooner(due, s->upgrade.deadline);
    else
        again = again || (s->server.pid > 0 && s->reload_due && !s->reloading);
    for (uint32_t i = 0; i < s->n_old; i++)
        due = sooner(due, s->old[i].kill_at);
    if (again)
        due = sooner(due, now + 10 * USEC_PER_MS);
    if (due == USEC_NEVER)
        return -1;
    return due <= now ? 0 : (int) ((due - now + USEC_PER_MS - 1) / USEC_PER_MS);
}

static void kill_late(struct served *p, usec_t now)
{
    if (p->pid <= 0 || now < p->kill_at)
        return;
    if (!p->failed)
        log_error("server.stuck", "the server (pid %ld) did not stop in time; killing it",
                  (long) p->pid);
    p->kill_at = now + KILL_GRACE;
    kill(p->pid, SIGKILL);
}

static void look_at_time(struct supervisor *s, usec_t now)
{
    if (s->stopping && s->kill_at && now >= s->kill_at) {
        s->server.kill_at = s->kill_at;
        kill_late(&s->server, now);
        s->kill_at = now + KILL_GRACE;
    }
    for (uint32_t i = 0; i < s->n_old; i++)
        kill_late(&s->old[i], now);
}

/* Waits for something to happen. True: a channel ended before its process did, and would be polled
 * in vain: what is left in it is read at once, its end can be read for ever. */
static bool await(struct supervisor *s, int ms)
{
    struct pollfd p[OLD_MOST + 5] = {{.fd = s->signals, .events = POLLIN},
                                     {.fd = s->server.channel, .events = POLLIN},
                                     {.fd = s->upgrade.next.channel, .events = POLLIN},
                                     {.fd = s->door, .events = POLLIN}};
    nfds_t n = 4;
    for (uint32_t i = 0; i < s->n_old; i++)
        p[n++] = (struct pollfd){.fd = s->old[i].channel, .events = POLLIN};
    if (poll(p, n, ms) <= 0)
        return false;
    bool ended = false;
    for (nfds_t i = 1; i < n; i++)
        ended |= (p[i].revents & POLLHUP) != 0;
    return ended;
}

static void supervise_once(struct supervisor *s)
{
    usec_t now = clock_now();
    if (!s->stopping && s->server.pid == 0 && now >= s->next_start)
        start_server(s);
    if (s->over)
        return;
    order_reload(s);
    bool again = upgrade_tick(s, now);
    look_at_time(s, now);
    bool ended = await(s, wait_ms(s, now, again));
    (void) listen_to_server(s);
    listen_to_next(s);
    for (uint32_t i = 0; i < s->n_old; i++)
        listen_to_old(&s->old[i]);
    take_signals(s);
    door_answer(s);
    reap(s);
    struct pollfd signals = {.fd = s->signals, .events = POLLIN};
    if (ended && !s->over)
        (void) poll(&signals, 1, 10);
}

/* False: another Weir uses the directory. */
static bool lock_state(struct supervisor *s)
{
    char *why = NULL;
    if (s->plan->state_dir)
        s->state_lock = state_lock_take(s->plan->state_dir, &why);
    if (why)
        log_error("supervisor.state_dir", "%s", why);
    bool good = !why;
    mem_free(why);
    return good;
}

static bool begin(struct supervisor *s)
{
    s->signals = open_signals();
    if (s->signals < 0)
        return false;
    if (s->plan->resumed) {
        bool good = upgrade_resume(s, s->plan->resumed);
        if (good && s->pid_lock < 0) /* that of a program which locked none */
            (void) take_pid_file(s);
        return good;
    }
    if (!lock_state(s) || !open_sockets(s) || !take_pid_file(s))
        return false;
    s->door = door_open();
    return true;
}

int supervisor_run(const struct supervisor_plan *plan)
{
    struct supervisor s = {.plan = plan,
                           .config = plan->config,
                           .drain = plan->drain,
                           .door = -1,
                           .state_lock = -1,
                           .pid_lock = -1,
                           .server.channel = -1,
                           .upgrade = {.asker = -1, .next.channel = -1},
                           .path = handover_path(),
                           .status = 1};
    sockets_init(&s.sockets);
    raise_fd_limit();
    if (begin(&s)) {
        s.status = 0;
        reap(&s); /* who ended while this process became a new program */
        while (!s.over)
            supervise_once(&s);
    }
    /* The child unlinks nothing: the files belong to the supervisor. */
    sockets_fini(&s.sockets, !s.child);
    if (!s.child && plan->pid_file) {
        pid_file_drop(s.pid_lock, plan->pid_file);
        s.pid_lock = -1;
    }
    supervisor_forget(&s);
    if (s.config >= 0)
        close(s.config);
    if (plan->config >= 0 && plan->config != s.config)
        close(plan->config);
    mem_free(s.path);
    return s.status;
}
