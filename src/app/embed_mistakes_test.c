/* SPDX-License-Identifier: Apache-2.0 */
/* embed_mistakes_test.c: callbacks that answer what they may not, and muxes that are put together
 * wrongly: told by weir_serve, or 502 with a reason for that exchange alone. */
#include "app/embed_test.h"

#include <errno.h>

static weir_result answer_as_told(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) x, (void) in;
    return *(weir_result *) arg;
}

static weir_result change_as_told(void *arg, weir_exchange *x, weir_head *response)
{
    (void) response;
    return answer_as_told(arg, x, NULL);
}

static weir_result mend_as_told(void *arg, weir_exchange *x, const char *reason, int status)
{
    (void) reason, (void) status;
    return answer_as_told(arg, x, NULL);
}

/* Neither an answer that was never made nor one that means nothing ends a connection silently. */
static void answers_without_a_reply(void **state)
{
    (void) state;
    static weir_result pass = WEIR_PASS, reply = WEIR_REPLY, odd = (weir_result) 77,
                       wait = WEIR_WAIT; /* for what? nobody has a ticket */
    char address[32], url[64];
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options access = {.size = sizeof access, .target = url, .arg = &reply};
    weir_proxy_options modify = access, dead = access, waits, waits_late;
    access.access = answer_as_told;
    modify.modify_response = change_as_told;
    waits = access;
    waits_late = modify;
    waits.arg = waits_late.arg = &wait;
    dead.target = "unix:/nonexistent/weir.sock";
    dead.error_handler = mend_as_told;
    weir_proxy *p[] = {weir_proxy_new(&access), weir_proxy_new(&modify), weir_proxy_new(&waits),
                       weir_proxy_new(&waits_late), weir_proxy_new(&dead)};
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/pass", answer_as_told, &pass);
    weir_mux_func(mux, "/reply", answer_as_told, &reply);
    weir_mux_func(mux, "/odd", answer_as_told, &odd);
    weir_mux_proxy(mux, "/access", p[0]);
    weir_mux_proxy(mux, "/modify", p[1]);
    weir_mux_func(mux, "/wait", answer_as_told, &wait);
    weir_mux_proxy(mux, "/waits", p[2]);
    weir_mux_proxy(mux, "/late", p[3]);
    weir_mux_proxy(mux, "/dead", p[4]);
    weir *w = serving(mux);
    static const char *const requests[] = {
        "GET /pass HTTP/1.1",   "GET /reply HTTP/1.1",  "GET /odd HTTP/1.1",
        "GET /access HTTP/1.1", "GET /modify HTTP/1.1", "GET /wait HTTP/1.1",
        "GET /waits HTTP/1.1",  "GET /late HTTP/1.1",   "GET /dead HTTP/1.1"};
    for (size_t i = 0; i < 9; i++)
        answers(weir_port(w, LOCAL), requests[i], i < 8 ? "502 Bad Gateway: hook_failed" : " 502 ");
    weir_free(w);
    weir_free(behind);
    for (size_t i = 0; i < 5; i++)
        weir_proxy_free(p[i]);
}

/* ---- in the wrong place -------------------------------------------------------------------- */

static weir_result reply_wrongly(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    assert_false(weir_reply_field(x, "X-A", weir_cstr("b")));
    weir_result r = weir_reply(x, 600, NULL, "x", 1);
    assert_false(weir_reply_field(x, "X-A", weir_cstr("b")));
    return r;
}

/* One that is refused is none, also in place of one that was good. */
static weir_result reply_refused(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    assert_int_equal(weir_reply(x, 200, "text/plain", "x", 1), WEIR_REPLY);
    assert_int_equal(weir_reply(x, 200, "text/\r\nplain", "x", 1), WEIR_FAIL);
    assert_false(weir_reply_field(x, "X-A", weir_cstr("b")));
    return WEIR_REPLY;
}

/* The end of a form has no content (RFC 9110 15.3.6). */
static weir_result reset_form(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    return weir_reply(x, 205, "text/plain", "dropped", 7);
}

/* Gives the body back as it comes; a reply that is under way is no place for another one. */
static weir_result give_more(void *arg, weir_exchange *x)
{
    char some[64];
    size_t got;
    (void) arg;
    assert_int_equal(weir_reply(x, 500, NULL, "late", 4), WEIR_FAIL);
    assert_false(weir_reply_field(x, "X-A", weir_cstr("b")));
    weir_result r = weir_read_body(x, some, sizeof some, &got);
    return got && !weir_write(x, some, got) ? WEIR_FAIL : r;
}

static weir_result answer_first(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, give_more, arg);
}

static weir_result read_early(void *arg, weir_exchange *x, const weir_head *in)
{
    char some[3];
    size_t got;
    (void) arg, (void) in;
    assert_false(weir_reply_add_field(x, "X-A", weir_cstr("b")));
    assert_int_equal(weir_read_body(x, some, sizeof some, &got), WEIR_FAIL);
    assert_int_equal(got, 0);
    return WEIR_PASS;
}

static weir_result give_back(void *arg, weir_exchange *x, const weir_head *in)
{
    char some[64];
    size_t got;
    (void) arg, (void) in;
    weir_result r = weir_read_body(x, some, sizeof some, &got);
    return r == WEIR_PASS ? weir_reply(x, 200, NULL, some, got) : r;
}

/* No field without a reply; a proxied body is the upstream's, to the last byte. */
static void calls_in_the_wrong_place(void **state)
{
    (void) state;
    char url[64];
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", give_back, NULL);
    weir *behind = serving(mux);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", weir_port(behind, LOCAL));
    weir_proxy_options o = {.size = sizeof o, .target = url, .access = read_early};
    weir_proxy *p = weir_proxy_new(&o);
    mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    weir_mux_func(mux, "/wrong", reply_wrongly, NULL);
    weir_mux_func(mux, "/refused", reply_refused, NULL);
    weir_mux_func(mux, "/first", answer_first, NULL);
    weir_mux_func(mux, "/reset", reset_form, NULL);
    weir *w = serving(mux);
    answers(weir_port(w, LOCAL), "GET /wrong HTTP/1.1", "502 Bad Gateway: hook_failed");
    answers(weir_port(w, LOCAL), "GET /refused HTTP/1.1", "502 Bad Gateway: hook_failed");
    char *got = ask(weir_port(w, LOCAL), "GET /reset HTTP/1.1", "");
    if (!strstr(got, " 205 ") || !strstr(got, "Content-Length: 0\r\n") || strstr(got, "dropped"))
        fail_msg("%s", got);
    mem_free(got);
    got = ask(weir_port(w, LOCAL), "HEAD /reset HTTP/1.1", "");
    assert_non_null(strstr(got, "Content-Length: 0\r\n"));
    mem_free(got);
    /* Who answers before the body was asked for has no place left for a 100. */
    got = ask(weir_port(w, LOCAL),
              "POST /first HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue", "12345");
    if (strstr(got, " 100 Continue") || !strstr(got, "5\r\n12345\r\n0\r\n\r\n"))
        fail_msg("%s", got);
    mem_free(got);
    got = ask(weir_port(w, LOCAL), "POST / HTTP/1.1\r\nContent-Length: 10", "0123456789");
    assert_non_null(strstr(got, "\r\n\r\n0123456789"));
    mem_free(got);
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
}

/* ---- producers ----------------------------------------------------------------------------- */

static _Atomic int others; /* requests that were answered */

static weir_result other(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    others++;
    return weir_reply(x, 200, NULL, "other", 5);
}

/* Has nothing to say until another request was answered, and does not wait for it. */
static weir_result not_yet(void *arg, weir_exchange *x)
{
    (void) arg;
    if (!others)
        return WEIR_PASS;
    return weir_write(x, "at last", 7) ? WEIR_END : WEIR_WAIT;
}

static weir_result give_up(void *arg, weir_exchange *x)
{
    (void) arg, (void) x;
    return WEIR_FAIL;
}

/* For nothing: it has no ticket, and has written all that it wanted to. */
static weir_result wait_on(void *arg, weir_exchange *x)
{
    (void) arg;
    return weir_write(x, "some", 4) ? WEIR_WAIT : WEIR_FAIL;
}

static weir_result stream_idly(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, wait_on, arg);
}

static weir_result stream(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    if (!arg)
        return weir_reply_stream(x, 200, NULL, NULL, NULL);
    return weir_reply_stream(x, 200, NULL, *(int *) arg ? not_yet : give_up, NULL);
}

static int yes = 1, no;

/* With one worker: a producer that goes on without a byte must not keep it to itself. */
static void producer_without_bytes(void **state)
{
    (void) state;
    weir_options o = {.size = sizeof o, .workers = 1};
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/stream", stream, &yes);
    weir_mux_func(mux, "/none", stream, NULL);
    weir_mux_func(mux, "/fail", stream, &no);
    weir_mux_func(mux, "/other", other, NULL);
    weir_mux_func(mux, "/idle", stream_idly, NULL);
    assert_true(weir_serve(w, mux) && weir_listen(w, LOCAL));
    weir_mux_free(mux);
    int port = weir_port(w, LOCAL);
    int fd = dial(port);
    say(fd, "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    answers(port, "GET /other HTTP/1.1", "other");
    char *got = hear(fd);
    assert_non_null(strstr(got, "at last"));
    mem_free(got);
    answers(port, "GET /none HTTP/1.1", "502 Bad Gateway: hook_failed");
    got = ask(port, "GET /fail HTTP/1.1", "");
    assert_null(strstr(got, "0\r\n\r\n")); /* visibly broken */
    mem_free(got);
    char some[4096];
    ssize_t n;
    fd = dial(port);
    say(fd, "GET /idle HTTP/1.1\r\nHost: a\r\n\r\n");
    while ((n = recv(fd, some, sizeof some, 0)) > 0)
        ;
    assert_true(n == 0 || errno == ECONNRESET); /* and not that nobody says anything any more */
    close(fd);
    weir_free(w);
}

static _Atomic int asked;

static weir_result upload_late(void *arg, weir_fetch *f)
{
    (void) arg;
    if (asked++ < 5)
        return WEIR_PASS;
    return weir_fetch_write(f, "x", 1) ? WEIR_END : WEIR_WAIT;
}

static void on_end(void *arg, const char *reason)
{
    assert_string_equal(reason, "ok");
    (void) !write(*(int *) arg, "e", 1);
}

/* The same of a request of our own: it is called again, without weir_fetch_resume. */
static void upload_without_bytes(void **state)
{
    (void) state;
    char address[32], url[64], c;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {.size = sizeof o, .target = url};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    weir_fetch_options up = {.size = sizeof up,
                             .method = "POST",
                             .produce = upload_late,
                             .on_end = on_end,
                             .arg = &fds[1]};
    weir_fetch *f = weir_fetch_start(w, p, &up);
    assert_non_null(f);
    struct pollfd ready = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PATIENCE * 1000), 1);
    assert_int_equal(read(fds[0], &c, 1), 1);
    weir_fetch_free(f);
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
    close(fds[0]);
    close(fds[1]);
}

/* ---- muxes --------------------------------------------------------------------------------- */

/* All at once, also what only the finished table shows. */
static void tells_what_a_mux_lacks(void **state)
{
    (void) state;
    static const char *const told[] = {
        "\"/none\": no function is given",
        "pattern \"\"",
        "route /a/*/b: path",
        "route G@T /c: a method",
        "\"/d\": an absolute URL",
        "\"/e\": endpoint \"127.0.0.1:1\": its weight is 101, above 100; give 1 to 100"};
    weir *w = weir_new(NULL);
    weir_mux *mux = weir_mux_new();
    weir_proxy_options ftp = {.size = sizeof ftp, .target = "ftp://x"};
    weir_endpoint much = {"127.0.0.1:1", 101};
    weir_proxy_options heavy = {.size = sizeof heavy, .endpoints = &much, .n_endpoints = 1};
    weir_proxy *p = weir_proxy_new(&ftp), *q = weir_proxy_new(&heavy);
    weir_mux_func(mux, "/none", NULL, NULL);
    weir_mux_func(mux, "", other, NULL);
    weir_mux_func(mux, "/a/*/b", other, NULL);
    weir_mux_func(mux, "G@T /c", other, NULL);
    weir_mux_proxy(mux, "/d", p);
    weir_mux_proxy(mux, "/e", q);
    assert_false(weir_serve(w, mux));
    for (size_t i = 0; i < 6; i++)
        if (!strstr(weir_error(w), told[i]))
            fail_msg("wanted: %s\ngot: %s", told[i], weir_error(w));
    weir_mux_free(mux);
    weir_proxy_free(p);
    weir_proxy_free(q);
    weir_free(w);
}

/* What it has now, under a prefix as well. */
static void a_mux_in_itself(void **state)
{
    (void) state;
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/x", other, NULL);
    weir_mux_mount(mux, "/in", mux);
    weir *w = serving(mux);
    answers(weir_port(w, LOCAL), "GET /x HTTP/1.1", "other");
    answers(weir_port(w, LOCAL), "GET /in/x HTTP/1.1", "other");
    answers(weir_port(w, LOCAL), "GET /in/in/x HTTP/1.1", " 404 ");
    weir_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_without_a_reply), cmocka_unit_test(producer_without_bytes),
        cmocka_unit_test(upload_without_bytes),    cmocka_unit_test(tells_what_a_mux_lacks),
        cmocka_unit_test(a_mux_in_itself),         cmocka_unit_test(calls_in_the_wrong_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
