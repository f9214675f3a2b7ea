/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_route.c: one route of a snapshot.
 * Invariants:
 * 1. A route holds its name and one reference to its plan, and that to its upstream and its share:
 *    it may outlive every snapshot (a tunnel, a successor).
 * 2. content covers everything that a request can notice but the match, the upstream's settings
 *    too: equal content and name mean that the old route serves.
 * 3. A plan's upstream is set last, when nothing can be refused any more.
 * 4. Routes of one build share a plan when they have one share and one upstream, rewrite nothing
 *    and have no breaker of their own.
 * 5. Routes of one build lie side by side in few blocks; the last one of a block to go frees it. */
#include "base/json.h"
#include "base/mem.h"
#include "base/panic.h"
#include "control/snapshot_inside.h"
#include "proxy/stats.h"

/* The configuration of one feature as routes use it: many routes share one. Counted. */
struct feature_share {
    _Atomic uint32_t refs;
    uint64_t hash;
    bool active;
    struct arena arena; /* what the feature prepared */
    max_align_t conf[]; /* a copy of the config struct, and behind it what its rows point to */
};

/* What routes of equal settings and features share: settings and their texts, features, hook lists,
 * slots. Counted. */
struct route_share {
    _Atomic uint32_t refs;
    uint64_t hash;
    struct settings_conf settings; /* its texts lie behind the struct */
    struct feature_share *features[FEATURE_MAX];
    const void *feature_conf[FEATURE_MAX];
    struct hook_list hooks[HOOK_KINDS];
    uint32_t slots[FEATURE_MAX];
    uint32_t slots_bytes;
};

/* Routes side by side. */
struct route_block {
    _Atomic uint32_t refs; /* routes in it, and the build while it takes more */
    uint32_t n, cap;
    struct built_route *v;
    struct route_names *names; /* of their numbers; NULL: they get none */
};

struct built_route {
    struct route route; /* first: see route_free */
    struct route_block *block;
};
_Static_assert(sizeof(struct built_route) <= 64, "a route is one cache line");

/* The heap piece of a plan; texts lie behind it. Counted. */
struct built_plan {
    struct plan plan; /* first: see plan_of */
    _Atomic uint32_t refs;
    struct route_share *share; /* one reference */
};

/* What plans are known by while a snapshot is built. */
struct plan_key {
    const struct route_share *share;
    uint64_t upstream; /* its place in conf */
};

static struct built_plan *plan_of(const struct route *r)
{
    return (struct built_plan *) (uintptr_t) r->plan;
}

/* ---- feature configurations ---------------------------------------------------------------- */

/* Routes in a block: at first, for a change at run time makes one only; and at most (2 MiB). */
#define BLOCK_LEAST 1u
#define BLOCK_MOST 32768u

static size_t aligned(size_t n)
{
    return (n + 15) & ~(size_t) 15;
}

static void share_unref(struct feature_share *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_fini(&k->arena);
    mem_free(k);
}

static struct feature_share *share_new(const struct feature *f, const void *conf)
{
    size_t size = aligned(f->conf->size);
    struct feature_share *k = mem_new(sizeof *k + size + schema_copy_size(f->conf, conf));
    atomic_store_explicit(&k->refs, 1, memory_order_relaxed);
    schema_copy(f->conf, k->conf, conf, (char *) k->conf + size);
    k->hash = schema_hash(f->conf, conf, 1);
    arena_init(&k->arena, NULL, SIZE_MAX);
    if (f->prepare)
        f->prepare(k->conf, &k->arena);
    k->active = !f->active || f->active(k->conf);
    return k;
}

/* The share of feature i on route r (NULL: of the top level), borrowed from the build. */
static struct feature_share *share_of(struct build *b, uint32_t i, const struct route_conf *r)
{
    const struct feature *f = b->in->features->v[i];
    const void *conf = r && f->route_scope ? r->features[i] : NULL, *own = NULL;
    if (!conf)
        conf = b->conf->features[i];
    /* The defaults of a feature are filed under its table. */
    const void *source = conf ? conf : f->conf;
    struct str key = str_of((const char *) &source, sizeof source);
    struct feature_share *k = map_get(&b->shares, key);
    if (k)
        return k;
    if (!conf) {
        void *defaults = conf_alloc(b->errors->arena, f->conf->size);
        schema_defaults(f->conf, defaults);
        own = defaults;
    }
    k = share_new(f, conf ? conf : own);
    map_set(&b->shares, key, k);
    return k;
}

/* ---- hooks --------------------------------------------------------------------------------- */

bool feature_has_hook(const struct feature *f, enum hook_kind kind)
{
    switch (kind) {
    case ON_ACCESS:
        return f->on_access;
    case ON_LOOKUP:
        return f->on_lookup;
    case ON_PICK:
        return f->on_pick;
    case ON_SEND:
        return f->on_send;
    case ON_REQUEST_DATA:
        return f->on_request_data;
    case ON_ATTEMPT_END:
        return f->on_attempt_end;
    case ON_RESPONSE_HEAD:
        return f->on_response_head;
    case ON_RESPONSE_DATA:
        return f->on_response_data;
    case ON_TRAILERS:
        return f->on_trailers;
    case ON_FAULT:
        return f->on_fault;
    case ON_FINISH:
        return f->on_finish;
    default:
        panic("hook %d is not known", (int) kind);
    }
}

static void add_hooks(struct route_share *r, const struct feature_set *set, const bool *active,
                      enum hook_kind kind)
{
    struct hook_list *l = &r->hooks[kind];
    bool reverse = kind == ON_RESPONSE_HEAD || kind == ON_RESPONSE_DATA;
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t at = reverse ? set->n - 1 - i : i;
        const struct feature *f = set->v[at];
        if (active[at] && feature_has_hook(f, kind) &&
            (!f->wants || f->wants(r->feature_conf[at], kind)))
            l->v[l->n++] = (struct hook_ref){f, r->slots[at]};
    }
}

/* Gives r its features: configurations, hook lists, places in the exchange's slots. */
static void add_features(struct build *b, struct route_share *r, const struct route_conf *conf)
{
    const struct feature_set *set = b->in->features;
    bool active[FEATURE_MAX] = {false};
    bool requests = !conf->passthrough;
    for (uint32_t i = 0; i < set->n; i++) {
        const struct feature *f = set->v[i];
        active[i] = true;
        if (f->conf) {
            struct feature_share *k = share_of(b, i, conf);
            atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
            r->features[i] = k;
            r->feature_conf[i] = k->conf;
            active[i] = k->active;
        } else if (f->active) {
            active[i] = f->active(NULL);
        }
        active[i] = active[i] && (requests || f->connections);
        if (active[i] && f->slot) {
            r->slots[i] = r->slots_bytes;
            r->slots_bytes += (uint32_t) aligned(f->slot);
        }
    }
    for (int kind = 0; kind < HOOK_KINDS; kind++)
        add_hooks(r, set, active, (enum hook_kind) kind);
}

/* ---- what routes share --------------------------------------------------------------------- */

/* What was left to the strategy. */
static void settle_buffer(struct buffer_conf *c)
{
    if (c->size == 0)
        c->size = c->strategy == BUFFER_ADAPTIVE ? 1u << 20 : 64u << 10;
}

static uint64_t hash_bytes(const void *p, size_t n, uint64_t h)
{
    return str_stable_hash(str_of(p, n), h);
}

static void route_share_unref(struct route_share *r)
{
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < FEATURE_MAX; i++)
        share_unref(r->features[i]);
    mem_free(r);
}

/* Most routes inherit the top level's settings as they are, pointers too. */
static uint64_t settings_hash(struct build *b, const struct route_conf *c)
{
    uint64_t *known = &b->settings_hash[c->passthrough], h = *known;
    bool same = memcmp(&c->settings, &b->conf->settings, sizeof c->settings) == 0;
    if (!same || !h)
        h = schema_hash(&settings_schema, &c->settings, c->passthrough ? 2 : 1);
    if (same)
        *known = h;
    return h;
}

/* Of upstream number i. */
static uint64_t upstream_hash(struct build *b, size_t i)
{
    const struct upstream_conf *u = b->conf->upstreams.items;
    if (!b->upstream_hash)
        b->upstream_hash =
            conf_alloc(b->errors->arena, b->conf->upstreams.n * sizeof *b->upstream_hash);
    if (!b->upstream_hash[i])
        b->upstream_hash[i] = schema_hash(&upstream_schema, &u[i], 1);
    return b->upstream_hash[i];
}

static uint64_t share_hash(struct build *b, const struct route_conf *c)
{
    uint64_t h = settings_hash(b, c);
    for (uint32_t i = 0; i < b->in->features->n; i++) {
        uint64_t own = b->in->features->v[i]->conf ? share_of(b, i, c)->hash : 0;
        h = hash_bytes(&own, sizeof own, h);
    }
    return h;
}

#define VIA "Via: 1.1 "

/* Bytes of via_line. */
static size_t via_size(const struct settings_conf *s)
{
    return sizeof(VIA) - 1 + s->via_name.n + 2;
}

/* Sets via_line, whose text comes to at. */
static void settle_via(struct settings_conf *s, char *at)
{
    s->via_line = str_of(at, via_size(s));
    at = mempcpy(at, VIA, sizeof(VIA) - 1);
    at = mempcpy(at, s->via_name.p, s->via_name.n);
    memcpy(at, "\r\n", 2);
}

/* Most routes say nothing of this and have it by the same pointers as the one before. */
static bool shares_as(const struct route_conf *c, const struct route_conf *other)
{
    return other && c->passthrough == other->passthrough &&
           memcmp(&c->settings, &other->settings, sizeof c->settings) == 0 &&
           memcmp(c->features, other->features, sizeof c->features) == 0;
}

/* Sets untimed: the shortest of all spans that a deadline may have. */
static void settle_untimed(struct settings_conf *s)
{
    const struct timeouts_conf *t = &s->timeouts;
    const usec_t spans[] = {t->client_head, t->client_body,   t->client_send,   t->pool_wait,
                            t->first_byte,  t->response_idle, t->upstream_send, t->exchange,
                            t->tunnel_idle, t->call_idle,     s->retry.per_try};
    s->untimed = s->min_rate.request || s->min_rate.response ? 0 : USEC_PER_SEC * 5;
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        if (spans[i] && spans[i] < s->untimed)
            s->untimed = spans[i];
    }
}

/* The share that routes like c use, borrowed from the build. */
static struct route_share *route_share_of(struct build *b, const struct route_conf *c)
{
    if (shares_as(c, b->last))
        return b->last_share;
    uint64_t hash = share_hash(b, c);
    struct str key = str_of((const char *) &hash, sizeof hash);
    struct route_share *r = map_get(&b->route_shares, key);
    b->last = c;
    b->last_share = r;
    if (r)
        return r;
    size_t texts = schema_copy_size(&settings_schema, &c->settings);
    r = mem_new(aligned(sizeof *r) + texts + via_size(&c->settings));
    atomic_store_explicit(&r->refs, 1, memory_order_relaxed);
    r->hash = hash;
    schema_copy(&settings_schema, &r->settings, &c->settings, (char *) r + aligned(sizeof *r));
    settle_buffer(&r->settings.buffer);
    settle_untimed(&r->settings);
    r->settings.response_limits = (struct h1_limits){
        .head = (uint32_t) r->settings.limits.response_head,
        .target = (uint32_t) r->settings.limits.target,
        .fields = (uint32_t) r->settings.limits.fields,
    };
    settle_via(&r->settings, (char *) r + aligned(sizeof *r) + texts);
    add_features(b, r, c);
    map_set(&b->route_shares, key, r);
    b->last_share = r;
    return r;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static void route_block_unref(struct route_block *k)
{
    if (k && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(k->v);
        mem_free(k);
    }
}

/* ---- plans --------------------------------------------------------------------------------- */

static void plan_unref(struct built_plan *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    rewrite_free(p->plan.rewrite);
    if (p->plan.upstream)
        upstream_unref(p->plan.upstream);
    route_share_unref(p->share);
    mem_free(p);
}

static struct built_plan *plan_ref(struct built_plan *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

/* Takes rewrite. */
static struct built_plan *plan_new(const struct flat_route *f, struct route_share *share,
                                   struct rewrite *rewrite)
{
    const struct route_conf *c = f->conf;
    size_t room = schema_copy_size(&redirect_schema, &c->redirect) +
                  schema_copy_size(&reply_schema, &c->reply);
    struct built_plan *p = mem_new_aligned(aligned(sizeof *p) + room, 64);
    char *texts = (char *) p + aligned(sizeof *p);
    atomic_store_explicit(&p->refs, 1, memory_order_relaxed);
    p->share = share;
    atomic_fetch_add_explicit(&share->refs, 1, memory_order_relaxed);
    p->plan = (struct plan){
        .action = (uint8_t) f->action,
        .rewrite = rewrite,
        .settings = &share->settings,
        .hooks = share->hooks,
        .feature_conf = share->feature_conf,
        .slots = share->slots,
        .slots_bytes = share->slots_bytes,
        .handler = f->action == ROUTE_HANDLER ? c->handler : NULL,
        .handler_arg = c->handler_arg,
    };
    texts = schema_copy(&redirect_schema, &p->plan.redirect, &c->redirect, texts);
    schema_copy(&reply_schema, &p->plan.reply, &c->reply, texts);
    return p;
}

/* The plan of a route, one reference. Takes rewrite. */
static struct built_plan *plan_for(struct build *b, const struct flat_route *f,
                                   struct route_share *share, struct rewrite *rewrite)
{
    const struct upstream_conf *u = b->conf->upstreams.items;
    bool shared =
        f->action == ROUTE_UPSTREAM && !rewrite && u[f->upstream].breaker.scope != BREAKER_ROUTE;
    if (!shared)
        return plan_new(f, share, rewrite);
    struct plan_key key = {share, f->upstream};
    struct str bytes = str_of((const char *) &key, sizeof key);
    struct built_plan *p = map_get(&b->plans, bytes);
    if (!p) {
        p = plan_new(f, share, NULL);
        map_set(&b->plans, bytes, p);
    }
    return plan_ref(p);
}

void build_aim(const struct route *r, struct upstream *u)
{
    struct plan *p = &plan_of(r)->plan;
    if (p->upstream)
        return;
    p->upstream = upstream_ref(u);
    p->breaker = upstream_breaker(u, r->name);
}

void build_shares_note(struct build *b, const struct route *r)
{
    struct route_share *share = plan_of(r)->share;
    struct str key = str_of((const char *) &share->hash, sizeof share->hash);
    if (map_get(&b->route_shares, key))
        return;
    atomic_fetch_add_explicit(&share->refs, 1, memory_order_relaxed);
    map_set(&b->route_shares, key, share);
}

void build_shares_drop(struct build *b)
{
    size_t at = 0;
    struct str key;
    void *share;
    while (map_next(&b->route_shares, &at, &key, &share))
        route_share_unref(share);
    map_fini(&b->route_shares);
    for (at = 0; map_next(&b->plans, &at, &key, &share);)
        plan_unref(share);
    map_fini(&b->plans);
    route_block_unref(b->block);
    for (at = 0; map_next(&b->shares, &at, &key, &share);)
        share_unref(share);
    map_fini(&b->shares);
}

/* ---- routes -------------------------------------------------------------------------------- */

static void route_free(struct route *r)
{
    struct route_block *k = ((struct built_route *) r)->block;
    if (k->names)
        route_names_leave(k->names, r);
    plan_unref(plan_of(r));
    mem_free((void *) r->name.p);
    route_block_unref(k);
}

/* Room for one route, zeroed. The more routes a build makes, the larger its blocks. */
static struct built_route *take_room(struct build *b)
{
    struct route_block *k = b->block;
    if (!k || k->n == k->cap) {
        uint32_t cap = !k ? BLOCK_LEAST : k->cap < BLOCK_MOST / 4 ? k->cap * 4 : BLOCK_MOST;
        route_block_unref(k);
        k = b->block = mem_new(sizeof *k);
        k->cap = MEM_WATCHED ? 1 : cap;
        k->names = b->in->names;
        k->v = mem_new_large(k->cap * sizeof *k->v);
        atomic_store_explicit(&k->refs, 1, memory_order_relaxed);
    }
    struct built_route *r = &k->v[k->n++];
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    *r = (struct built_route){.block = k};
    return r;
}

/* Most routes rewrite nothing, or as the one before. */
static uint64_t rewrite_hash(struct build *b, const struct rewrite_conf *c)
{
    if (!b->rewrite || memcmp(b->rewrite, c, sizeof *c) != 0)
        b->rewrite_hash = schema_hash(&rewrite_schema, c, 1);
    b->rewrite = c;
    return b->rewrite_hash;
}

static uint64_t content_of(struct build *b, const struct flat_route *f, uint64_t h)
{
    const struct route_conf *c = f->conf;
    uint64_t own[] = {(uint64_t) f->action, rewrite_hash(b, &c->rewrite)};
    h = hash_bytes(own, sizeof own, h);
    if (f->action == ROUTE_REDIRECT)
        h = schema_hash(&redirect_schema, &c->redirect, h);
    if (f->action == ROUTE_REPLY)
        h = schema_hash(&reply_schema, &c->reply, h);
    if (f->action == ROUTE_HANDLER) {
        h = hash_bytes(&c->handler, sizeof c->handler, h);
        h = hash_bytes(&c->handler_arg, sizeof c->handler_arg, h);
    }
    if (f->action == ROUTE_UPSTREAM) {
        uint64_t of = upstream_hash(b, f->upstream);
        h = str_stable_hash(c->to, hash_bytes(&of, sizeof of, h));
    }
    return h;
}

/* Takes plan. */
static struct route *route_new(struct build *b, const struct flat_route *f, struct built_plan *plan)
{
    struct route *r = &take_room(b)->route;
    atomic_store_explicit(&r->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&r->index, ROUTE_UNUSED, memory_order_relaxed);
    r->plan = &plan->plan;
    r->name = mem_str(f->name);
    r->plain_name = json_plain(r->name);
    r->tag = route_tag(r->name);
    r->line = f->conf->pos.line;
    r->free = route_free;
    return r;
}

/* What the predecessor has under that name; NULL: nothing. */
static struct route *old_route(const struct build *b, struct str name)
{
    const struct snapshot *old = b->in->previous;
    if (old && old->fallback && str_eq(old->fallback->name, name))
        return old->fallback;
    return old ? snapshot_named(old, name) : NULL;
}

struct route *build_route(struct build *b, const struct flat_route *f)
{
    struct route_share *share = route_share_of(b, f->conf);
    uint64_t content = content_of(b, f, share->hash);
    struct route *old = old_route(b, f->name);
    if (old && old->content == content && old->plan->action == f->action)
        return route_ref(old);
    char *why;
    struct rewrite *rewrite = rewrite_new(&f->conf->rewrite, &why);
    if (why) {
        conf_say(b->errors, f->conf->pos, "route \"%.*s\": rewrite: %s", STR_ARG(f->name), why);
        mem_free(why);
        return NULL;
    }
    struct route *r = route_new(b, f, plan_for(b, f, share, rewrite));
    r->content = content;
    return r;
}

struct route *build_fallback(struct build *b)
{
    struct route_conf *c = conf_alloc(b->errors->arena, sizeof *c);
    schema_defaults(&route_schema, c);
    c->settings = b->conf->settings;
    c->reply.status = 404;
    struct flat_route f = {.conf = c, .name = STR("_none"), .action = ROUTE_REPLY};
    struct route *r = build_route(b, &f);
    must(r);
    return r;
}
