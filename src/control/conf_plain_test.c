/* SPDX-License-Identifier: Apache-2.0 */
/* conf_plain: whatever it reads, libyaml reads without a word to the same tree at the same places;
 * the texts that large configurations are made of are read by it. */
#include "control/conf_plain.h"

#include "control/control_test.h"

static bool same_pos(struct schema_pos a, struct schema_pos b)
{
    return a.line == b.line && a.column == b.column && a.file == b.file;
}

static bool same(const struct conf_node *a, const struct conf_node *b)
{
    if (a->kind != b->kind || a->plain != b->plain || a->n != b->n || !same_pos(a->pos, b->pos) ||
        !same_pos(a->at_key, b->at_key) || !str_eq(a->key, b->key) || !str_eq(a->text, b->text))
        return false;
    const struct conf_node *d = b->first;
    for (const struct conf_node *c = a->first; c; c = c->next, d = d->next) {
        if (!same(c, d))
            return false;
    }
    return true;
}

/* Whether it read the text; then libyaml has to agree. */
static bool agrees(struct str text)
{
    struct arena tree;
    struct conf_errors e;
    arena_init(&tree, NULL, SIZE_MAX);
    conf_errors_init(&e, &tree, "t.yaml");
    const struct conf_node *one = conf_plain(text, &tree, e.file);
    const struct conf_node *other = one ? conf_lex_yaml(text, &tree, &e) : NULL;
    if (one && (!other || e.n || !same(one, other))) {
        fprintf(stderr, "%.*s\n", STR_ARG(text));
        fail_msg("read otherwise than libyaml reads it: %s", e.n ? e.v[0].text.p : "another tree");
    }
    conf_errors_fini(&e);
    arena_fini(&tree);
    return one != NULL;
}

static const char whole[] =
    "# a comment, then an empty line\n"
    "\n"
    "workers: 2   # how many\n"
    "listeners:\n"
    "  - address: 127.0.0.1:8080\n"
    "  - {address: \"[::1]:80\", tls: {certificates: [{cert: /a/b.pem, key: '/a/b.key'}]}}\n"
    "upstreams:\n"
    "  app:\n"
    "    endpoints: [127.0.0.1:9000, 127.0.0.1:9001]\n"
    "    pool: {max_idle: 1024}\n"
    "  empty: \n"
    "  \"quoted key\" :  \"two  words \"\n"
    "routes:\n"
    "- name: r1\n"
    "  match: {path: /r000001/*}\n"
    "  to: app\n"
    "-\n"
    "  match:\n"
    "    path: /x\n"
    "    methods: [GET, POST,]\n"
    "  reply: {status: 204, body: \"\"}\n"
    "- - in\n"
    "  - a: list # of lists\n"
    "    b: -1\n"
    "  -\n"
    "- a text alone\n"
    "- [\n"
    "    x,  # first\n"
    "\n"
    "    {k: v,\n"
    "     l: w}\n"
    "  ]\n"
    "last:\n"
    "  in the next line\n";

static const char *const read_here[] = {
    "a: b",
    "a:",
    "a:\nb:",
    "- a\n- b\n",
    "-",
    "a: {}\n",
    "a: []\n",
    "  a: b\n  c: d\n",
    "a: x#y http://h:80/p?q=1&r=[2]\n",
    "a: [http://h:80/p]\n",
    "a:\n- b\n- c:\n  - d\ne: f\n",
    "a: 'it is \"so\"'\n",
    "a: ~\n",
    "a: [b,\nc]\n",
    "# c\na: b\n# d\n",
    "text\n",
};

static const char *const not_here[] = {
    "",
    "# nothing\n",
    "a: &x b\n",
    "a: *x\n",
    "<<: {a: b}\n",
    "a: |\n  b\n",
    "a: \"b\\n\"\n",
    "a: 'it''s'\n",
    "a: b\n  c\n",
    "a: b: c\n",
    "a: b\na: c\n",
    "\ta: b\n",
    "a: b\r\n",
    "a: \xc3\xa4\n",
    "---\na: b\n",
    "a: b\n...\n",
    "? a\n: b\n",
    "a: !x b\n",
    "a: [b: c]\n",
    "a: [b\n c]\n",
    "a: {b}\n",
    "a: \"b\"#c\n",
    "a:\n    b: c\n  d: e\n",
    "a: [b\n",
    "- a\nb: c\n",
};

static void reads_what_is_plain(void **state)
{
    (void) state;
    assert_true(agrees(str_c(whole)));
    for (size_t i = 0; i < sizeof read_here / sizeof read_here[0]; i++) {
        if (!agrees(str_c(read_here[i])))
            fail_msg("not read: %s", read_here[i]);
    }
    for (size_t i = 0; i < sizeof not_here / sizeof not_here[0]; i++) {
        if (agrees(str_c(not_here[i])))
            fail_msg("read: %s", not_here[i]);
    }
}

static void many_keys_are_unique(void **state)
{
    (void) state;
    struct text t = {0};
    for (int i = 0; i < 100; i++)
        text_addf(&t, "k%d: v\n", i);
    assert_true(agrees(text_str(&t)));
    text_add(&t, STR("k50: v\n"));
    assert_false(agrees(text_str(&t)));
    text_fini(&t);
}

static void depth_is_bounded(void **state)
{
    (void) state;
    for (size_t n = CONF_DEPTH_MAX - 2; n < CONF_DEPTH_MAX + 3; n++) {
        struct text block = {0}, flow = {0};
        for (size_t i = 0; i < n; i++) {
            text_add(&block, STR("- "));
            text_add(&flow, STR("["));
        }
        text_add(&block, STR("x\n"));
        for (size_t i = 0; i < n; i++)
            text_add(&flow, STR("]"));
        assert_int_equal(agrees(text_str(&block)), n <= CONF_DEPTH_MAX);
        assert_int_equal(agrees(text_str(&flow)), n <= CONF_DEPTH_MAX + 1);
        text_fini(&block);
        text_fini(&flow);
    }
}

/* Each byte of text left out, replaced, and with another one before it. */
static void mutate(struct str text, unsigned *read, unsigned *left)
{
    static const char bytes[] = " \n:-#,?[]{}\"'.a%&*!|>@`~\\\t";
    char *copy = mem_new(text.n + 1);
    for (size_t at = 0; at < text.n; at++) {
        for (size_t i = 0; i < 2 * sizeof bytes - 1; i++) {
            bool insert = i >= sizeof bytes, drop = i == sizeof bytes - 1;
            size_t behind = at + !insert, n = at;
            memcpy(copy, text.p, at);
            if (!drop)
                copy[n++] = bytes[i % sizeof bytes];
            memcpy(copy + n, text.p + behind, text.n - behind);
            ++*(agrees(str_of(copy, n + text.n - behind)) ? read : left);
        }
    }
    mem_free(copy);
}

static void agrees_on_what_is_nearly_so(void **state)
{
    (void) state;
    unsigned read = 0, left = 0;
    mutate(str_c(whole), &read, &left);
    for (size_t i = 0; i < sizeof read_here / sizeof read_here[0]; i++)
        mutate(str_c(read_here[i]), &read, &left);
    for (size_t i = 0; i < sizeof not_here / sizeof not_here[0]; i++)
        mutate(str_c(not_here[i]), &read, &left);
    assert_true(read > 10000 && left > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_plain),
        cmocka_unit_test(many_keys_are_unique),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(agrees_on_what_is_nearly_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
