/* SPDX-License-Identifier: Apache-2.0 */
/* The three buffer strategies by the numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/window.h"

#define KIB ((size_t) 1024)

static const struct buffer_conf adaptive = {BUFFER_ADAPTIVE, 1024 * KIB};

/* Reading stopped at the mark, then the sink drained to waiting. */
static void filled_then(struct window *w, size_t waiting, usec_t now)
{
    w->filled = true;
    window_adapt(w, &adaptive, waiting, now);
}

static void begins_as_configured(void **state)
{
    (void) state;
    static const struct {
        struct buffer_conf conf;
        size_t size;
    } rows[] = {{{BUFFER_NONE, 64 * KIB}, 1},
                {{BUFFER_FIXED, 64 * KIB}, 64 * KIB},
                {{BUFFER_FIXED, 1024 * KIB}, 1024 * KIB},
                {{BUFFER_ADAPTIVE, 1024 * KIB}, 16 * KIB},
                {{BUFFER_ADAPTIVE, 4 * KIB}, 4 * KIB}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct window w;
        window_init(&w, &rows[i].conf);
        assert_int_equal(w.size, rows[i].size);
    }
}

static void doubles_when_drained(void **state)
{
    (void) state;
    struct window w;
    window_init(&w, &adaptive);
    for (size_t size = 32 * KIB; size <= 1024 * KIB; size *= 2) {
        filled_then(&w, w.size / 2 + 1, 0); /* not yet */
        assert_int_equal(w.size, size / 2);
        filled_then(&w, w.size / 2, 0);
        assert_int_equal(w.size, size);
    }
    filled_then(&w, 0, 0);
    assert_int_equal(w.size, 1024 * KIB);
}

static void grows_to_an_odd_most(void **state)
{
    (void) state;
    const struct buffer_conf odd = {BUFFER_ADAPTIVE, 50 * KIB};
    struct window w;
    window_init(&w, &odd);
    for (int i = 0; i < 4; i++) {
        w.filled = true;
        window_adapt(&w, &odd, 0, 0);
    }
    assert_int_equal(w.size, 50 * KIB);
}

/* A source that never filled the window asks for no larger one. */
static void stays_when_the_source_is_slow(void **state)
{
    (void) state;
    struct window w;
    window_init(&w, &adaptive);
    for (usec_t now = 0; now < 60 * USEC_PER_SEC; now += USEC_PER_SEC)
        window_adapt(&w, &adaptive, 1000, now);
    assert_int_equal(w.size, 16 * KIB);
}

static void halves_after_five_seconds(void **state)
{
    (void) state;
    struct window w;
    usec_t now = USEC_PER_SEC;
    window_init(&w, &adaptive);
    for (int i = 0; i < 6; i++)
        filled_then(&w, 0, now);
    window_adapt(&w, &adaptive, 256 * KIB - 1, now); /* a byte below a quarter */
    window_adapt(&w, &adaptive, 0, now + 5 * USEC_PER_SEC);
    assert_int_equal(w.size, 1024 * KIB);
    window_adapt(&w, &adaptive, 0, now + 5 * USEC_PER_SEC + 1);
    assert_int_equal(w.size, 512 * KIB);
    /* The next five seconds begin there; a quarter in between begins them anew. */
    now += 5 * USEC_PER_SEC + 1;
    window_adapt(&w, &adaptive, 128 * KIB, now + 4 * USEC_PER_SEC);
    window_adapt(&w, &adaptive, 0, now + 5 * USEC_PER_SEC);
    window_adapt(&w, &adaptive, 0, now + 10 * USEC_PER_SEC);
    assert_int_equal(w.size, 512 * KIB);
    for (int i = 0; i < 100; i++)
        window_adapt(&w, &adaptive, 0, now += 10 * USEC_PER_SEC);
    assert_int_equal(w.size, 16 * KIB);
}

static void others_never_change(void **state)
{
    (void) state;
    static const struct buffer_conf confs[] = {{BUFFER_NONE, 64 * KIB}, {BUFFER_FIXED, 64 * KIB}};
    for (int i = 0; i < 2; i++) {
        struct window w;
        window_init(&w, &confs[i]);
        size_t size = w.size;
        for (usec_t now = 0; now < 60 * USEC_PER_SEC; now += USEC_PER_SEC) {
            w.filled = true;
            window_adapt(&w, &confs[i], 0, now);
        }
        assert_int_equal(w.size, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_as_configured),
        cmocka_unit_test(doubles_when_drained),
        cmocka_unit_test(grows_to_an_odd_most),
        cmocka_unit_test(stays_when_the_source_is_slow),
        cmocka_unit_test(halves_after_five_seconds),
        cmocka_unit_test(others_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
