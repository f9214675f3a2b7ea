/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket.h"

#include "http/http_test.h"

static void makes_keys(void **state)
{
    (void) state;
    char key[WEBSOCKET_KEY];
    websocket_key(key, (const uint8_t *) "the sample nonce");
    same_str(str_of(key, sizeof(key)), "dGhlIHNhbXBsZSBub25jZQ==", "key", STR("RFC 6455 1.3"));
}

static void knows_the_answer(void **state)
{
    (void) state;
    struct str key = STR("dGhlIHNhbXBsZSBub25jZQ==");
    assert_true(websocket_accepts(key, STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_false(websocket_accepts(key, STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")));
    assert_false(websocket_accepts(key, STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo")));
    assert_false(websocket_accepts(key, STR("")));
    assert_false(websocket_accepts(STR(""), STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    char longest[200] = {0};
    assert_false(websocket_accepts(str_of(longest, sizeof(longest)), STR("x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_keys),
        cmocka_unit_test(knows_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
