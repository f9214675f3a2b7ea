/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that follows another when one route is another: what is in it and what the two share.
 * That it routes as a built one does, random changes prove (router_change_test.c, and the story
 * admin_model through the API). */
#include <malloc.h>

#include "control/conf_file.h"
#include "control/control_test.h"
#include "control/snapshot.h"
#include "proxy/retire.h"

static struct {
    struct upstream_registry *registry;
    struct conf_loaded *loaded;
    struct snapshot *first;
} t;

static struct snapshot_inputs inputs(const struct snapshot *previous)
{
    return (struct snapshot_inputs){
        .registry = t.registry, .features = &test_set, .previous = previous, .n_workers = 2};
}

static int begin(void **state)
{
    (void) state;
    memset(&t, 0, sizeof t);
    t.registry = upstream_registry_new(3);
    t.loaded = load_good("upstreams: {o: 127.0.0.1:9000, p: 127.0.0.1:9001}\n"
                         "stamp: {text: top}\n"
                         "routes:\n"
                         "- {name: a, match: {path: /a/*}, to: o}\n"
                         "- {name: b, match: {path: /b/*}, to: p, stamp: {text: own}}\n");
    struct snapshot_inputs in = inputs(NULL);
    char *errors;
    t.first = conf_loaded_snapshot(t.loaded, &in, &errors);
    assert_non_null(t.first);
    return 0;
}

static int end(void **state)
{
    (void) state;
    snapshot_free(t.first);
    conf_loaded_free(t.loaded);
    upstream_registry_free(t.registry);
    return 0;
}

/* What comes of it when route `remove` goes and the one of that YAML (NULL: none) comes. NULL: it
 * is refused, and errors has the lines. */
static struct snapshot *derived(const struct snapshot *from, const char *remove, const char *yaml,
                                char **errors)
{
    struct arena a;
    struct conf_errors e;
    struct route_conf conf;
    struct flat_route flat;
    const struct proxy_conf *proxy = &t.loaded->file->proxy;
    struct snapshot_inputs in = inputs(from);
    struct snapshot *s = NULL;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    if (yaml) {
        conf_parse_route(conf_lex(str_c(yaml), &a, &e), proxy, &test_set, &conf, &e);
        assert_true(conf_flatten_one(proxy, &conf, &flat, &e));
    }
    struct snapshot_change c = {str_c(remove), yaml ? &flat : NULL};
    s = snapshot_derive(proxy, &in, &c, &e);
    *errors = conf_errors_print(&e);
    conf_errors_fini(&e);
    arena_fini(&a);
    return s;
}

/* The name of the route of that path. */
static struct str route_of(const struct snapshot *s, const char *path)
{
    struct arena a;
    arena_init(&a, NULL, SIZE_MAX);
    struct head h = {.method = STR("GET"), .method_id = METHOD_GET, .path = str_c(path)};
    enum fault f;
    struct str allow;
    const struct route *r = snapshot_route(s, &h, &a, &f, &allow).route;
    arena_fini(&a);
    return r ? r->name : STR("none");
}

static void one_route_is_new_and_the_rest_the_same(void **state)
{
    (void) state;
    char *errors;
    struct snapshot *s =
        derived(t.first, "a", "{name: a, match: {path: /c/*}, to: p, meta: {k: v}}", &errors);
    assert_non_null(s);
    snapshot_keep(s);
    assert_int_equal(s->n_routes, 2);
    assert_true(s->generation == t.first->generation + 1);
    assert_ptr_equal(snapshot_named(s, STR("b")), snapshot_named(t.first, STR("b")));
    assert_ptr_equal(s->upstreams, t.first->upstreams);
    assert_ptr_equal(s->listeners, t.first->listeners);
    assert_null(s->gone);
    const struct route *r = snapshot_named(s, STR("a")), *was = snapshot_named(t.first, STR("a"));
    assert_ptr_not_equal(r, was);
    assert_ptr_equal(r->plan->upstream, s->upstreams[1]);
    assert_true(str_eq(((const struct stamp_conf *) r->plan->feature_conf[1])->text, STR("top")));
    assert_true(str_eq(r->plan->settings->meta.names[0], STR("k")));
    assert_true(str_eq(route_of(s, "/c/x"), STR("a")));
    assert_true(str_eq(route_of(s, "/a/x"), STR("none")));
    assert_true(str_eq(route_of(t.first, "/a/x"), STR("a")));
    snapshot_free(s);
}

static void a_route_comes_and_goes(void **state)
{
    (void) state;
    char *errors;
    struct snapshot *more = derived(t.first, "", "{name: n, match: {path: /a/n}, to: o}", &errors);
    assert_non_null(more);
    snapshot_keep(more);
    assert_int_equal(more->n_routes, 3);
    assert_true(str_eq(route_of(more, "/a/n"), STR("n")));
    /* What routes have in common is there once. */
    assert_ptr_equal(snapshot_named(more, STR("n"))->plan->settings,
                     more->fallback->plan->settings);
    struct snapshot *less = derived(more, "a", NULL, &errors);
    assert_non_null(less);
    snapshot_keep(less);
    assert_true(str_eq(route_of(less, "/a/n"), STR("n")));
    assert_true(str_eq(route_of(less, "/a/m"), STR("none")));
    assert_non_null(map_get(&less->gone->names, STR("a")));
    assert_int_equal(less->gone->names.n, 1);
    /* A load of the whole shares with what was derived, too. */
    struct snapshot_inputs in = inputs(less);
    struct snapshot *whole = conf_loaded_snapshot(t.loaded, &in, &errors);
    assert_ptr_equal(snapshot_named(whole, STR("b")), snapshot_named(less, STR("b")));
    assert_non_null(map_get(&whole->gone->names, STR("n")));
    snapshot_free(whole);
    snapshot_free(more);
    snapshot_free(less);
}

static void what_is_not_kept_leaves_no_trace(void **state)
{
    (void) state;
    char *errors;
    for (int i = 0; i < 3; i++) {
        struct snapshot *s = derived(t.first, "a", NULL, &errors);
        assert_non_null(s);
        snapshot_free(s);
    }
    assert_null(derived(t.first, "a", "{name: a, match: {path: \"/%zz\"}, to: o}", &errors));
    assert_non_null(strstr(errors, "route \"a\": path '/%zz': "));
    mem_free(errors);
    assert_true(str_eq(route_of(t.first, "/a/x"), STR("a")));
    struct snapshot *s = derived(t.first, "b", NULL, &errors);
    snapshot_keep(s);
    assert_true(str_eq(route_of(s, "/a/x"), STR("a")));
    snapshot_free(s);
}

/* Routes that come one by one, as the admin API brings them, take no room for others. */
static void what_comes_alone_takes_room_for_one(void **state)
{
    (void) state;
    enum { MANY = 100 };
    struct route *kept[MANY];
    char *errors;
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < MANY; i++) {
        struct snapshot *s = derived(t.first, "", "{name: n, match: {path: /n}, to: o}", &errors);
        assert_non_null(s);
        kept[i] = route_ref(snapshot_named(s, STR("n")));
        snapshot_free(s);
    }
    size_t each = (mallinfo2().uordblks - before) / MANY;
    for (unsigned i = 0; i < MANY; i++)
        route_unref(kept[i]);
    assert_in_range(each, 0, 1000);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(one_route_is_new_and_the_rest_the_same),
        CASE(a_route_comes_and_goes),
        CASE(what_is_not_kept_leaves_no_trace),
        CASE(what_comes_alone_takes_room_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
