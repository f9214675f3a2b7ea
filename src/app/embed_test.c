/* SPDX-License-Identifier: Apache-2.0 */
/* embed_test.c: the library as a program sees it: by include/weir.h alone, over real sockets. */
#include "app/embed_test.h"

#include <stddef.h>
#include <sys/un.h>

static void routes_by_method_host_and_path(void **state)
{
    (void) state;
    weir_mux *inner = weir_mux_new(), *mux = weir_mux_new();
    weir_mux_func(inner, "/list", echo, "list");
    weir_mux_func(inner, "POST /list", echo, "add");
    weir_mux_func(inner, "other.example/*", echo, "other");
    weir_mux_mount(mux, "/shop/", inner);
    weir_mux_mount(mux, "GET /read/*", inner);
    weir_mux_mount(mux, "*.example/wild", inner);
    weir_mux_mount(mux, "mine.example/own", inner);
    weir_mux_func(mux, "test.example/", echo, "front");
    weir_mux_func(mux, "/*", echo, "rest");
    weir_mux_free(inner);
    weir *w = serving(mux);
    int port = weir_port(w, LOCAL);
    answers(port, "GET / HTTP/1.1", "front: GET test.example/? from 127.0.0.1");
    answers(port, "GET /shop/list?a=b HTTP/1.1", "list: GET test.example/shop/list?a=b");
    answers(port, "POST /shop/list HTTP/1.1", "add: POST");
    answers(port, "GET /read/list HTTP/1.1", "list: GET test.example/read/list");
    answers(port, "POST /read/list HTTP/1.1", "rest: POST");
    answers(port, "GET http://other.example/shop/x HTTP/1.1", "other: GET other.example");
    answers(port, "GET /x HTTP/1.1", "rest: GET");
    answers(port, "GET http://other.example/wild/x HTTP/1.1", "other: GET other.example");
    answers(port, "GET http://else.example/wild/list HTTP/1.1", "list: GET else.example");
    answers(port, "GET http://other.example/own/x HTTP/1.1", "rest: GET other.example");
    answers(port, "GET http://mine.example/own/list HTTP/1.1", "list: GET mine.example");
    assert_int_equal(weir_port(w, ":1"), -1);
    weir_free(w);
}

static void tells_every_mistake(void **state)
{
    (void) state;
    weir *w = weir_new(NULL);
    weir_mux *mux = weir_mux_new();
    weir_proxy_options none = {.size = sizeof none},
                       ftp = {.size = sizeof ftp, .target = "ftp://x"};
    static const weir_endpoint ends[] = {{"127.0.0.1:1", 1}, {"8080", 1}};
    weir_proxy_options many = {.size = sizeof many, .endpoints = ends, .n_endpoints = 2};
    weir_proxy *p = weir_proxy_new(&none), *q = weir_proxy_new(&ftp), *r = weir_proxy_new(&many);
    weir_mux_proxy(mux, "/a", p);
    weir_mux_proxy(mux, "/b", q);
    weir_mux_proxy(mux, "/c", r);
    weir_mux_func(mux, "nopath", echo, "x");
    weir_mux *inner = weir_mux_new();
    weir_mux_func(inner, "/in", echo, "x");
    weir_mux_mount(mux, "prefix", inner);
    weir_mux_free(inner);
    assert_string_equal(weir_error(w), "");
    assert_false(weir_serve(w, mux));
    assert_non_null(strstr(weir_error(w), "\"/a\""));
    assert_non_null(strstr(weir_error(w), "\"/b\""));
    assert_non_null(strstr(weir_error(w), "\"/c\": endpoint \"8080\": a port alone"));
    assert_non_null(strstr(weir_error(w), "\"nopath\""));
    assert_non_null(strstr(weir_error(w), "\"prefix\""));
    assert_false(weir_listen(w, "host.example:80"));
    assert_true(strlen(weir_error(w)) > 0);
    if (!weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", " 404 ");
    weir_mux_free(mux);
    weir_proxy_free(p);
    weir_proxy_free(q);
    weir_proxy_free(r);
    weir_free(w);
}

/* ---- hooks --------------------------------------------------------------------------------- */

static void rewrite(void *arg, weir_exchange *x, const weir_head *in, weir_head *out)
{
    (void) arg;
    assert_true(weir_set_path(out, weir_cstr("/new/../path")));
    assert_true(weir_set_query(out, weir_cstr("q=1")));
    assert_true(weir_set_host(out, weir_cstr("Inner.Example:81")));
    assert_true(weir_set_field(out, "X-One", weir_cstr("1")));
    assert_true(weir_add_field(out, "X-One", weir_cstr("2")));
    assert_int_equal(weir_remove_field(out, "x-drop"), 1);
    assert_non_null(weir_field(in, "X-Drop").p);
    assert_false(weir_set_field(out, "Transfer-Encoding", weir_cstr("chunked")));
    assert_false(weir_set_field(out, "X-Bad", weir_cstr("a\r\nb")));
    assert_false(weir_set_path(out, weir_cstr("no-slash")));
    assert_false(weir_set_query(out, weir_cstr("a b")));
    assert_false(weir_set_host(out, weir_cstr("user@host")));
    weir_set_value(x, arg);
}

static weir_result modify(void *arg, weir_exchange *x, weir_head *response)
{
    assert_ptr_equal(weir_value(x), arg);
    assert_int_equal(weir_status(response), 200);
    assert_false(weir_set_status(response, 204));
    assert_true(weir_set_status(response, 203));
    assert_true(weir_set_field(response, "X-Modified", weir_cstr("yes")));
    return WEIR_PASS;
}

static void finished(void *arg, weir_exchange *x, const char *reason)
{
    (void) x;
    if (strcmp(reason, "ok") == 0)
        __atomic_fetch_add((int *) arg, 1, __ATOMIC_RELAXED);
}

static void calls_hooks(void **state)
{
    (void) state;
    char address[32], url[64];
    int ended = 0;
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s/base", address);
    weir_proxy_options o = {.size = sizeof o,
                            .target = url,
                            .no_x_forwarded = 1,
                            .rewrite = rewrite,
                            .modify_response = modify,
                            .finished = finished,
                            .arg = &ended};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    weir_proxy_free(p);
    char *got = ask(weir_port(w, LOCAL), "GET /old HTTP/1.1\r\nX-Drop: me", "");
    assert_non_null(strstr(got, " 203 "));
    assert_non_null(strstr(got, "\r\nX-Modified: yes\r\n"));
    assert_non_null(strstr(got, "behind: GET inner.example:81/path?q=1"));
    assert_non_null(strstr(got, "X-One=1\nX-One=2\n"));
    assert_null(strstr(got, "X-Drop"));
    assert_null(strstr(got, "X-Forwarded"));
    mem_free(got);
    weir_stop(w, 1000);
    assert_int_equal(ended, 1);
    weir_free(w);
    weir_free(behind);
}

static weir_result on_error(void *arg, weir_exchange *x, const char *reason, int status)
{
    (void) arg;
    return status == 502 ? weir_reply(x, 500, NULL, reason, strlen(reason)) : WEIR_PASS;
}

static void answers_errors(void **state)
{
    (void) state;
    weir_proxy_options o = {
        .size = sizeof o, .target = "unix:/nonexistent/weir.sock", .error_handler = on_error};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "connect_refused_by_endpoint");
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", " 500 ");
    weir_free(w);
    weir_proxy_free(p);
}

/* ---- bodies and suspension ----------------------------------------------------------------- */

static void *resume_later(void *ticket)
{
    weir_resume(ticket);
    return NULL;
}

static void suspend(weir_exchange *x)
{
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, resume_later, weir_suspend(x)), 0);
    pthread_detach(t);
}

struct count {
    size_t bytes;
    int step;
};

static weir_result streamed(void *arg, weir_exchange *x)
{
    struct count *c = arg;
    char text[32];
    switch (c->step++) {
    case 0:
        suspend(x);
        return WEIR_WAIT;
    case 200:
        snprintf(text, sizeof text, "total %zu\n", c->bytes);
        assert_true(weir_write(x, text, strlen(text)));
        free(c);
        return WEIR_END;
    default:
        if (c->step % 50 == 0)
            suspend(x);
        return weir_write(x, "0123456789", 10) ? (c->step % 50 ? WEIR_PASS : WEIR_WAIT) : WEIR_FAIL;
    }
}

static weir_result count_body(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg;
    (void) in;
    struct count *c = weir_value(x);
    char some[1000];
    size_t got;
    weir_result r;
    if (!c) {
        c = calloc(1, sizeof *c);
        assert_non_null(c);
        weir_set_value(x, c);
    }
    while ((r = weir_read_body(x, some, sizeof some, &got)) == WEIR_PASS)
        c->bytes += got;
    if (r != WEIR_END)
        return r;
    r = weir_reply_stream(x, 201, "text/plain", streamed, c);
    assert_true(weir_reply_field(x, "X-Streamed", weir_cstr("0")));
    assert_true(weir_reply_field(x, "X-Streamed", weir_cstr("1"))); /* in place of that */
    assert_true(weir_reply_add_field(x, "Set-Cookie", weir_cstr("a=1")));
    assert_true(weir_reply_add_field(x, "Set-Cookie", weir_cstr("b=2")));
    return r;
}

static size_t occurrences(const char *all, const char *of)
{
    size_t n = 0;
    for (; (all = strstr(all, of)); all += strlen(of))
        n++;
    return n;
}

static void streams_bodies(void **state)
{
    (void) state;
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "POST /count", count_body, NULL);
    weir *w = serving(mux);
    char body[64 + 5000];
    memset(body, 'b', sizeof body);
    memcpy(body, "1388\r\n", 6); /* 5,000 bytes in one chunk, then 3 */
    snprintf(body + 6 + 5000, 58, "%s", "\r\n3\r\nend\r\n0\r\n\r\n");
    char *got =
        ask(weir_port(w, LOCAL), "POST /count HTTP/1.1\r\nTransfer-Encoding: chunked", body);
    assert_non_null(strstr(got, " 201 Created\r\n"));
    assert_int_equal(occurrences(got, "X-Streamed: "), 1);
    assert_non_null(strstr(got, "X-Streamed: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
    if (!strstr(got, "total 5003\n"))
        fail_msg("%s", got);
    assert_int_equal(occurrences(got, "0123456789"), 199);
    mem_free(got);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "POST /count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"
            "Connection: close\r\n\r\n");
    char head[64] = "";
    assert_true(recv(fd, head, 12, MSG_WAITALL) == 12);
    assert_string_equal(head, "HTTP/1.1 100");
    say(fd, "four");
    got = hear(fd);
    assert_non_null(strstr(got, "total 4\n"));
    mem_free(got);
    weir_free(w);
}

static weir_result produce_forever(void *arg, weir_exchange *x)
{
    static const char some[4096];
    if (!weir_write(x, some, sizeof some))
        return WEIR_WAIT;
    __atomic_fetch_add((size_t *) arg, sizeof some, __ATOMIC_RELAXED);
    return WEIR_PASS;
}

static weir_result stream_forever(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, produce_forever, arg);
}

/* A client that reads nothing keeps no more than a little of an answer waiting: by a unix socket,
 * whose own room does not grow. */
static void produces_as_it_is_taken(void **state)
{
    (void) state;
    size_t made = 0, before = 1;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char address[64];
    weir_options o = {.size = sizeof o, .workers = 1};
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/forever", stream_forever, &made);
    weir_mux_func(mux, "/*", echo, (void *) (uintptr_t) "other");
    int n = snprintf(address, sizeof address, "unix:@weir-embed-test-%d", (int) getpid());
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL) || !weir_listen(w, address))
        fail_msg("%s", weir_error(w));
    weir_mux_free(mux);
    memcpy(a.sun_path + 1, address + 6, (size_t) n - 6);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + (size_t) n - 5);
    assert_int_equal(connect(fd, (struct sockaddr *) &a, size), 0);
    say(fd, "GET /forever HTTP/1.1\r\nHost: a\r\n\r\n");
    while (__atomic_load_n(&made, __ATOMIC_RELAXED) != before ||
           before == 0) { /* others have their turns on the one thread meanwhile */
        before = __atomic_load_n(&made, __ATOMIC_RELAXED);
        for (int i = 0; i < 10; i++)
            answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "other: GET");
    }
    assert_true(before < 600 * 1024);
    close(fd);
    weir_free(w);
}

/* ---- vtables ------------------------------------------------------------------------------- */

static weir_result round_trip(void *arg, weir_exchange *x, const weir_head *out)
{
    if (!weir_value(x)) {
        weir_set_value(x, arg);
        suspend(x);
        return WEIR_WAIT;
    }
    weir_str host = weir_host(out), via = weir_field(out, "Via"), f = weir_field(out, "X-One");
    char text[128];
    int n = snprintf(text, sizeof text, "%.*s|%.*s|%.*s", (int) host.n, host.p, (int) via.n, via.p,
                     (int) f.n, f.p);
    return weir_reply(x, 200, "text/plain", text, (size_t) n);
}

/* What would have been sent to an endpoint. */
static weir_result say_target(void *arg, weir_exchange *x, const weir_head *out)
{
    (void) arg;
    weir_str host = weir_host(out), path = weir_path(out), query = weir_query(out);
    char text[128];
    int n = snprintf(text, sizeof text, "%.*s|%.*s|%.*s", (int) host.n, host.p, (int) path.n,
                     path.p, (int) query.n, query.p);
    return weir_reply(x, 200, "text/plain", text, (size_t) n);
}

static void add_one(void *arg, weir_exchange *x, const weir_head *in, weir_head *out)
{
    (void) arg, (void) x, (void) in;
    weir_set_field(out, "X-One", weir_cstr("1"));
}

static weir_result mark(void *arg, weir_exchange *x, weir_head *response)
{
    (void) arg, (void) x;
    return weir_set_field(response, "X-Mark", weir_cstr("1")) ? WEIR_PASS : WEIR_FAIL;
}

static void takes_another_transport(void **state)
{
    (void) state;
    int place;
    weir_transport t = {.size = sizeof t, .round_trip = round_trip, .arg = &place};
    weir_proxy_options o = {
        .size = sizeof o, .transport = &t, .rewrite = add_one, .modify_response = mark};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "\r\n\r\ntest.example|1.1 weir|1");
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "X-Mark: 1");
    weir_free(w);
    weir_proxy_free(p);
    t.round_trip = say_target;
    o.target = "http://there.example:81/base/?a=1";
    o.host_rewrite = 1;
    p = weir_proxy_new(&o);
    w = proxying(p);
    answers(weir_port(w, LOCAL), "GET /x?b=2 HTTP/1.1", "there.example:81|/base/x|a=1&b=2");
    weir_free(w);
    weir_proxy_free(p);
}

struct chooser {
    pthread_mutex_t lock;
    char heaviest[32];
    unsigned updates, done;
};

static int select_heaviest(void *arg, const weir_candidate *c, size_t n, uint64_t hash)
{
    (void) arg;
    (void) hash;
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = c[i].weight > c[best].weight ? i : best;
    return n && c[best].usable && !c[best].tried ? (int) best : -1;
}

static void note_weights(void *arg, const weir_weight *w, size_t n)
{
    struct chooser *c = arg;
    assert_int_equal(n, 2);
    assert_true(w[0].weight < w[1].weight);
    __atomic_fetch_add(&c->updates, 1, __ATOMIC_RELEASE);
}

static void note_done(void *arg, size_t chosen, int failed, uint64_t us)
{
    struct chooser *c = arg;
    (void) us;
    assert_true(chosen < 2 && !failed);
    __atomic_fetch_add(&c->done, 1, __ATOMIC_RELEASE);
}

static void takes_another_balancer(void **state)
{
    (void) state;
    char a[32], b[32];
    weir *wa = origin("a", a), *wb = origin("b", b);
    struct chooser chooser = {.updates = 0};
    weir_balancer balancer = {.size = sizeof balancer,
                              .select = select_heaviest,
                              .update_weights = note_weights,
                              .done = note_done,
                              .arg = &chooser};
    weir_endpoint endpoints[] = {{a, 5}, {b, 2}};
    weir_proxy_options o = {
        .size = sizeof o, .endpoints = endpoints, .n_endpoints = 2, .balancer = &balancer};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    for (int i = 0; i < 4; i++)
        answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "\r\n\r\na: ");
    weir_weight weights[] = {{a, 0.5}, {b, 7}};
    weir_update_weights(w, p, weights, 2);
    for (int i = 0; i < PATIENCE * 1000 && !__atomic_load_n(&chooser.updates, __ATOMIC_ACQUIRE);
         i++)
        poll(NULL, 0, 1);
    weir_mux *again = weir_mux_new();
    weir_mux_proxy(again, "/*", p);
    assert_true(weir_serve(w, again)); /* behind the message: the weights are in force */
    for (int i = 0; i < 4; i++)
        answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "\r\n\r\nb: ");
    weir_mux_free(again);
    weir_stop(w, 1000);
    assert_int_equal(chooser.done, 8);
    weir_free(w);
    weir_proxy_free(p);
    weir_free(wa);
    weir_free(wb);
}

/* ---- fetch --------------------------------------------------------------------------------- */

struct fetched {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int status;
    char text[8192], reason[64];
    size_t n;
    int step;
    bool slow, stuck, paused;
};

static void got_head(void *arg, const weir_head *h)
{
    struct fetched *f = arg;
    f->status = weir_status(h);
}

static size_t got_body(void *arg, const void *p, size_t n)
{
    struct fetched *f = arg;
    pthread_mutex_lock(&f->lock);
    size_t take = f->stuck ? 0 : f->slow && n > 1 ? 1 : n;
    if (f->n + take < sizeof f->text)
        memcpy(f->text + f->n, p, take);
    f->n += take;
    f->paused = take < n;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return take;
}

static void got_end(void *arg, const char *reason)
{
    struct fetched *f = arg;
    pthread_mutex_lock(&f->lock);
    snprintf(f->reason, sizeof f->reason, "%s", reason);
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Waits for the end, resuming what pauses. */
static void await_end(struct fetched *f, weir_fetch *running)
{
    pthread_mutex_lock(&f->lock);
    while (!f->reason[0]) {
        if (f->paused) {
            f->paused = false;
            weir_fetch_resume(running);
        }
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    weir_fetch_free(running);
}

static weir_fetch_options fetch_options(struct fetched *f, const char *target)
{
    *f = (struct fetched){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    return (weir_fetch_options){.size = sizeof(weir_fetch_options),
                                .target = target,
                                .host = "api.example",
                                .on_head = got_head,
                                .on_body = got_body,
                                .on_end = got_end,
                                .arg = f};
}

static weir_result upload(void *arg, weir_fetch *running)
{
    struct fetched *f = arg;
    pthread_mutex_lock(&f->lock);
    int step = f->step++;
    f->paused = step % 3 == 1; /* await_end resumes */
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (step == 10)
        return WEIR_END;
    return weir_fetch_write(running, "0123456789", 10) ? step % 3 == 1 ? WEIR_WAIT : WEIR_PASS
                                                       : WEIR_FAIL;
}

static void streams_requests(void **state)
{
    (void) state;
    char address[32], url[64];
    struct fetched f;
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "POST /count", count_body, NULL);
    weir *behind = serving(mux);
    snprintf(address, sizeof address, "127.0.0.1:%d", weir_port(behind, LOCAL));
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {.size = sizeof o, .target = url};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    weir_fetch_options one = fetch_options(&f, "/count");
    one.method = "POST";
    one.produce = upload;
    await_end(&f, weir_fetch_start(w, p, &one));
    assert_string_equal(f.reason, "ok");
    assert_int_equal(f.status, 201);
    assert_non_null(strstr(f.text, "total 100\n"));
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
}

/* The hooks of its proxy see a request of our own, which no client sent. */
static weir_result of_no_client(void *arg, weir_exchange *x, const weir_head *in)
{
    char ip[46];
    (void) arg, (void) in;
    return weir_client_ip(x, ip)[0] ? WEIR_FAIL : WEIR_PASS;
}

static void ends_with(weir *w, weir_proxy *p, const char *reason)
{
    struct fetched f;
    weir_fetch_options one = fetch_options(&f, "/");
    await_end(&f, weir_fetch_start(w, p, &one));
    assert_string_equal(f.reason, reason);
}

/* A pattern is another proxy's from now on: fetches of each find their own, or nothing. */
static void proxies_move(weir *w, weir_proxy *p, weir_proxy *other)
{
    const char *const places[] = {"/a", "/b", "/a"};
    for (size_t i = 0; i < 3; i++) {
        weir_mux *mux = weir_mux_new();
        weir_mux_proxy(mux, places[i], p);
        if (i == 1)
            weir_mux_proxy(mux, "/a", other);
        assert_true(weir_serve(w, mux));
        weir_mux_free(mux);
        for (size_t k = 0; k < 4; k++) { /* on each worker, and again */
            ends_with(w, p, "ok");
            ends_with(w, other, i == 1 ? "ok" : "no_route");
        }
    }
}

static void fetches(void **state)
{
    (void) state;
    char address[32], url[64];
    struct fetched f;
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {.size = sizeof o, .target = url, .access = of_no_client};
    weir_proxy *p = weir_proxy_new(&o), *stranger = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, NULL, p);
    weir *w = serving(mux);
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", " 404 ");

    static const char *const fields[] = {"X-Key", "value", NULL};
    weir_fetch_options one = fetch_options(&f, "/x?y=z");
    one.fields = fields;
    await_end(&f, weir_fetch_start(w, p, &one));
    assert_string_equal(f.reason, "ok");
    assert_int_equal(f.status, 200);
    assert_non_null(strstr(f.text, "behind: GET api.example/x?y=z"));
    assert_non_null(strstr(f.text, "X-Key=value"));

    one = fetch_options(&f, "/slow");
    f.slow = true;
    await_end(&f, weir_fetch_start(w, p, &one));
    assert_string_equal(f.reason, "ok");
    assert_non_null(strstr(f.text, "behind: GET api.example/slow"));

    one = fetch_options(&f, "/paused");
    f.stuck = true;
    weir_fetch *running = weir_fetch_start(w, p, &one);
    pthread_mutex_lock(&f.lock);
    while (!f.paused)
        pthread_cond_wait(&f.changed, &f.lock);
    pthread_mutex_unlock(&f.lock);
    f.paused = false;
    weir_fetch_cancel(running);
    await_end(&f, running);
    assert_string_equal(f.reason, "client_gone");

    one = fetch_options(&f, "/");
    await_end(&f, weir_fetch_start(w, stranger, &one));
    assert_string_equal(f.reason, "no_route");
    static const char *const targets[] = {"no-slash", "/a b",         "/a?b c",
                                          "/%zz",     "/a\r\nX-Y: z", "/?a HTTP/1.1\r\nX-Y: z"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        one = fetch_options(&f, targets[i]);
        assert_null(weir_fetch_start(w, p, &one));
    }
    static const char *const hosts[] = {"", "a b", "user@a", "a\r\nX-Y: z", "a:99999"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        one = fetch_options(&f, "/");
        one.host = hosts[i];
        assert_null(weir_fetch_start(w, p, &one));
    }
    static const char *const odd[] = {"X-Key", NULL}, *const split[] = {"X-Key", "a\r\nb", NULL},
                             *const kept[] = {"Content-Length", "5", NULL};
    static const char *const *const bad[] = {odd, split, kept};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        one = fetch_options(&f, "/");
        one.fields = bad[i];
        assert_null(weir_fetch_start(w, p, &one));
    }
    one = fetch_options(&f, "/");
    one.method = "GET /";
    assert_null(weir_fetch_start(w, p, &one));
    proxies_move(w, p, stranger);
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
    weir_proxy_free(stranger);
}

/* ---- foreign loops ------------------------------------------------------------------------- */

static void turns_in_a_foreign_loop(void **state)
{
    (void) state;
    weir_options o = {.size = sizeof o, .foreign_loop = 1};
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", echo, "foreign");
    assert_true(weir_serve(w, mux) && weir_listen(w, LOCAL));
    weir_mux_free(mux);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    struct pollfd p[2] = {{.fd = weir_fd(w), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    while (!p[1].revents) {
        int wait = weir_timeout(w);
        assert_true(poll(p, 2, wait < 0 || wait > PATIENCE * 1000 ? PATIENCE * 1000 : wait) >= 0);
        assert_true(weir_turn(w));
    }
    char text[4096] = "";
    assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
    assert_non_null(strstr(text, "foreign: GET a/?"));
    close(fd);
    weir_stop(w, 1000);
    while (weir_turn(w))
        poll(p, 1, weir_timeout(w));
    weir_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_by_method_host_and_path),
        cmocka_unit_test(tells_every_mistake),
        cmocka_unit_test(calls_hooks),
        cmocka_unit_test(answers_errors),
        cmocka_unit_test(streams_bodies),
        cmocka_unit_test(produces_as_it_is_taken),
        cmocka_unit_test(takes_another_transport),
        cmocka_unit_test(takes_another_balancer),
        cmocka_unit_test(fetches),
        cmocka_unit_test(streams_requests),
        cmocka_unit_test(turns_in_a_foreign_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
