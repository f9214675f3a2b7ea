/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the admin pages and their snapshot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "control/admin.h"
#include "proxy/exchange_kit.h"

struct test {
    struct exchange_kit k;
    struct upstream_registry *registry;
    struct figures_worker workers[2];
    struct admin admin;
    struct upstream *upstream;
    struct snapshot snapshot;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    t->registry = upstream_registry_new(2);
    for (int i = 0; i < 2; i++)
        t->workers[i] = (struct figures_worker){t->k.worker.stats, t->k.worker.loop};
    struct endpoint_conf e;
    struct upstream_conf c;
    schema_defaults(&upstream_schema, &c);
    schema_defaults(&endpoint_schema, &e);
    e.address = STR("127.0.0.1:9000");
    c.endpoints = (struct schema_list){&e, 1};
    t->upstream = upstream_new(t->registry, STR("a \"quoted\" name"), &c);
    t->snapshot.upstreams = &t->upstream;
    t->snapshot.n_upstreams = 1;
    t->admin.snapshot = &t->snapshot;
    t->admin.open_pages = 7;
    t->admin.figures = (struct figures){
        .workers = t->workers, .n_workers = 2, .registry = t->registry, .generation = 3};
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    admin_fini(&t->admin);
    upstream_unref(t->upstream);
    upstream_registry_free(t->registry);
    exchange_kit_close(&t->k);
    mem_free(t);
    return 0;
}

static bool holds(struct str text, const char *part)
{
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

static void test_pages(void **state)
{
    struct test *t = *state;
    struct exchange *x = &t->k.x;
    assert_int_equal(admin_metrics(x, &t->admin), HOOK_REPLY);
    assert_int_equal(x->reply.status, 200);
    assert_true(holds(x->reply.body, "\nweir_config_generation 3\n"));
    assert_true(str_eq(exchange_kit_field(&x->reply.fields, "Content-Type"), STR(METRICS_TYPE)));
    assert_int_equal(admin_healthz(x, &t->admin), HOOK_REPLY);
    assert_int_equal(x->reply.status, 200);
    assert_true(str_eq(x->reply.body, STR("ok\n")));
    t->admin.figures.draining = true;
    assert_int_equal(admin_healthz(x, &t->admin), HOOK_REPLY);
    assert_int_equal(x->reply.status, 503);
    assert_int_equal(admin_status(x, &t->admin), HOOK_REPLY);
    assert_true(holds(x->reply.body, "\"state\":\"draining\""));
}

/* Depth and quotes balance: a page that is cut or forgets a comma's neighbour shows. */
static void expect_balanced(struct str s)
{
    int depth = 0;
    bool quoted = false;
    char before = '\0';
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (quoted && c == '\\') {
            i++;
            continue;
        }
        if (c == '"')
            quoted = !quoted;
        if (quoted)
            continue;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        assert_true(depth >= 0);
        assert_false((before == ',' || before == ':') && strchr(",:]}", c));
        before = c;
    }
    assert_int_equal(depth, 0);
    assert_false(quoted);
}

static void test_status(void **state)
{
    struct test *t = *state;
    struct text text = {0};
    admin_status_write(&t->admin, &text);
    struct str page = text_str(&text);
    expect_balanced(page);
    assert_true(holds(page, "\"name\":\"a \\\"quoted\\\" name\""));
    assert_true(holds(page, "{\"address\":\"127.0.0.1:9000\",\"state\":\"up\",\"weight\":1.000"));
    assert_true(holds(page, "\"generation\":3"));
    text_fini(&text);
}

static void test_snapshot(void **state)
{
    struct test *t = *state;
    struct snapshot_inputs in = {.registry = t->registry, .n_workers = 1, .n_given = 1};
    char *errors = NULL;
    struct snapshot *s = admin_snapshot(&t->admin, STR("127.0.0.1:9901"), &in, &errors);
    if (!s)
        fail_msg("%s", errors);
    assert_int_equal(s->n_routes, 5);
    assert_int_equal(s->n_listeners, 1);
    enum fault fault = FAULT_OK;
    struct str allow = {0};
    t->k.in.path = STR("/healthz");
    struct route *r = router_match(s->router, &t->k.in, &t->k.x.arena, &fault, &allow).route;
    assert_non_null(r);
    assert_int_equal(r->plan->action, ROUTE_HANDLER);
    assert_int_equal(r->plan->handler(&t->k.x, r->plan->handler_arg), HOOK_REPLY);
    /* A call ends after a minute, whoever keeps it open; only events go on. */
    t->k.in.path = STR("/v1/routes");
    r = router_match(s->router, &t->k.in, &t->k.x.arena, &fault, &allow).route;
    assert_true(r && r->plan->settings->timeouts.exchange == 60 * USEC_PER_SEC);
    t->k.in.path = STR("/v1/events");
    r = router_match(s->router, &t->k.in, &t->k.x.arena, &fault, &allow).route;
    assert_true(r && r->plan->settings->timeouts.exchange == 0);
    t->k.in.path = STR("/other");
    assert_null(router_match(s->router, &t->k.in, &t->k.x.arena, &fault, &allow).route);
    assert_int_equal(fault, FAULT_NO_ROUTE);
    snapshot_free(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_pages), TEST(test_status), TEST(test_snapshot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
