/* SPDX-License-Identifier: Apache-2.0 */
/* The defaults that are promised: who leaves everything out gets these. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/conf.h"
#include "upstream/upstream.h"

#define SEC(n) ((n) *USEC_PER_SEC)

static void times(void **state)
{
    (void) state;
    struct timeouts_conf t;
    schema_defaults(&timeouts_schema, &t);
    assert_int_equal(t.client_head, SEC(10));
    assert_int_equal(t.client_body, SEC(30));
    assert_int_equal(t.client_send, SEC(60));
    assert_int_equal(t.keepalive, SEC(60));
    assert_int_equal(t.pool_wait, SEC(5));
    assert_int_equal(t.first_byte, SEC(60));
    assert_int_equal(t.response_idle, SEC(60));
    assert_int_equal(t.upstream_send, SEC(60));
    assert_int_equal(t.exchange, 0);
    assert_int_equal(t.tunnel_idle, SEC(3600));
    assert_int_equal(t.call_idle, SEC(3600));
}

static void limits(void **state)
{
    (void) state;
    struct limits_conf l;
    struct min_rate_conf r;
    schema_defaults(&limits_schema, &l);
    assert_int_equal(l.head, 32 * 1024);
    assert_int_equal(l.target, 8 * 1024);
    assert_int_equal(l.fields, 100);
    assert_int_equal(l.response_head, 64 * 1024);
    assert_int_equal(l.body, 0);
    assert_int_equal(l.interim, 20);
    schema_defaults(&min_rate_schema, &r);
    assert_int_equal(r.request, 0);
    assert_int_equal(r.response, 0);
}

/* What could change a message or be used against somebody has the careful value. */
static void manners(void **state)
{
    (void) state;
    struct settings_conf s;
    schema_defaults(&settings_schema, &s);
    assert_int_equal(s.buffer.strategy, BUFFER_ADAPTIVE);
    assert_int_equal(s.slashes, SLASH_KEEP);
    assert_int_equal(s.client_half_close, 0);
    assert_false(s.allow_connect);
    assert_true(s.via);
    assert_true(s.retry.enabled && s.retry.connect && s.retry.reset && s.retry.timeout);
    assert_int_equal(s.retry.tries, 3);
    assert_int_equal(s.retry.budget, 50);
    assert_int_equal(s.retry.budget_least, 100);
    assert_int_equal(s.retry.buffer, 64 * 1024);
}

static void pools(void **state)
{
    (void) state;
    struct upstream_conf u;
    schema_defaults(&upstream_schema, &u);
    assert_int_equal(u.pool.max_idle, 100);
    assert_int_equal(u.pool.min_idle, 0);
    assert_int_equal(u.pool.max_connections, 0);
    assert_int_equal(u.pool.idle_timeout, SEC(30));
    assert_int_equal(u.pool.connect_timeout, SEC(5));
    assert_int_equal(u.pool.max_requests, 0);
    assert_true(u.pool.keepalive);
    assert_int_equal(u.pool.probe, PROBE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(limits),
        cmocka_unit_test(manners),
        cmocka_unit_test(pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
