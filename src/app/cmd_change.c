/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_change.c: weir reload, plan, history, rollback: the configuration as a whole. plan compares
 * here; the others ask the running Weir. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "base/mem.h"
#include "control/change.h"
#include "control/conf_load.h"
#include "control/conf_node.h"
#include "features/registry.h"

struct options {
    struct admin_options admin; /* first */
    const char *changes;
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
        o->changes = c == 'k' ? "keep" : "discard";
    }
    return true;
}

/* ---- reload, rollback, history ------------------------------------------------------------- */

static void show_changes(const json_t *v)
{
    const char *words = json_string_value(json_object_get(v, "words"));
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

int cmd_reload(int argc, char **argv)
{
    struct options o = {.changes = "ask"};
    if (!read_options(argc, argv, &o))
        return 2;
    if (optind < argc)
        return usage("weir reload: unexpected argument", "weir reload [--keep | --discard]");
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
        return usage("weir history: unexpected argument", "weir history");
    return ask_and_show(&o, "GET", "/v1/history", show_history);
}

/* ---- plan ---------------------------------------------------------------------------------- */

static void print_plan(const struct conf_loaded *old, const struct conf_loaded *now, bool json)
{
    struct arena a;
    struct change_list l;
    struct text t = {0};
    arena_init(&a, NULL, SIZE_MAX);
    change_list_init(&l, &a);
    conf_diff(old->file, now->file, &feature_registry, &l);
    if (json)
        change_list_json(&l, &t);
    else if (l.n == 0)
        text_add(&t, STR("nothing differs\n"));
    else
        change_list_text(&l, 0, &t);
    if (json)
        text_add(&t, STR("\n"));
    fwrite(t.p, 1, t.n, stdout);
    text_fini(&t);
    arena_fini(&a);
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
    struct conf_loaded *old = NULL;
    struct conf_loaded *now = conf_load_file(argv[argc - 1], &feature_registry, &errors);
    if (now && n == 2)
        old = conf_load_file(argv[optind], &feature_registry, &errors);
    else if (now)
        old = load_running(&o, &errors);
    if (old)
        print_plan(old, now, o.admin.json);
    if (errors)
        fputs(errors, stderr);
    int status = old ? 0 : 1;
    mem_free(errors);
    conf_loaded_free(old);
    conf_loaded_free(now);
    return status;
}
