/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of reading configuration: what is accepted, what is inherited, what is said. */
#include "control/control_test.h"
#include "upstream/upstream.h"

#define UP "upstreams: {o: 127.0.0.1:9000}\n"

static const struct route_conf *route_at(const struct schema_list *l, size_t i)
{
    return (const struct route_conf *) l->items + i;
}

static void reads_the_sample(void **state)
{
    (void) state;
    struct conf_loaded *l = load_good("workers: 1\n"
                                      "listeners:\n"
                                      "  - address: 127.0.0.1:8080\n"
                                      "upstreams:\n"
                                      "  origin:\n"
                                      "    endpoints:\n"
                                      "      - address: 127.0.0.1:9000\n"
                                      "        weight: 3\n"
                                      "routes:\n"
                                      "  - match: {path: /*}\n"
                                      "    to: origin\n"
                                      "admin:\n"
                                      "  address: 127.0.0.1:9901\n"
                                      "journal:\n"
                                      "  path: /var/log/weir.log\n");
    const struct proxy_conf *p = &l->file->proxy;
    assert_int_equal(p->workers, 1);
    assert_int_equal(p->listeners.n, 1);
    const struct upstream_conf *u = p->upstreams.items;
    const struct endpoint_conf *e = u->endpoints.items;
    assert_int_equal(e->weight, 3);
    assert_int_equal(u->pool.max_idle, 100);
    assert_true(l->file->admin_given);
    assert_int_equal(p->settings.timeouts.client_head, 10 * USEC_PER_SEC);
    assert_int_equal(p->settings.timeouts.exchange, 0);
    assert_true(p->settings.via);
    const struct journal_conf *j = p->features[0];
    assert_true(str_eq(j->path, STR("/var/log/weir.log")));
    conf_loaded_free(l);
}

static void short_forms_and_defaults(void **state)
{
    (void) state;
    struct conf_loaded *l = load_good("upstreams:\n"
                                      "  a: {endpoints: [127.0.0.1:1, {address: 127.0.0.1:2}]}\n"
                                      "  b: 127.0.0.1:3\n"
                                      "routes:\n"
                                      "  - {match: /api/*, to: a}\n"
                                      "  - {match: {method: GET, path: /x}, to: b}\n"
                                      "  - {redirect: /new}\n"
                                      "journal: off\n");
    const struct proxy_conf *p = &l->file->proxy;
    const struct upstream_conf *u = p->upstreams.items;
    assert_int_equal(u[0].endpoints.n, 2);
    assert_int_equal(u[1].endpoints.n, 1);
    assert_int_equal(p->listeners.n, 1);
    const struct listener_conf *listener = p->listeners.items;
    assert_true(str_eq(listener->address, STR("127.0.0.1:8080")));
    assert_int_equal(listener->backlog, 4096);
    assert_true(str_eq(route_at(&p->routes, 0)->match.path, STR("/api/*")));
    assert_int_equal(route_at(&p->routes, 1)->match.methods.n, 1);
    assert_true(route_at(&p->routes, 2)->redirect_given);
    assert_int_equal(route_at(&p->routes, 2)->redirect.status, 308);
    conf_loaded_free(l);
    l = load_good(UP);
    assert_int_equal(l->file->proxy.routes.n, 0);
    conf_loaded_free(l);
}

static void no_admin(void **state)
{
    (void) state;
    static const char *const texts[] = {UP "admin: off\n", UP "admin: false\n",
                                        UP "admin: {address: off, mode: \"0600\"}\n", UP};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct conf_loaded *l = load_good(texts[i]);
        assert_int_equal(l->file->admin.address.n, 0);
        conf_loaded_free(l);
    }
    struct conf_loaded *l = load_good(UP "admin: {}\n");
    assert_true(str_eq(l->file->admin.address, STR(ADMIN_ADDRESS)));
    conf_loaded_free(l);
    assert_refused(UP "admin: none\n",
                   "t.yaml:2:8: \"none\" is not an address, nor off: the port is missing; "
                   "write host:port\n");
    assert_refused("upstreams: {o: off}\n",
                   "t.yaml:1:16: \"off\" is not an address: the port is missing; write "
                   "host:port\n");
}

static void nested_routes_inherit(void **state)
{
    (void) state;
    struct conf_loaded *l = load_good(UP "timeouts: {first_byte: 7s}\n"
                                         "meta: {a: \"1\", b: \"2\"}\n"
                                         "stamp: {text: top, tags: {x: \"1\"}}\n"
                                         "routes:\n"
                                         "  - match: /a/*\n"
                                         "    routes:\n"
                                         "      - {match: /a/b/*, stamp: {tags: {y: \"2\"}}}\n"
                                         "      - {match: /a/c, reply: 404, meta: {b: \"3\"}}\n"
                                         "    to: o\n"
                                         "    timeouts: {exchange: 1m}\n"
                                         "    stamp: {count: 5}\n"
                                         "  - {match: /z, to: o}\n");
    const struct schema_list *routes = &l->file->proxy.routes;
    const struct route_conf *a = route_at(routes, 0), *z = route_at(routes, 1);
    const struct route_conf *b = route_at(&a->routes, 0), *c = route_at(&a->routes, 1);
    assert_int_equal(b->settings.timeouts.first_byte, 7 * USEC_PER_SEC);
    assert_int_equal(b->settings.timeouts.exchange, 60 * USEC_PER_SEC);
    assert_int_equal(z->settings.timeouts.exchange, 0);
    assert_true(str_eq(b->to, STR("o")));
    assert_int_equal(c->to.n, 0);
    assert_true(c->reply_given);
    assert_int_equal(c->settings.meta.n, 2);
    assert_true(str_eq(((struct str *) c->settings.meta.items)[1], STR("3")));
    const struct stamp_conf *s = b->features[1];
    assert_true(str_eq(s->text, STR("top")));
    assert_int_equal(s->count, 5);
    assert_int_equal(s->tags.n, 2);
    s = z->features[1];
    assert_int_equal(s->count, 1);
    assert_ptr_equal(z->features[1], l->file->proxy.features[1]);
    conf_loaded_free(l);
}

static void anchors_and_merge_keys(void **state)
{
    (void) state;
    struct conf_loaded *l =
        load_good("upstreams:\n"
                  "  a: &a\n"
                  "    endpoints: [127.0.0.1:1]\n"
                  "    pool: {max_idle: 7}\n"
                  "  b: *a\n"
                  "  c: {<<: *a, endpoints: [127.0.0.1:2]}\n"
                  "routes: [{to: a}, {match: /b, to: b}, {match: /c, to: c}]\n");
    const struct upstream_conf *u = l->file->proxy.upstreams.items;
    const struct endpoint_conf *e = u[2].endpoints.items;
    assert_int_equal(u[1].pool.max_idle, 7);
    assert_int_equal(u[2].pool.max_idle, 7);
    assert_true(str_eq(e->address, STR("127.0.0.1:2")));
    conf_loaded_free(l);
}

static void says_all_errors_in_order(void **state)
{
    (void) state;
    assert_refused("listeners:\n"
                   "  - adress: 127.0.0.1:80\n"
                   "workers: many\n"
                   "timeouts:\n"
                   "  first_byte: 30\n"
                   "  client_hed: 3s\n"
                   "upstreams:\n"
                   "  origin:\n"
                   "    endpoints:\n"
                   "      - {address: \"127.0.0.1\", weight: -1}\n"
                   "routes:\n"
                   "  - match: {path_regex: \"/a(\"}\n"
                   "    to: orign\n"
                   "  - {}\n"
                   "  - {to: origin, redirect: /x}\n",
                   "t.yaml:2:5: unknown key \"adress\" in listener; did you mean \"address\"?\n"
                   "t.yaml:2:5: listener: \"address\" is missing\n"
                   "t.yaml:3:10: workers: \"many\" is not a whole number\n"
                   "t.yaml:5:15: first_byte: \"30\" is not a duration with its unit, like 30s, "
                   "250ms, 1h30m, or off\n"
                   "t.yaml:6:3: unknown key \"client_hed\" in timeouts; did you mean "
                   "\"client_head\"?\n"
                   "t.yaml:10:19: \"127.0.0.1\" is not an address: the port is missing; write "
                   "host:port\n"
                   "t.yaml:10:40: weight: \"-1\" is out of bounds; allowed: 0 to 100\n"
                   "t.yaml:12:25: bad pattern: missing closing parenthesis, at character 4 of "
                   "\"/a(\"\n"
                   "t.yaml:13:9: unknown upstream \"orign\"; did you mean \"origin\"?\n"
                   "t.yaml:14:5: this route does nothing; give it to, redirect, reply or routes\n"
                   "t.yaml:15:5: a route does one thing: it has 2 of to, redirect and reply; keep "
                   "one\n");
}

static void refuses_broken_texts(void **state)
{
    (void) state;
    assert_refused("", "t.yaml: no upstream and no route is configured: every request would be "
                       "answered 404; add \"upstreams: {origin: {endpoints: "
                       "[127.0.0.1:9000]}}\"\n");
    static const char no_key[] =
        "not valid YAML: no key: value can be here; the line may be indented too far, or a key "
        "above have no space behind its colon; a text that holds a colon and a space needs quotes";
    char said[256];
    snprintf(said, sizeof said, "t.yaml:1:5: %s\n", no_key);
    assert_refused("a: b: c\n", said);
    snprintf(said, sizeof said, "t.yaml:3:7: %s\n", no_key);
    assert_refused("routes:\n  - match:/*\n    to: o\n", said);
    assert_refused("upstreams: {o: @home}\n",
                   "t.yaml:1:16: not valid YAML: a text that begins with @, ` or % needs quotes\n");
    assert_refused("just text\n", "t.yaml:1:1: configuration must be a map (key: value), not a "
                                  "single value\n");
    assert_refused(UP "---\n{}\n",
                   "t.yaml:2:1: a second document begins here; a file holds one configuration\n");
    assert_refused(UP "via: true\nvia: false\n",
                   "t.yaml:3:1: \"via\" is given twice; the first is at line 2\n");
    assert_refused(
        UP "zzzzzz: 1\n",
        "t.yaml:2:1: unknown key \"zzzzzz\" in configuration; allowed: admin, log, user, "
        "pid_file, state_dir, pin_workers, watch, tests, workers, memory_limit, drain, "
        "upgrade_drain, trusted_proxies, listeners, upstreams, routes, "
        "timeouts, limits, min_rate, buffer, slashes, client_half_close, allow_connect, "
        "via, via_name, retry, meta, journal, stamp\n");
    assert_refused(UP "workers: !!int x\nvia: !a 3\nuser: \"a\\0b\"\n",
                   "t.yaml:2:10: tags (!name) have no meaning here\n"
                   "t.yaml:2:10: workers: \"x\" is not a whole number\n"
                   "t.yaml:3:6: tags (!name) have no meaning here\n"
                   "t.yaml:3:6: via: \"3\" is not true or false\n"
                   "t.yaml:4:7: a text holds a NUL byte\n");
    assert_refused("upstreams: {\"a\\e[31m\": 127.0.0.1:1}\n"
                   "routes: [{name: \"b\\nc\", match: /*, redirect: /x}]\n",
                   "t.yaml:1:13: a key holds a control byte\n"
                   "t.yaml:2:17: a route's name holds a control byte\n");
    assert_refused(UP "routes: [{match: {host: *.example.com}, to: o}]\n",
                   "t.yaml:2:25: a text that begins with * or & needs quotes, as in "
                   "\"*.example.com\"\n");
    assert_refused("upstreams:\n\to: 127.0.0.1:1\n",
                   "t.yaml:2:1: not valid YAML: a tab; indent with spaces\n");
    assert_refused("user: x\nlisteners: ['127.0.0.1:80]\nvia: true\n",
                   "t.yaml:2:13: the quote that begins here is not closed: found unexpected end of "
                   "stream\n");
    assert_refused("upstreams: {o: {endpoints: [127.0.0.1:1]}\nvia: true\n",
                   "t.yaml:2:1: not valid YAML: did not find expected ',' or '}', while parsing a "
                   "flow mapping; the bracket opens at line 1\n");
    assert_refused("via: true\n# \xc3\xa9\x01\n",
                   "t.yaml:2:4: not valid YAML: control characters are not allowed; the file must "
                   "be UTF-8 text\n");
    assert_refused("via: true\n# \xff\n",
                   "t.yaml:2:3: not valid YAML: invalid leading UTF-8 octet; the file must be "
                   "UTF-8 text\n");
    assert_refused(UP "workers:\n", "t.yaml:2:9: workers has no value; leave the key out for its "
                                    "default\n");
    assert_refused("upstreams: *nope\n",
                   "t.yaml:1:12: this alias has no anchor above it (a text that begins with * "
                   "needs quotes)\n");
}

static void bounds_depth_and_copies(void **state)
{
    (void) state;
    char deep[300];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_refused(deep, "t.yaml:1:66: this is nested too deep (64 levels are allowed)\n");
    assert_refused("a: &a [1,1,1,1,1,1,1,1,1,1]\n"
                   "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                   "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                   "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                   "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                   "f: [*e,*e]\n",
                   "t.yaml:1:12: aliases repeat this too often; write it out or let routes "
                   "inherit\n");
}

static void cross_checks(void **state)
{
    (void) state;
    assert_refused("upstreams: {o: {endpoints: [\":80\", \"127.0.0.1:0\", http://h:1]}}\n"
                   "memory_limit: 1KiB\n",
                   "t.yaml:1:28: endpoint :80 has no host; 127.0.0.1 is this machine\n"
                   "t.yaml:1:28: endpoint 127.0.0.1:0 has port 0, which nothing listens on\n"
                   "t.yaml:1:51: \"http://h:1\" is not an address: it is a URL; write host:port "
                   "without http://\n"
                   "t.yaml:2:15: memory_limit is too small to serve with; at least 1MiB\n");
    assert_refused(UP "listeners: [127.0.0.1:80, \":80\", 127.0.0.1:80, localhost:81]\n"
                      "admin: 127.0.0.1:80\n"
                      "trusted_proxies: [10.0.0.1/8, unix, \"::1\"]\n",
                   "t.yaml:2:34: address 127.0.0.1:80 is listened on twice\n"
                   "t.yaml:2:48: \"localhost:81\": listen on an IP address (localhost is 127.0.0.1 "
                   "or [::1])\n"
                   "t.yaml:3:8: admin.address is the address of a listener too\n"
                   "t.yaml:4:19: \"10.0.0.1/8\" is not a network, like 10.0.0.0/8 (no bits set "
                   "behind the prefix), nor unix\n");
    assert_refused(UP "routes:\n"
                      "  - {to: o, rewrite: {replace: /b, regex: a, strip_prefix: img}}\n"
                      "  - {to: o, rewrite: {add_prefix: /, host: 'a b'}}\n",
                   "t.yaml:3:60: rewrite: strip_prefix 'img' is not a path; it begins with / and "
                   "has no query\n"
                   "t.yaml:4:44: rewrite: host 'a b' is neither a host name nor 'upstream'\n");
    assert_refused("upstreams: {a: 127.0.0.1:1, b: 127.0.0.1:2}\n",
                   "t.yaml: routes are missing: which of the 2 upstreams gets which request?\n");
    assert_refused(UP "routes:\n"
                      "  - {name: x, match: /a, to: o}\n"
                      "  - {name: x, match: /b, to: o}\n"
                      "  - {name: _y, match: /c, to: o}\n"
                      "  - {match: {path: /d, method: GET, methods: [PUT]}, to: o}\n",
                   "t.yaml:4:12: route name \"x\" is given twice; the first is at line 3\n"
                   "t.yaml:5:12: route name \"_y\": names that begin with _ are Weir's own\n"
                   "t.yaml:6:37: methods says again what another key said\n");
    assert_refused(UP "routes: [{name: .., match: /*, to: o}]\n",
                   "t.yaml:2:17: \"..\" is no name: no path of the admin API could end in it\n");
    /* A route that only holds others has a name like any other. */
    assert_refused(UP "routes:\n"
                      "  - name: x\n"
                      "    match: /a/*\n"
                      "    routes: [{name: x, to: o}]\n",
                   "t.yaml:5:21: route name \"x\" is given twice; the first is at line 3\n");
    char *longer = mem_printf("%s%0256d%s", UP "routes: [{name: x", 0, ", match: /*, to: o}]\n");
    assert_refused(longer, "t.yaml:2:17: a route's name has 257 bytes; 255 are allowed\n");
    mem_free(longer);
    assert_refused(UP "routes:\n"
                      "  - match: {host: \"*.a.com\", path: /x/*, methods: [GET]}\n"
                      "    to: o\n"
                      "    journal: off\n"
                      "    timeouts: {keepalive: 1s}\n"
                      "    routes:\n"
                      "      - {match: {host: b.com}}\n"
                      "      - {match: /y}\n"
                      "      - {match: {methods: [PUT]}}\n"
                      "      - {match: /x}\n",
                   "t.yaml:5:5: journal is a key of the top level, not of a route\n"
                   "t.yaml:6:15: timeouts.keepalive is for the top level only: it is needed before "
                   "a route is known\n"
                   "t.yaml:8:24: host \"b.com\" is not one of \"*.a.com\", the host of the route "
                   "around it\n"
                   "t.yaml:9:17: path \"/y\" does not lie under \"/x/*\" of the route around it\n"
                   "t.yaml:10:17: no method is left: the route around this one allows others\n");
}

/* Routes without a name, of which many would have the same: each has one, and none that is given.
 * In time that grows with them, not with their square: that would take minutes. */
static void made_names(void **state)
{
    (void) state;
    const unsigned n = 50000;
    struct text t = {0};
    text_add(&t, STR(UP "routes:\n  - {name: \"/x#3\", to: o}\n"));
    for (unsigned i = 0; i < n; i++)
        text_add(&t, STR("  - {match: /x, to: o}\n"));
    text_add(&t, str_of("", 1));
    struct conf_loaded *l = load_good(t.p);
    const struct flat_routes *flat = l->file->flat;
    const struct {
        size_t at;
        const char *name;
    } want[] = {{1, "/x"}, {2, "/x#2"}, {3, "/x#4"}, {4, "/x#5"}, {n, "/x#50001"}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_true(str_eq(flat->v[want[i].at].name, str_c(want[i].name)));
    conf_loaded_free(l);
    text_fini(&t);
}

static void tests_in_the_text(void **state)
{
    (void) state;
    conf_loaded_free(load_good(UP "routes:\n"
                                  "  - {name: api, match: /api/*, to: o, rewrite: {strip_prefix: "
                                  "/api, host: b.example}}\n"
                                  "  - {name: old, match: /old, redirect: /new}\n"
                                  "tests:\n"
                                  "  - request: /api/x?y=1\n"
                                  "    expect: {route: api, upstream: o, path: \"/x?y=1\",\n"
                                  "             headers: {Host: b.example, Via: \"*\", X-No: "
                                  "\"\"}}\n"
                                  "  - {request: http://a/old, expect: {status: 308, headers: "
                                  "{Location: /new}}}\n"
                                  "  - {request: /none, expect: {route: none, status: 404}}\n"));
    assert_refused(UP "routes: [{name: api, match: {path: /api/*, method: GET}, to: o}]\n"
                      "tests:\n"
                      "  - {name: one, request: {url: /api/x, method: PUT}, expect: {route: api,\n"
                      "     status: 200}}\n"
                      "  - {request: \"/%zz\", expect: api}\n",
                   "t.yaml:4:5: test \"one\": expected status 200, got 405 (method_not_allowed)\n"
                   "t.yaml:4:70: test \"one\": expected route api, got none\n"
                   "t.yaml:6:31: test \"/%zz\": expected route api, got none\n");
}

static void tests_beside_errors(void **state)
{
    (void) state;
    assert_refused(UP "workers: many\n"
                      "tests: [{request: /x, expect: nobody}]\n",
                   "t.yaml:2:10: workers: \"many\" is not a whole number\n"
                   "1 test was not run: the file has errors\n");
    /* Mistakes that only building shows. */
    assert_refused(
        "listeners: [{address: ':1', tls: {certificates: [{cert: /no/a, key: /no/b}]}}]\n"
        "upstreams: {o: 127.0.0.1:9000}\n"
        "tests: [{request: /x, expect: o}, {request: /y, expect: o}]\n",
        "t.yaml:1:57: /no/a: No such file or directory\n"
        "t.yaml:1:69: /no/b: No such file or directory\n"
        "2 tests were not run: the file has errors\n");
    /* A failing test is run, and says enough. */
    assert_refused(UP "tests: [{request: /x, expect: nobody}]\n",
                   "t.yaml:2:31: test \"/x\": expected route nobody, got o\n");
}

static void files_that_cannot_be_read(void **state)
{
    (void) state;
    char *errors;
    assert_null(conf_load_file("/nonexistent/weir.yaml", &test_set, &errors));
    assert_string_equal(errors, "/nonexistent/weir.yaml: No such file or directory\n");
    mem_free(errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_sample),
        cmocka_unit_test(short_forms_and_defaults),
        cmocka_unit_test(nested_routes_inherit),
        cmocka_unit_test(anchors_and_merge_keys),
        cmocka_unit_test(says_all_errors_in_order),
        cmocka_unit_test(refuses_broken_texts),
        cmocka_unit_test(bounds_depth_and_copies),
        cmocka_unit_test(cross_checks),
        cmocka_unit_test(made_names),
        cmocka_unit_test(tests_in_the_text),
        cmocka_unit_test(tests_beside_errors),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(no_admin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
