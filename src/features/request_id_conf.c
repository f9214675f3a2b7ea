/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the request_id feature. */
#include "features/request_id.h"

#include "proxy/field_rule.h"

static const char *const trusts[] = {"trusted", "always", "never", NULL};

static const struct schema_field rows[] = {
    {.name = "enabled",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct request_id_conf, enabled),
     .def = "true",
     .reloadable = true,
     .since = "0.1",
     .doc = "Give each request an id, in the access log and upstream.",
     .example = "true"},
    {.name = "header",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct request_id_conf, header),
     .def = "X-Request-ID",
     .reloadable = true,
     .since = "0.1",
     .doc = "Field that carries the id.",
     .example = "X-Request-ID"},
    {.name = "trust",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct request_id_conf, trust),
     .def = "trusted",
     .choices = trusts,
     .reloadable = true,
     .since = "0.1",
     .doc = "Whose id is kept: that of trusted_proxies (trusted), of everybody (always) or of "
            "nobody (never).",
     .example = "trusted"},
    {.name = "respond",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct request_id_conf, respond),
     .def = "false",
     .reloadable = true,
     .since = "0.1",
     .doc = "Send the id to the client as well.",
     .example = "true"},
};

static void check(const void *object, void (*say)(void *arg, const char *field, const char *text),
                  void *arg)
{
    const struct request_id_conf *conf = object;
    const char *wrong = field_rule_wrong(conf->header, FIELD_RULE_REQUEST);
    if (wrong)
        say(arg, "header", wrong);
}

const struct schema_table request_id_schema = {
    .name = "request_id",
    .doc = "One id for a request in every log on its way.",
    .size = sizeof(struct request_id_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .check = check,
    .short_form = "enabled",
};
