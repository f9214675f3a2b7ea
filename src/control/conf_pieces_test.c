/* SPDX-License-Identifier: Apache-2.0 */
/* conf_pieces: a route read out of its piece of the text is the one that the whole text has, and
 * texts that pieces would not do for are left alone. */
#include "control/conf_pieces.h"

#include "control/control_test.h"

static void assert_same(const struct conf_node *a, const struct conf_node *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->plain, b->plain);
    assert_int_equal(a->pos.line, b->pos.line);
    assert_int_equal(a->pos.column, b->pos.column);
    assert_int_equal(a->at_key.line, b->at_key.line);
    assert_int_equal(a->at_key.column, b->at_key.column);
    assert_true(str_eq(a->key, b->key) && str_eq(a->text, b->text));
    assert_int_equal(a->n, b->n);
    const struct conf_node *d = b->first;
    for (const struct conf_node *c = a->first; c; c = c->next, d = d->next)
        assert_same(c, d);
}

/* n: how many pieces the text has; 0: it is none for pieces. */
static void assert_pieces(const char *text, size_t n)
{
    struct arena tree;
    struct conf_errors e;
    arena_init(&tree, NULL, SIZE_MAX);
    conf_errors_init(&e, &tree, "t.yaml");
    struct conf_node *root = conf_lex(str_c(text), &tree, &e);
    if (!root || e.n)
        fail_msg("%s", conf_errors_print(&e));
    struct conf_pieces *p = conf_pieces_new(str_c(text), root, NULL);
    if (!p != !n)
        fail_msg("%s", text);
    size_t i = 0, at;
    if (p)
        conf_pieces_give(p, mem_str(str_c(text)));
    const struct conf_node *r = p ? conf_member(root, "routes")->first : NULL;
    for (; r; r = r->next, i++) {
        assert_same(r, conf_pieces_read(p, i, &tree, "t.yaml"));
        assert_same(r, conf_pieces_find(p, conf_member(r, "name")->text, &tree, "t.yaml", &at));
        assert_int_equal(at, i);
    }
    if (p) {
        assert_null(conf_pieces_find(p, STR("nobody"), &tree, "t.yaml", &at));
        assert_int_equal(conf_pieces_count(p), n);
    }
    assert_int_equal(i, n);
    conf_pieces_free(p);
    conf_errors_fini(&e);
    arena_fini(&tree);
}

static void pieces_are_as_the_whole(void **state)
{
    (void) state;
    assert_pieces("routes:\n- name: a\n  to: u\n- name: b\n  to: u\n", 2);
    assert_pieces("routes:\n  -   name: a\n      to: u\n  - {name: b,\n to: u}\nupstreams: {}\n",
                  2);
    assert_pieces("upstreams: {}\nroutes: # all\n\n  # one\n  - name: 'a b'\n    reply:\n"
                  "      body: |\n        text\n         more\n\n       \n  # two\n\n"
                  "  - to: \"x\n\n      y\"\n    name: \"q\\n\"\n    match:\n    - 1\n\n"
                  "# end\nlog: {}\n# - name: c\n",
                  2);
    assert_pieces("routes:\n  - name: a\n    to: plain text\n      that goes on\n"
                  "  - name: b\n    match: &m {path: /x}\n    other: *m",
                  2);
    assert_pieces(
        "routes:\n  - name: \xc3\xa9t\xc3\xa9\n    to: u # \xe2\x82\xac\n  - name: z\n...\n", 2);
}

static void other_texts_are_left_alone(void **state)
{
    (void) state;
    static const char *const texts[] = {
        "routes: [{name: a, to: u}]\n",
        "routes: [\n{name: a, to: u},\n{name: b, to: u}]\n",
        "{routes: [\n{name: a, to: u}\n]}\n",
        "routes:\n  - to: u\n",
        "routes:\n  - name: ~\n    to: u\n",
        "routes:\n  - name: a\n    routes:\n      - name: b\n        to: u\n",
        "routes:\n  -\n    name: a\n",
        "routes:\n  - # a\n    name: a\n  - name: b\n",
        "routes:\n  - name: a\r\n    to: u\n",
        "routes:\n  - name: a # \xe2\x80\xa8\n  - name: b\n",
        "x: &x {path: /a}\nroutes:\n  - name: a\n    match: *x\n",
        "x: &x {path: /a}\nroutes:\n  - name: a\n    match:\n      <<: *x\n",
        "routes:\n  - &a\n    name: a\n  - *a\n",
        "routes:\n  - &a {name: a}\n  - *a\n",
        "routes:\n  - name: a\n    match: &m {path: /}\n  - name: b\n    match: *m\n",
        "x: &x\n  routes:\n    - name: a\n  y: z\n<<: *x\n",
        "routes:\n  - - name: a\n",
        "routes:\n  - a\n",
        "routes:\n",
        "routes: []\n",
        "[]\n",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_pieces(texts[i], 0);
}

/* What a load leaves: names that it gave are in front, as in a whole tree. */
static void names_are_given(void **state)
{
    (void) state;
    const char *text = "upstreams: {u: [10.0.0.1:80]}\nroutes:\n  - match: /a\n    to: u\n"
                       "  - name: b\n    match: /b\n    to: u\n  - to: u\n    match: /a\n";
    struct conf_loaded *l = load_good(text);
    struct conf_tree *whole = tree_of(text);
    struct conf_walk a = {0}, b = {0};
    assert_non_null(l->sparse);
    conf_tree_give(l->sparse, mem_str(str_c(text)));
    for (int i = 0; i < 3; i++)
        assert_same(conf_walk_next(whole, &a, true), conf_walk_next(l->sparse, &b, true));
    assert_null(conf_walk_next(l->sparse, &b, true));
    assert_same(conf_tree_route(whole, STR("/a#2")), conf_tree_route(l->sparse, STR("/a#2")));
    assert_non_null(conf_tree_route(l->sparse, STR("/a")));
    conf_walk_fini(&b);
    conf_tree_unref(whole);
    conf_loaded_free(l);
}

static void many_are_found(void **state)
{
    (void) state;
    struct text t = {0};
    text_add(&t, STR("routes:\n"));
    for (unsigned i = 0; i < 1000; i++)
        text_addf(&t, "  - name: r%u\n    to: u\n%s", i, i % 3 ? "" : "\n");
    text_add(&t, str_of("", 1));
    assert_pieces(t.p, 1000);
    text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_as_the_whole),
        cmocka_unit_test(other_texts_are_left_alone),
        cmocka_unit_test(names_are_given),
        cmocka_unit_test(many_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
