/* SPDX-License-Identifier: Apache-2.0 */
/* What weir explain prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/commands.h"

static char path[] = "/tmp/weir-explain-XXXXXX";
static char text[8192]; /* what the last run printed on stdout */

static const char conf[] = "upstreams:\n"
                           "  origin: {endpoints: [\"127.0.0.1:9000\"]}\n"
                           "routes:\n"
                           "  - name: write\n"
                           "    match: {path: /api/*, methods: [POST]}\n"
                           "    to: origin\n"
                           "  - name: api\n"
                           "    match: {path: /api/*, headers: {x-version: \"2\"}}\n"
                           "    rewrite: {strip_prefix: /api, host: upstream}\n"
                           "    to: origin\n"
                           "  - name: old\n"
                           "    match: {host: h.com, path: /old}\n"
                           "    redirect: \"https://{host}/new\"\n"
                           "  - {name: secret, match: {sni: s.com}, to: origin}\n"
                           "  - {name: db, match: {sni: \"*.db.com\"}, to: origin, "
                           "passthrough: true}\n"
                           "  - {name: db-h2, match: {sni: \"*.db.com\", alpn: [h2]}, to: origin, "
                           "passthrough: true}\n"
                           "listeners: [{address: \"127.0.0.1:1\", mode: passthrough}]\n";

/* Runs the command, up to a NULL; its exit status. */
static int explain(const char *first, ...)
{
    char *argv[16] = {"explain", path};
    int argc = 2;
    va_list args;
    va_start(args, first);
    for (const char *a = first; a; a = va_arg(args, const char *))
        argv[argc++] = (char *) a;
    va_end(args);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    FILE *to = tmpfile();
    assert_non_null(to);
    dup2(fileno(to), STDOUT_FILENO);
    int status = cmd_explain(argc, argv);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(to);
    text[fread(text, 1, sizeof(text) - 1, to)] = 0;
    fclose(to);
    return status;
}

static void says(const char *want)
{
    if (!strstr(text, want))
        fail_msg("'%s' is not in:\n%s", want, text);
}

static void a_route_to_an_upstream(void **state)
{
    (void) state;
    assert_int_equal(explain("GET", "http://h.com/api/x?q=1", "-H", "X-Version: 2", NULL), 0);
    says("  - write                    method differs\n");
    says("  > api                      chosen\n");
    says("  - old                      path differs\n");
    says("upstream: origin\n  127.0.0.1:9000, weight 1\n");
    says("  GET /x?q=1 HTTP/1.1\n  Host: 127.0.0.1:9000\n  X-Version: 2\n");
}

static void a_redirect(void **state)
{
    (void) state;
    assert_int_equal(explain("GET", "http://h.com/old", "--from", "10.0.0.9", NULL), 0);
    says("client:   10.0.0.9\n");
    says("answer:   308 Permanent Redirect\n  Location: https://h.com/new\n");
}

static void no_route(void **state)
{
    (void) state;
    assert_int_equal(explain("GET", "http://h.com/nothing", NULL), 1);
    says("answer:   404 no_route: ");
    assert_int_equal(explain("GET", "http://h.com/api/x", NULL), 1);
    says("  - api                      header x-version is not 2\n");
    says("answer:   405 method_not_allowed: ");
    says("  Allow: POST\n");
    assert_int_equal(explain("GET", "/%zz", NULL), 1);
    says("answer:   400 target_invalid: ");
}

static void names_asked_for_by_tls(void **state)
{
    (void) state;
    assert_int_equal(explain("GET", "https://s.com/", NULL), 0);
    says("  > secret                   chosen\n");
    assert_int_equal(explain("GET", "http://s.com/", NULL), 1);
    says("  - secret                   sni or alpn differs\n");
    assert_int_equal(explain("tls://A.db.com", NULL), 0);
    says("  > db                       chosen\n");
    says("  - db-h2                    sni or alpn differs\n");
    says("upstream: origin\n");
    assert_int_equal(explain("tls://a.db.com", "--alpn", "http/1.1, h2", NULL), 0);
    says("  > db-h2                    chosen\n");
    assert_int_equal(explain("tls://other.com", NULL), 1);
    says("  - db                       sni differs\n");
    says("refused:  sni_unknown: ");
    assert_int_equal(explain("tls://", NULL), 1);
    says("refused:  sni_missing: ");
}

static void wrong_usage(void **state)
{
    (void) state;
    assert_int_equal(explain("GET", NULL), 2);
    assert_int_equal(explain("GET", "/", "more", NULL), 2);
    assert_int_equal(explain("GET", "/", "-H", NULL), 2);
    assert_int_equal(explain("GET", "/", "-H", "no colon", NULL), 2);
    assert_int_equal(explain("GET", "/", "-H", "a: b\r\nc: d", NULL), 2);
    assert_int_equal(explain("GET", "/", "--from", "nobody", NULL), 2);
    assert_int_equal(explain("tls://a b", NULL), 2);
    assert_int_equal(explain("tls://a", "--alpn", ",", NULL), 2);
    assert_int_equal(explain("GET", "/", "--alpn", "h2", NULL), 2);
    assert_int_equal(explain("GET", "/", "--unknown", NULL), 2);
}

static int write_conf(void **state)
{
    (void) state;
    int fd = mkstemp(path);
    bool good = fd >= 0 && write(fd, conf, sizeof(conf) - 1) == (ssize_t) sizeof(conf) - 1;
    return good && close(fd) == 0 ? 0 : -1;
}

static int remove_conf(void **state)
{
    (void) state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_to_an_upstream),
        cmocka_unit_test(a_redirect),
        cmocka_unit_test(no_route),
        cmocka_unit_test(names_asked_for_by_tls),
        cmocka_unit_test(wrong_usage),
    };
    return cmocka_run_group_tests(tests, write_conf, remove_conf);
}
