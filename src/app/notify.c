/* SPDX-License-Identifier: Apache-2.0 */
/* notify.c: one datagram a state. Holds no state. */
#include "app/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool notify_send(const char *address, const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || n < 2 || n >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, address, n);
    if (address[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    socklen_t len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n);
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *) &to, len);
    close(fd);
    return sent == (ssize_t) strlen(state);
}

/* A service manager that does not listen changes nothing for the traffic. */
static void tell(const char *state)
{
    const char *address = getenv("NOTIFY_SOCKET");
    if (address)
        (void) notify_send(address, state);
}

void notify_ready(const char *status)
{
    char state[160];
    snprintf(state, sizeof state, "READY=1\nMAINPID=%ld\nSTATUS=%s", (long) getpid(), status);
    tell(state);
}

void notify_reloading(usec_t now)
{
    char state[96];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now);
    tell(state);
}

void notify_status(const char *text)
{
    char state[160];
    snprintf(state, sizeof state, "STATUS=%s", text);
    tell(state);
}

void notify_stopping(void)
{
    tell("STOPPING=1\nSTATUS=finishing running exchanges");
}
