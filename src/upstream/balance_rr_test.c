/* SPDX-License-Identifier: Apache-2.0 */
/* Round robin: the smooth order, exact shares, workers, health, weights at run time. */
#include "upstream/balance_kit.h"

/* "a" for the first endpoint, and so on. */
static void sequence(struct bench *b, uint32_t worker, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct endpoint *e = pick(b, worker);
        out[i] = '-';
        for (uint32_t j = 0; e && j < b->up->n_endpoints; j++) {
            if (b->up->endpoints[j] == e)
                out[i] = (char) ('a' + j);
        }
    }
    out[n] = '\0';
}

static void equal_weights(void **state)
{
    (void) state;
    struct bench b;
    char got[16];
    bench_open(&b, 3, NULL, 1);
    sequence(&b, 0, 7, got);
    assert_string_equal(got, "abcabca");
    bench_close(&b);
}

static void smooth_like_nginx(void **state)
{
    (void) state;
    struct bench b;
    char got[16];
    const double weights[] = {5, 1, 1};
    bench_open(&b, 3, weights, 1);
    sequence(&b, 0, 14, got);
    assert_string_equal(got, "aabacaaaabacaa");
    bench_close(&b);
}

/* A round that is too long to lay out: each endpoint has its exact share of it all the same. */
static void long_rounds_are_exact(void **state)
{
    (void) state;
    struct bench b;
    const double weights[] = {99.7, 49.9, 0.3};
    uint32_t count[3] = {0};
    bench_open(&b, 3, weights, 1);
    for (int i = 0; i < 2 * (997 + 499 + 3); i++) {
        const struct endpoint *e = pick(&b, 0);
        for (int j = 0; j < 3; j++)
            count[j] += b.up->endpoints[j] == e;
    }
    assert_int_equal(count[0], 2 * 997);
    assert_int_equal(count[1], 2 * 499);
    assert_int_equal(count[2], 2 * 3);
    bench_close(&b);
}

static void many_equal_endpoints(void **state)
{
    (void) state;
    static struct bench b;
    static uint32_t count[300];
    bench_open(&b, 300, NULL, 2);
    for (int i = 0; i < 600; i++) {
        const struct endpoint *e = pick(&b, 1);
        for (int j = 0; j < 300; j++)
            count[j] += b.up->endpoints[j] == e;
    }
    for (int j = 0; j < 300; j++)
        assert_int_equal(count[j], 2);
    bench_close(&b);
}

static void workers_begin_apart(void **state)
{
    (void) state;
    struct bench b;
    char got[8];
    bench_open(&b, 4, NULL, 2);
    sequence(&b, 0, 4, got);
    assert_string_equal(got, "abcd");
    sequence(&b, 1, 4, got);
    assert_string_equal(got, "cdab");
    bench_close(&b);
}

static void avoids_what_was_tried(void **state)
{
    (void) state;
    for (int heavy = 2; heavy <= 100; heavy += 98) { /* laid out, and not */
        struct bench b;
        const double weights[] = {heavy, 1, 1};
        struct endpoint *tried[3];
        bench_open(&b, 3, weights, 1);
        struct pick p = {.tried = tried};
        for (uint32_t i = 0; i < 3; i++) {
            struct endpoint *e = b.up->balance->pick(b.up->balance_state, b.up, &p);
            for (uint32_t j = 0; j < i; j++)
                assert_ptr_not_equal(e, tried[j]);
            tried[i] = e;
            p.n_tried = i + 1;
        }
        assert_non_null(b.up->balance->pick(b.up->balance_state, b.up, &p));
        bench_close(&b);
    }
}

static void health_and_weight_zero(void **state)
{
    (void) state;
    struct bench b;
    char got[16];
    const double weights[] = {1, 1, 1, 0};
    bench_open(&b, 4, weights, 1);
    b.up->balance_conf.panic_threshold = 0;
    b.up->balance_conf.slow_start = 0;
    endpoint_set_up(b.up->endpoints[1], false, "test");
    sequence(&b, 0, 4, got);
    assert_string_equal(got, "acac");
    endpoint_set_up(b.up->endpoints[0], false, "test");
    endpoint_set_up(b.up->endpoints[2], false, "test");
    sequence(&b, 0, 2, got);
    assert_string_equal(got, "--");
    endpoint_set_up(b.up->endpoints[1], true, "test");
    sequence(&b, 0, 2, got);
    assert_string_equal(got, "bb");
    bench_close(&b);
}

/* What changes elsewhere in the process does not start the round again. */
static void other_changes_do_not_disturb(void **state)
{
    (void) state;
    struct bench b;
    char got[8];
    bench_open(&b, 3, NULL, 1);
    struct upstream *other = upstream_new(b.registry, STR("other"), &b.conf);
    for (int i = 0; i < 6; i++) {
        endpoint_set_up(other->endpoints[0], i & 1, "test");
        sequence(&b, 0, 1, got);
        assert_int_equal(got[0], 'a' + i % 3);
    }
    upstream_unref(other);
    bench_close(&b);
}

static void weights_at_run_time(void **state)
{
    (void) state;
    struct bench b;
    char got[16];
    bench_open(&b, 3, NULL, 1);
    const struct endpoint_weight w[] = {
        {STR("127.0.0.1:1"), 2.0}, {STR("127.0.0.1:3"), 0}, {STR("127.0.0.1:9"), 1}};
    b.up->balance->update_weights(b.up->balance_state, b.up, w, 3);
    sequence(&b, 0, 6, got);
    assert_string_equal(got, "abaaba");
    /* The same configuration again leaves them; another one does not. */
    struct upstream *again = upstream_new(b.registry, STR("u"), &b.conf);
    assert_int_equal(atomic_load(&again->endpoints[0]->weight), 2000);
    upstream_unref(again);
    b.e[0].weight = 7;
    again = upstream_new(b.registry, STR("u"), &b.conf);
    assert_int_equal(atomic_load(&again->endpoints[0]->weight), 7000);
    assert_int_equal(atomic_load(&again->endpoints[2]->weight), 0);
    upstream_unref(again);
    bench_close(&b);
}

static void unresolved_is_the_second_choice(void **state)
{
    (void) state;
    struct bench b;
    char got[8];
    bench_open(&b, 2, NULL, 1);
    upstream_unref(b.up);
    b.e[0].address = STR("name.test:80");
    b.e[1].address = STR("other.test:80");
    b.up = upstream_new(b.registry, STR("u"), &b.conf);
    sequence(&b, 0, 4, got);
    assert_string_equal(got, "abab");
    struct ip ip;
    assert_true(ip_parse(STR("127.0.0.1"), &ip));
    endpoint_set_ips(b.up->endpoints[1], &ip, 1);
    sequence(&b, 0, 2, got);
    assert_string_equal(got, "bb");
    bench_close(&b);
}

static void found_by_name(void **state)
{
    (void) state;
    for (size_t i = 0; balance_all[i]; i++) {
        assert_ptr_equal(balance_find(str_c(balance_names[i])), balance_all[i]);
        assert_string_equal(balance_names[i], balance_all[i]->name);
    }
    assert_null(balance_find(STR("nothing")));
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_weights),          cmocka_unit_test(smooth_like_nginx),
        cmocka_unit_test(long_rounds_are_exact),  cmocka_unit_test(many_equal_endpoints),
        cmocka_unit_test(workers_begin_apart),    cmocka_unit_test(avoids_what_was_tried),
        cmocka_unit_test(health_and_weight_zero), cmocka_unit_test(other_changes_do_not_disturb),
        cmocka_unit_test(weights_at_run_time),    cmocka_unit_test(unresolved_is_the_second_choice),
        cmocka_unit_test(found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
