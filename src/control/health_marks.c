/* SPDX-License-Identifier: Apache-2.0 */
/* health_marks.c: see health_marks.h. One object a mark: of a check {upstream, endpoint, up, row,
 * known, drained, evidence, at}, of an ejection {upstream, endpoint, until, times}, of response
 * times {upstream, endpoint, ewma}, of a breaker {breaker, until, times}. */
#include "control/health_marks.h"

#include "base/map.h"
#include "base/mem.h"
#include "control/health_inside.h"
#include "upstream/eject.h"
#include "upstream/health.h"

static json_t *text_fact(struct str s)
{
    return json_stringn(s.p, s.n);
}

static json_t *mark_of(const struct endpoint *e)
{
    json_t *m = json_object();
    json_object_set_new(m, "upstream", text_fact(e->upstream_name));
    json_object_set_new(m, "endpoint", text_fact(e->address));
    return m;
}

static void put(json_t *m, const char *key, uint64_t n)
{
    json_object_set_new(m, key, json_integer((json_int_t) n));
}

static uint64_t number(const json_t *m, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(m, key));
    return n > 0 ? (uint64_t) n : 0;
}

static struct str word(const json_t *m, const char *key)
{
    return str_c(json_string_value(json_object_get(m, key)));
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_check(const struct check *c, json_t *list)
{
    const struct endpoint_checked *k = &c->endpoint->checked;
    if (!c->state.decided)
        return;
    json_t *m = mark_of(c->endpoint);
    json_object_set_new(m, "up", json_boolean(c->state.up));
    json_object_set_new(m, "drained", json_boolean(c->drained));
    put(m, "row", c->state.row);
    put(m, "known", c->state.known);
    put(m, "at", (uint64_t) k->at);
    if (k->evidence)
        json_object_set_new(m, "evidence", json_string(k->evidence));
    json_array_append_new(list, m);
}

/* What its answers showed. */
static void write_endpoint(void *arg, struct endpoint *e)
{
    usec_t until;
    uint32_t times;
    uint64_t ewma = atomic_load(&e->ewma_us);
    if (ewma) {
        json_t *m = mark_of(e);
        put(m, "ewma", ewma);
        json_array_append_new(arg, m);
    }
    if (!eject_left_out(e, &until, &times))
        return;
    json_t *m = mark_of(e);
    put(m, "until", until);
    put(m, "times", times);
    json_array_append_new(arg, m);
}

static void write_breaker(void *arg, struct breaker *b, const struct breaker_conf *c)
{
    usec_t until;
    uint32_t times;
    (void) c;
    if (!breaker_left(b, &until, &times))
        return;
    json_t *m = json_object();
    json_object_set_new(m, "breaker", json_string(b->name));
    put(m, "until", until);
    put(m, "times", times);
    json_array_append_new(arg, m);
}

void health_marks_write(struct health_checks *h, json_t *list)
{
    list_each(node, &h->list)
        write_check(list_entry(node, struct check, node), list);
    upstream_registry_each(h->worker->upstream.registry, write_endpoint, list);
    upstream_breakers_each(h->worker->upstream.registry, write_breaker, list);
}

/* ---- taking ---------------------------------------------------------------------------------- */

struct taking {
    struct map checks, ejections, times; /* by "upstream\nendpoint" -> json_t */
    struct map breakers;                 /* by name */
};

static const json_t *find(const struct map *m, const struct endpoint *e)
{
    char *key = mem_printf("%.*s\n%.*s", STR_ARG(e->upstream_name), STR_ARG(e->address));
    const json_t *v = map_get(m, str_c(key));
    mem_free(key);
    return v;
}

static void take_check(struct check *c, const json_t *m)
{
    struct endpoint_checked *k = &c->endpoint->checked;
    struct check_state s = {.up = json_is_true(json_object_get(m, "up")),
                            .decided = true,
                            .row = (uint32_t) number(m, "row"),
                            .known = number(m, "known")};
    if (c->state.decided && c->state.known >= s.known)
        return;
    (void) check_state_expire(&s, c->conf, loop_now(c->worker->loop));
    c->state = s;
    c->drained = json_is_true(json_object_get(m, "drained"));
    mem_free(k->evidence);
    k->evidence = mem_strdup(word(m, "evidence"));
    k->at = (int64_t) number(m, "at");
    k->row = s.row;
    if (atomic_load(&c->endpoint->up) != s.up)
        endpoint_set_up(c->endpoint, s.up, "so the process before this one had found");
}

static void take_endpoint(void *arg, struct endpoint *e)
{
    const struct taking *t = arg;
    const json_t *m = find(&t->ejections, e), *times = find(&t->times, e);
    uint64_t none = 0;
    if (m)
        eject_leave_out(e, number(m, "until"), (uint32_t) number(m, "times"));
    if (times)
        (void) atomic_compare_exchange_strong(&e->ewma_us, &none, number(times, "ewma"));
}

static void take_breaker(void *arg, struct breaker *b, const struct breaker_conf *c)
{
    const struct taking *t = arg;
    const json_t *m = map_get(&t->breakers, str_c(b->name));
    if (m)
        breaker_follow(b, c, clock_now(), number(m, "until"), (uint32_t) number(m, "times"));
}

/* Puts the mark where it is found again. */
static void sort_mark(struct taking *t, json_t *m)
{
    struct str upstream = word(m, "upstream"), endpoint = word(m, "endpoint");
    if (word(m, "breaker").n) {
        map_set(&t->breakers, word(m, "breaker"), m);
        return;
    }
    struct map *of = json_object_get(m, "until")  ? &t->ejections
                     : json_object_get(m, "ewma") ? &t->times
                                                  : &t->checks;
    char *key = mem_printf("%.*s\n%.*s", STR_ARG(upstream), STR_ARG(endpoint));
    map_set(of, str_c(key), m);
    mem_free(key);
}

void health_marks_take(struct health_checks *h, const json_t *list)
{
    struct taking t = {0};
    size_t i;
    json_t *m;
    json_array_foreach(list, i, m) sort_mark(&t, m);
    list_each(node, &h->list) {
        struct check *c = list_entry(node, struct check, node);
        const json_t *known = find(&t.checks, c->endpoint);
        if (known)
            take_check(c, known);
    }
    upstream_registry_each(h->worker->upstream.registry, take_endpoint, &t);
    upstream_breakers_each(h->worker->upstream.registry, take_breaker, &t);
    map_fini(&t.checks);
    map_fini(&t.ejections);
    map_fini(&t.times);
    map_fini(&t.breakers);
}
