/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the access log: a line byte by byte, hostile texts, the file, a full ring. */
#include "features/access_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file_io.h"
#include "base/line_ring.h"
#include "features/registry.h"
#include "proxy/exchange_kit.h"

struct test {
    struct exchange_kit k;
    struct access_log_conf conf;
    struct access_log *log;
    struct upstream upstream;
    struct endpoint *endpoint;
    struct attempt attempt;
    char path[64];
    char line[ACCESS_LOG_LINE];
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    schema_defaults(&access_log_schema, &t->conf);
    snprintf(t->path, sizeof(t->path), "/tmp/weir-access-XXXXXX");
    assert_true(mkstemp(t->path) >= 0);
    t->conf.path = str_c(t->path);
    t->k.feature_conf[FEATURE_ACCESS_LOG] = &t->conf;
    t->endpoint = mem_new_aligned(sizeof(*t->endpoint), 64);
    char *why = NULL;
    void *log = NULL;
    assert_true(feature_access_log.start(&t->conf, 1, &log, &why));
    t->log = log;
    t->k.worker.feature_state[FEATURE_ACCESS_LOG] = feature_access_log.worker_state(log, 0);
    assert_non_null(t->k.worker.feature_state[FEATURE_ACCESS_LOG]);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    feature_access_log.stop(t->log);
    remove(t->path);
    mem_free(t->endpoint);
    exchange_kit_close(&t->k);
    mem_free(t);
    return 0;
}

static const char *line(struct test *t)
{
    struct exchange *x = &t->k.x;
    size_t n = access_log_line(t->line, x, t->k.worker.feature_state[FEATURE_ACCESS_LOG]);
    assert_true(n > 0 && n < sizeof(t->line));
    t->line[n] = '\0';
    return t->line;
}

/* An exchange with everything that a line can tell. */
static void fill(struct test *t)
{
    struct exchange *x = &t->k.x;
    static struct str names[] = {{"team", 4}}, values[] = {{"a\"b", 3}};
    t->upstream.name = STR("origin");
    t->endpoint->address = STR("127.0.0.1:9000");
    t->upstream.plain_name = t->endpoint->plain_address = true;
    t->attempt = (struct attempt){.endpoint = t->endpoint, .reused = true, .connected = 1};
    t->k.plan.upstream = &t->upstream;
    t->k.settings.meta = (struct schema_map){names, values, 1};
    x->attempt = &t->attempt;
    x->n_attempts = 2;
    x->head_sent = true;
    t->k.response.status = 200;
    t->k.client.bytes_in = 123;
    t->k.client.bytes_out = 4567890;
    t->k.in.path = STR("/a");
    t->k.in.query = STR("b=\"c\"");
    t->k.in.has_query = true;
    assert_true(fields_add(&t->k.in.fields, STR("User-Agent"), STR("curl/8")));
    assert_true(fields_add(&t->k.in.fields, STR("Referer"), STR("http://example.com/")));
    x->request_id = STR("id-1");
    x->step_us[STEP_READ_HEAD] = 12;
    x->step_us[STEP_STREAM] = 3456;
    x->started = loop_now(t->k.worker.loop) - 4000;
}

static void test_line(void **state)
{
    struct test *t = *state;
    fill(t);
    assert_string_equal(
        line(t),
        "{\"time\":\"2026-11-23T08:15:30.123456Z\",\"client_ip\":\"192.0.2.1\",\"method\":\"GET\","
        "\"host\":\"example.com\",\"path\":\"/a\",\"query\":\"b=\\\"c\\\"\","
        "\"protocol\":\"HTTP/1.1\",\"referrer\":\"http://example.com/\",\"user_agent\":\"curl/8\","
        "\"route\":\"main\",\"upstream\":\"origin\",\"endpoint\":\"127.0.0.1:9000\","
        "\"attempts\":2,\"status\":200,\"reason\":\"ok\",\"bytes_in\":123,\"bytes_out\":4567890,"
        "\"reused\":true,\"duration_us\":4000,\"steps\":{\"read_head\":12,\"stream\":3456},"
        "\"request_id\":\"id-1\",\"meta\":{\"team\":\"a\\\"b\"}}\n");
}

static void test_sparse(void **state)
{
    struct test *t = *state;
    t->k.x.fault = FAULT_NO_ROUTE;
    assert_string_equal(
        line(t),
        "{\"time\":\"2026-11-23T08:15:30.123456Z\",\"client_ip\":\"192.0.2.1\",\"method\":\"GET\","
        "\"host\":\"example.com\",\"path\":\"/\",\"protocol\":\"HTTP/1.1\",\"route\":\"main\","
        "\"attempts\":0,\"status\":0,\"reason\":\"no_route\",\"bytes_in\":0,\"bytes_out\":0,"
        "\"duration_us\":0,\"steps\":{}}\n");
    /* A head that could not be read: nothing is made up. */
    t->k.in.method = STR("");
    assert_null(strstr(line(t), "method"));
    t->k.x.in = NULL;
    assert_null(strstr(line(t), "host"));
    t->k.x.peer_unix = true;
    assert_non_null(strstr(line(t), "\"client_ip\":\"192.0.2.1\""));
    t->k.x.client_ip = (struct ip){0};
    assert_non_null(strstr(line(t), "\"client_ip\":\"unix\""));
}

static void test_seconds(void **state)
{
    struct test *t = *state;
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {{1795421730000001, "2026-11-23T08:15:30.000001Z"},
                {1795421730999999, "2026-11-23T08:15:30.999999Z"},
                {1795421731000000, "2026-11-23T08:15:31.000000Z"},
                {1795421730500000, "2026-11-23T08:15:30.500000Z"}};
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        t->k.x.started_wall = rows[i].us;
        assert_memory_equal(line(t) + strlen("{\"time\":\""), rows[i].text, 27);
    }
}

static void test_query_off(void **state)
{
    struct test *t = *state;
    fill(t);
    t->conf.query = false;
    assert_null(strstr(line(t), "query"));
}

/* The worst of every text at once still makes one whole line that fits. */
static void test_hostile(void **state)
{
    struct test *t = *state;
    fill(t);
    static char bad[20000];
    memset(bad, 0x1b, sizeof(bad));
    struct str s = str_of(bad, sizeof(bad));
    struct str names[] = {s, s}, values[] = {s, s};
    t->k.in.method = t->k.in.authority = t->k.in.path = t->k.in.query = s;
    t->k.in.method_id = METHOD_OTHER;
    t->k.route.name = t->upstream.name = t->endpoint->address = s;
    t->upstream.plain_name = t->endpoint->plain_address = false;
    t->k.settings.meta = (struct schema_map){names, values, 2};
    for (uint32_t i = 0; i < t->k.in.fields.n; i++)
        t->k.in.fields.v[i].value = s;
    for (int i = 0; i < STEP_COUNT; i++)
        t->k.x.step_us[i] = UINT64_MAX;
    t->k.client.bytes_in = t->k.client.bytes_out = UINT64_MAX;
    const char *got = line(t);
    size_t n = strlen(got);
    assert_true(n > 20000);
    assert_memory_equal(got + n - 3, "}}\n", 3);
    for (size_t i = 0; i + 1 < n; i++)
        assert_true((unsigned char) got[i] >= ' ' && (unsigned char) got[i] < 0x7f);
}

static void test_file(void **state)
{
    struct test *t = *state;
    fill(t);
    for (int i = 0; i < 3; i++)
        feature_access_log.on_finish(&t->k.x, NULL);
    t->k.x.session = NULL; /* Weir's own request */
    feature_access_log.on_finish(&t->k.x, NULL);
    access_log_reopen(t->log);
    feature_access_log.stop(t->log);
    t->log = NULL;
    size_t n, lines = 0;
    char *why = NULL, *text = file_read(t->path, 1 << 20, &n, &why);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 3);
    mem_free(text);
}

static void test_full_ring(void **state)
{
    struct test *t = *state;
    /* The first member of the worker's state is its ring; a small one of our own fills at once. */
    struct line_ring small, **ring = t->k.worker.feature_state[FEATURE_ACCESS_LOG];
    struct line_ring *real = *ring;
    line_ring_init(&small, 4 * ACCESS_LOG_LINE, ACCESS_LOG_LINE);
    *ring = &small;
    unsigned calls = 0;
    while (counter_get(&t->k.worker.stats->log_dropped) < 5) {
        feature_access_log.on_finish(&t->k.x, NULL);
        calls++;
    }
    unsigned lines = 0;
    struct str run = line_ring_peek(&small);
    for (size_t i = 0; i < run.n; i++)
        lines += run.p[i] == '\n';
    assert_int_equal(lines, calls - 5);
    *ring = real;
    line_ring_fini(&small);
}

static void count(void *arg, const char *field, const char *text)
{
    (void) text;
    assert_string_equal(field, "path");
    ++*(int *) arg;
}

static void test_off(void **state)
{
    struct test *t = *state;
    struct access_log *log = t->log;
    char *why = NULL;
    struct access_log_conf off;
    schema_defaults(&access_log_schema, &off);
    assert_false(feature_access_log.active(&off));
    assert_true(access_log_start(&off, 1, &log, &why));
    assert_null(log);
    assert_true(access_log_start(NULL, 1, &log, &why));
    assert_null(log);
    access_log_stop(NULL);
    access_log_reopen(NULL);
    t->k.worker.feature_state[FEATURE_ACCESS_LOG] = NULL;
    feature_access_log.on_finish(&t->k.x, NULL);
    off.path = STR("");
    int said = 0;
    access_log_schema.check(&off, count, &said);
    assert_int_equal(said, 1);
    off.path = STR("False"); /* no file of that name is meant */
    access_log_schema.check(&off, count, &said);
    assert_int_equal(said, 2);
    off.path = STR("./false");
    access_log_schema.check(&off, count, &said);
    assert_int_equal(said, 2);
}

static void test_refused(void **state)
{
    (void) state;
    struct access_log_conf conf;
    struct access_log *log = NULL;
    char *why = NULL;
    schema_defaults(&access_log_schema, &conf);
    conf.path = STR("/nonexistent/access.log");
    assert_true(feature_access_log.active(&conf));
    assert_false(access_log_start(&conf, 1, &log, &why));
    assert_non_null(strstr(why, "access_log.path: /nonexistent/access.log: No such file"));
    mem_free(why);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_line),      TEST(test_sparse),  TEST(test_seconds),
        TEST(test_query_off), TEST(test_hostile), TEST(test_file),
        TEST(test_full_ring), TEST(test_off),     TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
