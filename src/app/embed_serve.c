/* SPDX-License-Identifier: Apache-2.0 */
/* embed_serve.c: what an instance serves and where, how it is changed, and who is told.
 * Invariants:
 * 1. Every snapshot names all addresses of listening: no listener is closed by weir_serve.
 * 2. w->served is the configuration that w->snapshot was built from, kept where somebody hears what
 *    the next one changes. Its texts lie in itself, in w->mux and in w->listening, which live as
 *    long.
 * 3. Events are told after the change is in use. */
#include <stdio.h>

#include "app/embed_instance.h"
#include "base/mem.h"
#include "control/change.h"
#include "control/conf_error.h"

#define BACKLOG 4096

/* ---- configurations ------------------------------------------------------------------------ */

static struct served *served_new(void)
{
    struct served *s = mem_new(sizeof *s);
    arena_init(&s->arena, NULL, SIZE_MAX);
    s->file = conf_alloc(&s->arena, sizeof *s->file);
    schema_defaults(&file_schema, s->file);
    return s;
}

void served_free(struct served *s)
{
    if (!s)
        return;
    arena_fini(&s->arena);
    mem_free(s);
}

static void list_addresses(struct weir *w, struct proxy_conf *conf, struct arena *a)
{
    size_t n = 0;
    list_each(node, &w->listening.rows)
        n++;
    struct listener_conf *l = conf_alloc(a, n * sizeof *l);
    conf->listeners = (struct schema_list){l, n};
    list_each(node, &w->listening.rows) {
        schema_defaults(&listener_schema, l);
        l->address = list_entry(node, struct socket_row, node)->address;
        l++;
    }
}

static struct snapshot *build(struct weir *w, const weir_mux *mux, struct served *s, char **why)
{
    struct snapshot *made = NULL;
    struct proxy_conf *conf = &s->file->proxy;
    list_addresses(w, conf, &s->arena);
    bool good = mux_configure(mux, conf, &s->arena, why);
    struct snapshot_inputs in = engine_inputs(w->engine, w->snapshot);
    char *more = NULL;
    made = snapshot_build(conf, &in, &more);
    if (!good) { /* then it was built to hear what else is wrong */
        char *first = *why;
        *why = mem_printf("%s%s", first, more ? more : "");
        mem_free(first);
        mem_free(more);
        if (made)
            snapshot_free(made);
        made = NULL;
    } else {
        *why = more;
    }
    return made;
}

/* ---- telling ------------------------------------------------------------------------------- */

/* Events of all that now has other than old (NULL: nothing). */
static void tell_served(struct weir *w, const struct served *old)
{
    struct arena a;
    struct change_list changes;
    struct served *none = old ? NULL : served_new();
    arena_init(&a, NULL, SIZE_MAX);
    change_list_init(&changes, &a);
    conf_diff(old ? old->file : none->file, w->served->file, &w->features, &changes);
    engine_tell_changes(w->engine, &changes);
    engine_look_at_states(w->engine);
    arena_fini(&a);
    served_free(none);
}

/* The weights of u's endpoints, in thousandths; for mem_free. */
static uint32_t *weights_now(const struct upstream *u)
{
    uint32_t *v = mem_new((u->n_endpoints + 1) * sizeof *v);
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        v[i] = atomic_load(&u->endpoints[i]->weight);
    return v;
}

/* As a number is written, whatever the locale of the program. */
static struct str print_weight(uint32_t thousandths, char room[32])
{
    unsigned rest = thousandths % 1000;
    int n = snprintf(room, 32, rest ? "%u.%03u" : "%u", thousandths / 1000, rest);
    while (rest && room[n - 1] == '0')
        n--;
    return str_of(room, (size_t) n);
}

/* Events of those that are others than before. */
static void tell_weights(struct weir *w, const struct upstream *u, const uint32_t *before)
{
    char from[32], to[32];
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        uint32_t now = atomic_load(&u->endpoints[i]->weight);
        if (now == before[i])
            continue;
        engine_tell_endpoint(w->engine, u->endpoints[i],
                             (struct change_field){.path = STR("weight"),
                                                   .from = print_weight(before[i], from),
                                                   .to = print_weight(now, to)});
    }
}

/* ---- what is served ------------------------------------------------------------------------ */

/* A change of what is served; answered on the main thread. */
struct serving {
    const weir_mux *mux;
    struct str address; /* to listen on; empty: none */
    char *why;          /* NULL: good */
};

/* mux: the instance's own, or what becomes that when this is good. */
static bool use(struct weir *w, weir_mux *mux, char **why)
{
    struct served *now = served_new(), *old = w->served;
    struct snapshot *made = build(w, mux, now, why);
    if (!made) {
        served_free(now);
        return false;
    }
    engine_use(w->engine, made);
    if (w->snapshot)
        snapshot_drop(w->snapshot);
    w->snapshot = made;
    if (!w->options.on_event) { /* a kilobyte a route, for nobody */
        served_free(now);
        return true;
    }
    w->served = now;
    tell_served(w, old);
    served_free(old);
    return true;
}

static void serve_here(struct weir *w, void *arg)
{
    struct serving *c = arg;
    struct weir_mux *old = w->mux, *copy = mux_copy(c->mux);
    bool good = use(w, copy, &c->why);
    if (good)
        w->mux = copy;
    weir_mux_free(good ? old : copy);
}

int weir_serve(weir *w, const weir_mux *mux)
{
    struct serving c = {.mux = mux};
    if (w->stopping)
        c.why = mem_strdup(STR("the instance was stopped"));
    else
        instance_run_on_main(w, serve_here, &c);
    bool good = c.why == NULL;
    instance_set_error(w, c.why);
    return good;
}

static void listen_here(struct weir *w, void *arg)
{
    struct serving *c = arg;
    const char *why = "it is served already";
    struct socket_wish wish = {c->address, w->engine->n_workers, BACKLOG, MODE_BY_UMASK};
    if (sockets_find(&w->listening, c->address) || !sockets_alone(c->address, &why) ||
        !sockets_open(&w->listening, &wish, &why)) {
        c->why = mem_printf("%.*s: %s", STR_ARG(c->address), why);
        return;
    }
    struct socket_row *row = sockets_find(&w->listening, c->address);
    if (!use(w, w->mux, &c->why)) {
        sockets_close(row, true);
        return;
    }
    for (uint32_t i = 0; i < row->n; i++) {
        engine_listen(w->engine, i, row->fds[i], row->address);
        row->fds[i] = -1;
    }
}

int weir_listen(weir *w, const char *address)
{
    struct serving c = {.address = str_c(address)};
    if (w->stopping)
        c.why = mem_printf("%.*s: the instance was stopped", STR_ARG(c.address));
    else
        instance_run_on_main(w, listen_here, &c);
    bool good = c.why == NULL;
    instance_set_error(w, c.why);
    return good;
}

int weir_port(const weir *w, const char *address)
{
    const struct socket_row *row = sockets_find(&w->listening, str_c(address));
    return row ? row->port : -1;
}

/* ---- weights ------------------------------------------------------------------------------- */

struct weights_post {
    struct post post; /* first */
    struct weir *w;
    struct weir_proxy *proxy;
    uint32_t n;
    struct endpoint_weight v[];
};

static void weigh_here(struct post *p)
{
    struct weights_post *m = (struct weights_post *) (void *) p;
    char room[32];
    struct str name = handler_upstream(m->proxy, room);
    const struct snapshot *s = m->w->snapshot;
    for (uint32_t i = 0; s && i < s->n_upstreams; i++) {
        struct upstream *u = s->upstreams[i];
        if (!str_eq(u->name, name))
            continue;
        uint32_t *before = weights_now(u);
        u->balance->update_weights(u->balance_state, u, m->v, m->n);
        tell_weights(m->w, u, before);
        mem_free(before);
    }
    for (uint32_t i = 0; i < m->n; i++)
        mem_free((void *) (uintptr_t) m->v[i].address.p);
    handler_unref(m->proxy);
    mem_free(m);
}

void weir_update_weights(weir *w, weir_proxy *p, const weir_weight *v, size_t n)
{
    struct weights_post *m = mem_new(sizeof *m + n * sizeof m->v[0]);
    *m = (struct weights_post){.post.run = weigh_here, .w = w, .proxy = handler_ref(p)};
    for (; m->n < n; m->n++)
        m->v[m->n] = (struct endpoint_weight){mem_str(str_c(v[m->n].address)), v[m->n].weight};
    loop_post(w->engine->loop, &m->post);
}
