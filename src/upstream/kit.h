/* SPDX-License-Identifier: Apache-2.0 */
/* kit: what the unit tests of this floor share: a listener on the loopback, an upstream with one
 * endpoint, one worker with its loop. Owned by the test's thread. Never part of the product; waits
 * for events with a deadline and never sleeps to hope. */
#ifndef WEIR_UPSTREAM_KIT_H
#define WEIR_UPSTREAM_KIT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/panic.h"
#include "upstream/health.h"
#include "upstream/pool.h"

#define KIT_DEADLINE (20 * USEC_PER_SEC)

struct kit {
    int listen_fd;
    uint16_t port;
    char address[64];
    struct endpoint_conf endpoint;
    struct upstream_conf conf;
    struct mem_limit limit;
    struct mem_account account;
    struct upstream_registry *registry;
    struct upstream *up;
    struct endpoint *e;
    struct loop *loop;
    struct pool_worker worker;
};

/* A request for a link and what came of it. */
struct ask {
    struct link_wait wait;
    struct link *link;
    enum fault fault;
    enum acquire first; /* what pool_acquire said */
    bool done;
};

/* A socket that listens on 127.0.0.1 at *port, or at a free port. */
static inline int kit_listen(uint16_t *port, int backlog)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof a;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof a), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* A listener and the default configuration of an upstream with this one endpoint. */
static inline void kit_open(struct kit *k)
{
    *k = (struct kit){.limit = {.max = 64 << 20}};
    k->account.limit = &k->limit;
    k->listen_fd = kit_listen(&k->port, 64);
    schema_defaults(&endpoint_schema, &k->endpoint);
    schema_defaults(&upstream_schema, &k->conf);
    snprintf(k->address, sizeof k->address, "127.0.0.1:%u", (unsigned) k->port);
    k->endpoint.address = str_c(k->address);
    k->conf.endpoints = (struct schema_list){&k->endpoint, 1};
}

/* Builds the upstream and starts worker 0 of n_workers, which runs on the test's thread. */
static inline void kit_start(struct kit *k, unsigned n_workers)
{
    int err;
    k->registry = upstream_registry_new(n_workers);
    k->up = upstream_new(k->registry, STR("origin"), &k->conf);
    k->e = k->up->endpoints[0];
    k->loop = loop_new(&err);
    assert_non_null(k->loop);
    pool_worker_init(&k->worker, k->registry, 0, k->loop, &k->account);
    loop_turn(k->loop, 0);
}

/* Builds the upstream anew from k->conf, as a reload does. */
static inline void kit_reload(struct kit *k)
{
    struct upstream *u = upstream_new(k->registry, STR("origin"), &k->conf);
    upstream_unref(k->up);
    k->up = u;
    loop_turn(k->loop, 0);
}

/* Ends all; proves that nothing is left: no link, no endpoint, no byte of the account. */
static inline void kit_close(struct kit *k)
{
    pool_worker_fini(&k->worker);
    if (k->up)
        upstream_unref(k->up);
    loop_free(k->loop);
    upstream_registry_free(k->registry);
    mem_account_fini(&k->account);
    close(k->listen_fd);
}

/* Turns the loop until cond; fails at the deadline. */
#define KIT_UNTIL(k, cond)                                                                         \
    do {                                                                                           \
        usec_t until_ = clock_now() + KIT_DEADLINE;                                                \
        while (!(cond)) {                                                                          \
            assert_true(clock_now() < until_);                                                     \
            loop_turn((k)->loop, 20 * USEC_PER_MS);                                                \
        }                                                                                          \
    } while (0)

/* The pool's answer. */
static inline void ask_ready(struct link_wait *w, struct link *link, enum fault fault)
{
    struct ask *a = (struct ask *) w;
    assert_false(a->done);
    a->link = link;
    a->fault = fault;
    a->done = true;
}

/* Asks; flags of a->wait as the test set them. */
static inline enum acquire kit_ask(struct kit *k, struct ask *a)
{
    a->wait.ready = ask_ready;
    a->done = false;
    a->link = NULL;
    a->fault = FAULT_OK;
    a->first = pool_acquire(&k->worker, k->e, &a->wait, &a->link, &a->fault);
    a->done = a->first != ACQUIRE_PENDING;
    return a->first;
}

/* Asks and waits; the link, which must come. */
static inline struct link *kit_link(struct kit *k)
{
    struct ask a = {0};
    kit_ask(k, &a);
    KIT_UNTIL(k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    assert_non_null(a.link);
    return a.link;
}

/* The server's end of the next connection. */
static inline int kit_accept(struct kit *k)
{
    int fd = -1;
    KIT_UNTIL(k, (fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    return fd;
}

/* The server sends text; the borrower reads it to the end, as an exchange does with its answer. */
static inline void kit_answer(struct kit *k, struct link *l, int server, const char *text)
{
    char got[512];
    size_t n = 0, want = strlen(text), sum = 0;
    assert_int_equal(write(server, text, want), (ssize_t) want);
    while (sum < want) {
        KIT_UNTIL(k, conn_readable(&l->conn));
        if (conn_read(&l->conn, got, sizeof got, &n) == IO_OK)
            sum += n;
    }
}

/* What the worker counted. */
static inline uint64_t kit_evicted(const struct kit *k, enum evict_reason r)
{
    return counter_get(&k->e->stats[0].evictions[r]);
}

#endif
