/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of building snapshots: what is in them, what two share, what C code may ask for. */
#include <malloc.h>
#include <unistd.h>

#include "base/text.h"
#include "control/control_test.h"
#include "control/snapshot.h"

struct world {
    struct upstream_registry *registry;
};

static int make_world(void **state)
{
    struct world *w = mem_new(sizeof *w);
    w->registry = upstream_registry_new(3);
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    struct world *w = *state;
    upstream_registry_free(w->registry);
    mem_free(w);
    return 0;
}

static struct snapshot_inputs inputs(struct world *w, const struct snapshot *previous)
{
    return (struct snapshot_inputs){
        .registry = w->registry, .features = &test_set, .previous = previous, .n_workers = 2};
}

/* The snapshot of a good text; nothing of the text is needed afterwards. */
static struct snapshot *build(struct world *w, const char *text, const struct snapshot *previous)
{
    struct snapshot_inputs in = inputs(w, previous);
    struct conf_loaded *l = load_good(text);
    char *errors;
    struct snapshot *s = conf_loaded_snapshot(l, &in, &errors);
    if (!s)
        fail_msg("refused: %s", errors);
    conf_loaded_free(l);
    return s;
}

static struct route *named(const struct snapshot *s, const char *name)
{
    struct route *r = snapshot_named(s, str_c(name));
    if (!r)
        fail_msg("no route %s", name);
    return r;
}

#define UP "upstreams: {o: 127.0.0.1:9000, p: 127.0.0.1:9001}\n"

static void fills_a_snapshot(void **state)
{
    struct snapshot *s = build(*state,
                               UP "listeners: [127.0.0.1:8080, \"[::1]:81\"]\n"
                                  "trusted_proxies: [10.0.0.0/8, unix]\n"
                                  "limits: {head: 16KiB, response_head: 8KiB}\n"
                                  "routes:\n"
                                  "  - {match: /a/*, to: o, meta: {team: x}, stamp: {text: t}}\n"
                                  "  - {match: {host: H.com, path: /r}, redirect: /new}\n"
                                  "  - {name: last, reply: {status: 404, body: no}, buffer: "
                                  "fixed}\n",
                               NULL);
    assert_int_equal(s->generation, 1);
    assert_int_equal(atomic_load(&s->holders), 3);
    assert_int_equal(s->n_listeners, 2);
    assert_true(str_eq(s->listeners[1].conf.name, STR("[::1]:81")));
    assert_int_equal(addr_port(&s->listeners[1].addr), 81);
    assert_int_equal(s->n_trusted, 1);
    assert_true(s->trust_unix);
    assert_int_equal(s->request_limits.head, 16384);
    assert_true(s->memory_limit > 0);
    assert_int_equal(s->n_routes, 3);
    const struct route *a = named(s, "/a/*"), *r = named(s, "h.com/r"), *last = named(s, "last");
    assert_int_equal(a->plan->action, ROUTE_UPSTREAM);
    assert_true(str_eq(a->plan->upstream->name, STR("o")));
    assert_int_equal(a->plan->settings->response_limits.head, 8192);
    assert_int_equal(a->plan->settings->buffer.size, 1u << 20);
    assert_int_equal(a->plan->settings->meta.n, 1);
    assert_true(str_eq(a->plan->settings->via_line, STR("Via: 1.1 weir\r\n")));
    assert_int_equal(r->plan->action, ROUTE_REDIRECT);
    assert_true(str_eq(r->plan->redirect.to, STR("/new")));
    assert_true(str_eq(last->plan->reply.body, STR("no")));
    assert_int_equal(last->plan->settings->buffer.size, 64u << 10);
    assert_int_equal(a->index, ROUTE_UNUSED); /* numbered by its first request */
    assert_true(str_eq(s->fallback->name, STR("_none")));
    snapshot_free(s);
}

static void lists_active_hooks(void **state)
{
    struct snapshot *s = build(*state,
                               UP "routes:\n"
                                  "  - {name: on, match: /a, to: o, stamp: {text: t}}\n"
                                  "  - {name: part, match: /b, to: o, stamp: {text: t, count: 0}}\n"
                                  "  - {name: off, to: o}\n",
                               NULL);
    const struct route *on = named(s, "on"), *off = named(s, "off"), *part = named(s, "part");
    assert_int_equal(on->plan->hooks[ON_ACCESS].n, 1);
    assert_int_equal(on->plan->hooks[ON_ACCESS].v[0].slot, on->plan->slots[1]);
    assert_int_equal(off->plan->hooks[ON_ACCESS].n, 0);
    /* Response hooks run in reverse. */
    assert_int_equal(on->plan->hooks[ON_RESPONSE_HEAD].n, 2);
    assert_int_equal(on->plan->hooks[ON_RESPONSE_HEAD].v[0].slot, on->plan->slots[1]);
    assert_int_equal(on->plan->hooks[ON_RESPONSE_HEAD].v[1].slot, on->plan->slots[0]);
    assert_int_equal(off->plan->hooks[ON_FINISH].n, 1);
    /* A hook that would do nothing there is not called. */
    assert_int_equal(part->plan->hooks[ON_ACCESS].n, 1);
    assert_int_equal(part->plan->hooks[ON_RESPONSE_HEAD].n, 1);
    assert_ptr_equal(part->plan->hooks[ON_RESPONSE_HEAD].v[0].feature,
                     off->plan->hooks[ON_FINISH].v[0].feature);
    assert_int_equal(on->plan->slots[0], 0);
    assert_int_equal(on->plan->slots[1], 16);
    assert_int_equal(on->plan->slots_bytes, 48);
    assert_int_equal(off->plan->slots_bytes, 16);
    const struct stamp_conf *c = on->plan->feature_conf[1];
    assert_true(str_eq(c->text, STR("t")));
    assert_non_null(off->plan->feature_conf[1]);
    assert_ptr_equal(off->plan->feature_conf[0], on->plan->feature_conf[0]);
    snapshot_free(s);
}

static void shares_what_is_equal(void **state)
{
    const char *text = UP "routes:\n"
                          "  - {name: a, match: /a, to: o}\n"
                          "  - {name: b, match: /b, to: p, timeouts: {exchange: 1s}}\n";
    struct snapshot *one = build(*state, text, NULL);
    struct snapshot *two = build(*state,
                                 UP "# other lines, another match\n"
                                    "routes:\n"
                                    "  - {name: b, match: /b, to: p, timeouts: {exchange: 2s}}\n"
                                    "  - {name: a, match: /elsewhere, to: o}\n",
                                 one);
    assert_int_equal(two->generation, 2);
    assert_ptr_equal(named(two, "a"), named(one, "a"));
    assert_ptr_not_equal(named(two, "b"), named(one, "b"));
    assert_ptr_equal(two->fallback, one->fallback);
    assert_ptr_equal(two->upstreams[0], one->upstreams[0]);
    struct snapshot *three = build(*state,
                                   "upstreams: {o: {endpoints: [127.0.0.1:9000], pool: {max_idle: "
                                   "1}}, p: 127.0.0.1:9001}\n"
                                   "routes:\n"
                                   "  - {name: a, match: /a, to: o}\n"
                                   "  - {name: b, match: /b, to: p, timeouts: {exchange: 2s}}\n",
                                   two);
    snapshot_free(one);
    assert_ptr_not_equal(three->upstreams[0], two->upstreams[0]);
    assert_ptr_not_equal(named(three, "a"), named(two, "a"));
    assert_ptr_equal(named(three, "a")->plan->upstream, three->upstreams[0]);
    assert_ptr_equal(named(three, "b"), named(two, "b"));
    snapshot_free(two);
    assert_true(str_eq(named(three, "b")->plan->upstream->name, STR("p")));
    snapshot_free(three);
}

static void routes_that_do_the_same_have_one_plan(void **state)
{
    struct snapshot *s = build(*state,
                               "upstreams: {o: 127.0.0.1:9000, p: 127.0.0.1:9001,\n"
                               "  q: {endpoints: [127.0.0.1:9002], breaker: {scope: route}}}\n"
                               "routes:\n"
                               "  - {name: a, match: /a, to: o}\n"
                               "  - {name: b, match: /b, to: o}\n"
                               "  - {name: other, match: /c, to: p}\n"
                               "  - {name: slow, match: /d, to: o, timeouts: {exchange: 2s}}\n"
                               "  - {name: cut, match: /e/*, to: o, rewrite: {strip_prefix: /e}}\n"
                               "  - {name: q1, match: /q1, to: q}\n"
                               "  - {name: q2, match: /q2, to: q}\n",
                               NULL);
    const struct plan *plan = named(s, "a")->plan;
    assert_ptr_equal(named(s, "b")->plan, plan);
    assert_ptr_equal(plan->upstream, s->upstreams[0]);
    assert_ptr_equal(named(s, "other")->plan->upstream, s->upstreams[1]);
    assert_true(named(s, "slow")->plan->settings->timeouts.exchange == 2 * USEC_PER_SEC);
    assert_true(plan->settings->timeouts.exchange == 0);
    assert_ptr_not_equal(named(s, "cut")->plan, plan);
    assert_non_null(named(s, "cut")->plan->rewrite);
    assert_null(plan->rewrite);
    assert_non_null(named(s, "q1")->plan->breaker);
    assert_ptr_not_equal(named(s, "q1")->plan->breaker, named(s, "q2")->plan->breaker);
    snapshot_free(s);
}

static void a_route_outlives_its_snapshot(void **state)
{
    struct snapshot *s =
        build(*state, UP "routes: [{name: a, to: o, meta: {k: v}, stamp: {text: t}}]\n", NULL);
    struct route *r = route_ref(named(s, "a"));
    snapshot_free(s);
    const struct stamp_conf *c = r->plan->feature_conf[1];
    assert_true(str_eq(c->text, STR("t")));
    assert_true(str_eq(r->plan->upstream->name, STR("o")));
    assert_true(str_eq(r->plan->settings->meta.names[0], STR("k")));
    route_unref(r);
}

/* A load, from text to snapshot, that shares what it can with the last one, which then goes. */
static struct snapshot *load_again(struct world *w, struct snapshot *last, unsigned round)
{
    struct text t = {0};
    text_add(&t, STR("upstreams: {o: 127.0.0.1:9000, p: 127.0.0.1:9001}\nroutes:\n"));
    for (unsigned i = 0; i < 20; i++)
        text_addf(&t, "- {name: r%u, match: {path: /%u/*, headers: {x: \"~%u\"}}, to: %s}\n", i,
                  i + (round + i) % 2, i, (round + i) % 3 ? "o" : "p");
    text_add(&t, str_of("", 1));
    struct snapshot *s = build(w, t.p, last);
    text_fini(&t);
    snapshot_free(last);
    return s;
}

static void a_thousand_loads_hold_what_ten_do(void **state)
{
    size_t in_use[2] = {0};
    struct snapshot *s = NULL;
    for (unsigned i = 1; i <= 1002; i++) {
        s = load_again(*state, s, i);
        if (i == 12 || i == 1002) /* of one kind: both are multiples of 6 */
            in_use[i > 12] = mallinfo2().uordblks;
    }
    snapshot_free(s);
    /* Not one byte a load, so not one piece of the heap: how those are cut differs by a few. */
    size_t more = in_use[1] > in_use[0] ? in_use[1] - in_use[0] : 0;
    assert_in_range(more, 0, 989);
}

static enum hook greet(struct exchange *x, void *arg)
{
    (void) x;
    (void) arg;
    return HOOK_PASS;
}

static void c_code_fills_structs(void **state)
{
    struct world *w = *state;
    struct proxy_conf conf;
    struct route_conf routes[2];
    struct snapshot_inputs in = inputs(w, NULL);
    struct stamp_conf stamp;
    char *errors;
    schema_defaults(&proxy_schema, &conf);
    schema_defaults(&stamp_schema, &stamp);
    stamp.text = STR("c");
    for (size_t i = 0; i < 2; i++) {
        schema_defaults(&route_schema, &routes[i]);
        routes[i].handler = greet;
        routes[i].handler_arg = w;
    }
    routes[0].match.path = STR("/x/*");
    routes[0].features[1] = &stamp;
    routes[1].name = STR("all");
    conf.routes = (struct schema_list){routes, 2};
    struct snapshot *s = snapshot_build(&conf, &in, &errors);
    if (!s)
        fail_msg("refused: %s", errors);
    assert_int_equal(s->n_listeners, 0);
    assert_int_equal(named(s, "/x/*")->plan->action, ROUTE_HANDLER);
    assert_ptr_equal(named(s, "/x/*")->plan->handler, greet);
    assert_int_equal(named(s, "/x/*")->plan->hooks[ON_ACCESS].n, 1);
    assert_int_equal(named(s, "all")->plan->hooks[ON_ACCESS].n, 0);
    snapshot_free(s);
    routes[0].match.path = STR("x*");
    routes[1].to = STR("nowhere");
    routes[1].handler = NULL;
    assert_null(snapshot_build(&conf, &in, &errors));
    assert_string_equal(errors, "route (unnamed): path must begin with /\n");
    mem_free(errors);
    routes[0].match.path = STR("/x/*");
    assert_null(snapshot_build(&conf, &in, &errors));
    assert_string_equal(errors, "unknown upstream \"nowhere\"; upstreams: has none\n");
    mem_free(errors);
}

static void a_refused_configuration_touches_nothing(void **state)
{
    struct world *w = *state;
    struct snapshot_inputs in = inputs(w, NULL);
    char *errors;
    struct conf_loaded *l =
        load_good(UP "routes: [{match: {headers: {X: \"~a\"}, path: /%zz}, to: o}, {match: "
                     "/%1, to: p}]\n");
    assert_null(conf_loaded_snapshot(l, &in, &errors));
    assert_string_equal(
        errors, "t.yaml:2:18: route \"/%zz\": path '/%zz': it has a bad percent escape or a "
                "forbidden byte\n"
                "t.yaml:2:68: route \"/%1\": path '/%1': it has a bad percent escape or a "
                "forbidden byte\n");
    mem_free(errors);
    conf_loaded_free(l);
}

static void says_what_needs_a_restart(void **state)
{
    (void) state;
    struct conf_loaded *a = load_good(UP "routes: [{to: o}]\nworkers: 1\njournal: /a\n");
    struct conf_loaded *b = load_good(UP "routes: [{to: p}]\nworkers: 1\njournal: /a\n");
    struct conf_loaded *c = load_good(UP "routes: [{to: p}]\nworkers: 2\njournal: /b\n");
    struct conf_loaded *d = load_good(UP "listeners: [{address: ':1', backlog: 9}, ':3']\nroutes: "
                                         "[{to: p}]\nworkers: 2\njournal: /b\n");
    struct conf_loaded *e = load_good(UP "listeners: [':2', {address: ':1', backlog: 8}]\nroutes: "
                                         "[{to: p}]\nworkers: 2\njournal: /b\n");
    assert_null(conf_restart_needed(a->file, b->file, &test_set));
    char *names = conf_restart_needed(b->file, c->file, &test_set);
    assert_string_equal(names, "workers, journal");
    mem_free(names);
    assert_null(conf_restart_needed(c->file, d->file, &test_set));
    names = conf_restart_needed(d->file, e->file, &test_set);
    assert_string_equal(names, "listeners[].backlog");
    mem_free(names);
    conf_loaded_free(d);
    conf_loaded_free(e);
    conf_loaded_free(a);
    conf_loaded_free(b);
    conf_loaded_free(c);
}

/* Pieces that malloc keeps for each thread would count as in use. */
int main(int argc, char **argv)
{
    (void) argc;
    if (!getenv("GLIBC_TUNABLES")) {
        setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
        (void) execv("/proc/self/exe", argv);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fills_a_snapshot, make_world, end_world),
        cmocka_unit_test_setup_teardown(lists_active_hooks, make_world, end_world),
        cmocka_unit_test_setup_teardown(shares_what_is_equal, make_world, end_world),
        cmocka_unit_test_setup_teardown(routes_that_do_the_same_have_one_plan, make_world,
                                        end_world),
        cmocka_unit_test_setup_teardown(a_route_outlives_its_snapshot, make_world, end_world),
        cmocka_unit_test_setup_teardown(a_thousand_loads_hold_what_ten_do, make_world, end_world),
        cmocka_unit_test_setup_teardown(c_code_fills_structs, make_world, end_world),
        cmocka_unit_test_setup_teardown(a_refused_configuration_touches_nothing, make_world,
                                        end_world),
        cmocka_unit_test(says_what_needs_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
