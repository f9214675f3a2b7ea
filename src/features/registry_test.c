/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the registry: every feature is described and in its place; start and stop pair up. */
#include "features/registry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/event.h"

static void test_described(void **state)
{
    (void) state;
    static const char *const order[] = {"metrics",    "access_log",      "proxy_status",
                                        "request_id", "forwarded",       "client_certificate",
                                        "grpc_web",   "request_headers", "response_headers"};
    assert_int_equal(feature_registry.n, FEATURE_OWN);
    for (uint32_t i = 0; i < feature_registry.n; i++) {
        const struct feature *f = feature_registry.v[i];
        assert_string_equal(f->name, order[i]);
        assert_true(strlen(f->purpose) > 10);
        if (!f->conf)
            continue;
        assert_string_equal(f->conf->name, f->name);
        void *conf = mem_new(f->conf->size);
        schema_defaults(f->conf, conf);
        for (size_t row = 0; row < f->conf->n_fields; row++) {
            assert_non_null(f->conf->fields[row].doc);
            assert_non_null(f->conf->fields[row].example);
        }
        mem_free(conf);
    }
}

static int running;

static bool start(const void *conf, unsigned n_workers, void **state, char **why)
{
    if (conf && strcmp(conf, "fail") == 0) {
        *why = mem_printf("asked to fail");
        return false;
    }
    running += (int) n_workers;
    *state = &running;
    return true;
}

static void stop(void *state)
{
    assert_ptr_equal(state, &running);
    running -= 2;
}

static void *worker_state(void *state, uint32_t worker)
{
    return (char *) state + worker;
}

static const struct event *heard[4];
static unsigned n_heard;

static void on_event(void *state, const struct event *e)
{
    assert_ptr_equal(state, &running);
    heard[n_heard++] = e;
}

static const struct feature active = {
    .name = "a", .start = start, .stop = stop, .worker_state = worker_state, .on_event = on_event};
static const struct feature passive = {.name = "b"};
static const struct feature *const three[] = {&active, &passive, &active};
static const struct feature_set set = {three, 3};

static void test_start_and_stop(void **state)
{
    (void) state;
    struct features_running r;
    char *why = NULL;
    assert_true(features_start(&r, &set, NULL, 2, &why));
    assert_int_equal(running, 4);
    struct worker *w = mem_new(sizeof(*w));
    w->index = 1;
    features_join(&r, w);
    assert_ptr_equal(w->feature_state[0], (char *) &running + 1);
    assert_null(w->feature_state[1]);
    assert_ptr_equal(w->feature_state[2], (char *) &running + 1);
    mem_free(w);
    struct event e = {.kind = EVENT_ROUTE};
    features_tell(&r, &e);
    assert_int_equal(n_heard, 2); /* once for each that hears */
    assert_ptr_equal(heard[1], &e);
    features_stop(&r);
    features_tell(&r, &e);
    assert_int_equal(n_heard, 2);
    assert_int_equal(running, 0);
}

static void test_failed_start(void **state)
{
    (void) state;
    struct features_running r;
    char *why = NULL;
    const void *conf[] = {NULL, NULL, "fail"};
    assert_false(features_start(&r, &set, conf, 2, &why));
    assert_string_equal(why, "asked to fail");
    assert_int_equal(running, 0);
    mem_free(why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_described),
        cmocka_unit_test(test_start_and_stop),
        cmocka_unit_test(test_failed_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
