/* SPDX-License-Identifier: Apache-2.0 */
/* activation.c: see activation.h. Holds no state: the descriptors start at 3. */
#include "app/activation.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/addr.h"
#include "net/sock.h"

#define FIRST 3
#define MOST 1024u /* descriptors that are looked at */

/* How many were lent to this very process. */
static uint32_t lent(void)
{
    uint64_t pid = 0, n = 0;
    const char *whose = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (!whose || !count || !str_to_u64(str_c(whose), &pid) || pid != (uint64_t) getpid() ||
        !str_to_u64(str_c(count), &n))
        return 0;
    return n < MOST ? (uint32_t) n : MOST;
}

static bool listens(int fd)
{
    int type = 0, on = 0;
    socklen_t n = sizeof type, m = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &m) == 0 && on;
}

/* As sock_listen has its own. */
static void prepare(int fd, int backlog)
{
    int on = 1;
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* of a unix socket: refused */
    (void) listen(fd, backlog);
}

static bool has_address(const struct socket_wish *l, const struct addr *a)
{
    struct addr_text t;
    struct addr of;
    const char *why;
    return addr_split(l->address, 0, &t, &why) && addr_from_text(&t, &of) && addr_equal(&of, a);
}

/* One socket for all workers: the server gives each a copy of it. */
static void take(struct sockets *s, const struct socket_wish *l, int fd)
{
    prepare(fd, l->backlog);
    struct socket_row *row = sockets_add(s, l->address, 1);
    row->lent = true;
    row->fds[0] = fd;
    log_info("listener.lent", "%.*s: the service manager's socket is used", STR_ARG(l->address));
}

static void take_one(struct sockets *s, const struct socket_wish *listeners, uint32_t n, int fd,
                     struct str name)
{
    struct addr a;
    char text[ADDR_TEXT_MAX] = "no socket";
    bool good = listens(fd) && sock_local(fd, &a);
    if (good)
        (void) addr_print(&a, text);
    for (uint32_t i = 0; good && i < n; i++) {
        if (!has_address(&listeners[i], &a) || sockets_find(s, listeners[i].address))
            continue;
        take(s, &listeners[i], fd);
        return;
    }
    log_error("listener.not_wanted",
              "the service manager lends a socket (%.*s: %s) that no listener of the configuration "
              "has: give a listener this address, or take it from the .socket unit; its clients "
              "wait in vain",
              STR_ARG(name), text);
    sock_close(fd);
}

void activation_take(struct sockets *s, const struct socket_wish *listeners, uint32_t n)
{
    const char *given = getenv("LISTEN_FDNAMES");
    struct str names = str_c(given ? given : "");
    uint32_t all = lent();
    for (uint32_t i = 0; i < all; i++) {
        ptrdiff_t end = str_find(names, ':');
        size_t len = end < 0 ? names.n : (size_t) end;
        take_one(s, listeners, n, FIRST + (int) i, str_sub(names, 0, len));
        names = str_sub(names, len < names.n ? len + 1 : len, names.n);
    }
    (void) unsetenv("LISTEN_PID");
    (void) unsetenv("LISTEN_FDS");
    (void) unsetenv("LISTEN_FDNAMES");
}
