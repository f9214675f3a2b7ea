/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_check.c: weir check: everything that is wrong with a configuration, and its tests. */
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

static void print_counts(const char *path, const struct conf_file *file, const struct snapshot *s)
{
    printf("%s: good: %u listener%s, %u upstream%s, %u route%s", path, s->n_listeners,
           s->n_listeners == 1 ? "" : "s", s->n_upstreams, s->n_upstreams == 1 ? "" : "s",
           s->n_routes, s->n_routes == 1 ? "" : "s");
    if (file->tests.n)
        printf(", %zu test%s passed", file->tests.n, file->tests.n == 1 ? "" : "s");
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
    if (t)
        print_counts(argv[1], l->file, conf_trial_snapshot(t));
    else
        status = refused(errors);
    conf_trial_free(t);
    conf_loaded_free(l);
    return status;
}
