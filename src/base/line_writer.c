/* SPDX-License-Identifier: Apache-2.0 */
/* line_writer.c: see line_writer.h.
 * Invariants:
 * 1. fd, plain_file, torn, failing and current belong to the thread once it runs.
 * 2. A ring's bytes are taken only after write(2) accepted them.
 * 3. failing: the last write failed; it is said once, and so is its end.
 * 4. torn: the last byte written was not a line's end; then only ring current is written to, and
 *    the rest of the line goes to no other file. */
#include "base/line_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define POLL_NS 50000000L
#define FILE_WRITE (256u * 1024)
#define PIPE_WRITE 4096u /* after POLLOUT a pipe takes this much without blocking (pipe(7)) */
#define LAST_WORDS (2 * USEC_PER_SEC)

struct line_writer {
    struct line_ring *rings;
    unsigned n;
    struct str path; /* owned; empty: the standard output */
    int fd;
    bool plain_file;
    bool torn, failing;
    unsigned current;
    _Atomic bool reopen;
    bool stop; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
};

/* Opens what w writes to; -1 with errno. */
static int open_target(const struct line_writer *w)
{
    if (w->path.n == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(w->path.p, O_WRONLY | flags, 0640);
    /* A FIFO that nobody reads yet: its reader may come later, and is no reason not to serve. */
    return fd < 0 && errno == ENXIO ? open(w->path.p, O_RDWR | flags, 0640) : fd;
}

static void use(struct line_writer *w, int fd)
{
    struct stat st;
    w->fd = fd;
    w->plain_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* Drops what is left of a line whose beginning is in the old file. */
static void skip_line(struct line_ring *r)
{
    struct str run = line_ring_peek(r);
    ptrdiff_t end = str_find(run, '\n');
    line_ring_take(r, end < 0 ? run.n : (size_t) end + 1);
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void do_reopen(struct line_writer *w)
{
    if (w->path.n == 0)
        return;
    int fd = open_target(w);
    if (fd < 0) {
        log_error("line_writer.reopen", "%s: %s; the old file stays open", w->path.p,
                  strerror(errno));
        return;
    }
    bool moved = !same_file(w->fd, fd);
    close(w->fd);
    use(w, fd);
    w->failing = false;
    if (w->torn && moved) {
        skip_line(&w->rings[w->current]);
        w->torn = false;
    }
    log_info("line_writer.reopened", "%s was opened anew", w->path.p);
}

/* A pipe or terminal takes bytes now; waits a little for it. */
static bool writable(const struct line_writer *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLOUT};
    return w->plain_file || poll(&p, 1, (int) (POLL_NS / 1000000)) == 1;
}

static const char *target_name(const struct line_writer *w)
{
    return w->path.n ? w->path.p : "standard output";
}

/* After a write: notes whether the target works, and says so when that changed. */
static void note_result(struct line_writer *w, bool failed, int error)
{
    if (failed && !w->failing)
        log_warn("line_writer.failed",
                 "%s: %s; lines wait in memory and are dropped when that is full", target_name(w),
                 strerror(error));
    if (!failed && w->failing)
        log_info("line_writer.resumed", "%s: lines are written again", target_name(w));
    w->failing = failed;
}

/* Writes what ring i holds. False: the target takes no more now. */
static bool drain_ring(struct line_writer *w, unsigned i)
{
    struct line_ring *r = &w->rings[i];
    size_t most = w->plain_file ? FILE_WRITE : PIPE_WRITE;
    for (;;) {
        struct str run = line_ring_peek(r);
        if (run.n == 0)
            return true;
        if (!writable(w))
            return false;
        ssize_t n = write(w->fd, run.p, run.n < most ? run.n : most);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        note_result(w, n <= 0, errno);
        if (n <= 0)
            return false;
        w->current = i;
        w->torn = run.p[n - 1] != '\n';
        line_ring_take(r, (size_t) n);
    }
}

/* One look at every ring, the one with an unfinished line first. */
static bool drain(struct line_writer *w)
{
    if (w->torn && !drain_ring(w, w->current))
        return false;
    for (unsigned i = 0; i < w->n; i++) {
        if (!drain_ring(w, i))
            return false;
    }
    return true;
}

/* Waits for the next look. False: the thread is to end. */
static bool wait_turn(struct line_writer *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POLL_NS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&w->lock);
    while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
        continue;
    bool go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

/* What nobody will write any more. */
static void say_lost(struct line_writer *w)
{
    size_t lines = 0;
    for (unsigned i = 0; i < w->n; i++) {
        for (struct str run; (run = line_ring_peek(&w->rings[i])).n > 0;) {
            for (size_t at = 0; at < run.n; at++)
                lines += run.p[at] == '\n';
            line_ring_take(&w->rings[i], run.n);
        }
    }
    if (lines)
        log_error("line_writer.lost", "%s: %zu line%s could not be written before the end",
                  target_name(w), lines, lines == 1 ? "" : "s");
}

static void *run(void *arg)
{
    struct line_writer *w = arg;
    while (wait_turn(w)) {
        drain(w);
        if (atomic_exchange(&w->reopen, false))
            do_reopen(w);
    }
    usec_t last = clock_now() + LAST_WORDS;
    while (!drain(w) && !w->failing && clock_now() < last)
        poll(NULL, 0, 10);
    say_lost(w);
    return NULL;
}

/* Starts the thread with every signal blocked: they are the main thread's, and a dead reader's
 * SIGPIPE is nobody's. Returns errno's value. */
static int start_thread(struct line_writer *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int bad = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return bad;
}

static void dispose(struct line_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    for (unsigned i = 0; i < w->n; i++)
        line_ring_fini(&w->rings[i]);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    mem_free(w->rings);
    mem_free((void *) w->path.p);
    mem_free(w);
}

struct line_writer *line_writer_new(struct str path, unsigned n, size_t cap, size_t line_max,
                                    char **why)
{
    struct line_writer *w = mem_new(sizeof(*w));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    w->path = mem_str(path);
    w->rings = mem_new_aligned(n * sizeof(*w->rings), 64);
    for (; w->n < n; w->n++)
        line_ring_init(&w->rings[w->n], cap, line_max);
    w->fd = open_target(w);
    int bad = errno;
    if (w->fd >= 0) {
        use(w, w->fd);
        bad = start_thread(w);
        if (bad == 0)
            return w;
    }
    *why = mem_printf("%s: %s", target_name(w), strerror(bad));
    dispose(w);
    return NULL;
}

struct line_ring *line_writer_ring(struct line_writer *w, unsigned i)
{
    return &w->rings[i];
}

void line_writer_reopen(struct line_writer *w)
{
    atomic_store(&w->reopen, true);
}

void line_writer_free(struct line_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    dispose(w);
}
