/* SPDX-License-Identifier: Apache-2.0 */
/* api_read.c: what the API shows: the configuration in use, and endpoints as they are. Long lists
 * come in pages or in turns, so that the main loop is never held for long. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"
#include "control/api.h"
#include "proxy/driver.h"

#define PAGE_MOST 10000u
#define PAGE_USUAL 1000u
#define TURN_BYTES (256u << 10)

/* The configuration; NULL: a problem is the reply. */
struct conf_tree *api_tree(struct api_call *c)
{
    if (c->a->live)
        live_forget_read(c->a->live);
    struct conf_tree *t = c->a->live ? live_now(c->a->live) : NULL;
    if (!t)
        (void) api_problem(c->x, 409, "no-file",
                           "this configuration was made by a command, not by "
                           "a file: it cannot be shown or changed");
    return t;
}

enum hook api_index(struct api_call *c)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_GET] = "GET",       [METHOD_POST] = "POST",   [METHOD_PUT] = "PUT",
        [METHOD_DELETE] = "DELETE", [METHOD_PATCH] = "PATCH",
    };
    size_t n;
    const struct api_row *rows = api_rows(&n);
    struct text t = {0};
    text_addf(&t, "{\"version\":\"%s\",\"paths\":[", WEIR_VERSION);
    for (size_t i = 0; i < n; i++) {
        text_addf(&t, "%s{\"method\":\"%s\",\"path\":\"%s\",\"purpose\":", i ? "," : "",
                  names[rows[i].method], rows[i].path);
        text_add_json(&t, str_c(rows[i].doc));
        text_add(&t, STR("}"));
    }
    text_add(&t, STR("]}"));
    return api_json(c, 200, &t);
}

/* ---- the configuration --------------------------------------------------------------------- */

/* A tree on its way out: a few members or items a turn. */
struct showing {
    struct conf_tree *tree;
    const struct conf_node *member, *item; /* item: of a list, the next one */
    struct conf_walk walk;                 /* among the routes */
    bool begun, routes;                    /* member: was begun; is the list of routes */
    struct text text;                      /* not yet taken */
};

static void showing_drop(void *p)
{
    struct showing *s = p;
    conf_walk_fini(&s->walk);
    conf_tree_unref(s->tree);
    text_fini(&s->text);
    mem_free(s);
}

/* The next item of member, which is a list. */
static const struct conf_node *next_item(struct showing *s)
{
    return s->routes ? conf_walk_next(s->tree, &s->walk, true) : s->item->next;
}

static void begin_member(struct showing *s, struct text *out)
{
    text_add(out, s->member == s->tree->root->first ? STR("{") : STR(","));
    text_add_json(out, s->member->key);
    text_add(out, STR(":"));
    s->begun = true;
    s->routes = str_eq(s->member->key, STR("routes"));
    s->item = s->member->kind == CONF_LIST ? s->member->first : NULL;
    if (s->routes)
        s->item = next_item(s);
    if (s->item)
        text_add(out, STR("["));
    else
        conf_node_print(s->member, out);
}

/* Writes some of it; true: that was the last. */
static bool show_some(struct showing *s, struct text *out)
{
    while (s->member && out->n < TURN_BYTES) {
        if (!s->begun)
            begin_member(s, out);
        while (s->item && out->n < TURN_BYTES) {
            conf_node_print(s->item, out);
            s->item = next_item(s);
            text_add(out, s->item ? STR(",") : STR("]"));
        }
        if (s->item)
            return false;
        s->member = s->member->next;
        s->begun = false;
    }
    return !s->member;
}

static enum io show(struct exchange *x, void *arg, struct chain *out)
{
    struct showing *s = arg;
    if (s->text.n == 0 && show_some(s, &s->text))
        text_add(&s->text, STR("}\n"));
    if (!chain_copy(out, &x->worker->buffers, text_str(&s->text))) {
        memory_wait(x);
        return IO_AGAIN;
    }
    s->text.n = 0;
    return s->member ? IO_OK : IO_EOF;
}

enum hook api_config(struct api_call *c)
{
    struct conf_tree *tree = api_tree(c);
    if (str_eq(api_param(c, "as"), STR("text")))
        return api_config_text(c);
    if (!tree)
        return HOOK_REPLY;
    struct text t = {0};
    if (!tree->root->first) {
        text_add(&t, STR("{}"));
        return api_json(c, 200, &t);
    }
    struct showing *s = mem_new(sizeof *s);
    *s = (struct showing){.tree = conf_tree_ref(tree), .member = tree->root->first};
    if (!api_keep(c->x, showing_drop, s))
        return HOOK_FAIL;
    reply_init(c->x, 200);
    if (!fields_add_id(&c->x->reply.fields, FIELD_CONTENT_TYPE, STR("application/json")) ||
        !fields_add_id(&c->x->reply.fields, FIELD_CACHE_CONTROL, STR("no-store"))) {
        exchange_fail(c->x, FAULT_MEMORY);
        return HOOK_FAIL;
    }
    api_tag(c, c->a->live->number);
    c->x->reply.produce = show;
    c->x->reply.arg = s;
    return HOOK_REPLY;
}

/* A page of a list. */
struct page {
    uint64_t offset, limit, at; /* at: counts items */
    struct text *out;
    bool any;
};

static bool page_of(struct api_call *c, struct page *p, struct text *out)
{
    *p = (struct page){.out = out};
    return api_number(c, "offset", 0, UINT32_MAX, &p->offset) &&
           api_number(c, "limit", PAGE_USUAL, PAGE_MOST, &p->limit);
}

/* The next item is on the page. */
static bool page_has(const struct page *p)
{
    return p->at >= p->offset && p->at - p->offset < p->limit;
}

/* The same: its comma is written. */
static bool page_takes(struct page *p)
{
    bool has = page_has(p);
    p->at++;
    if (!has)
        return false;
    if (p->any)
        text_add(p->out, STR(","));
    p->any = true;
    return true;
}

/* Closes the list. */
static void page_end(const struct page *p)
{
    text_addf(p->out, "],\"total\":%" PRIu64, p->at);
    if (p->offset + p->limit < p->at)
        text_addf(p->out, ",\"next\":%" PRIu64, p->offset + p->limit);
    text_add(p->out, STR("}"));
}

/* "file", "changed" or "added". */
static const char *origin_of(struct api_call *c, const struct conf_node *n, struct str name)
{
    if (n->pos.line < CONF_JSON_LINE)
        return "file";
    return conf_tree_route(live_base(c->a->live), name) ? "changed" : "added";
}

static void put_route(struct api_call *c, struct text *out, const struct conf_node *n,
                      struct str within)
{
    const struct conf_node *name = conf_member(n, "name");
    text_addf(out, "{\"origin\":\"%s\"", origin_of(c, n, name ? name->text : STR("")));
    if (within.n) {
        text_add(out, STR(",\"within\":"));
        text_add_json(out, within);
    }
    for (const struct conf_node *m = n->first; m; m = m->next) {
        if (str_eq(m->key, STR("routes")))
            continue;
        text_add(out, STR(","));
        text_add_json(out, m->key);
        text_add(out, STR(":"));
        conf_node_print(m, out);
    }
    text_add(out, STR("}"));
}

/* Those within n. */
static void put_within(struct api_call *c, struct page *p, const struct conf_node *n)
{
    const struct conf_node *name = conf_member(n, "name"), *list = conf_member(n, "routes");
    for (const struct conf_node *r = list ? list->first : NULL; r; r = r->next) {
        if (page_takes(p))
            put_route(c, p->out, r, name ? name->text : STR(""));
        put_within(c, p, r);
    }
}

enum hook api_routes(struct api_call *c)
{
    struct conf_tree *tree = api_tree(c);
    struct text t = {0};
    struct page p;
    if (!tree || !page_of(c, &p, &t))
        return HOOK_REPLY;
    struct conf_walk walk = {0};
    const struct conf_node *n;
    text_add(&t, STR("{\"routes\":["));
    while ((n = conf_walk_next(tree, &walk, page_has(&p)))) {
        if (page_takes(&p))
            put_route(c, &t, n, STR(""));
        if (!tree->pieces)
            put_within(c, &p, n);
    }
    conf_walk_fini(&walk);
    page_end(&p);
    enum hook h = api_json(c, 200, &t);
    api_tag(c, c->a->live->number);
    return h;
}

/* Answers with a part of the configuration and its tag. */
static enum hook show_node(struct api_call *c, const struct conf_node *n)
{
    struct text t = {0};
    conf_node_print(n, &t);
    uint64_t hash = conf_node_hash(n);
    enum hook h = api_json(c, 200, &t);
    api_tag(c, hash);
    return h;
}

enum hook api_route(struct api_call *c)
{
    struct conf_tree *tree = api_tree(c);
    if (!tree)
        return HOOK_REPLY;
    const struct conf_node *n = conf_tree_route(tree, c->arg[0]);
    return n ? show_node(c, n)
             : api_problem(c->x, 404, "no-such-route", "there is no route \"%.*s\"",
                           STR_ARG(c->arg[0]));
}

/* The upstream of the path; NULL: a problem is the reply. */
const struct conf_node *api_upstream_node(struct api_call *c)
{
    struct conf_tree *tree = api_tree(c);
    const struct conf_node *u = tree ? conf_tree_upstream(tree, c->arg[0]) : NULL;
    if (tree && !u)
        (void) api_problem(c->x, 404, "no-such-upstream", "there is no upstream \"%.*s\"",
                           STR_ARG(c->arg[0]));
    return u;
}

enum hook api_upstream(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    return u ? show_node(c, u) : HOOK_REPLY;
}

enum hook api_endpoint(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    if (!u)
        return HOOK_REPLY;
    const struct conf_node *e = conf_tree_endpoint(u, c->arg[1]);
    return e ? show_node(c, e)
             : api_problem(c->x, 404, "no-such-endpoint",
                           "upstream \"%.*s\" has no endpoint \"%.*s\"", STR_ARG(c->arg[0]),
                           STR_ARG(c->arg[1]));
}

enum hook api_changes(struct api_call *c)
{
    struct text t = {0};
    const struct live *l = c->a->live;
    if (!api_tree(c))
        return HOOK_REPLY;
    size_t i;
    const json_t *item;
    text_addf(&t, "{\"kept\":%s,\"changes\":[", l->dir.n ? "true" : "false");
    json_array_foreach(l->list, i, item)
    {
        char *words = changes_words(item);
        text_add(&t, i ? STR(",{\"words\":") : STR("{\"words\":"));
        text_add_json(&t, str_c(words));
        text_add(&t, STR(",\"change\":"));
        conf_json_print(item, &t);
        const struct conf_node *was = changes_target(item, live_base(c->a->live));
        if (was) {
            text_add(&t, STR(",\"file\":"));
            conf_node_print(was, &t);
        }
        text_add(&t, STR("}"));
        mem_free(words);
    }
    text_add(&t, STR("]}"));
    enum hook h = api_json(c, 200, &t);
    api_tag(c, l->number);
    return h;
}

/* ---- upstreams as they are ----------------------------------------------------------------- */

static void put_totals(const struct admin *a, const struct upstream *u, struct text *out)
{
    static const char *const states[] = {"up",         "down",    "ejected",
                                         "unresolved", "drained", "resolving"};
    uint32_t n[sizeof states / sizeof states[0]] = {0};
    uint64_t requests = 0, failures = 0;
    struct histogram_sum sum = {0};
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const char *state = admin_endpoint_state(u->endpoints[i]);
        for (size_t s = 0; s < sizeof states / sizeof states[0]; s++)
            n[s] += str_eq(str_c(states[s]), str_c(state));
        for (unsigned w = 0; w < upstream_registry_workers(a->figures.registry); w++) {
            const struct endpoint_stats *es = &u->endpoints[i]->stats[w];
            requests += counter_get(&es->requests);
            for (int b = 0; b < BLAMES; b++)
                failures += counter_get(&es->failures[b]);
            histogram_sum_add(&sum, &es->latency);
        }
    }
    text_addf(out, ",\"active\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"failures\":%" PRIu64,
              upstream_active(u), requests, failures);
    text_addf(out, ",\"endpoints\":{\"total\":%" PRIu32, u->n_endpoints);
    for (size_t s = 0; s < sizeof states / sizeof states[0]; s++) {
        if (n[s])
            text_addf(out, ",\"%s\":%" PRIu32, states[s], n[s]);
    }
    text_add(out, STR("},\"first_byte\":["));
    for (size_t b = 0; b <= HISTOGRAM_BUCKETS; b++)
        text_addf(out, "%s%" PRIu64, b ? "," : "", sum.buckets[b]);
    text_add(out, STR("]}"));
}

enum hook api_upstreams(struct api_call *c)
{
    struct text t = {0};
    struct page p;
    const struct snapshot *s = c->a->snapshot;
    if (!page_of(c, &p, &t))
        return HOOK_REPLY;
    text_add(&t, STR("{\"first_byte_bounds_us\":["));
    for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++)
        text_addf(&t, "%s%" PRIu32, b ? "," : "", histogram_bounds[b]);
    text_add(&t, STR("],\"upstreams\":["));
    for (uint32_t i = 0; s && i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        if (!page_takes(&p))
            continue;
        text_add(&t, STR("{\"name\":"));
        text_add_json(&t, u->name);
        text_addf(&t, ",\"balance\":\"%s\"", u->balance->name);
        admin_breaker_write(u, &t);
        put_totals(c->a, u, &t);
    }
    page_end(&p);
    return api_json(c, 200, &t);
}

enum hook api_endpoints(struct api_call *c)
{
    struct text t = {0};
    struct page p;
    const struct snapshot *s = c->a->snapshot;
    struct str only = api_param(c, "upstream");
    bool known = only.n == 0;
    if (!page_of(c, &p, &t))
        return HOOK_REPLY;
    text_add(&t, STR("{\"endpoints\":["));
    for (uint32_t i = 0; s && i < s->n_upstreams; i++) {
        const struct upstream *u = s->upstreams[i];
        if (only.n && !str_eq(only, u->name))
            continue;
        known = true;
        for (uint32_t e = 0; e < u->n_endpoints; e++) {
            if (!page_takes(&p))
                continue;
            admin_endpoint_write(c->a, u->endpoints[e], &t);
            text_add(&t, STR(",\"upstream\":"));
            text_add_json(&t, u->name);
            bool drained =
                c->a->live && changes_drained(c->a->live->list, u->name, u->endpoints[e]->address);
            text_addf(&t, ",\"drained\":%s}", drained ? "true" : "false");
        }
    }
    if (!known) {
        text_fini(&t);
        return api_problem(c->x, 404, "no-such-upstream", "there is no upstream \"%.*s\"",
                           STR_ARG(only));
    }
    page_end(&p);
    return api_json(c, 200, &t);
}

/* The weight that is in force, or would be but for drained. */
static double weight_of(struct api_call *c, const struct conf_node *e, struct str address)
{
    const struct conf_node *n = conf_member(e, "weight");
    double weight = 1;
    if (changes_weight(c->a->live->list, c->arg[0], address, &weight))
        return weight;
    if (changes_drained(c->a->live->list, c->arg[0], address)) {
        /* What the tree says now is the 0 of drained. */
        const struct conf_node *u = conf_tree_upstream(live_base(c->a->live), c->arg[0]);
        const struct conf_node *was = u ? conf_tree_endpoint(u, address) : NULL;
        n = was ? conf_member(was, "weight") : NULL;
    }
    return n && sscanf(n->text.p, "%lf", &weight) == 1 ? weight : 1;
}

void api_put_weights(struct api_call *c, const struct conf_node *u, struct text *out)
{
    const struct conf_node *list = conf_member(u, "endpoints");
    text_add(out, STR("{"));
    for (const struct conf_node *e = list ? list->first : NULL; e; e = e->next) {
        const struct conf_node *address = conf_member(e, "address");
        text_add(out, e == list->first ? STR("") : STR(","));
        text_add_json(out, address ? address->text : STR(""));
        text_addf(out, ":%.6g", weight_of(c, e, address ? address->text : STR("")));
    }
    text_add(out, STR("}"));
}

enum hook api_weights(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    if (!u)
        return HOOK_REPLY;
    struct text t = {0};
    api_put_weights(c, u, &t);
    uint64_t hash = str_stable_hash(text_str(&t), 1);
    enum hook h = api_json(c, 200, &t);
    api_tag(c, hash);
    return h;
}
