/* SPDX-License-Identifier: Apache-2.0 */
/* Whether another attempt follows: conditions, methods, budget, backoff, Retry-After, what is kept
 * of the body. An exchange with one attempt that has ended, put together by hand. */
#include "proxy/retry.h"

#include "http/date.h"
#include "proxy/driver.h"
#include "upstream/kit.h"

struct rig {
    struct mem_limit limit;
    struct worker worker;
    struct stats stats;
    struct run_worker counts;
    struct upstream_run run;
    struct upstream up;
    struct endpoint *endpoints[3];
    struct endpoint e;
    struct settings_conf settings;
    struct plan plan;
    struct head in, response;
    struct leg leg;
    struct attempt first, second;
    struct exchange x;
};

static void rig_open(struct rig *r, enum method method)
{
    *r = (struct rig){.limit = {.max = 1 << 20}};
    r->worker.account.limit = &r->limit;
    r->worker.stats = &r->stats;
    pool_init(&r->worker.chunks, ARENA_CHUNK, 0, &r->worker.account);
    buf_pool_init(&r->worker.buffers, &r->worker.account);
    r->run.workers = &r->counts;
    r->run.n_workers = 1;
    r->up.run = &r->run;
    r->up.n_endpoints = 3;
    r->up.endpoints = r->endpoints;
    r->plan.upstream = &r->up;
    r->plan.settings = &r->settings;
    schema_defaults(&retry_schema, &r->settings.retry);
    r->leg.bytes_out = 100;
    r->first = (struct attempt){
        .x = &r->x, .endpoint = &r->e, .leg = &r->leg, .fault = FAULT_UP_RESET, .sent = true};
    r->x = (struct exchange){.worker = &r->worker,
                             .plan = &r->plan,
                             .in = &r->in,
                             .attempt = &r->first,
                             .n_attempts = 1};
    arena_init(&r->x.arena, &r->worker.chunks, 1 << 16);
    r->in.method_id = (uint8_t) method;
    fields_init(&r->in.fields, &r->x.arena);
    fields_init(&r->response.fields, &r->x.arena);
}

static void rig_close(struct rig *r)
{
    chain_clear(&r->x.replay, &r->worker.buffers);
    arena_fini(&r->x.arena);
    buf_pool_fini(&r->worker.buffers);
    pool_fini(&r->worker.chunks);
}

static bool wanted(struct rig *r)
{
    struct retry_plan plan;
    r->x.retry_refused = RETRY_REFUSED_NOT;
    return retry_wanted(&r->x, &plan);
}

/* The attempt had an answer of that status. */
static void answered(struct rig *r, uint16_t status, const char *retry_after)
{
    r->first.fault = FAULT_OK;
    r->first.status = r->response.status = status;
    r->first.first_byte = 1;
    r->x.response = &r->response;
    if (retry_after)
        assert_true(fields_add_id(&r->response.fields, FIELD_RETRY_AFTER, str_c(retry_after)));
}

static void by_method_and_fault(void **state)
{
    static const struct {
        enum method method;
        enum fault fault;
        bool sent, wanted;
    } rows[] = {
        {METHOD_GET, FAULT_UP_RESET, true, true},
        {METHOD_PUT, FAULT_UP_CLOSED, true, true},
        {METHOD_DELETE, FAULT_UP_HEAD_TIMEOUT, true, true},
        {METHOD_GET, FAULT_TRY_TIMEOUT, true, true},
        {METHOD_GET, FAULT_UP_HEAD, true, false}, /* invalid: off */
        {METHOD_POST, FAULT_UP_RESET, true, false},
        {METHOD_PATCH, FAULT_UP_HEAD_TIMEOUT, true, false},
        {METHOD_POST, FAULT_CONNECT_REFUSED, false, true}, /* nothing was sent */
        {METHOD_POST, FAULT_UP_CERT_EXPIRED, false, true},
        {METHOD_POST, FAULT_UP_H2_REFUSED, true, true}, /* not processed */
        {METHOD_GET, FAULT_CLIENT_GONE, true, false},
        {METHOD_GET, FAULT_POOL_FULL, false, false},
    };
    (void) state;
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        struct rig r;
        rig_open(&r, rows[i].method);
        r.first.fault = rows[i].fault;
        r.leg.bytes_out = rows[i].sent ? 100 : 0;
        if (wanted(&r) != rows[i].wanted)
            fail_msg("row %zu: %s", i, fault_name(rows[i].fault));
        rig_close(&r);
    }
}

static void each_condition_can_be_off(void **state)
{
    struct rig r;
    (void) state;
    rig_open(&r, METHOD_GET);
    struct retry_conf *c = &r.settings.retry;
    assert_true(wanted(&r));
    c->reset = false;
    assert_false(wanted(&r));
    c->reset = true;
    c->enabled = false;
    assert_false(wanted(&r));
    c->enabled = true;
    r.first.fault = FAULT_UP_HEAD;
    c->invalid = true;
    assert_true(wanted(&r));
    r.first.fault = FAULT_TRY_TIMEOUT;
    c->timeout = false;
    assert_false(wanted(&r));
    r.first.fault = FAULT_CONNECT_REFUSED;
    r.leg.bytes_out = 0;
    assert_true(wanted(&r));
    c->connect = false;
    assert_false(wanted(&r));
    rig_close(&r);
}

/* Idempotency-Key counts where the route says so, and nowhere else; any_method everywhere. */
static void keys_and_any_method(void **state)
{
    struct rig r;
    (void) state;
    rig_open(&r, METHOD_POST);
    assert_true(fields_add(&r.in.fields, STR("Idempotency-Key"), STR("7")));
    assert_false(wanted(&r));
    r.settings.retry.idempotency_key = true;
    assert_true(wanted(&r));
    fields_init(&r.in.fields, &r.x.arena);
    assert_false(wanted(&r));
    r.settings.retry.any_method = true;
    assert_true(wanted(&r));
    rig_close(&r);
}

static void never_after_a_byte(void **state)
{
    struct rig r;
    (void) state;
    rig_open(&r, METHOD_GET);
    r.first.first_byte = 1;
    assert_false(wanted(&r)); /* the answer had begun */
    r.first.first_byte = 0;
    r.x.head_sent = true;
    assert_false(wanted(&r)); /* the client has a head */
    r.x.head_sent = false;
    r.x.interims = 1;
    assert_false(wanted(&r)); /* or a 103 */
    r.x.interims = 0;
    assert_true(wanted(&r));
    rig_close(&r);
}

static void as_many_tries_as_allowed(void **state)
{
    struct rig r;
    (void) state;
    rig_open(&r, METHOD_GET);
    r.second = r.first;
    r.second.prev = &r.first;
    r.x.attempt = &r.second;
    r.x.n_attempts = 2;
    assert_true(wanted(&r));
    r.settings.retry.tries = 2;
    assert_false(wanted(&r));
    r.settings.retry.tries = 8;
    r.up.n_endpoints = 2; /* nobody is left who was not asked */
    assert_false(wanted(&r));
    r.second.wait.want_fresh = true; /* the same one on a fresh connection is no try */
    assert_true(wanted(&r));
    rig_close(&r);
}

static void within_the_budget(void **state)
{
    struct rig r;
    struct retry_plan plan;
    (void) state;
    rig_open(&r, METHOD_GET);
    r.settings.retry.budget = 20;
    r.settings.retry.budget_least = 3;
    counter_add(&r.counts.active, 10);
    atomic_store(&r.run.retrying, 2);
    assert_true(retry_wanted(&r.x, &plan));
    assert_true(plan.counts);
    atomic_store(&r.run.retrying, 3);
    assert_false(wanted(&r));
    assert_int_equal(r.x.retry_refused, RETRY_REFUSED_BUDGET);
    assert_string_equal(retry_refused_name(r.x.retry_refused), "budget");
    assert_int_equal(counter_get(&r.stats.retries_refused[RETRY_REFUSED_BUDGET]), 1);
    counter_add(&r.counts.active, 10); /* 20 % of 20 are 4 */
    assert_true(wanted(&r));
    atomic_store(&r.run.retrying, 4);
    assert_false(wanted(&r));
    r.leg.bytes_out = 0; /* what nobody had seen costs nothing */
    r.first.fault = FAULT_CONNECT_REFUSED;
    r.x.retry_refused = RETRY_REFUSED_NOT;
    assert_true(retry_wanted(&r.x, &plan));
    assert_false(plan.counts);
    rig_close(&r);
}

/* Full jitter: from nothing to the bound, which doubles up to max_backoff. */
static void backoff_is_spread(void **state)
{
    struct rig r;
    struct retry_plan plan;
    (void) state;
    rig_open(&r, METHOD_GET);
    r.settings.retry.backoff = 1000;
    r.settings.retry.max_backoff = 1500;
    r.up.n_endpoints = 8;
    for (unsigned n = 1; n <= 2; n++) {
        usec_t bound = n == 1 ? 1000 : 1500, least = USEC_NEVER, most = 0;
        for (unsigned i = 0; i < 4000; i++) {
            assert_true(retry_wanted(&r.x, &plan));
            least = plan.pause < least ? plan.pause : least;
            most = plan.pause > most ? plan.pause : most;
        }
        assert_true(most <= bound && most > bound * 9 / 10);
        assert_true(least < bound / 10);
        r.second = r.first;
        r.second.prev = &r.first;
        r.x.attempt = &r.second;
        r.x.n_attempts = 2;
    }
    r.settings.retry.backoff = 0;
    assert_true(retry_wanted(&r.x, &plan));
    assert_int_equal(plan.pause, 0);
    rig_close(&r);
}

static void retry_after_is_heard(void **state)
{
    struct date_cache date = {.second = -1};
    static const struct {
        const char *text;
        bool wanted;
        usec_t least, most;
    } rows[] = {
        {NULL, true, 0, 0},
        {"2", true, 2 * USEC_PER_SEC, 2 * USEC_PER_SEC},
        {"3", false, 0, 0}, /* more than max_wait */
        {"99999999999999999999", false, 0, 0},
        {"soon", true, 0, 0}, /* says nothing */
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 0, 0},
        {"Fri, 31 Dec 9999 23:59:59 GMT", false, 0, 0},
        {"", true, USEC_PER_SEC / 10, 2 * USEC_PER_SEC}, /* the date of two seconds from now */
    };
    (void) state;
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        struct rig r;
        struct retry_plan plan;
        char text[32];
        const char *value = rows[i].text;
        rig_open(&r, METHOD_GET);
        r.settings.retry.backoff = 0;
        r.settings.retry.max_wait = 2 * USEC_PER_SEC + USEC_PER_SEC / 2;
        if (value && !*value) {
            struct str d = date_text(&date, clock_wall() + 2 * (int64_t) USEC_PER_SEC);
            snprintf(text, sizeof text, "%.*s", STR_ARG(d));
            value = text;
        }
        answered(&r, 503, value);
        if (retry_wanted(&r.x, &plan) != rows[i].wanted)
            fail_msg("row %zu", i);
        if (rows[i].wanted && (plan.pause < rows[i].least || plan.pause > rows[i].most))
            fail_msg("row %zu: %llu us", i, (unsigned long long) plan.pause);
        rig_close(&r);
    }
}

static void which_statuses(void **state)
{
    struct rig r;
    int64_t statuses[] = {502, 503};
    (void) state;
    rig_open(&r, METHOD_GET);
    answered(&r, 503, NULL);
    assert_false(retry_status(&r.x)); /* none by default */
    r.settings.retry.statuses = (struct schema_list){statuses, 2};
    assert_true(retry_status(&r.x));
    r.response.status = 500;
    assert_false(retry_status(&r.x));
    rig_close(&r);
}

/* What was read of the body and is not kept any more cannot be sent again: counted and named. */
static void the_body_is_kept_or_not(void **state)
{
    struct rig r;
    struct buf_pool *bp;
    (void) state;
    rig_open(&r, METHOD_PUT);
    bp = &r.worker.buffers;
    assert_true(chain_copy(&r.x.replay, bp, STR("0123456789")));
    r.x.request.bytes = 10;
    assert_true(wanted(&r));
    r.x.request.bytes = 11; /* one byte went on that was not kept */
    assert_false(wanted(&r));
    assert_int_equal(r.x.retry_refused, RETRY_REFUSED_BODY);
    assert_string_equal(retry_refused_name(r.x.retry_refused), "body");
    assert_int_equal(counter_get(&r.stats.retries_refused[RETRY_REFUSED_BODY]), 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_method_and_fault),      cmocka_unit_test(each_condition_can_be_off),
        cmocka_unit_test(keys_and_any_method),      cmocka_unit_test(never_after_a_byte),
        cmocka_unit_test(as_many_tries_as_allowed), cmocka_unit_test(within_the_budget),
        cmocka_unit_test(backoff_is_spread),        cmocka_unit_test(retry_after_is_heard),
        cmocka_unit_test(which_statuses),           cmocka_unit_test(the_body_is_kept_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
