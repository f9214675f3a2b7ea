/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c: c-ares on one loop.
 * Invariants:
 * 1. A watch is in resolver.watches until resolve_unwatch. While a query is out (asked), c-ares
 *    holds a pointer to its struct query, which outlives the watch: query.watch is NULL then.
 * 2. A watch has its timer set (next look-up), its query out, or its task queued: exactly one.
 * 3. ips[0..n_ips) are the last good addresses, sorted; they survive failures.
 * 4. sockets holds every socket of c-ares; its fds are edge-triggered, so while queries are out a
 *    timer also looks at all of them: nothing depends on c-ares reading until EAGAIN. */
#include "net/resolve.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/panic.h"

#define RECHECK_US (100 * USEC_PER_MS)
#define TTL_LEAST_US USEC_PER_SEC
#define TTL_MOST_US (300 * USEC_PER_SEC)
#define BACKOFF_MOST_US (60 * USEC_PER_SEC)
#define QUERY_TIMEOUT_MS 1500
#define QUERY_TRIES 3
#define IPS_MAX 256u /* addresses of one name that are used */

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct list watches;
    struct list sockets;
    struct timer recheck; /* on while queries are out */
    unsigned asked;
};

/* One socket of c-ares. */
struct dns_socket {
    struct watch watch; /* first: on_event gets it */
    struct list_node node;
    struct resolver *resolver;
    ares_socket_t fd;
};

struct query {
    struct resolver *resolver;
    struct resolve_watch *watch; /* NULL: unwatched meanwhile */
};

struct resolve_watch {
    struct list_node node;
    struct resolver *resolver;
    struct task start;  /* first look-up, on the loop and not in the caller's stack */
    struct timer again; /* next look-up */
    struct query *query;
    char *name;
    resolve_fn fn;
    void *arg;
    struct ip *ips;
    size_t n_ips;
    unsigned failures; /* in a row */
    bool told;         /* fn was called */
};

/* ---- sockets of c-ares ----------------------------------------------------------------------- */

static void socket_event(struct watch *w, unsigned events)
{
    struct dns_socket *s = (struct dns_socket *) w;
    ares_process_fd(s->resolver->channel, events & EV_READ ? s->fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? s->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *socket_find(struct resolver *r, ares_socket_t fd)
{
    list_each(it, &r->sockets) {
        struct dns_socket *s = list_entry(it, struct dns_socket, node);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares says which sockets it has; it closes one after it wants neither direction. */
static void socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct dns_socket *s = socket_find(r, fd);
    if (!s && (readable || writable)) {
        s = mem_new(sizeof *s);
        *s = (struct dns_socket){
            .watch = {.fd = -1, .on_event = socket_event}, .resolver = r, .fd = fd};
        list_push_back(&r->sockets, &s->node);
        /* Unregistered, the socket is still served by the recheck timer. */
        if (!loop_add(r->loop, &s->watch, fd))
            s->watch.fd = -1;
    } else if (s && !readable && !writable) {
        list_remove(&s->node);
        loop_remove(r->loop, &s->watch);
        loop_defer_free(r->loop, mem_free, s);
    }
}

static void recheck(struct timer *t)
{
    struct resolver *r = list_entry(t, struct resolver, recheck);
    ares_socket_t fds[64];
    size_t n = 0;
    list_each(it, &r->sockets) {
        if (n < sizeof fds / sizeof fds[0])
            fds[n++] = list_entry(it, struct dns_socket, node)->fd;
    }
    /* The list changes below: a socket that has gone meanwhile is not ours to touch. */
    for (size_t i = 0; i < n; i++)
        if (socket_find(r, fds[i]))
            ares_process_fd(r->channel, fds[i], fds[i]);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (r->asked)
        timer_set(r->loop, &r->recheck, loop_now(r->loop) + RECHECK_US);
}

/* ---- results --------------------------------------------------------------------------------- */

static int ip_order(const void *a, const void *b)
{
    const struct ip *x = a, *y = b;
    bool x4 = ip_is_v4(*x), y4 = ip_is_v4(*y);
    return x4 != y4 ? (int) y4 - (int) x4 : memcmp(x->b, y->b, sizeof x->b);
}

/* Takes over a new list of addresses (sorted here, doubles dropped); true when it differs. */
static bool take_ips(struct resolve_watch *w, struct ip *ips, size_t n)
{
    qsort(ips, n, sizeof *ips, ip_order);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || memcmp(&ips[kept - 1], &ips[i], sizeof *ips) != 0)
            ips[kept++] = ips[i];
    if (kept == w->n_ips && memcmp(ips, w->ips, kept * sizeof *ips) == 0)
        return false;
    w->ips = mem_resize(w->ips, kept * sizeof *ips);
    memcpy(w->ips, ips, kept * sizeof *ips);
    w->n_ips = kept;
    return true;
}

/* Tells the owner and plans the next look-up. The callback may unwatch: nothing follows it. */
static void succeed(struct resolve_watch *w, struct ip *ips, size_t n, usec_t ttl)
{
    bool changed = take_ips(w, ips, n) || w->failures || !w->told;
    w->failures = 0;
    w->told = true;
    if (ttl != USEC_NEVER) {
        ttl = ttl < TTL_LEAST_US ? TTL_LEAST_US : ttl > TTL_MOST_US ? TTL_MOST_US : ttl;
        timer_set(w->resolver->loop, &w->again, loop_now(w->resolver->loop) + ttl);
    }
    if (changed)
        w->fn(w->arg, w->ips, w->n_ips, FAULT_OK, NULL);
}

static void fail(struct resolve_watch *w, const char *why)
{
    bool first = w->failures == 0;
    unsigned shift = w->failures < 6 ? w->failures : 6;
    usec_t pause = USEC_PER_SEC << shift;
    w->failures++;
    w->told = true;
    timer_set(w->resolver->loop, &w->again,
              loop_now(w->resolver->loop) + (pause < BACKOFF_MOST_US ? pause : BACKOFF_MOST_US));
    if (first)
        w->fn(w->arg, w->ips, w->n_ips, FAULT_RESOLVE, why);
}

/* Addresses and least TTL of an answer; 0: it held none. */
static size_t collect(const struct ares_addrinfo *info, struct ip *ips, usec_t *ttl)
{
    size_t n = 0;
    *ttl = TTL_MOST_US;
    for (const struct ares_addrinfo_node *a = info->nodes; a && n < IPS_MAX; a = a->ai_next) {
        struct addr address = {.len = a->ai_addrlen};
        if (a->ai_addrlen > sizeof address.ss)
            continue;
        memcpy(&address.ss, a->ai_addr, a->ai_addrlen);
        if (!addr_ip(&address, &ips[n]))
            continue;
        n++;
        usec_t own = a->ai_ttl > 0 ? (usec_t) a->ai_ttl * USEC_PER_SEC : 0;
        if (own < *ttl)
            *ttl = own;
    }
    return n;
}

static void answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    (void) timeouts;
    struct query *q = arg;
    struct resolve_watch *w = q->watch;
    q->resolver->asked--;
    mem_free(q);
    if (w) {
        struct ip ips[IPS_MAX];
        usec_t ttl = 0;
        size_t n = status == ARES_SUCCESS && info ? collect(info, ips, &ttl) : 0;
        w->query = NULL;
        if (n)
            succeed(w, ips, n, ttl);
        else if (status != ARES_EDESTRUCTION)
            fail(w, ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
    }
    if (info)
        ares_freeaddrinfo(info);
}

/* ---- look-ups -------------------------------------------------------------------------------- */

/* "localhost" and names below it are this machine, whatever a DNS server says (RFC 6761 6.3). */
static bool is_localhost(struct str name)
{
    if (str_ends(name, STR(".")))
        name.n--;
    struct str last = str_sub(name, name.n > 9 ? name.n - 9 : 0, name.n);
    if (!str_ieq(last, STR("localhost")))
        return false;
    return name.n == 9 || name.p[name.n - 10] == '.';
}

static void look_up(struct resolve_watch *w)
{
    struct resolver *r = w->resolver;
    struct ip ips[2] = {{{0}}};
    if (ip_parse(str_c(w->name), &ips[0])) {
        succeed(w, ips, 1, USEC_NEVER);
        return;
    }
    if (is_localhost(str_c(w->name))) {
        must(ip_parse(STR("127.0.0.1"), &ips[0]) && ip_parse(STR("::1"), &ips[1]));
        succeed(w, ips, 2, USEC_NEVER);
        return;
    }
    struct query *q = mem_new(sizeof *q);
    *q = (struct query){r, w};
    w->query = q;
    r->asked++;
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    /* May answer (and even unwatch) before it returns. */
    ares_getaddrinfo(r->channel, w->name, NULL, &hints, answered, q);
    if (r->asked && r->recheck.deadline == USEC_NEVER)
        timer_set(r->loop, &r->recheck, loop_now(r->loop) + RECHECK_US);
}

static void look_up_first(struct task *t)
{
    look_up(list_entry(t, struct resolve_watch, start));
}

static void look_up_again(struct timer *t)
{
    look_up(list_entry(t, struct resolve_watch, again));
}

struct resolver *resolver_new(struct loop *loop, const char *server, const char **why)
{
    struct resolver *r = mem_new(sizeof *r);
    r->loop = loop;
    list_init(&r->watches);
    list_init(&r->sockets);
    timer_init(&r->recheck, recheck);
    struct ares_options o = {
        .timeout = QUERY_TIMEOUT_MS,
        .tries = QUERY_TRIES,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = r,
        .lookups = (char *) (uintptr_t) "b",
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (server) {
        /* A test's server answers everything: no hosts file, no search domains. */
        o.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
        mask |= ARES_OPT_FLAGS | ARES_OPT_LOOKUPS;
    }
    /* ares_library_init has nothing to do on Unix. */
    int status = ares_init_options(&r->channel, &o, mask);
    if (status == ARES_SUCCESS && server) {
        status = ares_set_servers_ports_csv(r->channel, server);
        if (status != ARES_SUCCESS)
            ares_destroy(r->channel);
    }
    if (status != ARES_SUCCESS) {
        *why = ares_strerror(status);
        mem_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    struct list_node *node;
    while ((node = r->watches.root.next) != &r->watches.root)
        resolve_unwatch(list_entry(node, struct resolve_watch, node));
    ares_destroy(r->channel);
    must(r->asked == 0 && list_empty(&r->sockets));
    timer_stop(&r->recheck);
    loop_defer_free(r->loop, mem_free, r);
}

struct resolve_watch *resolve_watch(struct resolver *r, struct str name, resolve_fn fn, void *arg)
{
    struct ip literal;
    if (!addr_is_name(name) && !ip_parse(name, &literal))
        return NULL;
    struct resolve_watch *w = mem_new(sizeof *w);
    w->resolver = r;
    w->name = mem_strdup(name);
    w->fn = fn;
    w->arg = arg;
    w->start.run = look_up_first;
    timer_init(&w->again, look_up_again);
    list_push_back(&r->watches, &w->node);
    loop_queue(r->loop, &w->start);
    return w;
}

void resolve_unwatch(struct resolve_watch *w)
{
    if (!w)
        return;
    if (w->query)
        w->query->watch = NULL;
    loop_unqueue(&w->start);
    timer_stop(&w->again);
    list_remove(&w->node);
    mem_free(w->ips);
    mem_free(w->name);
    mem_free(w);
}
