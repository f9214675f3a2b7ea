/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_door.c: where `weir upgrade` asks: an abstract unix socket named by the supervisor's
 * pid, which root and the supervisor's own user may use, nobody else: who may run a program in its
 * place can as well send it signals. The server's process, where it runs as another user, may not.
 * A question is one message "SECONDS PATH" (PATH empty: that of its own program), the answer one
 * message "good TEXT" or "bad TEXT", when it is known. */
#include "app/door.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/supervisor_inside.h"
#include "base/log.h"
#include "base/mem.h"

#define QUESTION_MAX 8192
#define QUESTION_WAIT_MS 200 /* it is sent at once by who may ask */

/* Processes of several containers may share a network, but not their pids. */
static socklen_t name_of(pid_t pid, struct sockaddr_un *a)
{
    char space[64] = "";
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    space[n > 0 ? n : 0] = '\0';
    int len = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "weir/%s/%ld", space, (long) pid);
    return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + (size_t) len);
}

static bool peer_of(int fd, struct ucred *c)
{
    socklen_t n = sizeof *c;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, c, &n) == 0;
}

/* ---- the supervisor's side ------------------------------------------------------------------- */

int door_open(void)
{
    struct sockaddr_un a;
    socklen_t n = name_of(getpid(), &a);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *) &a, n) == 0 && listen(fd, 8) == 0)
        return fd;
    log_warn("upgrade.door", "weir upgrade will not find this process, SIGUSR2 does: %s",
             strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

void door_tell(int *asker, bool good, const char *text)
{
    if (*asker < 0)
        return;
    char *answer = mem_printf("%s %s", good ? "good" : "bad", text);
    (void) send(*asker, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    mem_free(answer);
    close(*asker);
    *asker = -1;
}

static void answer_one(struct supervisor *s, int fd)
{
    struct ucred who;
    char question[QUESTION_MAX], *path = NULL;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool may = peer_of(fd, &who) && (who.uid == 0 || who.uid == geteuid());
    ssize_t n =
        may && poll(&p, 1, QUESTION_WAIT_MS) == 1 ? recv(fd, question, sizeof question - 1, 0) : -1;
    if (!may)
        door_tell(&fd, false, "only root and the user that Weir runs as may ask for this");
    if (n <= 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    question[n] = '\0';
    unsigned long seconds = strtoul(question, &path, 10);
    upgrade_begin(s, path[0] == ' ' && path[1] ? path + 1 : NULL, seconds * USEC_PER_SEC, fd);
}

void door_answer(struct supervisor *s)
{
    int fd = s->door < 0 ? -1 : accept4(s->door, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        answer_one(s, fd);
}

/* ---- the command's side ---------------------------------------------------------------------- */

static int knock(pid_t pid)
{
    struct sockaddr_un a;
    struct ucred who;
    socklen_t n = name_of(pid, &a);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *) &a, n) == 0 && peer_of(fd, &who) &&
        who.pid == pid)
        return fd;
    fprintf(stderr,
            "process %ld: no supervisor of Weir answers there (%s); its pid is in the file that "
            "pid_file names, and in what weir status --json says\n",
            (long) pid, strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

char *door_ask(pid_t pid, unsigned seconds, const char *path, bool *good)
{
    char answer[QUESTION_MAX + 1024];
    int fd = knock(pid);
    *good = false;
    if (fd < 0)
        return NULL;
    char *question = mem_printf("%u %s", seconds, path ? path : "");
    ssize_t n = send(fd, question, strlen(question), MSG_NOSIGNAL);
    /* The supervisor keeps to the time; only its own end leaves this without an answer. */
    n = n < 0 ? n : recv(fd, answer, sizeof answer - 1, 0);
    mem_free(question);
    close(fd);
    if (n <= 0) {
        fprintf(stderr, "process %ld ended before it said what came of it; look at its log\n",
                (long) pid);
        return NULL;
    }
    answer[n] = '\0';
    *good = strncmp(answer, "good ", 5) == 0;
    char *text = strchr(answer, ' ');
    return mem_strdup(str_c(text ? text + 1 : answer));
}
