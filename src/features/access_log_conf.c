/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the access log. */
#include "features/access_log.h"

static const char *const formats[] = {"json", NULL};

static const struct schema_field rows[] = {
    {.name = "path",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct access_log_conf, path),
     .def = "off",
     .reloadable = false,
     .since = "0.1",
     .doc = "Where lines go: a file (SIGUSR1 opens it anew), stdout, or off.",
     .example = "/var/log/weir/access.log"},
    {.name = "format",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct access_log_conf, format),
     .def = "json",
     .choices = formats,
     .reloadable = true,
     .since = "0.1",
     .doc = "How lines are written: json, one object a line.",
     .example = "json"},
    {.name = "query",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct access_log_conf, query),
     .def = "true",
     .reloadable = true,
     .since = "0.1",
     .doc = "Log the query too; false where queries carry secrets.",
     .example = "false"},
};

/* A word that is meant to switch the log, or stdout with an error in it: not the name of a file in
 * the directory of the start. */
static bool is_switch(struct str path)
{
    static const char *const words[] = {"true", "false", "yes",  "no",    "on",
                                        "off",  "none",  "null", "stderr"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (str_ieq(path, str_c(words[i])))
            return !str_eq(path, STR("off"));
    }
    return !str_eq(path, STR("stdout")) && str_distance(path, STR("stdout"), 2) <= 2;
}

static void check(const void *object, void (*say)(void *arg, const char *field, const char *text),
                  void *arg)
{
    const struct access_log_conf *conf = object;
    if (conf->path.n == 0)
        say(arg, "path", "access_log.path is empty; give a file, stdout or off");
    else if (is_switch(conf->path))
        say(arg, "path",
            "access_log.path is stdout, off, or a file; one of this name is written ./name");
}

const struct schema_table access_log_schema = {
    .name = "access_log",
    .doc = "One line for each request that was answered or given up.",
    .size = sizeof(struct access_log_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .check = check,
    .short_form = "path",
};
