/* SPDX-License-Identifier: Apache-2.0 */
/* kill_in_write: preloaded into Weir, kills it by SIGKILL at a chosen point of writing its state
 * file, once: when the file that KILL_ORDER names holds a number, that many points are passed (each
 * write, sync and rename has one before and one behind, and writes come in halves). While the file
 * that HOLD_SYNC names is there, syncs do not return (20 s at most): a slow disk. While the one
 * that FAIL_DISK names holds "file", "rename" or "directory", syncs of files, renames, or syncs of
 * directories fail. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int left = -1; /* points to pass; -1: no order was seen */

static int is_state(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "changes.json.new") || strstr(path, "/state");
}

static void point(void)
{
    const char *order = getenv("KILL_ORDER");
    FILE *f = left < 0 && order ? fopen(order, "re") : NULL;
    if (f) {
        if (fscanf(f, "%d", &left) != 1)
            left = -1;
        fclose(f);
    }
    if (left < 0 || left-- > 0)
        return;
    unlink(order);
    kill(getpid(), SIGKILL);
}

/* True, errno is EIO: what is of that kind is to fail. */
static int broken(const char *kind)
{
    char word[16] = "";
    const char *order = getenv("FAIL_DISK");
    FILE *f = order ? fopen(order, "re") : NULL;
    if (f && fscanf(f, "%15s", word) != 1)
        word[0] = '\0';
    if (f)
        fclose(f);
    errno = EIO;
    return strcmp(word, kind) == 0;
}

ssize_t write(int fd, const void *p, size_t n)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (!is_state(fd))
        return real(fd, p, n);
    static int cut; /* every other one is cut short */
    cut = !cut;
    point();
    ssize_t done = real(fd, p, cut ? (n + 1) / 2 : n);
    point();
    return done;
}

int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    const char *hold = getenv("HOLD_SYNC");
    for (int i = 0; hold && access(hold, F_OK) == 0 && i < 2000; i++)
        usleep(10000);
    struct stat st;
    if (broken(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? "directory" : "file"))
        return -1;
    point();
    int result = real(fd);
    point();
    return result;
}

int renameat(int from, const char *old, int to, const char *name)
{
    int (*real)(int, const char *, int, const char *) = dlsym(RTLD_NEXT, "renameat");
    if (broken("rename"))
        return -1;
    point();
    int result = real(from, old, to, name);
    point();
    return result;
}
