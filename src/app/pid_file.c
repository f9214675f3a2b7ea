/* SPDX-License-Identifier: Apache-2.0 */
/* pid_file.c: see pid_file.h. A lock of the open file (F_OFD_SETLK): it ends with whoever holds it,
 * by kill -9 too, and lives through execve(2). Everybody may read the file, so only a lock that who
 * may write it alone can have counts: flock(2) knows no such.
 * Invariants:
 * 1. The file is written beside its place and renamed, its lock with it.
 * 2. Only who holds the lock of the file beside, under that name, looks at the place and renames:
 *    of two that start at once one is refused. */
#include "app/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) /* what stands there may be anything */

static bool is_at(int fd, const char *path)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && lstat(path, &there) == 0 && mine.st_dev == there.st_dev &&
           mine.st_ino == there.st_ino;
}

/* The file beside, locked, where locks are to be had. -1: errno; EAGAIN: another one has it. It has
 * its mode last, so nobody else can open it before it is locked. */
static int open_beside(const char *beside)
{
    struct stat st;
    for (;;) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(beside, O_RDWR | O_CREAT | FLAGS, 0600);
        if (fd < 0)
            return -1;
        bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
        bool held = regular && fcntl(fd, F_OFD_SETLK, &lock) != 0 && errno == EAGAIN;
        if (regular && !held && is_at(fd, beside))
            return fd;
        close(fd);
        errno = held ? EAGAIN : EEXIST;
        if (held || !regular)
            return -1;
        /* Another one has renamed it meanwhile: there is a new one to be had. */
    }
}

/* Somebody who may write the file holds it; *pid: what it says of whom, 0: nothing. */
static bool is_held(const char *path, long *pid)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char text[32] = "";
    int fd = open(path, O_RDONLY | FLAGS);
    *pid = 0;
    if (fd < 0)
        return false;
    bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (held && pread(fd, text, sizeof text - 1, 0) > 0 && sscanf(text, "%ld", pid) != 1)
        *pid = 0;
    close(fd);
    return held;
}

/* False: errno. */
static bool write_and_rename(int fd, const char *beside, const char *path)
{
    mode_t masked = umask(0);
    (void) umask(masked);
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long) getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t) n, 0) == n &&
           fchmod(fd, 0666 & ~masked) == 0 && rename(beside, path) == 0;
}

static char *say_held(const char *path, long pid)
{
    char *who = pid > 0 ? mem_printf("process %ld", pid) : mem_printf("a process");
    char *why = mem_printf("the pid file %s is that of another Weir (%s), which runs: stop it and "
                           "wait for its end, or give each a pid file of its own",
                           path, who);
    mem_free(who);
    return why;
}

static char *say_unwritten(const char *path)
{
    return mem_printf("cannot write the pid file %s: %s; make its directory, where the user that "
                      "starts Weir may write",
                      path, strerrordesc_np(errno));
}

int pid_file_take(const char *path, char **why)
{
    char *beside = mem_printf("%s.new", path);
    int fd = open_beside(beside);
    long pid = 0;
    *why = NULL;
    if (fd < 0) {
        *why = errno == EAGAIN ? say_held(path, 0) : say_unwritten(path);
    } else if (is_held(path, &pid)) {
        *why = say_held(path, pid);
        (void) unlink(beside);
    } else if (!write_and_rename(fd, beside, path)) {
        *why = say_unwritten(path);
        (void) unlink(beside);
    }
    if (*why && fd >= 0)
        close(fd);
    mem_free(beside);
    return *why ? -1 : fd;
}

void pid_file_drop(int fd, const char *path)
{
    if (fd < 0)
        return;
    if (is_at(fd, path))
        (void) unlink(path);
    close(fd);
}
