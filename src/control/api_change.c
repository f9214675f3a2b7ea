/* SPDX-License-Identifier: Apache-2.0 */
/* api_change.c: what the API changes: routes, endpoints, weights, breakers. Each function makes a
 * new list of changes of the present one and puts it to use, all or nothing, before it answers.
 * Invariants:
 * 1. While a change is being kept on the disk no other one is begun: calls wait for their turn, in
 *    the order in which they came, and then begin anew.
 * 2. A change goes on, whatever becomes of the call that made it. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "control/api.h"

/* ---- waiting ------------------------------------------------------------------------------- */

struct api_wait {
    struct live_waiter waiter;
    struct live *live;
    struct exchange *x;
    bool begun; /* a change of its own */
};

static void wake(struct live_waiter *w)
{
    exchange_wake(list_entry(w, struct api_wait, waiter)->x);
}

static void wait_drop(void *p)
{
    struct api_wait *w = p;
    live_forget(w->live, &w->waiter);
    mem_free(w->waiter.why);
    text_fini(&w->waiter.json);
    mem_free(w);
}

/* What c waits with; NULL: memory, the exchange has failed. */
static struct api_wait *wait_of(struct api_call *c)
{
    if (c->wait)
        return c->wait;
    struct api_wait *w = mem_new(sizeof *w);
    *w = (struct api_wait){.waiter.wake = wake, .live = c->a->live, .x = c->x};
    if (api_keep(c->x, wait_drop, w))
        c->wait = w;
    return c->wait;
}

struct live_waiter *api_turn(struct api_call *c, enum hook *h)
{
    struct api_wait *w = wait_of(c);
    *h = w ? HOOK_WAIT : HOOK_FAIL;
    if (!w || !live_busy(c->a->live))
        return w ? &w->waiter : NULL;
    live_wait(c->a->live, &w->waiter);
    return NULL;
}

bool api_is_changing(const struct api_call *c)
{
    return c->wait && c->wait->begun;
}

/* ---- making a change ----------------------------------------------------------------------- */

/* Answers: the change is made, or the report says why not. */
static enum hook finish(struct api_call *c, enum live_result result, struct live_report *report)
{
    const struct conf_node *u = NULL;
    if (result == LIVE_DONE)
        return c->about.answer(c);
    bool tree = result == LIVE_INVALID && report->tree;
    if (tree && c->about.endpoint.n)
        u = conf_tree_upstream(report->tree, c->arg[0]);
    if (tree)
        report->subject = u ? conf_tree_endpoint(u, c->about.endpoint)
                            : conf_tree_route(report->tree, c->about.route);
    enum hook h = api_refused(c, result, report);
    live_report_fini(report);
    return h;
}

enum hook api_changed(struct api_call *c)
{
    struct live_waiter *w = &c->wait->waiter;
    struct live_report report = {.why = w->why};
    if (!w->over)
        return HOOK_WAIT;
    c->wait->begun = false;
    if (c->about.load)
        return api_loaded(c, w->result, w);
    w->why = NULL;
    return finish(c, w->result, &report);
}

static enum live_result make(struct api_call *c, const struct live_order *order,
                             struct live_report *report)
{
    const struct api_about *about = &c->about;
    if (about->route.n)
        return live_change_route(c->a->live, order, about->route, about->removed ? NULL : c->json,
                                 report);
    return live_change(c->a->live, order, report);
}

/* Makes list (taken) the changes in force and answers, or waits for that or for its turn. */
static enum hook apply(struct api_call *c, json_t *list, struct api_about about, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));

static enum hook apply(struct api_call *c, json_t *list, struct api_about about, const char *format,
                       ...)
{
    struct live_report report;
    char words[512];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    c->about = about;
    enum hook h;
    struct live_waiter *w = api_turn(c, &h);
    if (!w) {
        json_decref(list);
        return h;
    }
    struct live_order order = {list, words, w};
    enum live_result result = make(c, &order, &report);
    c->wait->begun = result == LIVE_WAITS;
    return c->wait->begun ? HOOK_WAIT : finish(c, result, &report);
}

enum hook api_loaded(struct api_call *c, enum live_result result, struct live_waiter *w)
{
    struct live_report report = {.why = w->why};
    c->about.load = true;
    c->wait->begun = result == LIVE_WAITS;
    if (result == LIVE_WAITS)
        return HOOK_WAIT;
    if (result == LIVE_DONE) {
        struct text json = w->json;
        w->json = (struct text){0};
        return api_json(c, 200, &json);
    }
    w->why = NULL;
    return finish(c, result, &report);
}

/* "kept": whether a restart knows of it. */
static void begin_answer(struct api_call *c, struct text *t)
{
    text_addf(t, "{\"kept\":%s", c->a->live->dir.n ? "true" : "false");
}

static enum hook done(struct api_call *c)
{
    struct text t = {0};
    begin_answer(c, &t);
    text_add(&t, STR("}"));
    return api_json(c, 200, &t);
}

/* Answers with a part of the configuration after its change. */
static enum hook done_with(struct api_call *c, const char *what, const struct conf_node *n)
{
    struct text t = {0};
    if (!n) /* another change took it away before this was told */
        return done(c);
    begin_answer(c, &t);
    text_addf(&t, ",\"%s\":", what);
    conf_node_print(n, &t);
    text_add(&t, STR("}"));
    uint64_t hash = conf_node_hash(n);
    enum hook h = api_json(c, c->about.status, &t);
    api_tag(c, hash);
    return h;
}

static enum hook route_done(struct api_call *c)
{
    return done_with(c, "route", conf_tree_route(live_now(c->a->live), c->about.route));
}

static enum hook endpoint_done(struct api_call *c)
{
    const struct conf_node *u = conf_tree_upstream(live_now(c->a->live), c->arg[0]);
    return done_with(c, "endpoint", u ? conf_tree_endpoint(u, c->about.endpoint) : NULL);
}

/* ---- routes -------------------------------------------------------------------------------- */

/* The names in a body that other routes have. */
struct taken {
    const struct conf_tree *now;
    const struct conf_node *place; /* what is replaced: its names are free; NULL: nothing */
    struct str found;
};

static bool within(const struct conf_node *outer, const struct conf_node *n)
{
    if (outer == n)
        return true;
    const struct conf_node *list = conf_member(outer, "routes");
    for (const struct conf_node *r = list ? list->first : NULL; r; r = r->next) {
        if (within(r, n))
            return true;
    }
    return false;
}

static void look_name(void *arg, struct str name)
{
    struct taken *t = arg;
    const struct conf_node *other = conf_tree_route(t->now, name);
    if (other && !(t->place && within(t->place, other)))
        t->found = name;
}

/* A name of the body that is taken elsewhere, in c's arena; empty: none. */
static struct str name_taken(struct api_call *c, const struct conf_tree *now,
                             const struct conf_node *place)
{
    struct arena a;
    struct conf_errors e;
    struct taken t = {.now = now, .place = place};
    unsigned line = 0;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    struct conf_node *n = conf_node_of_json(c->json, &a, &line, &e);
    if (n)
        conf_tree_names(n, look_name, &t);
    struct str found = t.found.n ? arena_str(&c->x->arena, t.found) : STR("");
    conf_errors_fini(&e);
    arena_fini(&a);
    return found;
}

/* The body is an object whose key is missing or says `is`; false: a problem is the reply. */
static bool body_names(struct api_call *c, const char *key, struct str is)
{
    const json_t *v = json_is_object(c->json) ? json_object_get(c->json, key) : NULL;
    if (!json_is_object(c->json)) {
        (void) api_problem(c->x, 400, "body", "the body must be a JSON object");
        return false;
    }
    if (v &&
        (!json_is_string(v) || !str_eq(str_of(json_string_value(v), json_string_length(v)), is))) {
        (void) api_problem(c->x, 400, "name",
                           "%s in the body is not that of the path; a name cannot be changed, add "
                           "the new one and remove the old one",
                           key);
        return false;
    }
    if (!v)
        json_object_set_new(c->json, key, json_stringn(is.p, is.n));
    return true;
}

static enum hook set_route(struct api_call *c, struct str name)
{
    struct live *l = c->a->live;
    struct conf_tree *now = live_now(l);
    const struct conf_node *old = conf_tree_route(now, name);
    struct str outer = api_param(c, "within");
    if (!api_matches(c, old, old ? conf_node_hash(old) : 0))
        return HOOK_REPLY;
    if (outer.n && !conf_tree_route(now, outer))
        return api_problem(c->x, 404, "no-such-route", "there is no route \"%.*s\" to be within",
                           STR_ARG(outer));
    struct str other = name_taken(c, now, old);
    if (other.n)
        return api_problem(c->x, 409, "name-taken", "there is a route \"%.*s\" already",
                           STR_ARG(other));
    json_t *list = changes_set_route(l->list, live_base(l), now, name, outer, c->json);
    struct api_about about = {.route = name, .status = old ? 200 : 201, .answer = route_done};
    return apply(c, list, about, "route \"%.*s\": %s", STR_ARG(name), old ? "replaced" : "added");
}

enum hook api_route_set(struct api_call *c)
{
    if (!api_tree(c) || !body_names(c, "name", c->arg[0]))
        return HOOK_REPLY;
    return set_route(c, c->arg[0]);
}

enum hook api_route_add(struct api_call *c)
{
    struct conf_tree *now = api_tree(c);
    const json_t *v = json_is_object(c->json) ? json_object_get(c->json, "name") : NULL;
    if (!now)
        return HOOK_REPLY;
    if (!json_is_string(v) || json_string_length(v) == 0)
        return api_problem(c->x, 400, "name", "name is missing: the body must be a route with one");
    struct str name = arena_str(&c->x->arena, str_of(json_string_value(v), json_string_length(v)));
    if (conf_tree_route(now, name))
        return api_problem(c->x, 409, "name-taken",
                           "there is a route \"%.*s\" already; PUT replaces it", STR_ARG(name));
    return set_route(c, name);
}

enum hook api_route_remove(struct api_call *c)
{
    struct live *l = c->a->live;
    struct conf_tree *now = api_tree(c);
    if (!now)
        return HOOK_REPLY;
    const struct conf_node *old = conf_tree_route(now, c->arg[0]);
    if (!api_matches(c, old, old ? conf_node_hash(old) : 0))
        return HOOK_REPLY;
    if (!old)
        return api_problem(c->x, 404, "no-such-route", "there is no route \"%.*s\"",
                           STR_ARG(c->arg[0]));
    json_t *list = changes_remove_route(l->list, live_base(l), now, c->arg[0]);
    struct api_about about = {.route = c->arg[0], .removed = true, .answer = done};
    return apply(c, list, about, "route \"%.*s\": removed", STR_ARG(c->arg[0]));
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static enum hook set_endpoint(struct api_call *c, const struct conf_node *u, struct str address)
{
    struct live *l = c->a->live;
    const struct conf_node *old = conf_tree_endpoint(u, address);
    if (!api_matches(c, old, old ? conf_node_hash(old) : 0))
        return HOOK_REPLY;
    json_t *list = changes_set_endpoint(l->list, live_base(l), c->arg[0], address, c->json);
    struct api_about about = {
        .endpoint = address, .status = old ? 200 : 201, .answer = endpoint_done};
    return apply(c, list, about, "upstream \"%.*s\", endpoint %.*s: %s", STR_ARG(c->arg[0]),
                 STR_ARG(address), old ? "replaced" : "added");
}

enum hook api_endpoint_set(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    if (!u || !body_names(c, "address", c->arg[1]))
        return HOOK_REPLY;
    return set_endpoint(c, u, c->arg[1]);
}

enum hook api_endpoint_add(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    const json_t *v = json_is_object(c->json) ? json_object_get(c->json, "address") : NULL;
    if (!u)
        return HOOK_REPLY;
    if (!json_is_string(v) || json_string_length(v) == 0)
        return api_problem(c->x, 400, "address",
                           "address is missing: the body must be an endpoint with one");
    struct str address =
        arena_str(&c->x->arena, str_of(json_string_value(v), json_string_length(v)));
    if (conf_tree_endpoint(u, address))
        return api_problem(c->x, 409, "endpoint-taken",
                           "upstream \"%.*s\" has that endpoint already; PUT replaces it",
                           STR_ARG(c->arg[0]));
    return set_endpoint(c, u, address);
}

/* The endpoint of the path; NULL: a problem is the reply. */
static const struct conf_node *endpoint_of(struct api_call *c)
{
    const struct conf_node *u = api_upstream_node(c);
    const struct conf_node *e = u ? conf_tree_endpoint(u, c->arg[1]) : NULL;
    if (u && !e)
        (void) api_problem(c->x, 404, "no-such-endpoint",
                           "upstream \"%.*s\" has no endpoint \"%.*s\"", STR_ARG(c->arg[0]),
                           STR_ARG(c->arg[1]));
    return e && api_matches(c, true, conf_node_hash(e)) ? e : NULL;
}

enum hook api_endpoint_remove(struct api_call *c)
{
    struct live *l = c->a->live;
    if (!endpoint_of(c))
        return HOOK_REPLY;
    json_t *list = changes_set_endpoint(l->list, live_base(l), c->arg[0], c->arg[1], NULL);
    struct api_about about = {.answer = done};
    return apply(c, list, about, "upstream \"%.*s\", endpoint %.*s: removed", STR_ARG(c->arg[0]),
                 STR_ARG(c->arg[1]));
}

static enum hook drain(struct api_call *c, bool drained)
{
    struct live *l = c->a->live;
    if (!endpoint_of(c))
        return HOOK_REPLY;
    json_t *list = changes_drain(l->list, live_base(l), c->arg[0], c->arg[1], drained);
    struct api_about about = {.endpoint = c->arg[1], .answer = done};
    return apply(c, list, about, "upstream \"%.*s\", endpoint %.*s: %s", STR_ARG(c->arg[0]),
                 STR_ARG(c->arg[1]), drained ? "drained" : "no longer drained");
}

enum hook api_drain(struct api_call *c)
{
    return drain(c, true);
}

enum hook api_undrain(struct api_call *c)
{
    return drain(c, false);
}

/* ---- weights ------------------------------------------------------------------------------- */

/* The body is a map of weights of u's endpoints; false: a problem is the reply. */
static bool weights_good(struct api_call *c, const struct conf_node *u)
{
    const char *address;
    json_t *weight;
    if (!json_is_object(c->json)) {
        (void) api_problem(c->x, 400, "body", "the body must be an object: address to weight");
        return false;
    }
    json_object_foreach(c->json, address, weight)
    {
        if (!conf_tree_endpoint(u, str_c(address))) {
            (void) api_problem(c->x, 404, "no-such-endpoint",
                               "upstream \"%.*s\" has no endpoint \"%.200s\"", STR_ARG(c->arg[0]),
                               address);
            return false;
        }
        double w = json_is_number(weight) ? json_number_value(weight) : -1;
        if (!(w >= 0 && w <= 100)) {
            (void) api_problem(c->x, 422, "weight",
                               "the weight of %.200s must be a number from 0 "
                               "to 100",
                               address);
            return false;
        }
    }
    return true;
}

/* all: who is not named gets the weight of the file. */
static enum hook weigh(struct api_call *c, bool all)
{
    struct live *l = c->a->live;
    const struct conf_node *u = api_upstream_node(c);
    struct text t = {0};
    if (!u || !weights_good(c, u))
        return HOOK_REPLY;
    api_put_weights(c, u, &t);
    uint64_t hash = str_stable_hash(text_str(&t), 1);
    text_fini(&t);
    if (!api_matches(c, true, hash))
        return HOOK_REPLY;
    json_t *list = json_incref(l->list);
    const struct conf_node *endpoints = conf_member(u, "endpoints");
    for (const struct conf_node *e = endpoints ? endpoints->first : NULL; e; e = e->next) {
        const struct conf_node *address = conf_member(e, "address");
        const json_t *w = address ? json_object_get(c->json, address->text.p) : NULL;
        if (!address || !(w || all))
            continue;
        json_t *next = changes_weigh(list, live_base(l), c->arg[0], address->text,
                                     w ? json_number_value(w) : -1);
        json_decref(list);
        list = next;
    }
    struct api_about about = {.answer = api_weights};
    return apply(c, list, about, "upstream \"%.*s\": weights set", STR_ARG(c->arg[0]));
}

enum hook api_weights_set(struct api_call *c)
{
    return weigh(c, true);
}

enum hook api_weights_patch(struct api_call *c)
{
    return weigh(c, false);
}

/* ---- breakers, all changes ----------------------------------------------------------------- */

enum hook api_breaker_set(struct api_call *c)
{
    struct live *l = c->a->live;
    const struct conf_node *u = api_upstream_node(c);
    const char *state = json_string_value(json_object_get(c->json, "state"));
    struct str word = str_c(state), kept = STR("auto");
    if (!u || !api_config_matches(c))
        return HOOK_REPLY;
    if (!str_eq(word, STR("open")) && !str_eq(word, STR("close")) && !str_eq(word, STR("auto")))
        return api_problem(c->x, 400, "state", "state must be open, close or auto");
    const struct conf_node *conf = conf_member(u, "breaker");
    if (!conf)
        return api_problem(c->x, 409, "no-breaker",
                           "upstream \"%.*s\" has no breaker; give it one: breaker: on",
                           STR_ARG(c->arg[0]));
    if (!str_eq(word, STR("auto")))
        kept = str_eq(word, STR("open")) ? STR("open") : STR("closed");
    struct api_about about = {.answer = done};
    return apply(c, changes_hold(l->list, c->arg[0], kept), about, "upstream \"%.*s\": breaker %s",
                 STR_ARG(c->arg[0]), state);
}

enum hook api_changes_discard(struct api_call *c)
{
    if (!api_tree(c) || !api_config_matches(c))
        return HOOK_REPLY;
    struct api_about about = {.answer = done};
    return apply(c, json_array(), about, "changes made at run time: all discarded");
}
