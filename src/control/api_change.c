/* SPDX-License-Identifier: Apache-2.0 */
/* api_change.c: what the API changes: routes, endpoints, weights, breakers. Each function makes a
 * new list of changes of the present one and puts it to use, all or nothing, before it answers. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "control/api.h"

/* What a change is about: a route or an endpoint of the upstream that the path names. */
struct about {
    struct str route, endpoint;
    bool removed;
};

static enum live_result make(struct api_call *c, json_t *list, const struct about *about,
                             const char *words, struct live_report *report)
{
    if (about->route.n)
        return live_change_route(c->a->live, list, about->route, about->removed ? NULL : c->json,
                                 words, report);
    return live_change(c->a->live, list, words, report);
}

/* Makes list (taken) the changes in force. True: it is done; else the reply says why not. */
static bool apply(struct api_call *c, json_t *list, struct about about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static bool apply(struct api_call *c, json_t *list, struct about about, const char *format, ...)
{
    struct live_report report;
    char words[512];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    enum live_result result = make(c, list, &about, words, &report);
    if (result == LIVE_DONE)
        return true;
    const struct conf_node *u = NULL;
    if (result == LIVE_INVALID && about.endpoint.n)
        u = conf_tree_upstream(report.tree, c->arg[0]);
    if (result == LIVE_INVALID)
        report.subject =
            u ? conf_tree_endpoint(u, about.endpoint) : conf_tree_route(report.tree, about.route);
    (void) api_refused(c, result, &report);
    live_report_fini(&report);
    return false;
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
static enum hook done_with(struct api_call *c, uint16_t status, const char *what,
                           const struct conf_node *n)
{
    struct text t = {0};
    begin_answer(c, &t);
    text_addf(&t, ",\"%s\":", what);
    conf_node_print(n, &t);
    text_add(&t, STR("}"));
    uint64_t hash = conf_node_hash(n);
    enum hook h = api_json(c, status, &t);
    api_tag(c, hash);
    return h;
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
    if (!apply(c, list, (struct about){.route = name}, "route \"%.*s\": %s", STR_ARG(name),
               old ? "replaced" : "added"))
        return HOOK_REPLY;
    return done_with(c, old ? 200 : 201, "route", conf_tree_route(live_now(l), name));
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
    if (!apply(c, list, (struct about){.route = c->arg[0], .removed = true},
               "route \"%.*s\": removed", STR_ARG(c->arg[0])))
        return HOOK_REPLY;
    return done(c);
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static enum hook set_endpoint(struct api_call *c, const struct conf_node *u, struct str address)
{
    struct live *l = c->a->live;
    const struct conf_node *old = conf_tree_endpoint(u, address);
    if (!api_matches(c, old, old ? conf_node_hash(old) : 0))
        return HOOK_REPLY;
    json_t *list = changes_set_endpoint(l->list, live_base(l), c->arg[0], address, c->json);
    if (!apply(c, list, (struct about){.endpoint = address}, "upstream \"%.*s\", endpoint %.*s: %s",
               STR_ARG(c->arg[0]), STR_ARG(address), old ? "replaced" : "added"))
        return HOOK_REPLY;
    u = conf_tree_upstream(live_now(l), c->arg[0]);
    return done_with(c, old ? 200 : 201, "endpoint", conf_tree_endpoint(u, address));
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
    if (!apply(c, list, (struct about){0}, "upstream \"%.*s\", endpoint %.*s: removed",
               STR_ARG(c->arg[0]), STR_ARG(c->arg[1])))
        return HOOK_REPLY;
    return done(c);
}

static enum hook drain(struct api_call *c, bool drained)
{
    struct live *l = c->a->live;
    if (!endpoint_of(c))
        return HOOK_REPLY;
    json_t *list = changes_drain(l->list, live_base(l), c->arg[0], c->arg[1], drained);
    if (!apply(c, list, (struct about){.endpoint = c->arg[1]},
               "upstream \"%.*s\", endpoint %.*s: %s", STR_ARG(c->arg[0]), STR_ARG(c->arg[1]),
               drained ? "drained" : "no longer drained"))
        return HOOK_REPLY;
    return done(c);
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
    if (!apply(c, list, (struct about){0}, "upstream \"%.*s\": weights set", STR_ARG(c->arg[0])))
        return HOOK_REPLY;
    return api_weights(c);
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
    if (!apply(c, changes_hold(l->list, c->arg[0], kept), (struct about){0},
               "upstream \"%.*s\": breaker %s", STR_ARG(c->arg[0]), state))
        return HOOK_REPLY;
    return done(c);
}

enum hook api_changes_discard(struct api_call *c)
{
    if (!api_tree(c) || !api_config_matches(c))
        return HOOK_REPLY;
    if (!apply(c, json_array(), (struct about){0}, "changes made at run time: all discarded"))
        return HOOK_REPLY;
    return done(c);
}
