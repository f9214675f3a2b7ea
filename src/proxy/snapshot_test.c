/* SPDX-License-Identifier: Apache-2.0 */
/* Who lets go last frees: snapshots and routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/snapshot.h"

static unsigned released, freed;

static void count_release(struct snapshot *s)
{
    (void) s;
    released++;
}

static void count_free(struct route *r)
{
    (void) r;
    freed++;
}

static void the_last_worker_releases(void **state)
{
    (void) state;
    uint32_t in_use[3 * 16] = {0};
    struct snapshot s = {.holders = 3, .release = count_release, .in_use = in_use};
    released = 0;
    snapshot_use(&s, 0); /* current on worker 0 */
    snapshot_use(&s, 0); /* an exchange */
    snapshot_use(&s, 1);
    snapshot_unuse(&s, 0); /* no longer current: the exchange still holds it */
    snapshot_unuse(&s, 1);
    assert_int_equal(s.holders, 2);
    snapshot_drop(&s); /* worker 2 ended before it was given s */
    assert_int_equal(released, 0);
    snapshot_unuse(&s, 0);
    assert_int_equal(released, 1);
}

static void workers_count_on_lines_of_their_own(void **state)
{
    (void) state;
    uint32_t in_use[2 * 16] = {0};
    struct snapshot s = {.holders = 2, .release = count_release, .in_use = in_use};
    snapshot_use(&s, 1);
    snapshot_use(&s, 1);
    assert_int_equal(in_use[16], 2);
    assert_int_equal(in_use[0], 0);
    assert_int_equal(s.holders, 2);
}

static void the_last_reference_frees_a_route(void **state)
{
    (void) state;
    struct route r = {.refs = 1, .free = count_free};
    freed = 0;
    assert_ptr_equal(route_ref(&r), &r);
    route_unref(&r);
    assert_int_equal(freed, 0);
    route_unref(&r);
    assert_int_equal(freed, 1);
    struct route on_stack = {.refs = 1};
    route_unref(&on_stack);
    assert_int_equal(on_stack.refs, 0);
    route_unref(NULL);
}

/* The route's name for a path; out: the path that goes on. */
static const char *route_of(const struct snapshot *s, const char *path, struct str *out)
{
    struct arena arena;
    arena_init(&arena, NULL, SIZE_MAX);
    struct head h = {.method = STR("GET"), .method_id = METHOD_GET, .path = str_c(path)};
    enum fault f;
    struct str allow;
    struct route *r = snapshot_route(s, &h, &arena, &f, &allow).route;
    static char text[32];
    assert_true(h.path.n < sizeof(text));
    memcpy(text, h.path.p, h.path.n);
    *out = str_of(text, h.path.n);
    arena_fini(&arena);
    return r ? r->name.p : fault_name(f);
}

static void what_is_forwarded_is_what_was_matched(void **state)
{
    (void) state;
    struct match_conf admin = {.path = STR("/admin/*")}, all = {.path = STR("/*")},
                      keep = {.path = STR("//keep/*")};
    struct settings_conf keeps = {.slashes = SLASH_KEEP}, merges = {.slashes = SLASH_MERGE};
    struct plan keeping = {.settings = &keeps}, merging = {.settings = &merges};
    struct route fallback = {.refs = 1, .plan = &keeping};
    struct route routes[] = {{.name = STR("admin"), .refs = 1, .plan = &keeping},
                             {.name = STR("all"), .refs = 1, .plan = &merging},
                             {.name = STR("keep"), .refs = 1, .plan = &keeping}};
    struct router_rule rules[] = {{&admin, &routes[0]}, {&all, &routes[1]}, {&keep, &routes[2]}};
    char *why;
    size_t bad;
    struct snapshot s = {.router = router_new(rules, 3, &why, &bad), .fallback = &fallback};
    struct str path;
    assert_string_equal(route_of(&s, "//admin/x", &path), "admin");
    assert_true(str_eq(path, STR("/admin/x")));
    assert_string_equal(route_of(&s, "/a//b", &path), "all");
    assert_true(str_eq(path, STR("/a/b")));
    assert_string_equal(route_of(&s, "//keep//x", &path), "keep");
    assert_true(str_eq(path, STR("//keep//x")));
    router_free(s.router);
    /* No route matches: the top level's word decides. */
    s.router = router_new(rules, 1, &why, &bad);
    assert_string_equal(route_of(&s, "//admin", &path), "no_route");
    fallback.plan = &merging;
    assert_string_equal(route_of(&s, "//admin", &path), "admin");
    router_free(s.router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_worker_releases),
        cmocka_unit_test(workers_count_on_lines_of_their_own),
        cmocka_unit_test(the_last_reference_frees_a_route),
        cmocka_unit_test(what_is_forwarded_is_what_was_matched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
