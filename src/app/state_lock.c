/* SPDX-License-Identifier: Apache-2.0 */
/* state_lock.c: see state_lock.h. flock(2) on a file of its own: it ends with whoever holds it, by
 * kill -9 too, and lives through execve(2). Nothing is read from the file or written to it: the
 * server, which may be of another user, could have put any file there. */
#include "app/state_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/mem.h"

/* Only its users may open it, and so lock it. One that root makes is given to the owner of the
 * directory, as whom Weir may be started next. */
static int open_file(const char *dir)
{
    char *path = mem_printf("%s/lock", dir);
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    struct stat st;
    int fd = open(path, flags | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EEXIST)
        fd = open(path, flags);
    else if (fd >= 0 && geteuid() == 0 && stat(dir, &st) == 0)
        (void) !fchown(fd, st.st_uid, st.st_gid);
    mem_free(path);
    return fd;
}

/* The process that locked the file; 0: it cannot be seen from here. */
static long holder(int fd)
{
    struct stat st;
    FILE *f = fopen("/proc/locks", "re");
    char line[256];
    long found = 0;
    bool known = f && fstat(fd, &st) == 0;
    while (known && found == 0 && fgets(line, sizeof line, f)) {
        long pid;
        unsigned major_id, minor_id;
        unsigned long long inode;
        if (sscanf(line, "%*d: FLOCK %*s WRITE %ld %x:%x:%llu", &pid, &major_id, &minor_id,
                   &inode) == 4 &&
            inode == st.st_ino && major_id == major(st.st_dev) && minor_id == minor(st.st_dev))
            found = pid;
    }
    if (f)
        fclose(f);
    return found;
}

int state_lock_take(const char *dir, char **why)
{
    *why = NULL;
    int fd = open_file(dir);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno == EWOULDBLOCK) {
        long pid = holder(fd);
        char *who = pid > 0 ? mem_printf("process %ld", pid) : mem_printf("a process");
        *why = mem_printf("state_dir: %s: another Weir (%s) keeps its state there: stop it and "
                          "wait for its end, or give each a state_dir of its own",
                          dir, who);
        mem_free(who);
    }
    close(fd);
    return -1;
}
