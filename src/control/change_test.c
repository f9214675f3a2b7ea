/* SPDX-License-Identifier: Apache-2.0 */
/* change: what is told of two configurations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "control/change.h"
#include "control/conf_load.h"
#include "features/registry.h"

#define BASE                                                                                       \
    "listeners: [127.0.0.1:8080]\n"                                                                \
    "upstreams:\n  shop: {endpoints: [10.0.0.1:80, 10.0.0.2:80]}\n"                                \
    "  api: {endpoints: [10.0.0.3:80]}\n"                                                          \
    "routes:\n- {name: shop, match: /shop/*, to: shop}\n- {name: api, match: /api/*, to: api}\n"

static struct conf_loaded *load(const char *text)
{
    char *errors = NULL;
    struct conf_loaded *l = conf_load_text(str_c(text), "test", &feature_registry, &errors);
    if (!l)
        fail_msg("%s", errors);
    return l;
}

static void expect(const char *before, const char *after, const char *words)
{
    struct conf_loaded *old = load(before), *now = load(after);
    struct arena a;
    struct change_list l;
    struct text t = {0}, json = {0};
    arena_init(&a, NULL, SIZE_MAX);
    change_list_init(&l, &a);
    conf_diff(old->file, now->file, &feature_registry, &l);
    change_list_text(&l, 0, &t);
    change_list_json(&l, &json);
    text_add(&t, str_of("", 1));
    assert_string_equal(t.p, words);
    assert_true(json.n >= 2 && json.p[0] == '[' && json.p[json.n - 1] == ']');
    text_fini(&t);
    text_fini(&json);
    arena_fini(&a);
    conf_loaded_free(old);
    conf_loaded_free(now);
}

static void test_nothing_differs(void **state)
{
    (void) state;
    expect(BASE, BASE, "");
    expect(BASE, "# a comment\n" BASE, "");
    expect("listeners: [127.0.0.1:1]\nupstreams: {o: 127.0.0.1:1}\n",
           "listeners: [{address: '127.0.0.1:1', backlog: 9, h2c: true}]\nupstreams: {o: "
           "127.0.0.1:1}\n",
           "listener 127.0.0.1:1: changed: backlog 4096 -> 9 (at a restart), h2c false -> true\n");
}

static void test_each_kind(void **state)
{
    (void) state;
    expect(
        BASE,
        "drain: 5s\nworkers: 3\nlisteners: [127.0.0.1:8080, {address: 127.0.0.1:8081, name: two}]\n"
        "upstreams:\n  shop: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, weight: 3}, "
        "10.0.0.9:80]}\n  new: {endpoints: [10.0.0.3:80]}\n"
        "routes:\n- {name: shop, match: /shop/*, to: shop, timeouts: {first_byte: 5s}}\n"
        "- {name: new, match: /new/*, to: new}\n",
        "settings: changed: workers 0 -> 3 (at a restart), drain 30s -> 5s\n"
        "listener two: added\n"
        "endpoint shop/10.0.0.2:80: changed: weight 1 -> 3\n"
        "endpoint shop/10.0.0.9:80: added\n"
        "upstream new: added\n"
        "endpoint new/10.0.0.3:80: added\n"
        "upstream api: removed\n"
        "endpoint api/10.0.0.3:80: removed\n"
        "route shop: changed: timeouts.first_byte 1m -> 5s\n"
        "route new: added\n"
        "route api: removed\n");
}

static void test_inherited_settings_are_told_once(void **state)
{
    (void) state;
    expect(BASE, "timeouts: {first_byte: 7s}\n" BASE,
           "settings: changed: timeouts.first_byte 1m -> 7s\n");
    expect(BASE, "response_headers: {set: {x-a: b}}\n" BASE,
           "settings: changed: response_headers.set {} -> {x-a: b}\n");
}

static void test_features_and_match_of_a_route(void **state)
{
    (void) state;
    expect("upstreams: {o: {endpoints: [10.0.0.1:80]}}\n"
           "routes: [{name: a, match: /a/*, to: o}]\n",
           "upstreams: {o: {endpoints: [10.0.0.1:80]}}\n"
           "routes: [{name: a, match: {path: /b/*, host: x.example}, to: o,"
           " response_headers: {set: {x-a: b}}}]\n",
           "route a: changed: match.host \"\" -> x.example, match.path /a/* -> /b/*, "
           "response_headers.set {} -> {x-a: b}\n");
}

static void test_order_of_routes(void **state)
{
    (void) state;
    expect("upstreams: {o: {endpoints: [10.0.0.1:80]}}\n"
           "routes: [{name: a, match: /a, to: o}, {name: b, match: /a, to: o}]\n",
           "upstreams: {o: {endpoints: [10.0.0.1:80]}}\n"
           "routes: [{name: b, match: /a, to: o}, {name: a, match: /a, to: o}]\n",
           "settings: changed: routes their order -> another order (matters where matches are "
           "alike)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_differs),
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_inherited_settings_are_told_once),
        cmocka_unit_test(test_features_and_match_of_a_route),
        cmocka_unit_test(test_order_of_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
