/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_change.c: weir reload, plan, history, rollback: the configuration as a whole. plan compares
 * here; the others ask the running Weir. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "base/file_io.h"
#include "base/mem.h"
#include "control/change.h"
#include "control/changes.h"
#include "control/conf_load.h"
#include "control/conf_node.h"
#include "features/registry.h"

struct options {
    struct admin_options admin; /* first */
    const char *changes;        /* of reload; else NULL */
};

/* ---- asking -------------------------------------------------------------------------------- */

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        ADMIN_OPTIONS,
        {"json", no_argument, NULL, 'j'},
        {"keep", no_argument, NULL, 'k'},
        {"discard", no_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (admin_option(&o->admin, c, optarg))
            continue;
        if (c == '?') /* getopt has said why */
            return false;
        const char *changes = c == 'k' ? "keep" : "discard";
        if (!o->changes || (strcmp(o->changes, "ask") != 0 && strcmp(o->changes, changes) != 0)) {
            fprintf(stderr, "%s: --%s %s\n", argv[0], changes,
                    o->changes ? "is the opposite of the other option"
                               : "is an option of weir reload alone");
            return false;
        }
        o->changes = changes;
    }
    return true;
}

/* ---- reload, rollback, history ------------------------------------------------------------- */

static void show_changes(const json_t *v)
{
    const char *words = json_string_value(json_object_get(v, "words"));
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(v, "warnings"), i, one)
        fprintf(stderr, "%s\n", json_string_value(one));
    fputs(words && words[0] ? words : "nothing differs\n", stdout);
    printf("in use: generation %lld\n",
           (long long) json_integer_value(json_object_get(v, "generation")));
}

static void show_history(const json_t *v)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(v, "configurations"), i, one)
    {
        const char *time = json_string_value(json_object_get(one, "time"));
        const char *origin = json_string_value(json_object_get(one, "origin"));
        printf("%3zu  %s  %-8s%s\n", i, time ? time : "", origin ? origin : "",
               i == 0 ? "  in use" : "");
    }
}

static int ask_and_show(const struct options *o, const char *method, const char *path,
                        void (*show)(const json_t *v))
{
    struct text out = {0};
    char *why = NULL;
    bool good = admin_ask(&o->admin, method, path, STR(""), &out);
    json_t *v = good && !o->admin.json ? conf_json_parse(text_str(&out), &why) : NULL;
    if (v)
        show(v);
    else if (good)
        fwrite(out.p, 1, out.n, stdout);
    json_decref(v);
    mem_free(why);
    text_fini(&out);
    return good ? 0 : 1;
}

static int usage(const char *said, const char *how)
{
    fprintf(stderr, "%s; usage: %s\n", said, how);
    return 2;
}

/* A command that takes no word was given one. */
static int unexpected(const char *name, const char *word, const char *how)
{
    fprintf(stderr, "%s: unexpected argument '%s'; usage: %s\n", name, word, how);
    return 2;
}

int cmd_reload(int argc, char **argv)
{
    struct options o = {.changes = "ask"};
    if (!read_options(argc, argv, &o))
        return 2;
    if (optind < argc)
        return unexpected(argv[0], argv[optind], "weir reload [--keep | --discard]");
    char *path = mem_printf("/v1/reload?changes=%s", o.changes);
    int status = ask_and_show(&o, "POST", path, show_changes);
    mem_free(path);
    return status;
}

int cmd_rollback(int argc, char **argv)
{
    struct options o = {0};
    if (!read_options(argc, argv, &o))
        return 2;
    char *end = NULL;
    long back = optind < argc ? strtol(argv[optind], &end, 10) : 1;
    if (optind + 1 < argc || (end && *end) || back < 1 || back > 1000)
        return usage("weir rollback: N is how many configurations to go back, from 1",
                     "weir rollback [N]");
    char *path = mem_printf("/v1/rollback?back=%ld", back);
    int status = ask_and_show(&o, "POST", path, show_changes);
    if (status == 0 && !o.admin.json)
        fputs("the file is as it was: the next reload or start reads it again\n", stderr);
    mem_free(path);
    return status;
}

int cmd_history(int argc, char **argv)
{
    struct options o = {0};
    if (!read_options(argc, argv, &o))
        return 2;
    if (optind < argc)
        return unexpected(argv[0], argv[optind], "weir history");
    return ask_and_show(&o, "GET", "/v1/history", show_history);
}

/* ---- plan ---------------------------------------------------------------------------------- */

/* What becomes of a change made at run time: as JSON has it, and in words. */
struct fate {
    const char *name, *words;
};

static const struct fate asked = {
    "asked", "the file says otherwise; weir reload asks for --keep or --discard"};
static const struct fate said = {"said", "the file says the same by now"};
static const struct fate kept = {"kept", "stays in force"};

/* When that file is loaded. */
static const struct fate *fate_of(const json_t *item, const struct conf_tree *file)
{
    json_t *one = json_array(), *left;
    json_array_append(one, (json_t *) (uintptr_t) item);
    left = changes_rebase(one, file, true);
    bool same = json_array_size(left) == 0;
    json_decref(left);
    json_decref(one);
    return changes_conflicts(item, file) ? &asked : same ? &said : &kept;
}

/* Appends to out what the file does to the changes: words, or a JSON array. */
static void plan_run_time(const json_t *changes, const struct conf_tree *file, bool json,
                          struct text *out)
{
    size_t i;
    const json_t *c;
    json_array_foreach(changes, i, c)
    {
        const char *words = json_string_value(json_object_get(c, "words"));
        const struct fate *f = fate_of(json_object_get(c, "change"), file);
        if (json) {
            text_add(out, i ? STR(",{\"words\":") : STR("{\"words\":"));
            text_add_json(out, str_c(words));
            text_addf(out, ",\"becomes\":\"%s\"}", f->name);
        } else {
            text_addf(out, "changed at run time: %s: %s\n", words, f->words);
        }
    }
}

/* changes: those of what runs, with file's tree; NULL: two files are compared. */
static void print_plan(const struct conf_loaded *old, struct conf_loaded *now,
                       const json_t *changes, const struct conf_tree *file, bool json)
{
    struct arena a;
    struct change_list l;
    struct text t = {0};
    char *warnings = conf_warnings_print(&now->errors, SIZE_MAX);
    arena_init(&a, NULL, SIZE_MAX);
    change_list_init(&l, &a);
    conf_diff(old->file, now->file, &feature_registry, &l);
    if (json) {
        text_add(&t, STR("{\"changes\":"));
        change_list_json(&l, &t);
        text_add(&t, STR(",\"run_time\":["));
    } else if (l.n == 0) {
        text_add(&t, STR("nothing differs\n"));
    } else {
        change_list_text(&l, 0, &t);
    }
    plan_run_time(changes, file, json, &t);
    if (json) {
        text_add(&t, STR("],\"warnings\":"));
        text_add_json_lines(&t, str_c(warnings ? warnings : ""));
        text_add(&t, STR("}\n"));
    } else if (warnings) {
        fputs(warnings, stderr);
    }
    fwrite(t.p, 1, t.n, stdout);
    text_fini(&t);
    mem_free(warnings);
    arena_fini(&a);
}

/* The changes made at run time, as GET /v1/changes has them. NULL: said why. */
static json_t *ask_changes(const struct options *o)
{
    struct text out = {0};
    char *why = NULL;
    json_t *v = admin_ask(&o->admin, "GET", "/v1/changes", STR(""), &out)
                    ? conf_json_parse(text_str(&out), &why)
                    : NULL;
    json_t *changes = json_incref(json_object_get(v, "changes"));
    json_decref(v);
    mem_free(why);
    text_fini(&out);
    return changes;
}

/* The file as a tree. NULL: it went away meanwhile. */
static struct conf_tree *tree_of(const char *path)
{
    size_t n;
    char *why = NULL, *text = file_read(path, CONF_TEXT_MAX, &n, &why);
    struct conf_tree *t = text ? conf_tree_new(str_of(text, n), path, &feature_registry) : NULL;
    mem_free(why);
    mem_free(text);
    return t;
}

/* What runs, as its text says. NULL: said why. */
static struct conf_loaded *load_running(const struct options *o, char **errors)
{
    struct text out = {0};
    struct conf_loaded *l = NULL;
    if (admin_ask(&o->admin, "GET", "/v1/config?as=text", STR(""), &out))
        l = conf_load_text(text_str(&out), "(running)", &feature_registry, errors);
    text_fini(&out);
    return l;
}

int cmd_plan(int argc, char **argv)
{
    struct options o = {0};
    char *errors = NULL;
    if (!read_options(argc, argv, &o))
        return 2;
    int n = argc - optind;
    if (n < 1 || n > 2)
        return usage(n < 1 ? "weir plan: FILE is missing" : "weir plan: one or two files",
                     "weir plan [OLD] FILE");
    if (!o.admin.config)
        o.admin.config = argv[argc - 1];
    const char *path = argv[argc - 1];
    struct conf_loaded *old = NULL;
    struct conf_loaded *now = conf_load_file(path, &feature_registry, &errors);
    struct conf_tree *tree = NULL;
    json_t *changes = NULL;
    if (now && n == 2)
        old = conf_load_file(argv[optind], &feature_registry, &errors);
    else if (now && (old = load_running(&o, &errors)) && (tree = tree_of(path)))
        changes = ask_changes(&o);
    bool good = old && (n == 2 || changes);
    if (good)
        print_plan(old, now, changes, tree, o.admin.json);
    if (errors)
        fputs(errors, stderr);
    mem_free(errors);
    json_decref(changes);
    conf_tree_unref(tree);
    conf_loaded_free(old);
    conf_loaded_free(now);
    return good ? 0 : 1;
}
