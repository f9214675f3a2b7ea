/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the metrics hook. The page is tested where it is written. */
#include "features/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/event.h"
#include "proxy/exchange_kit.h"

static uint64_t count_of(const struct route_stats *r, uint8_t method, uint16_t status)
{
    for (uint32_t i = 0; i < ROUTE_COUNTS; i++) {
        if (r->counts[i].key == route_count_key(method, status))
            return counter_get(&r->counts[i].n);
    }
    return 0;
}

static void test_counts(void **state)
{
    (void) state;
    static struct exchange_kit k;
    exchange_kit_open(&k);
    k.route.index = 5;
    k.client.bytes_in = 10;
    k.client.bytes_out = 20;
    k.x.head_sent = true;
    k.response.status = 201;
    feature_metrics.on_finish(&k.x, NULL);
    k.in.method_id = METHOD_POST;
    feature_metrics.on_finish(&k.x, NULL);
    feature_metrics.on_finish(&k.x, NULL);
    k.x.head_sent = false;
    feature_metrics.on_finish(&k.x, NULL);
    struct route_stats *r = k.worker.stats->routes[5];
    assert_non_null(r);
    assert_true(str_eq(r->name, STR("main")));
    assert_int_equal(count_of(r, METHOD_GET, 201), 1);
    assert_int_equal(count_of(r, METHOD_POST, 201), 2);
    assert_int_equal(count_of(r, METHOD_POST, 0), 1);
    assert_int_equal(counter_get(&r->bytes_in), 40);
    assert_int_equal(counter_get(&r->bytes_out), 80);
    assert_int_equal(counter_get(&r->duration.buckets[0]), 4);
    exchange_kit_close(&k);
}

static void test_shared_and_skipped(void **state)
{
    (void) state;
    static struct exchange_kit k;
    exchange_kit_open(&k);
    k.route.index = ROUTE_OTHER;
    feature_metrics.on_finish(&k.x, NULL);
    k.route.name = STR("another");
    k.x.in = NULL;
    k.x.client = NULL;
    feature_metrics.on_finish(&k.x, NULL);
    k.x.session = NULL;
    feature_metrics.on_finish(&k.x, NULL);
    struct route_stats *r = k.worker.stats->routes[ROUTE_OTHER];
    assert_true(str_eq(r->name, STR("_other")));
    assert_int_equal(count_of(r, METHOD_GET, 0), 1);
    assert_int_equal(count_of(r, METHOD_OTHER, 0), 1);
    exchange_kit_close(&k);
}

/* r's first request on the worker of s. */
static struct route_stats *first(struct stats *s, struct route *r)
{
    assert_null(s->routes[r->index]);
    return stats_route_first(s, r);
}

/* Numbers go to what is asked for, not to what is configured; by name, for all workers. */
static void test_numbers_on_first_use(void **state)
{
    (void) state;
    struct route_names names;
    char text[16];
    route_names_init(&names);
    struct stats *one = stats_new(&names), *two = stats_new(&names);
    struct route a = {.name = STR("a"), .index = ROUTE_UNUSED}, none = a, next = a;
    none.name = STR("_none");
    assert_true(str_eq(first(one, &a)->name, STR("a")));
    assert_int_equal(a.index, 1);
    (void) first(two, &a);
    assert_ptr_equal(stats_route_first(one, &next), one->routes[1]); /* after a reload */
    assert_int_equal(next.index, 1);
    for (unsigned i = 2; i < ROUTE_OTHER + 2; i++) {
        snprintf(text, sizeof text, "r%u", i);
        struct route r = {.name = str_c(text), .index = ROUTE_UNUSED};
        (void) stats_route_first(two, &r);
        assert_int_equal(r.index, i < ROUTE_OTHER ? i : ROUTE_OTHER);
    }
    assert_true(str_eq(two->routes[ROUTE_OTHER]->name, STR("_other")));
    (void) first(two, &none);
    assert_int_equal(none.index, 0);
    stats_free(one);
    stats_free(two);
    route_names_fini(&names);
}

static struct route route_called(const char *name)
{
    return (struct route){.name = str_c(name), .index = ROUTE_UNUSED};
}

/* A number is free again when neither a route nor the configuration has its name, and not before
 * all are given. */
static void test_numbers_of_routes_that_went(void **state)
{
    (void) state;
    static const struct snapshot nothing;
    static struct route_names names;
    struct route routes[ROUTE_OTHER], late = route_called("late"), later = route_called("later");
    char text[ROUTE_OTHER][8];
    route_names_init(&names);
    struct stats *all[] = {stats_new(&names), stats_new(&names)};
    for (unsigned i = 1; i < ROUTE_OTHER - 1; i++) {
        snprintf(text[i], sizeof text[i], "r%u", i);
        routes[i] = route_called(text[i]);
        (void) stats_route_first(all[i % 2], &routes[i]);
    }
    route_names_leave(&names, &routes[5]);
    stats_forget(&names, all, 2, &nothing);
    assert_non_null(all[1]->routes[5]); /* there is room still */
    struct route last = route_called("last"), again = route_called("r7");
    (void) stats_route_first(all[0], &last);
    assert_int_equal(last.index, ROUTE_OTHER - 1);
    assert_true(route_names_none(&names, route_tag(STR("late"))));
    (void) stats_route_first(all[0], &again); /* another of that name: it may not go yet */
    route_names_leave(&names, &routes[7]);
    stats_forget(&names, all, 2, &nothing);
    assert_null(all[1]->routes[5]);
    assert_non_null(all[1]->routes[7]);
    assert_false(route_names_none(&names, route_tag(STR("late"))));
    struct route_stats *fresh = stats_route_first(all[1], &late);
    assert_int_equal(late.index, 5);
    assert_true(str_eq(fresh->name, STR("late")));
    assert_int_equal(counter_get(&fresh->bytes_in), 0);
    (void) stats_route_first(all[1], &later);
    assert_int_equal(later.index, ROUTE_OTHER);
    assert_false(route_names_none(&names, route_tag(STR("r7"))));
    assert_true(route_names_none(&names, route_tag(STR("r5"))));
    route_names_leave(&names, &later); /* it has none to give back */
    route_names_leave(&names, &again);
    stats_forget(&names, all, 2, &nothing);
    assert_null(all[1]->routes[7]);
    assert_null(all[0]->routes[7]);
    stats_free(all[0]);
    stats_free(all[1]);
    route_names_fini(&names);
}

static void test_events_by_kind(void **state)
{
    void *own = NULL;
    char *why = NULL;
    (void) state;
    assert_true(feature_metrics.start(NULL, 2, &own, &why));
    const counter_t *n = feature_metrics.worker_state(own, 1);
    struct event route = {.kind = EVENT_ROUTE}, up = {.kind = EVENT_STATE};
    feature_metrics.on_event(own, &route);
    feature_metrics.on_event(own, &up);
    feature_metrics.on_event(own, &route);
    assert_int_equal(counter_get(&n[EVENT_ROUTE]), 2);
    assert_int_equal(counter_get(&n[EVENT_STATE]), 1);
    assert_int_equal(counter_get(&n[EVENT_CONFIG]), 0);
    feature_metrics.stop(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_shared_and_skipped),
        cmocka_unit_test(test_numbers_on_first_use),
        cmocka_unit_test(test_numbers_of_routes_that_went),
        cmocka_unit_test(test_events_by_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
