/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_schema.c: weir schema: the pages that are printed from the tables. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "control/conf_docs.h"
#include "features/registry.h"

static void faults(FILE *out, const struct feature_set *features)
{
    (void) features;
    docs_faults(out);
}

static void steps(FILE *out, const struct feature_set *features)
{
    (void) features;
    docs_steps(out);
}

static const struct {
    const char *name;
    void (*print)(FILE *out, const struct feature_set *features);
} formats[] = {
    {"json", docs_json}, {"markdown", docs_markdown}, {"example", docs_example}, {"faults", faults},
    {"steps", steps},    {"hooks", docs_hooks},
};

static int print_format(const char *name)
{
    for (size_t i = 0; i < SCHEMA_COUNT(formats); i++) {
        if (strcmp(formats[i].name, name) != 0)
            continue;
        formats[i].print(stdout, &feature_registry);
        return 0;
    }
    fprintf(stderr, "weir schema: no format '%s'; there are", name);
    for (size_t i = 0; i < SCHEMA_COUNT(formats); i++)
        fprintf(stderr, "%s %s", i ? "," : "", formats[i].name);
    fputs("\n", stderr);
    return 2;
}

int cmd_schema(int argc, char **argv)
{
    static const struct option known[] = {{"format", required_argument, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    const char *format = "json";
    int c;
    while ((c = getopt_long(argc, argv, "f:", known, NULL)) >= 0) {
        if (c != 'f')
            return 2; /* getopt has said why */
        format = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, "weir schema: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    return print_format(format);
}
