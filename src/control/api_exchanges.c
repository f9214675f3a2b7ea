/* SPDX-License-Identifier: Apache-2.0 */
/* api_exchanges.c: the exchanges that run now. Each worker is asked by message and looks at its own
 * list, at most `limit` of it, on its own thread.
 * Invariants:
 * 1. An ask has one holder for each worker that has not answered, and the call; refs is touched by
 *    the main thread alone.
 * 2. A part is its worker's between the two posts.
 * 3. gone is set before the exchange ends: a worker that is asked late, while its loop is being
 *    freed, looks at nothing. */
#include <inttypes.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "control/api.h"
#include "proxy/driver.h"
#include "proxy/worker.h"

#define LIST_USUAL 100u
#define LIST_MOST 1000u

struct ask_part {
    struct post post; /* first */
    struct ask *ask;
    struct worker *worker;
    struct text out;
    uint64_t n; /* exchanges that it has */
};

struct ask {
    struct exchange_ticket *ticket;
    struct loop *home;
    uint64_t limit;
    uint32_t refs, left, n_parts;
    _Atomic bool gone;
    struct ask_part parts[];
};

static void ask_unref(struct ask *k)
{
    if (--k->refs > 0)
        return;
    for (uint32_t i = 0; i < k->n_parts; i++)
        text_fini(&k->parts[i].out);
    mem_free(k);
}

static void call_ends(void *p)
{
    struct ask *k = p;
    atomic_store(&k->gone, true);
    ask_unref(k);
}

/* ---- on the worker ------------------------------------------------------------------------- */

static void put_member(struct text *out, const char *key, struct str value)
{
    if (value.n == 0)
        return;
    text_addf(out, ",\"%s\":", key);
    text_add_json(out, value);
}

static void put_exchange(const struct exchange *x, struct text *out)
{
    char ip[46] = "";
    usec_t now = loop_now(x->worker->loop);
    text_addf(out,
              "{\"worker\":%" PRIu32 ",\"step\":\"%s\",\"age_us\":%" PRIu64 ",\"step_us\":%" PRIu64
              ",\"attempts\":%" PRIu32,
              x->worker->index, step_name((enum step) x->step),
              now > x->started ? now - x->started : 0,
              now > x->step_since ? now - x->step_since : 0, x->n_attempts);
    text_addf(out,
              ",\"request_bytes\":%" PRIu64 ",\"response_bytes\":%" PRIu64 ",\"held_bytes\":%zu",
              x->request.bytes, x->response_pump.bytes,
              pump_held(&x->request) + pump_held(&x->response_pump));
    if (!x->peer_unix || x->peer_trusted)
        ip_print(x->client_ip, ip);
    put_member(out, "client", str_c(ip));
    if (x->in) {
        put_member(out, "method", x->in->method);
        put_member(out, "host", x->in->authority);
        put_member(out, "path", x->in->path);
    }
    put_member(out, "id", x->request_id);
    if (x->route)
        put_member(out, "route", x->route->name);
    if (x->attempt && x->attempt->endpoint) {
        put_member(out, "upstream", x->attempt->endpoint->upstream_name);
        put_member(out, "endpoint", x->attempt->endpoint->address);
    }
    text_add(out, STR("}"));
}

static void came_back(struct post *p);

/* An idle connection's exchange has not begun to read: it is none yet. */
static void look(struct post *p)
{
    struct ask_part *part = (struct ask_part *) (void *) p;
    struct ask *k = part->ask;
    if (!atomic_load(&k->gone)) {
        list_each(node, &part->worker->exchange_list) {
            if (part->n++ >= k->limit)
                continue;
            if (part->out.n)
                text_add(&part->out, STR(","));
            put_exchange(list_entry(node, struct exchange, node), &part->out);
        }
    }
    part->post.run = came_back;
    loop_post(k->home, &part->post);
}

/* ---- on the main thread -------------------------------------------------------------------- */

static void came_back(struct post *p)
{
    struct ask *k = ((struct ask_part *) (void *) p)->ask;
    if (--k->left == 0)
        exchange_resume(k->ticket);
    ask_unref(k);
}

static enum hook answer(struct api_call *c, const struct ask *k)
{
    struct text t = {0};
    uint64_t total = 0;
    bool any = false;
    text_add(&t, STR("{\"exchanges\":["));
    for (uint32_t i = 0; i < k->n_parts; i++) {
        const struct ask_part *part = &k->parts[i];
        total += part->n;
        if (any && part->out.n)
            text_add(&t, STR(","));
        any |= part->out.n > 0;
        text_add(&t, text_str(&part->out));
    }
    text_addf(&t, "],\"total\":%" PRIu64 "}", total);
    return api_json(c, 200, &t);
}

enum hook api_exchanges(struct api_call *c)
{
    struct ask *k = c->state;
    const struct admin *a = c->a;
    uint64_t limit;
    if (k)
        return k->left ? HOOK_WAIT : answer(c, k);
    if (!api_number(c, "limit", LIST_USUAL, LIST_MOST, &limit))
        return HOOK_REPLY;
    k = mem_new(sizeof *k + a->n_workers * sizeof k->parts[0]);
    k->refs = 1;
    if (!api_keep(c->x, call_ends, k))
        return HOOK_FAIL;
    c->state = k;
    k->limit = limit;
    k->home = c->x->worker->loop;
    k->left = k->n_parts = a->n_workers;
    k->refs += k->n_parts;
    if (k->n_parts == 0)
        return answer(c, k);
    k->ticket = exchange_suspend(c->x);
    for (uint32_t i = 0; i < k->n_parts; i++) {
        k->parts[i] = (struct ask_part){.post.run = look, .ask = k, .worker = a->workers[i]};
        loop_post(a->workers[i]->loop, &k->parts[i].post);
    }
    return HOOK_WAIT;
}
