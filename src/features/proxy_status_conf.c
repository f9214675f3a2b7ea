/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the proxy_status feature. */
#include "features/proxy_status.h"

#include "http/field.h"

static const struct schema_field rows[] = {
    {.name = "enabled",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct proxy_status_conf, enabled),
     .def = "false",
     .reloadable = true,
     .since = "0.1",
     .doc = "Send Proxy-Status (RFC 9209) on answers that Weir makes because something failed.",
     .example = "true"},
    {.name = "name",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct proxy_status_conf, name),
     .def = "weir",
     .reloadable = true,
     .since = "0.1",
     .doc = "What this proxy calls itself there.",
     .example = "edge-1"},
    {.name = "details",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct proxy_status_conf, details),
     .def = "true",
     .reloadable = true,
     .since = "0.1",
     .doc = "Add the reason code as details.",
     .example = "false"},
};

/* The name is written as a token (RFC 9651 3.3.4): a letter or '*' first. */
static void check(const void *object, void (*say)(void *arg, const char *field, const char *text),
                  void *arg)
{
    const struct proxy_status_conf *conf = object;
    char first = conf->name.n ? str_lower(conf->name.p[0]) : '0';
    if (!field_name_valid(conf->name) || ((first < 'a' || first > 'z') && first != '*'))
        say(arg, "name", "begins with a letter and holds letters, digits and -._ only");
}

const struct schema_table proxy_status_schema = {
    .name = "proxy_status",
    .doc = "Whether clients are told why Weir answered in place of the upstream.",
    .size = sizeof(struct proxy_status_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .check = check,
    .short_form = "enabled",
};
