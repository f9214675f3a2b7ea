/* SPDX-License-Identifier: Apache-2.0 */
/* conf_tree: what is found by name, and changes that leave the tree they were made from alone. */
#include "control/control_test.h"

#define FILE_TEXT                                                                                  \
    "upstreams:\n"                                                                                 \
    "  one: 10.0.0.1:80\n"                                                                         \
    "  two: {endpoints: [10.0.0.2:80, {address: 10.0.0.3:80, weight: 3}]}\n"                       \
    "routes:\n"                                                                                    \
    "- {name: a, match: /a, to: one}\n"                                                            \
    "- {match: /b, to: two}\n"                                                                     \
    "- name: group\n"                                                                              \
    "  match: /g/*\n"                                                                              \
    "  routes:\n"                                                                                  \
    "  - {name: inner, match: /g/i, to: one}\n"                                                    \
    "  - {match: /g/j, to: one}\n"

static const struct conf_node *route(const struct conf_tree *t, const char *name)
{
    return conf_tree_route(t, str_c(name));
}

static const struct conf_node *endpoint(const struct conf_tree *t, const char *upstream,
                                        const char *address)
{
    const struct conf_node *u = conf_tree_upstream(t, str_c(upstream));
    assert_non_null(u);
    return conf_tree_endpoint(u, str_c(address));
}

/* A route for t, from JSON. */
static const struct conf_node *made(struct conf_tree *t, const char *json)
{
    unsigned line = 0;
    struct conf_errors e;
    conf_errors_init(&e, &t->arena, "json");
    json_t *v = json_of(json);
    const struct conf_node *n = conf_node_of_json(v, &t->arena, &line, &e);
    assert_non_null(n);
    conf_errors_fini(&e);
    json_decref(v);
    return n;
}

static void finds_what_has_a_name(void **state)
{
    (void) state;
    struct conf_tree *t = tree_of(FILE_TEXT);
    assert_node(route(t, "a"), "{'name':'a','match':'/a','to':'one'}");
    assert_node(route(t, "/b"), "{'name':'/b','match':'/b','to':'two'}");
    assert_node(route(t, "inner"), "{'name':'inner','match':'/g/i','to':'one'}");
    assert_non_null(route(t, "/g/j"));
    assert_non_null(route(t, "group"));
    assert_null(route(t, "b"));
    assert_node(endpoint(t, "one", "10.0.0.1:80"), "{'address':'10.0.0.1:80'}");
    assert_node(endpoint(t, "two", "10.0.0.2:80"), "{'address':'10.0.0.2:80'}");
    assert_node(endpoint(t, "two", "10.0.0.3:80"), "{'address':'10.0.0.3:80','weight':3}");
    assert_null(endpoint(t, "two", "10.0.0.1:80"));
    assert_null(conf_tree_upstream(t, STR("three")));
    conf_tree_unref(t);
}

/* Without routes the one upstream gets everything: that route can be found, and changed. */
static void the_only_upstream_is_a_route(void **state)
{
    (void) state;
    static const char *const texts[] = {"upstreams: {o: 10.0.0.1:80}\n",
                                        "upstreams: {o: 10.0.0.1:80}\nroutes:\n"};
    for (size_t i = 0; i < 2; i++) {
        struct conf_tree *t = tree_of(texts[i]), *e = conf_tree_edit(t);
        assert_node(route(t, "o"), "{'name':'o','to':'o'}");
        assert_true(conf_tree_remove_route(e, STR("o")));
        assert_null(route(e, "o"));
        conf_tree_unref(e);
        conf_tree_unref(t);
    }
}

static void no_tree_of_no_map(void **state)
{
    (void) state;
    static const char *const bad[] = {"[]", "x", "routes: [", "a: 1\na: 2\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(conf_tree_new(str_c(bad[i]), "t.yaml", &test_set));
    conf_tree_unref(tree_of(""));
}

/* Replacing a route takes the names within the old one, and brings those within the new one. */
static void puts_routes(void **state)
{
    (void) state;
    struct conf_tree *t = tree_of(FILE_TEXT), *e = conf_tree_edit(t);
    assert_true(conf_tree_put_route(
        e, STR("group"), STR(""),
        made(e, "{'name':'group','match':'/h/*','routes':[{'name':'new','match':'/h/n','to':'two'}"
                "]}")));
    assert_null(route(e, "inner"));
    assert_node(route(e, "new"), "{'name':'new','match':'/h/n','to':'two'}");
    assert_true(conf_tree_put_route(e, STR("c"), STR(""), made(e, "{'name':'c','to':'one'}")));
    assert_true(conf_tree_put_route(e, STR("d"), STR("group"), made(e, "{'name':'d','to':'one'}")));
    assert_true(conf_tree_put_route(e, STR("e"), STR("a"), made(e, "{'name':'e','to':'one'}")));
    assert_false(conf_tree_put_route(e, STR("f"), STR("nobody"), made(e, "{'name':'f'}")));
    assert_node(conf_member(e->root, "routes")->last, "{'name':'c','to':'one'}");
    assert_node(route(e, "a"), "{'name':'a','match':'/a','to':'one','routes':[{'name':'e','to':"
                               "'one'}]}");
    /* A further edit sees all of it; the first tree nothing. */
    struct conf_tree *again = conf_tree_edit(e);
    assert_non_null(route(again, "d"));
    assert_non_null(route(again, "e"));
    assert_true(conf_tree_remove_route(again, STR("group")));
    assert_null(route(again, "new"));
    assert_null(route(again, "d"));
    assert_non_null(route(e, "d"));
    assert_non_null(route(t, "inner"));
    assert_null(route(t, "c"));
    assert_node(route(t, "a"), "{'name':'a','match':'/a','to':'one'}");
    conf_tree_unref(t); /* what is made of a tree keeps what it needs of it */
    conf_tree_unref(e);
    assert_node(route(again, "/b"), "{'name':'/b','match':'/b','to':'two'}");
    conf_tree_unref(again);
}

static void removes_first_and_last(void **state)
{
    (void) state;
    static const char *const names[] = {"a", "group", "/b"};
    struct conf_tree *t = tree_of(FILE_TEXT), *e = conf_tree_edit(t);
    for (size_t i = 0; i < 3; i++) {
        assert_true(conf_tree_remove_route(e, str_c(names[i])));
        assert_false(conf_tree_remove_route(e, str_c(names[i])));
    }
    assert_int_equal(conf_member(e->root, "routes")->n, 0);
    assert_null(route(e, "inner"));
    assert_true(conf_tree_put_route(e, STR("z"), STR(""), made(e, "{'name':'z','to':'one'}")));
    assert_node(conf_member(e->root, "routes"), "[{'name':'z','to':'one'}]");
    assert_int_equal(conf_member(t->root, "routes")->n, 3);
    conf_tree_unref(e);
    conf_tree_unref(t);
}

static void puts_and_removes_endpoints(void **state)
{
    (void) state;
    struct conf_tree *t = tree_of(FILE_TEXT), *e = conf_tree_edit(t);
    struct conf_node *u = conf_tree_upstream(e, STR("two"));
    struct str first = STR("10.0.0.2:80"), other = STR("10.0.0.9:80");
    conf_tree_put_endpoint(e, u, other, made(e, "{'address':'10.0.0.9:80'}"));
    conf_tree_put_endpoint(e, u, first, made(e, "{'address':'10.0.0.2:80','weight':7}"));
    conf_tree_set(e, conf_tree_endpoint(u, other), STR("weight"), STR("5"));
    conf_tree_set(e, conf_tree_endpoint(u, STR("10.0.0.3:80")), STR("weight"), STR("0"));
    assert_node(u, "{'endpoints':[{'address':'10.0.0.2:80','weight':7},"
                   "{'address':'10.0.0.3:80','weight':0},{'address':'10.0.0.9:80','weight':5}]}");
    assert_true(conf_tree_remove_endpoint(u, first));
    assert_false(conf_tree_remove_endpoint(u, first));
    assert_node(endpoint(t, "two", "10.0.0.2:80"), "{'address':'10.0.0.2:80'}");
    assert_node(endpoint(t, "two", "10.0.0.3:80"), "{'address':'10.0.0.3:80','weight':3}");
    conf_tree_unref(e);
    conf_tree_unref(t);
}

static void hashes_what_is_said(void **state)
{
    (void) state;
    struct conf_tree *t = tree_of(FILE_TEXT), *e = conf_tree_edit(t);
    struct conf_tree *other = tree_of("routes: [{\"name\": a, 'match': '/a', to: \"one\"}]\n");
    assert_true(conf_node_hash(route(t, "a")) == conf_node_hash(route(e, "a")));
    assert_true(conf_node_hash(route(t, "a")) == conf_node_hash(route(other, "a")));
    assert_true(conf_node_hash(route(t, "a")) != conf_node_hash(route(t, "/b")));
    conf_tree_unref(other);
    conf_tree_unref(e);
    conf_tree_unref(t);
}

/* ---- sparse trees -------------------------------------------------------------------------- */

/* The tree of text that a load would leave. */
static struct conf_tree *sparse_of(const char *text)
{
    struct arena a;
    struct conf_errors e;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, "t.yaml");
    struct conf_node *root = conf_lex(str_c(text), &a, &e);
    assert_non_null(root);
    struct conf_tree *t = conf_tree_sparse(str_c(text), "t.yaml", root, NULL);
    conf_errors_fini(&e);
    arena_fini(&a);
    assert_non_null(t);
    conf_tree_give(t, mem_str(str_c(text)));
    return t;
}

/* Both have the same routes in the same order, and the same upstreams. */
static void assert_alike(const struct conf_tree *whole, const struct conf_tree *sparse)
{
    struct conf_walk a = {0}, b = {0}, count = {0};
    const struct conf_node *n, *m;
    do {
        n = conf_walk_next(whole, &a, true);
        m = conf_walk_next(sparse, &b, true);
        assert_true(!n == !m && !n == !conf_walk_next(sparse, &count, false));
        if (n)
            assert_true(conf_node_hash(n) == conf_node_hash(m) && n->pos.line == m->pos.line);
    } while (n);
    conf_walk_fini(&a);
    conf_walk_fini(&b);
    conf_walk_fini(&count);
    assert_true(conf_node_hash(conf_member(whole->root, "upstreams")) ==
                conf_node_hash(conf_member(sparse->root, "upstreams")));
}

/* One random change of both trees. */
static void change_both(struct conf_tree *t[2], unsigned *seed)
{
    char name[16], json[128];
    unsigned way = (*seed = *seed * 1103515245u + 12345u) >> 16;
    snprintf(name, sizeof name, "r%u", (*seed >> 8) % 40);
    snprintf(json, sizeof json, "{'name':'%s','match':'/%u','to':'u'}", name, way);
    bool there = route(t[0], name) != NULL;
    assert_true(there == (route(t[1], name) != NULL));
    assert_true(conf_tree_at_top(t[1], str_c(name)) == there);
    for (int i = 0; i < 2; i++) {
        if (way % 3 == 0)
            assert_true(conf_tree_remove_route(t[i], str_c(name)) == there);
        else if (way % 3 == 1)
            assert_true(conf_tree_put_route(t[i], str_c(name), STR(""), made(t[i], json)));
    }
    if (route(t[0], name))
        assert_true(conf_node_hash(route(t[0], name)) == conf_node_hash(route(t[1], name)));
}

static void sparse_trees_are_as_whole_ones(void **state)
{
    (void) state;
    struct text text = {0};
    unsigned seed = 1;
    text_add(&text, STR("upstreams: {u: [10.0.0.1:80, {address: '10.0.0.2:80'}]}\nroutes:\n"));
    for (unsigned i = 0; i < 20; i++)
        text_addf(&text, "  - name: r%u\n    match: /f%u # %u\n    to: u\n", i, i, i);
    text_add(&text, STR("log: {level: info}"));
    text_add(&text, str_of("", 1));
    struct conf_tree *base[2] = {tree_of(text.p), sparse_of(text.p)};
    for (unsigned round = 0; round < 20; round++) {
        struct conf_tree *t[2] = {conf_tree_edit(base[0]), conf_tree_edit(base[1])};
        for (unsigned i = 0; i < 100; i++) {
            change_both(t, &seed);
            assert_alike(t[0], t[1]);
        }
        conf_tree_unref(t[0]);
        conf_tree_unref(t[1]);
        assert_alike(base[0], base[1]);
    }
    conf_tree_unref(base[0]);
    conf_tree_unref(base[1]);
    text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_has_a_name),  cmocka_unit_test(the_only_upstream_is_a_route),
        cmocka_unit_test(no_tree_of_no_map),      cmocka_unit_test(puts_routes),
        cmocka_unit_test(removes_first_and_last), cmocka_unit_test(puts_and_removes_endpoints),
        cmocka_unit_test(hashes_what_is_said),    cmocka_unit_test(sparse_trees_are_as_whole_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
