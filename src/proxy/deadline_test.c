/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that takes little, behind a kernel that holds megabytes for it and takes no more until a
 * third of them have left: what counts is what the peer takes. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/driver.h"
#include "proxy/exchange_kit.h"

#define HELD ((size_t) 2 << 20)
#define START (1000 * USEC_PER_SEC)
#define SPAN (60 * USEC_PER_SEC)

static struct exchange_kit kit;
static struct leg upstream;
static struct attempt attempt;
static usec_t ends;  /* the peer takes until then */
static size_t speed; /* bytes a second */

static size_t some_wait(const struct leg *l)
{
    (void) l;
    return 1000;
}

static uint64_t arrived(struct leg *l)
{
    (void) l;
    usec_t now = kit.x.now < ends ? kit.x.now : ends;
    return (now - START) * speed / USEC_PER_SEC;
}

static const struct leg_ops tells = {.queued = some_wait, .arrived = arrived};
static const struct leg_ops tells_not = {.queued = some_wait};

/* Either side's answer or request is on its way; a peer takes a byte a second for so long. */
static void open_one(enum step step, const struct leg_ops *ops, usec_t takes)
{
    exchange_kit_open(&kit);
    ends = START + takes;
    speed = 1;
    struct leg l = {
        .ops = ops, .x = &kit.x, .bytes_out = HELD, .last_in = START, .last_out = START};
    kit.client = upstream = l;
    attempt = (struct attempt){.x = &kit.x,
                               .leg = &upstream,
                               .step = ATTEMPT_AWAIT_HEAD,
                               .started = START,
                               .sent_at = START};
    kit.x.step = (uint8_t) step;
    kit.x.now = kit.x.started = kit.x.step_since = START;
    kit.x.attempt = &attempt;
    if (step == STEP_ATTEMPT)
        kit.x.request = (struct pump){
            .source = &kit.client, .sink = &upstream, .state = PUMP_COPY, .held_up = true};
    else
        kit.x.response_pump = (struct pump){
            .source = &upstream, .sink = &kit.client, .state = PUMP_SPLICE, .held_up = true};
}

/* The first fault, or FAULT_OK after an hour; the time until then in *at. */
static enum fault first_fault(usec_t *at)
{
    enum fault f = FAULT_OK;
    while (f == FAULT_OK && kit.x.now < START + 3600 * USEC_PER_SEC) {
        f = deadlines_expired(&kit.x);
        *at = kit.x.now - START;
        assert_true(f != FAULT_OK || kit.x.deadline > kit.x.now);
        kit.x.now = kit.x.deadline;
    }
    exchange_kit_close(&kit);
    return f;
}

static void one_that_takes_is_waited_for(void **state)
{
    (void) state;
    usec_t at;
    for (int client = 0; client < 2; client++) {
        enum step step = client ? STEP_STREAM : STEP_ATTEMPT;
        enum fault late = client ? FAULT_CLIENT_SEND_TIMEOUT : FAULT_UP_SEND_TIMEOUT;
        usec_t takes[] = {0, 10 * USEC_PER_SEC, 600 * USEC_PER_SEC};
        for (size_t i = 0; i < 3; i++) {
            open_one(step, &tells, takes[i]);
            kit.settings.timeouts.client_send = kit.settings.timeouts.upstream_send = SPAN;
            assert_int_equal(first_fault(&at), late);
            assert_true(at >= takes[i] + SPAN && at <= takes[i] + SPAN + SPAN / 2);
        }
        open_one(step, &tells, 7200 * USEC_PER_SEC);
        kit.settings.timeouts.client_send = kit.settings.timeouts.upstream_send = SPAN;
        assert_int_equal(first_fault(&at), FAULT_OK);
        open_one(step, &tells_not, 7200 * USEC_PER_SEC);
        kit.settings.timeouts.client_send = kit.settings.timeouts.upstream_send = SPAN;
        assert_int_equal(first_fault(&at), late);
        assert_int_equal(at, SPAN);
    }
}

static void its_rate_is_what_it_takes(void **state)
{
    (void) state;
    usec_t at, grace = 10 * USEC_PER_SEC;
    open_one(STEP_STREAM, &tells, 7200 * USEC_PER_SEC);
    kit.settings.min_rate = (struct min_rate_conf){.response = 100, .grace = grace};
    speed = 100;
    assert_int_equal(first_fault(&at), FAULT_OK);
    open_one(STEP_STREAM, &tells, 7200 * USEC_PER_SEC);
    kit.settings.min_rate = (struct min_rate_conf){.response = 100, .grace = grace};
    speed = 99;
    assert_int_equal(first_fault(&at), FAULT_CLIENT_SLOW_READ);
    assert_int_equal(at, grace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_takes_is_waited_for),
        cmocka_unit_test(its_rate_is_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
