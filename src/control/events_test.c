/* SPDX-License-Identifier: Apache-2.0 */
/* events: numbers without a gap, the oldest make room, subscribers hear at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "control/events.h"

struct hearer {
    struct event_subscriber sub; /* first */
    uint64_t last;
    unsigned n;
};

static void hear(struct event_subscriber *s, const struct event *e)
{
    struct hearer *h = (struct hearer *) (void *) s;
    h->last = e->id;
    h->n++;
}

static void test_subscribers_hear_until_they_leave(void **state)
{
    (void) state;
    struct events *e = events_new(1);
    struct hearer h = {.sub.tell = hear};
    events_add(e, EVENT_CONFIG, STR("before"), STR("{}"));
    events_subscribe(e, &h.sub);
    events_add(e, EVENT_ROUTE, STR("route a: added"), STR("{}"));
    assert_int_equal(h.n, 1);
    assert_int_equal(h.last, 2);
    events_leave(&h.sub);
    events_add(e, EVENT_ROUTE, STR("route b: added"), STR("{}"));
    assert_int_equal(h.n, 1);
    events_free(e);
}

static void test_the_oldest_make_room(void **state)
{
    (void) state;
    const uint64_t first = 7000;
    struct events *e = events_new(first);
    char text[32];
    assert_null(events_next(e, 0));
    assert_int_equal(events_last(e), first - 1);
    for (unsigned i = 1; i <= EVENTS_KEPT + 10; i++) {
        snprintf(text, sizeof text, "%u", i);
        events_add(e, EVENT_STATE, str_c(text), STR("{}"));
        const struct event *oldest = events_next(e, 0);
        assert_int_equal(oldest->id, first + (i > EVENTS_KEPT ? i - EVENTS_KEPT : 0));
    }
    assert_null(events_next(e, events_last(e)));
    uint64_t at = 0;
    unsigned n = 0;
    for (const struct event *v; (v = events_next(e, at)); at = v->id, n++) {
        snprintf(text, sizeof text, "%u", n + 11);
        assert_true(str_eq(v->text, str_c(text)));
    }
    assert_int_equal(n, EVENTS_KEPT);
    assert_int_equal(at, events_last(e));
    assert_int_equal(at, first + EVENTS_KEPT + 9);
    assert_string_equal(event_kind_name(EVENT_STATE), "state");
    events_free(e);
}

/* Longer ones are fewer, and a large one takes nothing of the others' room. */
static void test_bytes_are_bounded(void **state)
{
    (void) state;
    struct events *e = events_new(1);
    static char text[EVENTS_BYTES];
    const size_t large = EVENTS_BYTES / 2;
    for (unsigned i = 1; i <= 5000; i++) {
        size_t n = i % 1000 == 0 ? large : 1 + i * 7919u % 1000;
        memset(text, 'a' + (int) (i % 26), n);
        events_add(e, EVENT_STATE, str_of(text, n), STR("{}"));
        uint64_t at = 0;
        size_t bytes = 0;
        for (const struct event *v; i % 50 == 0 && (v = events_next(e, at)); at = v->id) {
            size_t want = v->id % 1000 == 0 ? large : 1 + v->id * 7919u % 1000;
            assert_int_equal(v->text.n, want);
            assert_int_equal(v->text.p[0], 'a' + (int) (v->id % 26));
            assert_int_equal(v->text.p[want - 1], 'a' + (int) (v->id % 26));
            assert_true(str_eq(v->json, STR("{}")));
            assert_true(at == 0 || v->id == at + 1);
            bytes += want == large ? 0 : want;
        }
        assert_true(bytes < EVENTS_BYTES && (i % 50 || (at == i && (i < 500 || bytes > 100000))));
    }
    events_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscribers_hear_until_they_leave),
        cmocka_unit_test(test_the_oldest_make_room),
        cmocka_unit_test(test_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
