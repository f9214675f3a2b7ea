/* SPDX-License-Identifier: Apache-2.0 */
/* file_io.c: whole-file reads, and a bounded queue of jobs for a few threads.
 * Invariants (struct file_jobs):
 * 1. ring[head .. head+queued) modulo FILE_JOBS_MAX are the waiting jobs, oldest first.
 * 2. All fields but threads and n_threads are guarded by lock. */
#include "base/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/panic.h"

#define FILE_JOBS_MAX 1024u
#define FILE_JOBS_THREADS 2u

struct job {
    void (*work)(void *);
    void *arg;
};

struct file_jobs {
    pthread_mutex_t lock;
    pthread_cond_t more; /* a job was queued, or ending was set */
    struct job ring[FILE_JOBS_MAX];
    unsigned head, queued;
    bool ending;
    pthread_t threads[FILE_JOBS_THREADS];
    unsigned n_threads;
};

static const char too_large[] = "it is too large";

/* Reads fd to its end, also where st_size says nothing (/proc, pipes); cut: or to max. */
static char *read_all(int fd, size_t max, bool cut, size_t *n, const char **problem)
{
    size_t cap = 4096;
    char *text = mem_new(cap);
    size_t have = 0;
    for (;;) {
        ssize_t got = read(fd, text + have, cap - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            *problem = got < 0 ? strerrordesc_np(errno) : NULL;
            break;
        }
        have += (size_t) got;
        if (have >= max && cut) {
            have = max;
            break;
        }
        if (have > max) {
            *problem = too_large;
            break;
        }
        if (have == cap)
            text = mem_resize(text, cap *= 2);
    }
    if (*problem) {
        mem_free(text);
        return NULL;
    }
    text = mem_resize(text, have + 1);
    text[have] = '\0';
    *n = have;
    return text;
}

static char *read_file(const char *path, size_t max, bool cut, size_t *n, char **why)
{
    *n = 0;
    *why = NULL;
    char *text = NULL;
    const char *problem = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        problem = strerrordesc_np(errno);
    else if (!S_ISREG(st.st_mode))
        problem = "it is not a regular file";
    else
        text = read_all(fd, max, cut, n, &problem);
    if (problem == too_large)
        *why = mem_printf("%s: it has more than %zu bytes, which is the most that it may have",
                          path, max);
    else if (problem)
        *why = mem_printf("%s: %s", path, problem);
    if (fd >= 0)
        close(fd);
    return text;
}

char *file_read(const char *path, size_t max, size_t *n, char **why)
{
    return read_file(path, max, false, n, why);
}

char *file_read_start(const char *path, size_t max, size_t *n, char **why)
{
    return read_file(path, max, true, n, why);
}

/* ---- replacing ----------------------------------------------------------------------------- */

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes = str_of(bytes.p + n, bytes.n - (size_t) n);
    }
    return true;
}

/* The new file, complete and on the disk. */
static bool write_new(int at, const char *name, struct str bytes)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, bytes) && fsync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && good)
        return false;
    errno = why;
    return good;
}

enum file_end file_replace(const char *dir, const char *name, struct str bytes, char **why)
{
    char *fresh = mem_printf("%s.new", name);
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool renamed = at >= 0 && write_new(at, fresh, bytes) && renameat(at, fresh, at, name) == 0;
    enum file_end end = !renamed ? FILE_AS_WAS : fsync(at) == 0 ? FILE_KEPT : FILE_UNSURE;
    int error = errno;
    if (end == FILE_AS_WAS && at >= 0)
        (void) unlinkat(at, fresh, 0); /* a full disk has no room for halves */
    errno = error;
    if (end == FILE_UNSURE) /* to go back would need the same sync */
        *why = mem_printf("%s/%s is written, but its directory cannot be synced: %s", dir, name,
                          strerrordesc_np(errno));
    else if (end == FILE_AS_WAS)
        *why = mem_printf("%s/%s: cannot be written: %s", dir, name, strerrordesc_np(errno));
    if (at >= 0)
        close(at);
    mem_free(fresh);
    return end;
}

bool file_rename(const char *dir, const char *from, const char *to)
{
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = at >= 0 && renameat(at, from, at, to) == 0;
    if (at >= 0)
        close(at);
    return good;
}

bool file_missing(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 && errno == ENOENT;
}

static void *jobs_thread(void *arg)
{
    struct file_jobs *jobs = arg;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        while (jobs->queued == 0 && !jobs->ending)
            pthread_cond_wait(&jobs->more, &jobs->lock);
        if (jobs->queued == 0)
            break;
        struct job job = jobs->ring[jobs->head];
        jobs->head = (jobs->head + 1) % FILE_JOBS_MAX;
        jobs->queued--;
        pthread_mutex_unlock(&jobs->lock);
        job.work(job.arg);
        pthread_mutex_lock(&jobs->lock);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

struct file_jobs *file_jobs_new(unsigned n_threads)
{
    must(n_threads >= 1 && n_threads <= FILE_JOBS_THREADS);
    struct file_jobs *jobs = mem_new(sizeof *jobs);
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->more, NULL);
    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (jobs->n_threads < n_threads &&
           pthread_create(&jobs->threads[jobs->n_threads], NULL, jobs_thread, jobs) == 0)
        jobs->n_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (jobs->n_threads > 0)
        return jobs;
    file_jobs_free(jobs);
    return NULL;
}

bool file_jobs_submit(struct file_jobs *jobs, void (*work)(void *), void *arg)
{
    pthread_mutex_lock(&jobs->lock);
    bool room = jobs->queued < FILE_JOBS_MAX;
    if (room) {
        jobs->ring[(jobs->head + jobs->queued) % FILE_JOBS_MAX] = (struct job){work, arg};
        jobs->queued++;
        pthread_cond_signal(&jobs->more);
    }
    pthread_mutex_unlock(&jobs->lock);
    return room;
}

void file_jobs_free(struct file_jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->ending = true;
    pthread_cond_broadcast(&jobs->more);
    pthread_mutex_unlock(&jobs->lock);
    for (unsigned i = 0; i < jobs->n_threads; i++)
        pthread_join(jobs->threads[i], NULL);
    pthread_cond_destroy(&jobs->more);
    pthread_mutex_destroy(&jobs->lock);
    mem_free(jobs);
}
