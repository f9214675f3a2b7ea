/* SPDX-License-Identifier: Apache-2.0 */
/* Routes that nothing reaches: which are told, which are not, and that they are no errors. */
#include "control/control_test.h"

#define HEAD "upstreams: {a: 127.0.0.1:1, b: 127.0.0.1:2}\n"

static char *warnings_of(const char *text, size_t most)
{
    struct conf_loaded *l = load_good(text);
    assert_int_equal(l->errors.n, 0);
    char *said = conf_warnings_print(&l->errors, most);
    assert_int_equal(said != NULL, conf_warnings(&l->errors) > 0);
    conf_loaded_free(l);
    return said;
}

static void assert_warned(const char *text, const char *want)
{
    char *said = warnings_of(text, SIZE_MAX);
    assert_string_equal(said ? said : "", want);
    mem_free(said);
}

#define SAID(place, name, first, line)                                                             \
    "t.yaml:" place ": warning: route \"" name "\" is never used: route \"" first                  \
    "\" at line " line " has the same match and is asked first; take one of them out, or give it " \
    "another match\n"

static void the_second_of_two(void **state)
{
    (void) state;
    assert_warned(HEAD "routes:\n"
                       "  - {name: one, match: {host: A.example, path: /x/*}, to: a}\n"
                       "  - {name: two, match: {host: a.example, path: /x/*}, to: b}\n",
                  SAID("4:5", "two", "one", "3"));
    assert_warned(HEAD "routes:\n"
                       "  - {match: {path_regex: \"/a|/b\"}, to: a}\n"
                       "  - {match: {path_regex: \"/a|/b\"}, reply: 404}\n"
                       "  - {match: {path_regex: \"/a|/b\"}, redirect: /}\n",
                  SAID("4:5", "~/a|/b#2", "~/a|/b", "3") SAID("5:5", "~/a|/b#3", "~/a|/b", "3"));
    /* Everything is everything, and who says a path is asked first. */
    assert_warned(HEAD "routes:\n"
                       "  - {name: any, to: a}\n"
                       "  - {name: all, match: /*, to: b}\n"
                       "  - {name: more, to: b}\n",
                  SAID("3:5", "any", "all", "4") SAID("5:5", "more", "all", "4"));
}

static void sets_have_no_order(void **state)
{
    (void) state;
    assert_warned(HEAD "routes:\n"
                       "  - {name: one, to: a, match: {path: /, methods: [PUT, GET],\n"
                       "     headers: {A: \"1\", B: \"~x\"}, query: {p: \"*\", q: \"2\"}}}\n"
                       "  - {name: two, to: b, match: {path: /, methods: [HEAD, GET, PUT],\n"
                       "     headers: {b: \"~x\", a: \"1\"}, query: {q: \"2\", p: \"*\"}}}\n",
                  SAID("5:5", "two", "one", "3"));
    assert_warned("listeners: [{address: ':1', mode: passthrough}, ':2']\n" HEAD "routes:\n"
                  "  - {name: one, match: {sni: db.a, alpn: [x, h2]}, to: a, passthrough: true}\n"
                  "  - {name: two, match: {sni: DB.a, alpn: [h2, x]}, to: b, passthrough: true}\n",
                  SAID("5:5", "two", "one", "4"));
}

static void others_are_others(void **state)
{
    (void) state;
    assert_warned("listeners: [{address: ':1', mode: passthrough}, ':2']\n" HEAD "routes:\n"
                  "  - {match: {host: a.b, path: /x}, to: a}\n"
                  "  - {match: {host: a.b, path: /x/*}, to: a}\n"
                  "  - {match: {host: a.b, path_regex: /x}, to: a}\n"
                  "  - {match: {host: \"*.a.b\", path: /x}, to: a}\n"
                  "  - {match: {path: /x}, to: a}\n"
                  "  - {match: {sni: a.b, path: /x}, to: a}\n"
                  "  - {match: {path: /x, methods: [GET]}, to: a}\n"
                  "  - {match: {path: /x, methods: [HEAD]}, to: a}\n"
                  "  - {match: {path: /x, headers: {GET: \"*\"}}, to: a}\n"
                  "  - {match: {path: /x, headers: {a: b, c: d}}, to: a}\n"
                  "  - {match: {path: /x, headers: {a: d, c: b}}, to: a}\n"
                  "  - {match: {path: /x, headers: {ab: cd}}, to: a}\n"
                  "  - {match: {path: /x, query: {a: b}}, to: a}\n"
                  "  - {match: {path: /x, query: {A: b}}, to: a}\n"
                  "  - {match: {path: /x, headers: {a: b}}, to: a}\n"
                  "  - {match: {sni: a.b}, to: a}\n"
                  "  - {match: {sni: a.b}, to: a, passthrough: true}\n",
                  "");
    assert_warned(HEAD "routes: [{to: a, match: /a/*, routes: [{match: /a/b, to: b}]}]\n", "");
}

/* The conditions of the routes around one are its own, too. */
static void nested_routes(void **state)
{
    (void) state;
    assert_warned(HEAD "routes:\n"
                       "  - name: out\n"
                       "    match: {host: A.b, path: /n/*, headers: {X: y}}\n"
                       "    to: a\n"
                       "    routes:\n"
                       "      - {name: in, match: {headers: {Z: w}}, to: b}\n"
                       "      - {name: same, match: {host: a.b}, to: b}\n"
                       "  - {name: flat, match: {host: a.b, path: /n/*, headers: {z: w, x: y}},\n"
                       "     to: a}\n",
                  SAID("3:5", "out", "same", "8") SAID("9:5", "flat", "in", "7"));
    /* Said twice it counts twice, so the later one is asked first. */
    assert_warned(HEAD "routes:\n"
                       "  - {name: flat, match: {path: /n, headers: {x: y}}, to: a}\n"
                       "  - match: {path: /n, headers: {X: y}}\n"
                       "    routes: [{name: in, match: {headers: {x: y}}, to: b}]\n",
                  SAID("3:5", "flat", "in", "5"));
}

static void beside_errors(void **state)
{
    (void) state;
    /* What else is wrong goes first; a test that fails for it is told why. */
    assert_refused("workers: x\n" HEAD "routes: [{match: /x, to: a}, {match: /x, to: b}]\n",
                   "t.yaml:1:10: workers: \"x\" is not a whole number\n");
    assert_refused(
        HEAD "routes:\n"
             "  - {name: one, match: /x, to: a}\n"
             "  - {name: two, match: /x, to: b}\n"
             "tests: [{request: /x, expect: two}]\n",
        "t.yaml:5:31: test \"/x\": expected route two, got one\n" SAID("4:5", "two", "one", "3"));
}

/* As many as there are: each is found, and the first ones are told. */
static void many(void **state)
{
    (void) state;
    struct text t = {0};
    text_add(&t, STR(HEAD "routes:\n"));
    for (unsigned i = 0; i < 6000; i++)
        text_addf(&t, "  - {match: {path: /x, headers: {T: t%u, A: b}}, to: a}\n", i / 2);
    text_add(&t, str_of("", 1));
    char *said = warnings_of(t.p, 2);
    assert_non_null(strstr(said, "t.yaml:4:5: warning: route \"/x#2\""));
    assert_non_null(strstr(said, "t.yaml:6:5: warning: route \"/x#4\""));
    assert_non_null(strstr(said, "\"/x#3\" at line 5"));
    assert_non_null(strstr(said, "\nwarning: and 2998 more\n"));
    mem_free(said);
    text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_of_two), cmocka_unit_test(sets_have_no_order),
        cmocka_unit_test(others_are_others), cmocka_unit_test(nested_routes),
        cmocka_unit_test(beside_errors),     cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
