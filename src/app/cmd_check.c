/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_check.c: weir check: everything that is wrong with a configuration or hardly meant, and its
 * tests. */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "base/mem.h"
#include "control/conf_load.h"
#include "features/registry.h"

static int refused(char *errors)
{
    fputs(errors, stderr);
    mem_free(errors);
    return 1;
}

/* Of a good file: they do not make it a bad one. */
static void print_warnings(struct conf_errors *e)
{
    char *text = conf_warnings_print(e, SIZE_MAX);
    if (text)
        fputs(text, stderr);
    mem_free(text);
}

static void print_counts(const char *path, const struct conf_loaded *l, const struct snapshot *s)
{
    size_t tests = l->file->tests.n, warnings = conf_warnings(&l->errors);
    printf("%s: good: %u listener%s, %u upstream%s, %u route%s", path, s->n_listeners,
           s->n_listeners == 1 ? "" : "s", s->n_upstreams, s->n_upstreams == 1 ? "" : "s",
           s->n_routes, s->n_routes == 1 ? "" : "s");
    if (tests)
        printf(", %zu test%s passed", tests, tests == 1 ? "" : "s");
    if (warnings)
        printf(", %zu warning%s", warnings, warnings == 1 ? "" : "s");
    putchar('\n');
}

int cmd_check(int argc, char **argv)
{
    char *errors = NULL;
    if (argc != 2 || (argv[1][0] == '-' && argv[1][1])) {
        fprintf(stderr, "weir check: %s; usage: weir check FILE\n",
                argc < 2 ? "FILE is missing" : "one FILE is expected");
        return 2;
    }
    struct conf_loaded *l = conf_load_file(argv[1], &feature_registry, &errors);
    if (!l)
        return refused(errors);
    struct conf_trial *t = conf_trial_new(l, &errors);
    int status = 0;
    if (t) {
        print_warnings(&l->errors);
        print_counts(argv[1], l, conf_trial_snapshot(t));
    } else {
        status = refused(errors);
    }
    conf_trial_free(t);
    conf_loaded_free(l);
    return status;
}
