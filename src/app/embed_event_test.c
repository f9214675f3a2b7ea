/* SPDX-License-Identifier: Apache-2.0 */
/* embed_event_test.c: a program that embeds Weir hears of each change of what it serves, and of
 * endpoints that go; in a foreign loop on its own thread. */
#include "app/embed_test.h"

#define MOST 64

/* What on_event was told since the last forget. */
struct heard {
    pthread_mutex_t lock;
    struct {
        weir_event_kind kind;
        char text[160];
    } v[MOST];
    unsigned n;
    uint64_t last; /* id; 0: none yet */
    bool mistaken;
    pthread_t thread; /* of the last */
};

static void on_event(void *arg, const weir_event *e)
{
    struct heard *h = arg;
    pthread_mutex_lock(&h->lock);
    h->mistaken |= (h->last && e->id != h->last + 1) || e->size != sizeof *e || e->time_us <= 0 ||
                   e->json.n < 2 || e->json.p[0] != '{' || h->n == MOST;
    h->last = e->id;
    h->thread = pthread_self();
    if (h->n < MOST) {
        h->v[h->n].kind = e->kind;
        snprintf(h->v[h->n++].text, sizeof h->v[0].text, "%.*s", (int) e->text.n, e->text.p);
    }
    pthread_mutex_unlock(&h->lock);
}

static void forget(struct heard *h)
{
    pthread_mutex_lock(&h->lock);
    h->n = 0;
    pthread_mutex_unlock(&h->lock);
}

/* How many of that kind there were whose text has both. */
static unsigned count(struct heard *h, weir_event_kind kind, const char *name, const char *what)
{
    unsigned n = 0;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < h->n; i++)
        n += h->v[i].kind == kind && strstr(h->v[i].text, name) && strstr(h->v[i].text, what);
    pthread_mutex_unlock(&h->lock);
    return n;
}

static void wait_for(struct heard *h, weir_event_kind kind, const char *name, const char *what)
{
    for (int i = 0; i < PATIENCE * 1000; i++) {
        if (count(h, kind, name, what))
            return;
        poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < h->n; i++)
        printf("heard: %s\n", h->v[i].text);
    fail_msg("never heard of %s: %s", name, what);
}

/* An instance that serves mux and says what changes. */
static weir *telling(struct heard *h, const weir_mux *mux)
{
    weir_options o = {.size = sizeof o, .workers = 1, .on_event = on_event, .event_arg = h};
    weir *w = weir_new(&o);
    assert_non_null(w);
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    return w;
}

static void routes_and_addresses(void **state)
{
    (void) state;
    static struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_mux *one = weir_mux_new(), *two = weir_mux_new();
    weir_proxy_options o = {.size = sizeof o, .target = "http://127.0.0.1:9"};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux_func(one, "/stays", echo, NULL);
    weir_mux_func(one, "GET /goes", echo, NULL);
    weir_mux_mount(two, "/", one);
    weir_mux_proxy(two, "/comes/*", p);
    weir_mux_proxy(two, NULL, p);

    weir *w = telling(&h, one);
    assert_int_equal(h.n, 3); /* told before the calls return */
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "/stays", "added"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "GET /goes", "added"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_LISTENER, LOCAL, "added"), 1);

    forget(&h);
    assert_true(weir_serve(w, one));
    assert_int_equal(h.n, 0);

    assert_true(weir_serve(w, two));
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "/comes/*", "added"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "proxy-", "added"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_UPSTREAM, "proxy-", "added"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_ENDPOINT, "/127.0.0.1:9", "added"), 1);
    assert_int_equal(h.n, 4);
    forget(&h);
    assert_true(weir_serve(w, two)); /* the route for fetches is the same, too */
    assert_int_equal(h.n, 0);

    weir_mux_func(two, "no path", echo, NULL);
    assert_false(weir_serve(w, two));
    assert_int_equal(h.n, 0);

    assert_true(weir_serve(w, one));
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "/comes/*", "removed"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_UPSTREAM, "proxy-", "removed"), 1);
    assert_int_equal(count(&h, WEIR_EVENT_ENDPOINT, "/127.0.0.1:9", "removed"), 1);
    assert_false(pthread_equal(h.thread, pthread_self()));
    weir_mux_free(one);
    weir_mux_free(two);
    weir_proxy_free(p);
    weir_free(w);
    assert_false(h.mistaken);
}

/* Another function under the same pattern is a changed route. */
static void handlers(void **state)
{
    (void) state;
    static struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_mux *one = weir_mux_new(), *two = weir_mux_new();
    weir_mux_func(one, "/", echo, NULL);
    weir_mux_func(two, "/", echo, &h);
    weir *w = telling(&h, one);
    forget(&h);
    assert_true(weir_serve(w, two));
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "/", "embed.handler"), 1);
    assert_int_equal(h.n, 1);
    weir_mux_free(one);
    weir_mux_free(two);
    weir_free(w);
    assert_false(h.mistaken);
}

static void weights_and_states(void **state)
{
    (void) state;
    static struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char good[32];
    weir *behind = origin("behind", good);
    weir_endpoint both[] = {{good, 1}, {"127.0.0.1:9", 2}};
    weir_proxy_options o = {.size = sizeof o, .endpoints = both, .n_endpoints = 2};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    weir *w = telling(&h, mux);

    const weir_weight same[] = {{good, 1}, {"127.0.0.1:9", 2}},
                      more[] = {{good, 2.5}, {"127.0.0.1:9", 2}};
    weir_update_weights(w, p, same, 2);
    weir_update_weights(w, p, more, 2);
    wait_for(&h, WEIR_EVENT_ENDPOINT, good, "weight 1 -> 2.5");
    assert_int_equal(count(&h, WEIR_EVENT_ENDPOINT, "127.0.0.1:9", "weight"), 0);

    /* Nobody listens on the second one: requests are tried again at the first, until it is left
     * out. */
    for (int i = 0; i < 40; i++)
        answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "behind: GET");
    wait_for(&h, WEIR_EVENT_STATE, "127.0.0.1:9", "-> ejected");
    assert_int_equal(count(&h, WEIR_EVENT_STATE, good, "ejected"), 0);
    weir_mux_free(mux);
    weir_proxy_free(p);
    weir_free(w);
    weir_free(behind);
    assert_false(h.mistaken);
}

static int first(void *arg, const weir_candidate *c, size_t n, uint64_t hash)
{
    (void) arg, (void) c, (void) n, (void) hash;
    return 0;
}

/* Weights that were updated stay, and are told once, whoever chooses. */
static void weights_stay(void **state)
{
    (void) state;
    static struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_endpoint both[] = {{"127.0.0.1:9", 1}, {"127.0.0.1:8", 2}};
    weir_balancer b = {.size = sizeof b, .select = first};
    weir_proxy_options o = {.size = sizeof o, .endpoints = both, .n_endpoints = 2, .balancer = &b};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    weir *w = telling(&h, mux);
    const weir_weight v[] = {{"127.0.0.1:9", 5}, {"127.0.0.1:9", 7}, {"no:1", 3}};
    weir_update_weights(w, p, v, 3);
    wait_for(&h, WEIR_EVENT_ENDPOINT, "127.0.0.1:9", "weight 1 -> 7");
    forget(&h);
    weir_mux_func(mux, "/more", echo, NULL);
    assert_true(weir_serve(w, mux));
    assert_int_equal(h.n, 1);
    weir_update_weights(w, p, v + 1, 1);
    assert_true(weir_listen(w, "127.0.0.2:0"));
    assert_int_equal(h.n, 2);
    weir_stop(w, 10);
    weir_update_weights(w, p, v, 1);
    wait_for(&h, WEIR_EVENT_ENDPOINT, "127.0.0.1:9", "weight 7 -> 5");
    weir_update_weights(w, p, v, 2);
    weir_mux_free(mux);
    weir_proxy_free(p);
    weir_free(w);
    assert_false(h.mistaken);
}

/* What hears of a change may make one that any thread may make: it is told next. */
struct reacting {
    struct heard heard; /* first */
    weir *w;
    weir_proxy *p;
};

static void react(void *arg, const weir_event *e)
{
    struct reacting *r = arg;
    const weir_weight half = {"127.0.0.1:9", 0.5};
    on_event(arg, e);
    if (e->kind == WEIR_EVENT_ROUTE && r->w)
        weir_update_weights(r->w, r->p, &half, 1);
}

static void changes_on_hearing(void **state)
{
    (void) state;
    static struct reacting r = {.heard.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_options o = {.size = sizeof o, .workers = 1, .on_event = react, .event_arg = &r};
    weir_proxy_options of = {.size = sizeof of, .target = "http://127.0.0.1:9"};
    weir_mux *mux = weir_mux_new();
    r.p = weir_proxy_new(&of);
    r.w = weir_new(&o);
    weir_mux_proxy(mux, "/*", r.p);
    weir_mux_func(mux, "/own", echo, NULL);
    assert_true(weir_serve(r.w, mux));
    wait_for(&r.heard, WEIR_EVENT_ENDPOINT, "127.0.0.1:9", "weight 1 -> 0.5");
    assert_int_equal(count(&r.heard, WEIR_EVENT_ROUTE, "", "added"), 2);
    weir_mux_free(mux);
    weir_proxy_free(r.p);
    weir_free(r.w);
    assert_false(r.heard.mistaken);
}

/* A program that was compiled before there was on_event. */
static void older_programs(void **state)
{
    (void) state;
    weir_options o = {.size = offsetof(weir_options, on_event), .foreign_loop = 1};
    o.on_event = (void (*)(void *, const weir_event *))(uintptr_t) 1; /* not its memory */
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/", echo, NULL);
    assert_true(weir_serve(w, mux));
    weir_mux_free(mux);
    weir_free(w);
}

static void foreign_loops(void **state)
{
    (void) state;
    static struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_options o = {.size = sizeof o, .foreign_loop = 1, .on_event = on_event, .event_arg = &h};
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/", echo, NULL);
    assert_true(weir_serve(w, mux));
    assert_int_equal(count(&h, WEIR_EVENT_ROUTE, "/", "added"), 1);
    assert_true(pthread_equal(h.thread, pthread_self()));
    weir_mux_free(mux);
    weir_free(w);
    assert_false(h.mistaken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_and_addresses), cmocka_unit_test(handlers),
        cmocka_unit_test(weights_and_states),   cmocka_unit_test(weights_stay),
        cmocka_unit_test(changes_on_hearing),   cmocka_unit_test(older_programs),
        cmocka_unit_test(foreign_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
