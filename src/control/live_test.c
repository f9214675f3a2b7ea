/* SPDX-License-Identifier: Apache-2.0 */
/* live: changes and loads are all or nothing: judged, built, kept on disk, and only then in use. */
#include "control/live.h"

#include <dirent.h>
#include <unistd.h>

#include "control/control_test.h"
#include "control/state_file.h"

#define UPSTREAM "upstreams: {u: {endpoints: [10.0.0.1:80], breaker: on}}\n"
#define FILE_TEXT UPSTREAM "routes: [{name: a, match: /a, to: u}]\n"
#define OTHER_TEXT UPSTREAM "routes: [{name: a, match: /other, to: u}]\n"
#define ROUTE(match) "[{'route':'a','set':{'name':'a','match':'" match "','to':'u'},'was':'%s'}]"

/* An engine that only counts. */
struct engine {
    unsigned prepared, used, dropped;
    bool refuses;
    char words[64], held[64];
};

static void *prepare(void *arg, struct conf_loaded *l, char **why)
{
    struct engine *e = arg;
    if (e->refuses) {
        conf_loaded_free(l);
        *why = mem_printf("no");
        return NULL;
    }
    e->prepared++;
    return l;
}

static void use(void *arg, void *prepared, const char *words)
{
    struct engine *e = arg;
    snprintf(e->words, sizeof e->words, "%s", words);
    e->used++;
    conf_loaded_free(prepared);
}

static void drop(void *arg, void *prepared)
{
    struct engine *e = arg;
    e->dropped++;
    conf_loaded_free(prepared);
}

static bool hold(void *arg, struct str upstream, struct str state)
{
    struct engine *e = arg;
    snprintf(e->held, sizeof e->held, "%.*s %.*s", STR_ARG(upstream), STR_ARG(state));
    return true;
}

static const struct live_ops ops = {.prepare = prepare, .use = use, .drop = drop, .hold = hold};

/* What a test works on. */
struct fixture {
    struct engine engine;
    struct live live;
    char dir[64];
};

static bool load_text(struct fixture *f, const char *text, enum live_mode mode, char **why)
{
    struct live_next next = {.text = mem_str(str_c(text)), .name = mem_strdup(STR("t.yaml"))};
    struct conf_loaded *l = load_good(text);
    bool good = live_load(&f->live, &next, mode, &l, why);
    if (good && live_store(&f->live, &next, NULL, why) == LIVE_DONE)
        live_adopt(&f->live, &next);
    conf_loaded_free(l);
    return good;
}

/* Serves FILE_TEXT with what the directory holds, like a process that starts. */
static void start(struct fixture *f, const char *text)
{
    char *why = NULL;
    live_init(&f->live, &test_set, &ops, &f->engine);
    live_open(&f->live, str_c(f->dir), NULL);
    assert_true(load_text(f, text, LIVE_START, &why));
    assert_null(why);
}

static int begin(void **state)
{
    struct fixture *f = mem_new(sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/weir-live-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    start(f, FILE_TEXT);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    live_fini(&f->live);
    DIR *d = opendir(f->dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = mem_printf("%s/%s", f->dir, e->d_name);
        (void) unlink(path);
        mem_free(path);
    }
    closedir(d);
    int bad = rmdir(f->dir);
    mem_free(f);
    return bad;
}

/* What a process that starts now would find. */
static void assert_kept(const struct fixture *f, const char *json)
{
    char *why = NULL;
    json_t *list = state_file_read(str_c(f->dir), &why);
    assert_null(why);
    assert_json(list, json);
    json_decref(list);
}

/* ROUTE(match) as made on the file in use. */
static char *route_json(struct fixture *f, const char *format)
{
    char was[20];
    const struct conf_node *n = conf_tree_route(live_base(&f->live), STR("a"));
    snprintf(was, sizeof was, "%016llx", (unsigned long long) conf_node_hash(n));
    char *ends = strstr(format, "%s");
    return mem_printf("%.*s%s%s", (int) (ends - format), format, was, ends + 2);
}

static enum live_result change(struct fixture *f, const char *json, struct live_report *r)
{
    struct live_order order = {json_of(json), "words", NULL};
    return live_change(&f->live, &order, r);
}

static void change_route(struct fixture *f, const char *format)
{
    struct live_report r;
    char *json = route_json(f, format);
    assert_int_equal(change(f, json, &r), LIVE_DONE);
    assert_kept(f, json);
    live_report_fini(&r);
    mem_free(json);
}

static struct conf_node *now(struct fixture *f, const char *name)
{
    return conf_tree_route(live_now(&f->live), str_c(name));
}

static void a_change_is_in_force_and_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t number = f->live.number;
    change_route(f, ROUTE("/b"));
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    assert_node(conf_tree_route(live_base(&f->live), STR("a")),
                "{'name':'a','match':'/a','to':'u'}");
    assert_int_equal(f->engine.used, 1);
    assert_string_equal(f->engine.words, "words");
    assert_true(f->live.number > number);
}

/* One that cannot be leaves everything as it was, whichever step says no. */
static void a_change_that_is_refused(void **state)
{
    struct fixture *f = *state;
    struct live_report r;
    change_route(f, ROUTE("/b"));
    char *kept = route_json(f, ROUTE("/b"));
    assert_int_equal(change(f, "[{'route':'n','set':{'name':'n','to':'nobody'}}]", &r),
                     LIVE_INVALID);
    assert_int_equal(r.loaded->errors.n, 1);
    assert_non_null(conf_tree_route(r.tree, STR("n")));
    live_report_fini(&r);
    assert_int_equal(change(f,
                            "[{'route':'n','set':{'name':'n','match':'/n','to':'u'},"
                            "'within':'gone'}]",
                            &r),
                     LIVE_INVALID);
    live_report_fini(&r);
    f->engine.refuses = true;
    assert_int_equal(change(f, "[]", &r), LIVE_REFUSED);
    assert_string_equal(r.why, "no");
    live_report_fini(&r);
    f->engine.refuses = false;
    struct str dir = f->live.dir;
    f->live.dir = STR("/nonexistent");
    assert_int_equal(change(f, "[]", &r), LIVE_DISK);
    assert_non_null(strstr(r.why, "/nonexistent"));
    live_report_fini(&r);
    f->live.dir = dir;
    assert_int_equal(f->engine.used, 1);
    assert_int_equal(f->engine.dropped, 1);
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    assert_json(f->live.list, kept);
    assert_kept(f, kept);
    mem_free(kept);
}

static void a_new_start_has_the_changes(void **state)
{
    struct fixture *f = *state;
    change_route(f, ROUTE("/b"));
    live_fini(&f->live);
    start(f, FILE_TEXT);
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    live_fini(&f->live);
    start(f, OTHER_TEXT); /* the file was changed meanwhile: who was acknowledged still counts */
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
}

static void a_load_asks_keeps_or_discards(void **state)
{
    struct fixture *f = *state;
    char *why = NULL;
    change_route(f, ROUTE("/b"));
    assert_false(load_text(f, OTHER_TEXT, LIVE_ASK, &why));
    assert_non_null(strstr(why, "route \"a\": replaced\n"));
    assert_non_null(strstr(why, "--keep"));
    mem_free(why);
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    why = NULL;
    assert_true(load_text(f, FILE_TEXT, LIVE_ASK, &why)); /* says of it what it said */
    assert_true(load_text(f, OTHER_TEXT, LIVE_KEEP, &why));
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    assert_true(load_text(f, OTHER_TEXT, LIVE_ASK, &why)); /* kept once, kept since */
    assert_true(load_text(f, FILE_TEXT, LIVE_DISCARD, &why));
    assert_node(now(f, "a"), "{'name':'a','match':'/a','to':'u'}");
    assert_kept(f, "[]");
    assert_null(why);
}

/* A file that has come to say what was changed overrides nothing. */
static void a_file_that_agrees(void **state)
{
    struct fixture *f = *state;
    char *why = NULL;
    change_route(f, ROUTE("/other"));
    assert_true(load_text(f, OTHER_TEXT, LIVE_ASK, &why));
    assert_null(why);
    assert_kept(f, "[]");
    assert_node(now(f, "a"), "{'name':'a','match':'/other','to':'u'}");
}

/* Changes that do not fit to the file: a reload is refused, a start goes on without them. */
static void changes_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    char *why = NULL;
    const char *none = "upstreams: {v: 10.0.0.1:80}\nroutes: [{name: x, match: /x, to: v}]\n";
    change_route(f, ROUTE("/b"));
    assert_false(load_text(f, none, LIVE_KEEP, &why));
    assert_non_null(strstr(why, "\n/routes/1/to: unknown upstream \"u\""));
    mem_free(why);
    assert_node(now(f, "a"), "{'name':'a','match':'/b','to':'u'}");
    live_fini(&f->live);
    start(f, none);
    assert_null(now(f, "a"));
    assert_non_null(now(f, "x"));
    assert_kept(f, "[]"); /* it was moved aside */
}

static void breakers_follow_the_list(void **state)
{
    struct fixture *f = *state;
    struct live_report r;
    char *why = NULL;
    assert_int_equal(change(f, "[{'upstream':'u','breaker':'open'}]", &r), LIVE_DONE);
    assert_string_equal(f->engine.held, "u open");
    f->engine.held[0] = '\0';
    assert_true(load_text(f, OTHER_TEXT, LIVE_KEEP, &why)); /* a new one of its name is held, too */
    assert_string_equal(f->engine.held, "u open");
    assert_int_equal(change(f, "[]", &r), LIVE_DONE);
    assert_string_equal(f->engine.held, "u auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_is_in_force_and_kept, begin, end),
        cmocka_unit_test_setup_teardown(a_change_that_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_new_start_has_the_changes, begin, end),
        cmocka_unit_test_setup_teardown(a_load_asks_keeps_or_discards, begin, end),
        cmocka_unit_test_setup_teardown(a_file_that_agrees, begin, end),
        cmocka_unit_test_setup_teardown(changes_that_do_not_fit, begin, end),
        cmocka_unit_test_setup_teardown(breakers_follow_the_list, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
