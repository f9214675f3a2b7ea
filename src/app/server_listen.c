/* SPDX-License-Identifier: Apache-2.0 */
/* server_listen.c: the listening sockets of the server: from the supervisor to the workers.
 * Invariants:
 * 1. listening names exactly the addresses that the supervisor holds sockets of for this
 *    configuration; their descriptors have been handed to workers (-1 here).
 * 2. The channel is read here only while a change waits for sockets. */
#include <fcntl.h>
#include <unistd.h>

#include "app/server_inside.h"
#include "base/log.h"

#define SOCKETS_WAIT (10 * USEC_PER_SEC)

/* A predecessor may have had another number of workers: each socket gets a worker, for none may be
 * left without one that accepts, and each worker a socket, if need be a copy of another's. */
static void hand_on(struct server *s, struct socket_row *row, bool admin)
{
    uint32_t workers = s->engine->n_workers;
    for (uint32_t i = row->n; !admin && i < workers; i++) {
        int copy = fcntl(row->fds[i % row->n], F_DUPFD_CLOEXEC, 0);
        if (copy >= 0)
            engine_listen(s->engine, i, copy, row->address);
    }
    for (uint32_t i = 0; i < row->n; i++) {
        engine_listen(s->engine, admin ? workers : i % workers, row->fds[i], row->address);
        row->fds[i] = -1;
    }
}

/* Every address that the configuration names gets its sockets at start. */
void server_take_inherited(struct server *s)
{
    list_each_safe(node, &s->start->sockets->rows) {
        struct socket_row *row = list_entry(node, struct socket_row, node);
        list_remove(&row->node);
        list_push_back(&s->listening.rows, &row->node);
        hand_on(s, row, str_eq(row->address, s->admin));
    }
}

/* Asks the supervisor for sockets; waits for them. */
static struct socket_row *ask_sockets(struct server *s, const struct socket_wish *wish, char **why)
{
    struct str address = wish->address;
    uint32_t n = wish->n;
    struct channel_message m = channel_make(CHANNEL_LISTEN, n, address);
    m.backlog = (uint32_t) wish->backlog;
    m.mode = wish->mode;
    struct socket_row *row = NULL;
    bool going = channel_send(s->start->channel, &m, -1);
    uint32_t have = 0;
    while (going && have < n) {
        int fd;
        enum io io = channel_receive(s->start->channel, &m, &fd, SOCKETS_WAIT);
        if (io != IO_OK)
            break;
        if (m.kind == CHANNEL_SOCKET && fd >= 0 && str_eq(str_c(m.text), address)) {
            if (!row)
                row = sockets_add(&s->listening, address, n);
            row->fds[have++] = fd;
            continue;
        }
        server_note_order(s, &m);
        server_obey_later(s);
        if (m.kind == CHANNEL_REFUSED) {
            *why = mem_printf("%.*s: %s\n", STR_ARG(address), m.text);
            break;
        }
    }
    if (have == n)
        return row;
    if (!*why)
        *why = mem_printf("%.*s: the supervisor gave no socket\n", STR_ARG(address));
    if (row)
        sockets_close(row, false);
    return NULL;
}

static void unlisten(struct server *s, struct socket_row *row)
{
    struct channel_message m = channel_make(CHANNEL_UNLISTEN, 0, row->address);
    (void) channel_send(s->start->channel, &m, -1);
    sockets_close(row, false);
}

static bool names(const struct server *s, const struct conf_file *file, struct str address)
{
    const struct listener_conf *l = file->proxy.listeners.items;
    for (size_t i = 0; i < file->proxy.listeners.n; i++) {
        if (str_eq(l[i].address, address))
            return true;
    }
    return s->admin.n && str_eq(s->admin, address);
}

/* Drops sockets of addresses that file does not name. */
void server_forget_unnamed(struct server *s, const struct conf_file *file)
{
    list_each_safe(node, &s->listening.rows) {
        struct socket_row *row = list_entry(node, struct socket_row, node);
        if (!names(s, file, row->address))
            unlisten(s, row);
    }
}

/* Gets sockets for what file names anew; false: *why, and none of them is kept. */
bool server_listen_to_new(struct server *s, const struct conf_file *file, char **why)
{
    const struct listener_conf *l = file->proxy.listeners.items;
    bool good = true;
    for (size_t i = 0; good && i < file->proxy.listeners.n; i++) {
        struct socket_wish wish = {l[i].address, s->plan->n_workers, (int) l[i].backlog,
                                   MODE_BY_UMASK};
        if (!sockets_find(&s->listening, l[i].address))
            good = ask_sockets(s, &wish, why);
    }
    if (!good)
        server_forget_unnamed(s, s->config.loaded->file);
    return good;
}

void server_listen_admin(struct server *s)
{
    char *why = NULL;
    if (!s->admin.n || sockets_find(&s->listening, s->admin))
        return;
    struct socket_wish wish = {s->admin, 1, ADMIN_BACKLOG,
                               (int) admin_mode(&s->config.loaded->file->admin)};
    struct socket_row *row = ask_sockets(s, &wish, &why);
    if (row)
        hand_on(s, row, true);
    else
        log_error("listener.refused", "%s", why);
    mem_free(why);
}

void server_hand_on_new(struct server *s)
{
    list_each(node, &s->listening.rows) {
        struct socket_row *row = list_entry(node, struct socket_row, node);
        if (row->fds[0] >= 0)
            hand_on(s, row, str_eq(row->address, s->admin));
    }
}
