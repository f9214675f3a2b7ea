/* SPDX-License-Identifier: Apache-2.0 */
/* embed_test: what the tests of the library share: a client on a socket, and instances that serve.
 * Tests only; any thread; waits with a deadline. They see the library by include/weir.h. */
#ifndef WEIR_APP_EMBED_TEST_H
#define WEIR_APP_EMBED_TEST_H

#include <weir.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

#define LOCAL "127.0.0.1:0"
#define PATIENCE 20 /* seconds until a wait counts as failed */

/* ---- a client ------------------------------------------------------------------------------ */

/* A connection to the port of this machine; reads end after PATIENCE. */
static inline int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval wait = {.tv_sec = PATIENCE};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof a), 0);
    return fd;
}

/* Sends all of text. */
static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes until the end; for mem_free. */
static inline char *hear(int fd)
{
    size_t n = 0, cap = 1 << 20;
    char *all = mem_new(cap + 1);
    for (ssize_t got; (got = recv(fd, all + n, cap - n, 0)) > 0;)
        n += (size_t) got;
    all[n] = '\0';
    close(fd);
    return all;
}

/* The whole answer to head and body, by a connection of its own; for mem_free. */
static inline char *ask(int port, const char *head, const char *body)
{
    int fd = dial(port);
    say(fd, head);
    say(fd, "\r\nHost: test.example\r\nConnection: close\r\n\r\n");
    say(fd, body);
    return hear(fd);
}

/* Fails unless the answer to head holds want. */
static inline void answers(int port, const char *head, const char *want)
{
    char *got = ask(port, head, "");
    if (!strstr(got, want))
        fail_msg("%s\nwanted: %s\ngot: %s", head, want, got);
    mem_free(got);
}

/* ---- instances ----------------------------------------------------------------------------- */

/* An instance that serves mux on LOCAL; takes mux. */
static inline weir *serving(weir_mux *mux)
{
    weir_options o = {.size = sizeof o, .workers = 2};
    weir *w = weir_new(&o);
    assert_non_null(w);
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    weir_mux_free(mux);
    return w;
}

/* Says what it was asked; arg is its name. */
static inline weir_result echo(void *arg, weir_exchange *x, const weir_head *in)
{
    char text[4096], ip[46];
    weir_str method = weir_method(in), host = weir_host(in), path = weir_path(in),
             query = weir_query(in), name, value;
    int n = snprintf(text, sizeof text, "%s: %.*s %.*s%.*s?%.*s from %s\n", (const char *) arg,
                     (int) method.n, method.p, (int) host.n, host.p, (int) path.n, path.p,
                     (int) query.n, query.p, weir_client_ip(x, ip));
    for (size_t i = 0; weir_field_at(in, i, &name, &value); i++)
        n += snprintf(text + n, sizeof text - (size_t) n, "%.*s=%.*s\n", (int) name.n, name.p,
                      (int) value.n, value.p);
    return weir_reply(x, 200, "text/plain", text, (size_t) n);
}

/* An instance that says what it was asked, and its address. */
static inline weir *origin(const char *name, char address[32])
{
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", echo, (void *) (uintptr_t) name);
    weir *w = serving(mux);
    snprintf(address, 32, "127.0.0.1:%d", weir_port(w, LOCAL));
    return w;
}

/* An instance that sends everything to p. */
static inline weir *proxying(weir_proxy *p)
{
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    return serving(mux);
}

#endif
