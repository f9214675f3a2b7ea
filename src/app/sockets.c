/* SPDX-License-Identifier: Apache-2.0 */
/* sockets.c: see sockets.h.
 * Invariants:
 * 1. Addresses of rows differ.
 * 2. A descriptor in a row is open and ours to close; what was handed on is -1. */
#include "app/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/sock.h"

#define ALONE_TRIES 20 /* an old process may need a moment to let go */
#define ALONE_PAUSE_MS 50

void sockets_init(struct sockets *s)
{
    list_init(&s->rows);
}

struct socket_row *sockets_add(struct sockets *s, struct str address, uint32_t n)
{
    struct socket_row *row = mem_new(sizeof *row + n * sizeof row->fds[0]);
    row->address = mem_str(address);
    row->n = n;
    for (uint32_t i = 0; i < n; i++)
        row->fds[i] = -1;
    list_push_back(&s->rows, &row->node);
    return row;
}

struct socket_row *sockets_find(const struct sockets *s, struct str address)
{
    list_each(node, &s->rows) {
        struct socket_row *row = list_entry(node, struct socket_row, node);
        if (str_eq(row->address, address))
            return row;
    }
    return NULL;
}

char *sockets_text(const struct socket_row *row)
{
    struct str s = row->address;
    if (row->port && s.n > 2 && s.p[s.n - 1] == '0' && s.p[s.n - 2] == ':')
        return mem_printf("%.*s%u", (int) s.n - 1, s.p, row->port);
    return mem_strdup(s);
}

/* The file of a unix address, for mem_free; NULL: it has none. */
static char *file_of(struct str address)
{
    struct addr_text t;
    const char *why;
    if (!addr_split(address, 1, &t, &why) || t.form != ADDR_UNIX || t.host.p[0] == '@')
        return NULL;
    return mem_strdup(t.host);
}

static void unlink_unix(struct str address)
{
    char *path = file_of(address);
    if (path)
        (void) unlink(path);
    mem_free(path);
}

void sockets_set_mode(const struct socket_row *row, int mode)
{
    char *path = row->lent || mode == MODE_BY_UMASK ? NULL : file_of(row->address);
    /* By its own descriptor: who owns the directory could put a link to another file there. */
    int fd = path ? open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        char name[40];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        (void) chmod(name, (mode_t) mode);
    }
    if (fd >= 0)
        close(fd);
    mem_free(path);
}

static void close_all(struct socket_row *row)
{
    for (uint32_t i = 0; i < row->n; i++) {
        if (row->fds[i] >= 0)
            close(row->fds[i]);
        row->fds[i] = -1;
    }
}

void sockets_close(struct socket_row *row, bool unlink_file)
{
    close_all(row);
    if (unlink_file && !row->lent)
        unlink_unix(row->address);
    list_remove(&row->node);
    mem_free((void *) (uintptr_t) row->address.p);
    mem_free(row);
}

void sockets_let_go(struct sockets *s, struct str keep)
{
    list_each_safe(node, &s->rows) {
        struct socket_row *row = list_entry(node, struct socket_row, node);
        if (str_eq(row->address, keep))
            close_all(row);
        else
            sockets_close(row, true);
    }
}

void sockets_fini(struct sockets *s, bool unlink_files)
{
    list_each_safe(node, &s->rows)
        sockets_close(list_entry(node, struct socket_row, node), unlink_files);
}

static bool read_address(struct str address, struct addr *a, const char **why)
{
    struct addr_text t;
    if (!addr_split(address, 0, &t, why))
        return false;
    *why = "a listener needs an IP address or unix:/path, no name";
    return addr_from_text(&t, a);
}

static bool is_free(const struct addr *a)
{
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    int on = 1, off = 0;
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ss.ss_family == AF_INET6)
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    bool taken = bind(fd, (const struct sockaddr *) &a->ss, a->len) < 0 && errno == EADDRINUSE;
    close(fd);
    return !taken;
}

bool sockets_alone(struct str address, const char **why)
{
    struct addr a;
    if (!read_address(address, &a, why))
        return false;
    if (a.ss.ss_family == AF_UNIX || addr_port(&a) == 0)
        return true; /* sock_listen looks after the former */
    for (int i = 0; !is_free(&a); i++) {
        if (i == ALONE_TRIES) {
            *why = "another process listens there: stop it or choose another address";
            return false;
        }
        (void) poll(NULL, 0, ALONE_PAUSE_MS);
    }
    return true;
}

static bool open_row(struct socket_row *row, struct addr *a, int backlog, const char **why)
{
    for (uint32_t i = 0; i < row->n; i++) {
        if (i > 0 && a->ss.ss_family == AF_UNIX) {
            row->fds[i] = fcntl(row->fds[0], F_DUPFD_CLOEXEC, 0);
            *why = "no file descriptor is left; raise the limit of open files (ulimit -n)";
        } else {
            row->fds[i] = sock_listen(a, backlog, why);
        }
        if (row->fds[i] < 0)
            return false;
        /* Port 0: the kernel chose one for the first, the others join it. */
        if (i == 0 && a->ss.ss_family != AF_UNIX && addr_port(a) == 0 &&
            !sock_local(row->fds[0], a)) {
            *why = "the kernel gave no port";
            return false;
        }
    }
    row->port = addr_port(a);
    return true;
}

bool sockets_open(struct sockets *s, const struct socket_wish *wish, const char **why)
{
    struct addr a;
    if (!read_address(wish->address, &a, why))
        return false;
    struct socket_row *row = sockets_add(s, wish->address, wish->n);
    bool masked = wish->mode != MODE_BY_UMASK;
    /* The file never has more than its mode, not even for a moment. */
    mode_t before = masked ? umask(0777 & ~(mode_t) wish->mode) : 0;
    bool good = open_row(row, &a, wish->backlog, why);
    if (masked)
        umask(before);
    if (good)
        return true;
    sockets_close(row, false);
    return false;
}
