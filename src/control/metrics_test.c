/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the metrics page: its sums, and its format by a strict reader and by promtool where
 * there is one. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "control/metrics.h"
#include "net/loop.h"

/* ---- a strict reader ------------------------------------------------------------------------ */

struct reader {
    struct str family, type; /* of the newest TYPE line */
    bool sampled;            /* the family has a sample */
    struct str seen[200];    /* families that have ended */
    size_t n_seen;
    size_t samples;
};

static bool name_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = str_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || c == '_' || (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return s.n > 0;
}

/* Takes everything up to the first c off *rest, and c itself. */
static struct str take(struct str *rest, char c)
{
    ptrdiff_t at = str_find(*rest, c);
    assert_true(at >= 0);
    struct str head = str_sub(*rest, 0, (size_t) at);
    *rest = str_sub(*rest, (size_t) at + 1, rest->n);
    return head;
}

static void read_comment(struct reader *r, struct str line)
{
    assert_true(str_starts(line, STR("# ")));
    line = str_sub(line, 2, line.n);
    struct str word = take(&line, ' '), name = take(&line, ' ');
    assert_true(name_valid(name));
    if (str_eq(word, STR("HELP"))) {
        for (size_t i = 0; i < r->n_seen; i++)
            assert_false(str_eq(r->seen[i], name)); /* a family is one group */
        assert_true(line.n > 0 && line.p[line.n - 1] == '.');
        r->seen[r->n_seen++] = name;
        r->family = name;
        r->type = STR("");
        return;
    }
    assert_true(str_eq(word, STR("TYPE")));
    assert_true(str_eq(name, r->family) && r->type.n == 0);
    r->type = line;
    bool counter = str_eq(line, STR("counter"));
    assert_true(counter || str_eq(line, STR("gauge")) || str_eq(line, STR("histogram")));
    assert_int_equal(counter, str_ends(name, STR("_total")));
}

/* The labels between braces: name="value" with \\, \" and \n. */
static void read_labels(struct str labels)
{
    while (labels.n > 0) {
        assert_true(name_valid(take(&labels, '=')));
        assert_true(labels.n > 0 && labels.p[0] == '"');
        size_t i = 1;
        for (; i < labels.n && labels.p[i] != '"'; i++) {
            assert_true(labels.p[i] != '\n');
            if (labels.p[i] == '\\') {
                i++;
                assert_true(i < labels.n && strchr("\\\"n", labels.p[i]));
            }
        }
        assert_true(i < labels.n);
        labels = str_sub(labels, i + 1, labels.n);
        if (labels.n > 0) {
            assert_int_equal(labels.p[0], ',');
            labels = str_sub(labels, 1, labels.n);
            assert_true(labels.n > 0);
        }
    }
}

static void read_sample(struct reader *r, struct str line)
{
    ptrdiff_t brace = str_find(line, '{');
    struct str name = take(&line, brace >= 0 ? '{' : ' ');
    if (brace >= 0) {
        ptrdiff_t end = str_rfind(line, '}');
        assert_true(end > 0 && (size_t) end + 1 < line.n && line.p[end + 1] == ' ');
        read_labels(str_sub(line, 0, (size_t) end));
        line = str_sub(line, (size_t) end + 2, line.n);
    }
    assert_true(str_starts(name, r->family));
    struct str suffix = str_sub(name, r->family.n, name.n);
    if (str_eq(r->type, STR("histogram")))
        assert_true(str_eq(suffix, STR("_bucket")) || str_eq(suffix, STR("_sum")) ||
                    str_eq(suffix, STR("_count")));
    else
        assert_int_equal(suffix.n, 0);
    char number[64], *end;
    assert_true(line.n > 0 && line.n < sizeof(number));
    memcpy(number, line.p, line.n);
    number[line.n] = '\0';
    (void) strtod(number, &end);
    assert_int_equal(*end, '\0');
    r->samples++;
}

static size_t read_page(struct str page)
{
    struct reader r = {0};
    while (page.n > 0) {
        struct str line = take(&page, '\n');
        assert_true(line.n > 0);
        if (line.p[0] == '#')
            read_comment(&r, line);
        else
            read_sample(&r, line);
    }
    return r.samples;
}

/* Runs promtool on the page. Its verdict, or 0 when there is none on this machine. */
static int promtool(struct str page)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("promtool", "promtool", "check", "metrics", (char *) NULL);
        _exit(127);
    }
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    for (size_t at = 0; at < page.n;) {
        ssize_t n = write(ends[1], page.p + at, page.n - at);
        if (n <= 0)
            break;
        at += (size_t) n;
    }
    close(ends[1]);
    int status;
    assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status) == 127 ? 0 : WEXITSTATUS(status);
}

/* ---- the page ------------------------------------------------------------------------------- */

struct test {
    struct stats *stats[3];
    struct loop *loop;
    struct figures_worker workers[3];
    struct upstream_registry *registry;
    struct mem_limit memory;
    struct figures f;
    struct text page;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    int error;
    t->loop = loop_new(&error);
    for (int i = 0; i < 3; i++) {
        t->stats[i] = stats_new(NULL);
        t->workers[i] = (struct figures_worker){t->stats[i], t->loop};
    }
    t->registry = upstream_registry_new(3);
    t->f = (struct figures){.workers = t->workers,
                            .n_workers = 3,
                            .registry = t->registry,
                            .memory = &t->memory,
                            .started_wall = 1795421730000000,
                            .loaded_wall = 1795421730500000,
                            .generation = 7,
                            .reloads = 6,
                            .refused = 1};
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    text_fini(&t->page);
    for (int i = 0; i < 3; i++)
        stats_free(t->stats[i]);
    upstream_registry_free(t->registry);
    loop_free(t->loop);
    mem_free(t);
    return 0;
}

/* Writes the page anew; it must be well-formed. */
static size_t write_page(struct test *t)
{
    t->page.n = 0;
    metrics_write(&t->f, &t->page);
    return read_page(text_str(&t->page));
}

static void expect(struct test *t, const char *line)
{
    struct str page = text_str(&t->page);
    while (page.n > 0) {
        if (str_eq(take(&page, '\n'), str_c(line)))
            return;
    }
    fail_msg("no line '%s'", line);
}

static void test_empty(void **state)
{
    struct test *t = *state;
    assert_true(write_page(t) > 20);
    expect(t, "weir_config_generation 7");
    expect(t, "weir_config_reloads_total{result=\"refused\"} 1");
    expect(t, "weir_config_loaded_timestamp_seconds 1795421730.5");
    expect(t, "weir_loop_turns_total{worker=\"main\"} 0");
    expect(t, "weir_draining 0");
    assert_int_equal(promtool(text_str(&t->page)), 0);
}

static void add_requests(struct test *t)
{
    struct route_stats *a = stats_route_new(t->stats[0], 3, STR("a \"b\"\\\n"));
    struct route_stats *b = stats_route_new(t->stats[1], 3, STR("a \"b\"\\\n"));
    struct route_stats *o = stats_route_new(t->stats[1], ROUTE_OTHER + 5, STR("beyond"));
    for (int i = 0; i < 3; i++)
        route_count_add(a, METHOD_GET, 200);
    route_count_add(b, METHOD_GET, 200);
    route_count_add(b, METHOD_OTHER, 0);
    route_count_add(o, METHOD_POST, 503);
    histogram_add(&a->duration, 100);
    histogram_add(&b->duration, 300);
    histogram_add(&b->duration, 70000000);
    counter_add(&a->bytes_in, 5);
    counter_add(&b->bytes_in, 6);
    counter_add(&t->stats[0]->faults[FAULT_NO_ROUTE], 2);
    counter_add(&t->stats[2]->faults[FAULT_NO_ROUTE], 1);
}

static void test_routes(void **state)
{
    struct test *t = *state;
    add_requests(t);
    write_page(t);
    expect(t, "weir_requests_total{route=\"a \\\"b\\\"\\\\\\n\",method=\"GET\",status=\"200\"} 4");
    expect(t,
           "weir_requests_total{route=\"a \\\"b\\\"\\\\\\n\",method=\"other\",status=\"none\"} 1");
    expect(t, "weir_requests_total{route=\"_other\",method=\"POST\",status=\"503\"} 1");
    expect(t, "weir_route_bytes_total{route=\"a \\\"b\\\"\\\\\\n\",direction=\"in\"} 11");
    expect(t, "weir_request_duration_seconds_bucket{route=\"a \\\"b\\\"\\\\\\n\",le=\"0.0001\"} 1");
    expect(t, "weir_request_duration_seconds_bucket{route=\"a \\\"b\\\"\\\\\\n\",le=\"60\"} 2");
    expect(t, "weir_request_duration_seconds_bucket{route=\"a \\\"b\\\"\\\\\\n\",le=\"+Inf\"} 3");
    expect(t, "weir_request_duration_seconds_sum{route=\"a \\\"b\\\"\\\\\\n\"} 70.0004");
    expect(t, "weir_request_duration_seconds_count{route=\"a \\\"b\\\"\\\\\\n\"} 3");
    expect(t, "weir_faults_total{reason=\"no_route\"} 2"); /* the third was no client's */
    expect(t, "weir_faults_total{reason=\"connect_timeout\"} 0");
    assert_int_equal(promtool(text_str(&t->page)), 0);
}

/* A certificate may hold any bytes. */
static void test_labels_are_utf8(void **state)
{
    (void) state;
    struct text t = {0};
    metrics_label(&t, "name", STR("a\xff\xc3\xa9\xc3\"\xe2\x80"), true);
    assert_true(str_eq(text_str(&t), STR("name=\"a\\\\xff\xc3\xa9\\\\xc3\\\"\\\\xe2\\\\x80\"")));
    text_fini(&t);
}

static void test_many_statuses(void **state)
{
    struct test *t = *state;
    struct route_stats *r = stats_route_new(t->stats[0], 0, STR("r"));
    for (uint16_t status = 100; status < 600; status++)
        route_count_add(r, METHOD_GET, status);
    route_count_add(r, METHOD_GET, 100);
    write_page(t);
    expect(t, "weir_requests_total{route=\"r\",method=\"GET\",status=\"100\"} 2");
    expect(t, "weir_requests_total{route=\"r\",method=\"other\",status=\"other\"} 436");
}

static void test_upstreams(void **state)
{
    struct test *t = *state;
    struct endpoint_conf e[2];
    struct upstream_conf c;
    schema_defaults(&upstream_schema, &c);
    for (int i = 0; i < 2; i++)
        schema_defaults(&endpoint_schema, &e[i]);
    e[0].address = STR("127.0.0.1:9001");
    e[1].address = STR("127.0.0.1:9000");
    c.endpoints = (struct schema_list){e, 2};
    struct upstream *u = upstream_new(t->registry, STR("origin"), &c);
    histogram_add(&u->endpoints[0]->stats[0].latency, 100);
    histogram_add(&u->endpoints[1]->stats[2].latency, 200);
    counter_add(&u->endpoints[0]->stats[1].opens, 4);
    counter_add(&u->endpoints[0]->stats[1].evictions[EVICT_IDLE], 2);
    write_page(t);
    expect(t, "weir_upstream_first_byte_seconds_count{upstream=\"origin\"} 2");
    expect(t, "weir_upstream_connections_opened_total{upstream=\"origin\","
              "endpoint=\"127.0.0.1:9001\"} 4");
    char line[200];
    snprintf(line, sizeof(line),
             "weir_upstream_connections_evicted_total{upstream=\"origin\","
             "endpoint=\"127.0.0.1:9001\",reason=\"%s\"} 2",
             evict_reason_name(EVICT_IDLE));
    expect(t, line);
    expect(t, "weir_upstream_endpoint_up{upstream=\"origin\",endpoint=\"127.0.0.1:9000\"} 1");
    assert_int_equal(promtool(text_str(&t->page)), 0);
    upstream_unref(u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),         TEST(test_routes),
        TEST(test_many_statuses), cmocka_unit_test(test_labels_are_utf8),
        TEST(test_upstreams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
