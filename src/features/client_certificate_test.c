/* SPDX-License-Identifier: Apache-2.0 */
/* Without a verified certificate nothing is added, whatever is configured. (What is added, over
 * real handshakes, is in tests/scenario/mutual_tls.py.) */
#include "features/client_certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "features/registry.h"
#include "net/tls.h"
#include "proxy/exchange_kit.h"

static void says_nothing_unproved(void **state)
{
    (void) state;
    struct exchange_kit k;
    const struct client_certificate_conf conf = {true, true, true};
    exchange_kit_open(&k);
    k.feature_conf[FEATURE_CLIENT_CERTIFICATE] = &conf;
    k.session.conn.ops = &conn_plain;
    assert_int_equal(feature_client_certificate.on_send(&k.x, NULL, NULL), HOOK_PASS);
    assert_int_equal(k.out.fields.n, 0);
    k.x.identity = STR("somebody"); /* by other means than a certificate */
    assert_int_equal(feature_client_certificate.on_send(&k.x, NULL, NULL), HOOK_PASS);
    assert_int_equal(k.out.fields.n, 0);
    exchange_kit_close(&k);
}

static void active_where_it_says_something(void **state)
{
    (void) state;
    struct client_certificate_conf conf;
    schema_defaults(&client_certificate_schema, &conf);
    assert_false(feature_client_certificate.active(&conf));
    conf.dn = true;
    assert_true(feature_client_certificate.active(&conf));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_nothing_unproved),
        cmocka_unit_test(active_where_it_says_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
