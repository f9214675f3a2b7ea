/* SPDX-License-Identifier: Apache-2.0 */
/* changes: lists of what was changed on top of a file, what comes of them, and what is left of them
 * when the file changes too. */
#include "control/changes.h"

#include "control/control_test.h"

#define UPSTREAM "upstreams: {u: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, weight: 2}]}}\n"
#define FILE_TEXT                                                                                  \
    UPSTREAM "routes: [{name: a, match: /a, to: u}, {name: g, match: /g/*, routes: "               \
             "[{name: i, match: /g/i, to: u}]}]\n"

/* What a test works on: a file and the changes on top of it. */
struct top {
    struct conf_tree *base, *now;
    json_t *list;
};

static void apply(struct top *t, json_t *list)
{
    struct arena a;
    struct conf_errors e;
    unsigned line = 0;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, "t.yaml");
    if (list != t->list) {
        json_decref(t->list);
        t->list = list;
    }
    conf_tree_unref(t->now);
    t->now = changes_apply(list, t->base, &line, &e);
    assert_int_equal(e.n, 0);
    conf_errors_fini(&e);
    arena_fini(&a);
    assert_true(changes_valid(list));
}

static struct top begin(void)
{
    struct top t = {.base = tree_of(FILE_TEXT), .list = json_array()};
    apply(&t, t.list);
    return t;
}

static void end(struct top *t)
{
    conf_tree_unref(t->now);
    conf_tree_unref(t->base);
    json_decref(t->list);
}

static void set_route(struct top *t, const char *name, const char *within, const char *json)
{
    json_t *v = json_of(json);
    apply(t, changes_set_route(t->list, t->base, t->now, str_c(name), str_c(within), v));
    json_decref(v);
}

static void remove_route(struct top *t, const char *name)
{
    apply(t, changes_remove_route(t->list, t->base, t->now, str_c(name)));
}

/* json NULL: removed. */
static void set_endpoint(struct top *t, const char *address, const char *json)
{
    json_t *v = json ? json_of(json) : NULL;
    apply(t, changes_set_endpoint(t->list, t->base, STR("u"), str_c(address), v));
    json_decref(v);
}

static void weigh(struct top *t, const char *address, double weight)
{
    apply(t, changes_weigh(t->list, t->base, STR("u"), str_c(address), weight));
}

static void drain(struct top *t, const char *address, bool drained)
{
    apply(t, changes_drain(t->list, t->base, STR("u"), str_c(address), drained));
}

/* The list is that, but for "was". */
static void assert_list(const json_t *list, const char *expected)
{
    json_t *copy = json_deep_copy(list), *item;
    size_t i;
    json_array_foreach(copy, i, item) json_object_del(item, "was");
    assert_json(copy, expected);
    json_decref(copy);
}

static void routes_are_told_once(void **state)
{
    (void) state;
    struct top t = begin();
    set_route(&t, "n", "", "{'name':'n','match':'/n','to':'u'}");
    set_route(&t, "n", "", "{'name':'n','match':'/m','to':'u'}");
    assert_list(t.list, "[{'route':'n','set':{'name':'n','match':'/m','to':'u'}}]");
    assert_node(conf_tree_route(t.now, STR("n")), "{'name':'n','match':'/m','to':'u'}");
    remove_route(&t, "n");
    assert_list(t.list, "[]");
    /* What the file has is remembered as removed; put back as it was, nothing is left to say. */
    remove_route(&t, "a");
    assert_list(t.list, "[{'route':'a','removed':true}]");
    assert_null(conf_tree_route(t.now, STR("a")));
    set_route(&t, "a", "", "{'name':'a','match':'/a','to':'u'}");
    assert_list(t.list, "[]");
    end(&t);
}

static void changes_within_go_with_the_route_around_them(void **state)
{
    (void) state;
    struct top t = begin();
    set_route(&t, "j", "g", "{'name':'j','match':'/g/j','to':'u'}");
    assert_list(t.list, "[{'route':'j','set':{'name':'j','match':'/g/j','to':'u'},'within':'g'}]");
    set_route(&t, "j", "", "{'name':'j','match':'/g/k','to':'u'}"); /* its place is remembered */
    assert_list(t.list, "[{'route':'j','set':{'name':'j','match':'/g/k','to':'u'},'within':'g'}]");
    set_route(&t, "i", "", "{'name':'i','match':'/g/x','to':'u'}");
    remove_route(&t, "g");
    assert_list(t.list, "[{'route':'g','removed':true}]");
    assert_null(conf_tree_route(t.now, STR("i")));
    end(&t);
}

static void endpoints_have_one_item(void **state)
{
    (void) state;
    struct top t = begin();
    double w = 0;
    weigh(&t, "10.0.0.1:80", 5);
    drain(&t, "10.0.0.1:80", true);
    assert_list(t.list, "[{'upstream':'u','endpoint':'10.0.0.1:80','weight':5,'drained':true}]");
    assert_true(changes_drained(t.list, STR("u"), STR("10.0.0.1:80")));
    assert_true(changes_weight(t.list, STR("u"), STR("10.0.0.1:80"), &w) && w == 5);
    const struct conf_node *u = conf_tree_upstream(t.now, STR("u"));
    assert_node(conf_tree_endpoint(u, STR("10.0.0.1:80")), "{'address':'10.0.0.1:80','weight':0}");
    drain(&t, "10.0.0.1:80", false);
    u = conf_tree_upstream(t.now, STR("u"));
    assert_node(conf_tree_endpoint(u, STR("10.0.0.1:80")), "{'address':'10.0.0.1:80','weight':5}");
    weigh(&t, "10.0.0.1:80", -1);
    assert_list(t.list, "[]");
    assert_false(changes_weight(t.list, STR("u"), STR("10.0.0.1:80"), &w));
    set_endpoint(&t, "10.0.0.9:80", "{'address':'10.0.0.9:80','weight':4}");
    assert_true(changes_weight(t.list, STR("u"), STR("10.0.0.9:80"), &w) && w == 4);
    set_endpoint(&t, "10.0.0.9:80", NULL);
    assert_list(t.list, "[]");
    set_endpoint(&t, "10.0.0.2:80", NULL);
    assert_list(t.list, "[{'upstream':'u','endpoint':'10.0.0.2:80','removed':true}]");
    end(&t);
}

static void the_files_weight_is_no_change(void **state)
{
    (void) state;
    struct top t = begin();
    weigh(&t, "10.0.0.1:80", 1);
    weigh(&t, "10.0.0.2:80", 2);
    assert_list(t.list, "[]");
    weigh(&t, "10.0.0.2:80", 3);
    weigh(&t, "10.0.0.2:80", 2);
    assert_list(t.list, "[]");
    set_endpoint(&t, "10.0.0.2:80", "{'weight':2.0,'address':'10.0.0.2:80'}");
    assert_list(t.list, "[]");
    set_endpoint(&t, "10.0.0.2:80", "{'weight':2.5,'address':'10.0.0.2:80'}");
    assert_list(t.list, "[{'upstream':'u','endpoint':'10.0.0.2:80',"
                        "'set':{'weight':2.5,'address':'10.0.0.2:80'}}]");
    end(&t);
}

static void breakers_are_held_once(void **state)
{
    (void) state;
    struct top t = begin();
    apply(&t, changes_hold(t.list, STR("u"), STR("open")));
    apply(&t, changes_hold(t.list, STR("u"), STR("closed")));
    assert_list(t.list, "[{'upstream':'u','breaker':'closed'}]");
    apply(&t, changes_hold(t.list, STR("u"), STR("auto")));
    assert_list(t.list, "[]");
    end(&t);
}

static void words(void **state)
{
    (void) state;
    static const char *const table[][2] = {
        {"{'route':'r','set':{}}", "route \"r\": added"},
        {"{'route':'r','set':{},'was':'0'}", "route \"r\": replaced"},
        {"{'route':'r','removed':true,'was':'0'}", "route \"r\": removed"},
        {"{'upstream':'u','breaker':'open'}", "upstream \"u\": breaker held open"},
        {"{'upstream':'u','endpoint':'a:1','set':{},'weight':3,'drained':true}",
         "upstream \"u\", endpoint a:1: added, weight 3, drained"},
        {"{'upstream':'u','endpoint':'a:1','weight':0.5,'was':'0'}",
         "upstream \"u\", endpoint a:1: weight 0.5"},
        {"{'upstream':'u','endpoint':'a:1','drained':true,'was':'0'}",
         "upstream \"u\", endpoint a:1: drained"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        json_t *item = json_of(table[i][0]);
        char *said = changes_words(item);
        assert_string_equal(said, table[i][1]);
        mem_free(said);
        json_decref(item);
    }
}

static void forms(void **state)
{
    (void) state;
    static const char *const bad[] = {"{}",
                                      "[1]",
                                      "['x']",
                                      "[{}]",
                                      "[{'route':'r'}]",
                                      "[{'route':'r','set':1}]",
                                      "[{'route':'r','removed':false}]",
                                      "[{'route':'r','upstream':'u','set':{}}]",
                                      "[{'upstream':'u'}]",
                                      "[{'endpoint':'e'}]",
                                      "[{'upstream':'u','endpoint':'e','weight':'1'}]",
                                      "[{'upstream':'u','endpoint':'e','set':[]}]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *list = json_of(bad[i]);
        if (changes_valid(list))
            fail_msg("%s is taken", bad[i]);
        json_decref(list);
    }
}

/* What a new file makes of changes. keep: what is left; conflicts: how many of them it would
 * override. */
static void assert_rebased(const struct top *t, const char *file, size_t conflicts,
                           const char *keep, const char *discard)
{
    struct conf_tree *base = tree_of(file);
    size_t i, n = 0;
    const json_t *item;
    json_array_foreach(t->list, i, item) n += changes_conflicts(item, base);
    assert_int_equal(n, conflicts);
    json_t *kept = changes_rebase(t->list, base, true);
    json_t *rest = changes_rebase(t->list, base, false);
    assert_list(kept, keep);
    assert_list(rest, discard);
    json_array_foreach(kept, i, item) assert_false(changes_conflicts(item, base));
    json_decref(kept);
    json_decref(rest);
    conf_tree_unref(base);
}

static void a_new_file_under_routes(void **state)
{
    (void) state;
    struct top t = begin();
    const char *set = "[{'route':'a','set':{'name':'a','match':'/b','to':'u'}}]";
    set_route(&t, "a", "", "{'name':'a','match':'/b','to':'u'}");
    assert_rebased(&t, FILE_TEXT, 0, set, set);
    assert_rebased(&t, UPSTREAM "routes: [{name: a, match: /c, to: u}]\n", 1, set, "[]");
    assert_rebased(&t, UPSTREAM "routes: [{name: x, match: /c, to: u}]\n", 1, set, "[]");
    /* It says by now what was changed: nothing is overridden, and nothing is left on top. */
    assert_rebased(&t, UPSTREAM "routes: [{name: a, match: /b, to: u}]\n", 0, "[]", "[]");
    remove_route(&t, "a");
    assert_rebased(&t, UPSTREAM "routes: [{name: x, match: /c, to: u}]\n", 0, "[]", "[]");
    assert_rebased(&t, UPSTREAM "routes: [{name: a, match: /c, to: u}]\n", 1,
                   "[{'route':'a','removed':true}]", "[]");
    end(&t);
}

#define OTHER(endpoints) "upstreams: {u: {endpoints: [" endpoints "]}}\n"

static void a_new_file_under_endpoints(void **state)
{
    (void) state;
    struct top t = begin();
    set_endpoint(&t, "10.0.0.9:80", "{'address':'10.0.0.9:80'}");
    drain(&t, "10.0.0.9:80", true);
    /* The file has it now: that it is drained is said by nobody else. */
    assert_rebased(&t, OTHER("10.0.0.1:80, 10.0.0.9:80"), 1,
                   "[{'upstream':'u','endpoint':'10.0.0.9:80','drained':true}]", "[]");
    drain(&t, "10.0.0.9:80", false);
    assert_rebased(&t, OTHER("10.0.0.1:80, 10.0.0.9:80"), 0, "[]", "[]");
    set_endpoint(&t, "10.0.0.9:80", NULL);
    weigh(&t, "10.0.0.2:80", 7);
    assert_rebased(&t, OTHER("{address: 10.0.0.2:80, weight: 7}"), 0, "[]", "[]");
    assert_rebased(&t, OTHER("{address: 10.0.0.2:80, weight: 4}"), 1,
                   "[{'upstream':'u','endpoint':'10.0.0.2:80','weight':7}]", "[]");
    /* It is gone, and its weight with it: that is told, for nothing can be kept. */
    assert_rebased(&t, OTHER("10.0.0.1:80"), 1, "[]", "[]");
    set_endpoint(&t, "10.0.0.2:80", NULL);
    assert_rebased(&t, OTHER("10.0.0.1:80"), 0, "[]", "[]");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_told_once),
        cmocka_unit_test(changes_within_go_with_the_route_around_them),
        cmocka_unit_test(endpoints_have_one_item),
        cmocka_unit_test(the_files_weight_is_no_change),
        cmocka_unit_test(breakers_are_held_once),
        cmocka_unit_test(words),
        cmocka_unit_test(forms),
        cmocka_unit_test(a_new_file_under_routes),
        cmocka_unit_test(a_new_file_under_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
