/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run.c: weir run. */
#include <getopt.h>
#include <stdio.h>

#include "app/commands.h"
#include "app/serve.h"

static bool read_options(int argc, char **argv, struct serve_options *o)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"pid-file", required_argument, NULL, 'p'},
        {"user", required_argument, NULL, 'u'},
        {"pin", no_argument, NULL, 'P'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:", known, NULL)) >= 0) {
        switch (c) {
        case 'c':
            if (o->source.path) {
                fputs("weir run: --config is given twice; one file says all\n", stderr);
                return false;
            }
            o->source.path = optarg;
            break;
        case 'p':
            o->pid_file = optarg;
            break;
        case 'u':
            o->user = optarg;
            break;
        case 'P':
            o->pin = true;
            break;
        default: /* getopt has said why */
            return false;
        }
    }
    if (!o->source.path || optind < argc) {
        fprintf(stderr, "weir run: %s%s; usage: weir run --config FILE\n",
                o->source.path ? "unexpected argument " : "--config is missing",
                o->source.path ? argv[optind] : "");
        return false;
    }
    return true;
}

int cmd_run(int argc, char **argv)
{
    struct serve_options o = {0};
    return read_options(argc, argv, &o) ? serve(&o) : 2;
}
