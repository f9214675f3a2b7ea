/* SPDX-License-Identifier: Apache-2.0 */
/* embed_fetch.c: requests of the program's own, over the engine's fetch.
 * Invariants:
 * 1. A fetch has one reference of its caller, one of the engine until on_end, and one a message
 *    that is under way to its worker.
 * 2. What is remembered is a name, looked up in the snapshot of the moment and checked there.
 * 3. inner is the worker's thread's alone, and NULL before the start and after the end. */
#include "app/embed_instance.h"
#include "base/mem.h"
#include "control/conf_error.h"
#include "http/url.h"
#include "proxy/fetch.h"
#include "proxy/field_rule.h"

struct weir_fetch {
    _Atomic uint32_t refs;
    struct weir *w;
    struct engine_worker *on;
    struct weir_proxy *proxy;
    weir_fetch_options options; /* callbacks; the rest leads into arena */
    struct str path, query;
    struct field *fields;
    size_t n_fields;
    struct arena arena;
    struct fetch *inner;
    struct chain *out; /* while produce runs */
};

static void unref(struct weir_fetch *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    handler_unref(f->proxy);
    arena_fini(&f->arena);
    mem_free(f);
}

static void end(struct weir_fetch *f, enum fault fault)
{
    f->inner = NULL;
    if (f->options.on_end)
        f->options.on_end(f->options.arg, fault_name(fault));
    unref(f);
}

/* ---- the engine's events ------------------------------------------------------------------- */

static void on_head(void *arg, const struct head *h)
{
    struct weir_fetch *f = arg;
    if (f->options.on_head)
        f->options.on_head(f->options.arg, head_out(h));
}

static void on_body(void *arg, struct chain *in)
{
    struct weir_fetch *f = arg;
    struct buf_pool *bp = &f->on->worker->buffers;
    while (in->bytes) {
        size_t n = in->head->n, taken = n;
        if (f->options.on_body)
            taken = f->options.on_body(f->options.arg, in->head->p, n);
        chain_drop(in, bp, taken < n ? taken : n);
        if (taken < n)
            return;
    }
}

static void on_end(void *arg, enum fault fault)
{
    end(arg, fault);
}

static enum io produce(void *arg, struct chain *out)
{
    struct weir_fetch *f = arg;
    f->out = out;
    weir_result r = f->options.produce(f->options.arg, f);
    f->out = NULL;
    switch (r) {
    case WEIR_PASS:
        if (!out->bytes)
            weir_fetch_resume(f); /* nothing yet: it is called again in a later turn */
        return IO_OK;
    case WEIR_WAIT:
        return IO_AGAIN;
    case WEIR_END:
        return IO_EOF;
    default:
        return IO_ERR;
    }
}

static const struct fetch_events events = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end};

/* ---- messages ------------------------------------------------------------------------------ */

struct fetch_post {
    struct post post; /* first */
    struct weir_fetch *fetch;
};

static void send_post(struct weir_fetch *f, void (*run)(struct post *p))
{
    struct fetch_post *m = mem_new(sizeof *m);
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    *m = (struct fetch_post){.post.run = run, .fetch = f};
    loop_post(f->on->loop, &m->post);
}

static struct weir_fetch *take_post(struct post *p)
{
    struct fetch_post *m = (struct fetch_post *) (void *) p;
    struct weir_fetch *f = m->fetch;
    mem_free(m);
    return f;
}

struct looking {
    const struct weir_proxy *proxy;
    struct route *found;
};

static void look_route(void *arg, struct route *r)
{
    struct looking *l = arg;
    const struct embed_conf *c = r->plan->feature_conf[EMBED_FEATURE];
    if (c->handler == l->proxy)
        l->found = r;
}

/* Any route of the proxy leads to its endpoints. */
static struct route *route_of(const struct weir_fetch *f)
{
    struct looking l = {.proxy = f->proxy};
    const struct snapshot *s = f->on->worker->snapshot;
    struct remembered *r = &f->w->fetched[f->on->index * REMEMBERED];
    r += (uint64_t) f->proxy->id % REMEMBERED;
    if (!s)
        return NULL;
    struct route *last =
        r->id == f->proxy->id && r->name ? snapshot_named(s, str_c(r->name)) : NULL;
    if (last)
        look_route(&l, last);
    if (l.found)
        return l.found;
    snapshot_each(s, look_route, &l);
    if (l.found) {
        mem_free(r->name);
        *r = (struct remembered){f->proxy->id, mem_strdup(l.found->name)};
    }
    return l.found;
}

static void start_here(struct post *p)
{
    struct weir_fetch *f = take_post(p);
    struct fetch_request r = {
        .method = str_c(f->options.method),
        .path = f->path,
        .query = f->query,
        .authority = str_c(f->options.host),
        .fields = f->fields,
        .n_fields = f->n_fields,
        .body = str_of(f->options.body, f->options.body_size),
        .produce = f->options.produce ? produce : NULL,
        .route = route_of(f),
        .timeout = f->options.timeout > 0 ? embed_usec(f->options.timeout) : 0,
    };
    struct worker *w = f->on->worker;
    if (!r.route)
        end(f, FAULT_NO_ROUTE);
    else if (w->draining)
        end(f, FAULT_SHUTDOWN);
    else if (!(f->inner = fetch_start(w, &r, &events, f)))
        end(f, FAULT_MEMORY);
    unref(f);
}

static void resume_here(struct post *p)
{
    struct weir_fetch *f = take_post(p);
    if (f->inner)
        fetch_continue(f->inner);
    unref(f);
}

static void cancel_here(struct post *p)
{
    struct weir_fetch *f = take_post(p);
    if (f->inner) {
        fetch_cancel(f->inner);
        end(f, FAULT_CLIENT_GONE);
    }
    unref(f);
}

/* ---- the API ------------------------------------------------------------------------------- */

static bool copy_fields(struct weir_fetch *f, const char *const *given)
{
    size_t n = 0;
    for (; given && given[n]; n += 2) {
        if (!given[n + 1]) /* a name without its value */
            return false;
    }
    f->fields = conf_alloc(&f->arena, n * sizeof *f->fields);
    for (size_t i = 0; i < n; i += 2) {
        struct str name = str_c(given[i]), value = str_trim(str_c(given[i + 1]));
        if (field_rule_wrong(name, FIELD_RULE_REQUEST) || !field_value_valid(value))
            return false;
        f->fields[f->n_fields++] = (struct field){.name = arena_str(&f->arena, name),
                                                  .value = arena_str(&f->arena, value)};
    }
    return true;
}

static const char *copy_text(struct arena *a, const char *given, const char *otherwise)
{
    return arena_str(a, str_c(given ? given : otherwise)).p;
}

static bool copy_options(struct weir_fetch *f, const weir_fetch_options *given)
{
    weir_fetch_options *o = &f->options;
    memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    o->method = copy_text(&f->arena, o->method, "GET");
    o->host = copy_text(&f->arena, o->host, "localhost");
    struct str target = str_c(copy_text(&f->arena, o->target, "/"));
    ptrdiff_t mark = str_find(target, '?');
    struct str raw = mark < 0 ? target : str_sub(target, 0, (size_t) mark);
    f->query = mark < 0 ? STR("") : str_sub(target, (size_t) mark + 1, target.n);
    o->body = o->body_size ? arena_str(&f->arena, str_of(o->body, o->body_size)).p : NULL;
    struct head h = {.host = STR("")};
    return field_name_valid(str_c(o->method)) && str_starts(raw, STR("/")) &&
           path_normalise(raw, &f->arena, &f->path) == FAULT_OK && embed_query_valid(f->query) &&
           authority_parse(str_c(o->host), &f->arena, &h) == FAULT_OK && copy_fields(f, o->fields);
}

weir_fetch *weir_fetch_start(weir *w, weir_proxy *p, const weir_fetch_options *o)
{
    struct weir_fetch *f = mem_new(sizeof *f);
    arena_init(&f->arena, NULL, SIZE_MAX);
    atomic_store(&f->refs, 2);
    f->w = w;
    f->proxy = handler_ref(p);
    uint32_t i = atomic_fetch_add_explicit(&w->next_worker, 1, memory_order_relaxed);
    f->on = &w->engine->workers[i % w->engine->n_workers];
    if (copy_options(f, o)) {
        send_post(f, start_here);
        return f;
    }
    atomic_store(&f->refs, 1);
    unref(f);
    return NULL;
}

int weir_fetch_write(weir_fetch *f, const void *p, size_t n)
{
    return f->out && (n == 0 || chain_copy(f->out, &f->on->worker->buffers, str_of(p, n)));
}

void weir_fetch_resume(weir_fetch *f)
{
    send_post(f, resume_here);
}

void weir_fetch_cancel(weir_fetch *f)
{
    send_post(f, cancel_here);
}

void weir_fetch_free(weir_fetch *f)
{
    if (f)
        unref(f);
}
