/* SPDX-License-Identifier: Apache-2.0 */
/* phase_test.c: a data hook that waits is called again, the ones before it are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/driver.h"
#include "proxy/exchange_kit.h"

static int doubled, asked;

/* Says everything twice. */
static enum hook twice(struct exchange *x, void *slot, struct chain *in, struct chain *out)
{
    (void) slot;
    doubled++;
    assert_true(chain_share(out, in, &x->worker->buffers));
    assert_true(chain_share(out, in, &x->worker->buffers));
    return HOOK_PASS;
}

/* Passes what it is given at the third call. */
static enum hook patient(struct exchange *x, void *slot, struct chain *in, struct chain *out)
{
    (void) slot;
    if (++asked < 3)
        return HOOK_WAIT;
    chain_move(out, in, in->bytes, &x->worker->buffers);
    return HOOK_PASS;
}

static const struct feature first = {
    .name = "first", .on_request_data = twice, .on_response_data = twice};
static const struct feature second = {
    .name = "second", .on_request_data = patient, .on_response_data = patient};

static void data_hook_waits(void **state)
{
    (void) state;
    static const enum direction ways[] = {DIR_REQUEST, DIR_RESPONSE};
    for (int i = 0; i < 2; i++) {
        struct exchange_kit k;
        struct chain in = {0}, out = {0};
        char got[8] = "";
        doubled = asked = 0;
        exchange_kit_open(&k);
        k.hooks[ways[i] == DIR_REQUEST ? ON_REQUEST_DATA : ON_RESPONSE_DATA] =
            (struct hook_list){.n = 2, .v = {{&first, 0}, {&second, 0}}};
        assert_true(chain_copy(&in, &k.worker.buffers, STR("ab")));
        assert_int_equal(hooks_data(&k.x, ways[i], &in, &out), HOOK_WAIT);
        assert_int_equal(hooks_data(&k.x, ways[i], &in, &out), HOOK_WAIT);
        assert_int_equal(out.bytes, 0);
        assert_int_equal(hooks_data(&k.x, ways[i], &in, &out), HOOK_PASS);
        assert_int_equal(doubled, 1);
        assert_int_equal(in.bytes, 0);
        assert_int_equal(out.bytes, 4);
        assert_int_equal(chain_peek(&out, got, sizeof got), 4);
        assert_memory_equal(got, "abab", 4);
        chain_clear(&out, &k.worker.buffers);
        assert_true(chain_copy(&in, &k.worker.buffers, STR("c"))); /* the next block begins anew */
        assert_int_equal(hooks_data(&k.x, ways[i], &in, &out), HOOK_PASS);
        assert_int_equal(doubled, 2);
        assert_int_equal(out.bytes, 2);
        chain_clear(&out, &k.worker.buffers);
        exchange_kit_close(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(data_hook_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
