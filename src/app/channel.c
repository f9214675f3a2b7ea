/* SPDX-License-Identifier: Apache-2.0 */
/* channel.c: SOCK_SEQPACKET keeps messages whole and tells of the other end's death. */
#include "app/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

bool channel_open(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0;
}

struct channel_message channel_make(enum channel_kind kind, uint32_t number, struct str text)
{
    struct channel_message m = {.kind = kind, .number = number};
    size_t n = text.n < CHANNEL_TEXT ? text.n : CHANNEL_TEXT - 1;
    if (n)
        memcpy(m.text, text.p, n);
    return m;
}

int channel_memfd(struct str text)
{
    int fd = memfd_create("weir", MFD_CLOEXEC);
    size_t at = 0;
    while (fd >= 0 && at < text.n) {
        ssize_t n = write(fd, text.p + at, text.n - at);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        at += (size_t) n;
    }
    return fd;
}

char *channel_memfd_text(int fd, size_t most, size_t *n)
{
    struct stat st;
    *n = 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    size_t size = (size_t) st.st_size < most ? (size_t) st.st_size : most;
    char *text = mem_new(size + 1);
    while (*n < size) {
        ssize_t got = pread(fd, text + *n, size - *n, (off_t) *n);
        if (got <= 0)
            break;
        *n += (size_t) got;
    }
    return text;
}

/* Room for one descriptor, aligned as the macros want it. */
union rights {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
};

bool channel_send(int end, const struct channel_message *m, int fd)
{
    struct iovec iov = {.iov_base = (void *) (uintptr_t) m, .iov_len = sizeof *m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    union rights rights;
    memset(&rights, 0, sizeof rights);
    if (fd >= 0) {
        h.msg_control = rights.room;
        h.msg_controllen = sizeof rights.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(end, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t) sizeof *m;
}

static int taken_fd(struct msghdr *h)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    return fd;
}

enum io channel_receive(int end, struct channel_message *m, int *fd, usec_t wait_us)
{
    *fd = -1;
    struct pollfd p = {.fd = end, .events = POLLIN};
    if (poll(&p, 1, (int) (wait_us / USEC_PER_MS)) <= 0)
        return IO_AGAIN;
    struct iovec iov = {.iov_base = m, .iov_len = sizeof *m};
    union rights rights;
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = rights.room,
                       .msg_controllen = sizeof rights.room};
    ssize_t n = recvmsg(end, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return IO_AGAIN;
    if (n <= 0)
        return IO_EOF;
    *fd = taken_fd(&h);
    bool whole = n == (ssize_t) sizeof *m && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (whole && m->kind > 0 && m->kind < CHANNEL_KINDS && m->text[CHANNEL_TEXT - 1] == '\0')
        return IO_OK;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return IO_ERR;
}
