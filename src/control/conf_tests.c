/* SPDX-License-Identifier: Apache-2.0 */
/* conf_tests.c: the tests that a configuration holds for itself. Holds no state. */
#include <stdio.h>

#include "control/conf_load.h"
#include "control/dry_run.h"
#include "proxy/passthrough.h"
#include "upstream/upstream.h"

struct trial {
    const struct test_conf *t;
    struct conf_errors *errors;
    const struct dry_result *got;
    size_t failures;
};

static struct str or_none(struct str s)
{
    return s.n ? s : STR("none");
}

/* A test's failure, at the text that was not met. */
static void unmet(struct trial *r, struct str expected, const char *what, struct str got)
{
    const struct test_conf *t = r->t;
    struct str name = t->name.n ? t->name : t->request.url;
    r->failures++;
    conf_say(r->errors, conf_place_of(r->errors, expected, t->pos),
             "test \"%.*s\": expected %s %.*s, got %.*s", STR_ARG(name), what, STR_ARG(expected),
             STR_ARG(got));
}

static void expect_str(struct trial *r, struct str expected, const char *what, struct str got)
{
    if (expected.n && !str_eq(expected, or_none(got)))
        unmet(r, expected, what, or_none(got));
}

static void expect_status(struct trial *r)
{
    struct arena *a = r->errors->arena;
    const struct dry_result *got = r->got;
    if (r->t->expect.status == 0 || r->t->expect.status == got->status)
        return;
    struct str want = arena_printf(a, "%d", (int) r->t->expect.status);
    struct str has = got->status ? arena_printf(a, "%u", got->status) : STR("the upstream's");
    if (got->fault != FAULT_OK)
        has = arena_printf(a, "%.*s (%s)", STR_ARG(has), fault_name(got->fault));
    unmet(r, want, "status", has);
}

static void expect_header(struct trial *r, struct str name, struct str expected)
{
    struct str got = STR("");
    bool there = dry_field(r->got, name, &got);
    char what[80];
    snprintf(what, sizeof what, "header %.*s:", (int) (name.n > 60 ? 60 : name.n), name.p);
    if (str_eq(expected, STR("*"))) {
        if (!there)
            unmet(r, expected, what, STR("none"));
    } else if (expected.n == 0) {
        if (there)
            unmet(r, STR("(absent)"), what, got);
    } else if (!there || !str_eq(expected, got)) {
        unmet(r, expected, what, there ? got : STR("none"));
    }
}

static void expect_path(struct trial *r)
{
    expect_str(r, r->t->expect.path, "path", r->got->out ? dry_target(r->got) : STR(""));
}

static void judge(struct trial *r)
{
    const struct test_expect_conf *want = &r->t->expect;
    const struct dry_result *got = r->got;
    const struct str *values = want->headers.items;
    expect_str(r, want->route, "route", got->route ? got->route->name : STR(""));
    expect_str(r, want->upstream, "upstream", got->upstream ? got->upstream->name : STR(""));
    expect_status(r);
    expect_path(r);
    for (size_t i = 0; i < want->headers.n; i++)
        expect_header(r, want->headers.names[i], values[i]);
}

/* Which passthrough route takes a connection. */
static bool run_connection(const struct test_conf *t, const struct snapshot *s,
                           struct conf_errors *e)
{
    struct client_hello hello = {0};
    /* The texts were checked with the row. */
    if (!dry_hello_name(&hello, t->request.url) ||
        (t->request.alpn.n && !dry_hello_alpn(&hello, t->request.alpn)))
        return false;
    const struct route *route = passthrough_route(s, &hello);
    const struct dry_result got = {.route = route,
                                   .upstream = route ? route->plan->upstream : NULL};
    struct trial r = {t, e, &got, 0};
    judge(&r);
    return r.failures == 0;
}

static bool run_one(const struct test_conf *t, const struct snapshot *s, struct conf_errors *e)
{
    struct dry_result got;
    struct trial r = {t, e, &got, 0};
    struct dry_request request = {.method = t->request.method,
                                  .url = t->request.url,
                                  .names = t->request.headers.names,
                                  .values = t->request.headers.items,
                                  .n_fields = t->request.headers.n};
    /* The text was checked with the row. */
    if (!ip_parse(t->request.client, &request.client))
        return false;
    if (dry_run(s, &request, &got, NULL, NULL))
        judge(&r);
    else
        unmet(&r, STR("a request"), "to be able to make", got.why);
    dry_run_fini(&got);
    return r.failures == 0;
}

size_t conf_tests_run(const struct conf_file *file, const struct snapshot *s, struct conf_errors *e)
{
    const struct test_conf *t = file->tests.items;
    size_t passed = 0;
    for (size_t i = 0; i < file->tests.n; i++)
        passed += dry_is_connection(t[i].request.url) ? run_connection(&t[i], s, e)
                                                      : run_one(&t[i], s, e);
    return passed;
}
