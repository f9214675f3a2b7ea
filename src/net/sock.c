/* SPDX-License-Identifier: Apache-2.0 */
/* sock.c: making sockets. Holds no state but the text of the last failure, per thread. */
#include "net/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/test_hooks.h"
#include "net/sys.h"

static _Thread_local char sock_why[256];

static void set_int(int fd, int level, int option, int value)
{
    /* Options tune; a kernel without one serves all the same. */
    (void) setsockopt(fd, level, option, &value, sizeof value);
}

static bool is_inet(const struct addr *a)
{
    return a->ss.ss_family == AF_INET || a->ss.ss_family == AF_INET6;
}

static int open_socket(int family)
{
    return test_call_fails(TEST_socket)
               ? -1
               : socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* What to do when a path cannot be listened on. */
static const char *path_advice(const struct addr *a, int err)
{
    struct stat st;
    const struct sockaddr_un *un = (const struct sockaddr_un *) &a->ss;
    switch (err) {
    case EADDRINUSE:
        if (un->sun_path[0] && lstat(un->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
            return "; a file that is no socket has that name: remove it or choose another path";
        return "; another process listens there: stop it or choose another path";
    case EACCES:
        return "; Weir's user needs to write in the directory of the socket";
    case ENOENT:
        return "; make the directory of the socket first";
    default:
        return "";
    }
}

/* What to do when an IP address and port cannot be listened on. */
static const char *port_advice(int err)
{
    switch (err) {
    case EADDRINUSE:
        return "; another process listens there: stop it or choose another address";
    case EACCES:
        return "; ports below 1024 need CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return "; no interface of this machine has that address";
    default:
        return "";
    }
}

/* Says why an address, which the caller names, cannot be listened on; errno is err. */
static int listen_fail(const struct addr *a, int fd, int err, const char **why)
{
    snprintf(sock_why, sizeof sock_why, "cannot listen: %s%s", strerrordesc_np(err),
             a->ss.ss_family == AF_UNIX ? path_advice(a, err) : port_advice(err));
    *why = sock_why;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Removes the file of a unix socket that nobody listens on any more. */
static void remove_stale(const struct addr *a)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *) &a->ss;
    struct stat st;
    if (un->sun_path[0] == '\0' || lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *) &a->ss, a->len) < 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

static bool is_any6(const struct addr *a)
{
    return a->ss.ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *) &a->ss)->sin6_addr);
}

int sock_listen(const struct addr *address, int backlog, const char **why)
{
    struct addr a = *address;
    int fd = open_socket(a.ss.ss_family);
    if (fd < 0 && errno == EAFNOSUPPORT && is_any6(&a)) {
        /* ":8080" on a machine without IPv6. */
        struct ip any4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
        a = addr_from_ip(any4, addr_port(&a));
        fd = open_socket(AF_INET);
    }
    if (fd < 0)
        return listen_fail(&a, fd, errno, why);
    if (is_inet(&a)) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        /* Accepted sockets inherit it: no call for each of them. */
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (a.ss.ss_family == AF_INET6)
            set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    } else {
        remove_stale(&a);
    }
    if (bind(fd, (struct sockaddr *) &a.ss, a.len) < 0 || listen(fd, backlog) < 0)
        return listen_fail(&a, fd, errno, why);
    return fd;
}

/* accept4(2). */
static int take_one(int listen_fd, struct addr *peer)
{
    const int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    peer->len = sizeof peer->ss;
    if (SYS_WATCHED)
        return accept4(listen_fd, (struct sockaddr *) &peer->ss, &peer->len, flags);
    return (int) sys_call(SYS_accept4, listen_fd, (long) &peer->ss, (long) &peer->len, flags);
}

enum io sock_accept(int listen_fd, int *fd, struct addr *peer, bool *exhausted)
{
    *exhausted = false;
    *fd = test_call_fails(TEST_accept) ? -1 : take_one(listen_fd, peer);
    if (*fd >= 0)
        return IO_OK;
    switch (errno) {
    case EAGAIN:
        return IO_AGAIN;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall rule */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
        return IO_ERR;
    default:
        *exhausted = true;
        return IO_ERR;
    }
}

static enum fault connect_fault(int err)
{
    switch (err) {
    case 0:
        return FAULT_OK;
    case ECONNREFUSED:
    case ENOENT: /* no file of that unix socket */
        return FAULT_CONNECT_REFUSED;
    case ETIMEDOUT:
        return FAULT_CONNECT_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return FAULT_NO_SOCKET;
    default:
        return FAULT_CONNECT_FAILED;
    }
}

enum fault sock_connect(const struct addr *a, bool keepalive, int *fd, bool *done)
{
    *done = false;
    *fd = open_socket(a->ss.ss_family);
    if (*fd < 0)
        return connect_fault(errno);
    if (is_inet(a)) {
        set_int(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (keepalive)
            set_int(*fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    int r =
        test_call_fails(TEST_connect) ? -1 : connect(*fd, (const struct sockaddr *) &a->ss, a->len);
    /* An interrupted connect goes on by itself (POSIX). */
    if (r == 0 || errno == EINPROGRESS || errno == EINTR) {
        *done = r == 0;
        return FAULT_OK;
    }
    enum fault f = connect_fault(errno);
    close(*fd);
    *fd = -1;
    return f;
}

enum fault sock_connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return FAULT_CONNECT_FAILED;
    return connect_fault(err);
}

bool sock_local(int fd, struct addr *out)
{
    out->len = sizeof out->ss;
    return getsockname(fd, (struct sockaddr *) &out->ss, &out->len) == 0;
}

bool sock_peer(int fd, struct addr *out)
{
    out->len = sizeof out->ss;
    return getpeername(fd, (struct sockaddr *) &out->ss, &out->len) == 0;
}

void sock_reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

unsigned sock_rtt_us(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return 0;
    return info.tcpi_rtt;
}

bool sock_preface(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t sent =
            send(fd, bytes.p, test_io_limit(bytes.n), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
        if (sent <= 0 && !(sent < 0 && errno == EINTR))
            return false;
        if (sent > 0)
            bytes = str_sub(bytes, (size_t) sent, bytes.n);
    }
    return true;
}

void sock_close(int fd)
{
    if (fd >= 0)
        close(fd);
}
