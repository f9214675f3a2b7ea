/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of request_headers and response_headers. */
#include "base/mem.h"
#include "features/headers.h"
#include "proxy/field_rule.h"

#define RULES_MAX 100

static const struct schema_field rows[] = {
    {.name = "set",
     .type = SCHEMA_MAP,
     .offset = offsetof(struct headers_conf, set),
     .item = SCHEMA_STRING,
     .max = RULES_MAX,
     .reloadable = true,
     .since = "0.1",
     .doc = "Fields that replace all others of their name; values may hold {client_ip}, {host}, "
            "{scheme}, {request_id}, {route}, {identity} (of a client's certificate) and "
            "{meta.NAME}, and {{ for a brace; one that comes "
            "out empty is removed instead.",
     .example = "{X-Tenant: \"{meta.tenant}\"}"},
    {.name = "add",
     .type = SCHEMA_MAP,
     .offset = offsetof(struct headers_conf, add),
     .item = SCHEMA_STRING,
     .max = RULES_MAX,
     .reloadable = true,
     .since = "0.1",
     .doc = "Fields added behind those that are there; values as for set, one that comes out empty "
            "is left out.",
     .example = "{X-Seen-By: weir}"},
    {.name = "remove",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct headers_conf, remove),
     .item = SCHEMA_STRING,
     .max = RULES_MAX,
     .reloadable = true,
     .since = "0.1",
     .doc = "Names of fields to remove, before set and add.",
     .example = "[X-Debug]"},
};

typedef void (*say_fn)(void *arg, const char *field, const char *text);

struct speaker {
    say_fn say;
    void *arg;
    enum field_rule where;
};

/* Says what is wrong with a rule about name, if anything. */
static void check_name(const struct speaker *s, const char *field, struct str name)
{
    const char *wrong = field_rule_wrong(name, s->where);
    if (!wrong)
        return;
    char *text = mem_printf("%.*s %s", STR_ARG(name), wrong);
    s->say(s->arg, field, text);
    mem_free(text);
}

static void check_map(const struct speaker *s, const char *field, const struct schema_map *map)
{
    const struct str *values = map->items;
    for (size_t i = 0; i < map->n; i++) {
        check_name(s, field, map->names[i]);
        const char *wrong = headers_template_wrong(values[i]);
        if (!wrong)
            continue;
        char *text = mem_printf("%.*s: %s", STR_ARG(map->names[i]), wrong);
        s->say(s->arg, field, text);
        mem_free(text);
    }
}

static void check_all(const struct headers_conf *conf, const struct speaker *s)
{
    check_map(s, "set", &conf->set);
    check_map(s, "add", &conf->add);
    const struct str *names = conf->remove.items;
    for (size_t i = 0; i < conf->remove.n; i++)
        check_name(s, "remove", names[i]);
}

static void check_request(const void *object, say_fn say, void *arg)
{
    check_all(object, &(struct speaker){say, arg, FIELD_RULE_REQUEST});
}

static void check_response(const void *object, say_fn say, void *arg)
{
    check_all(object, &(struct speaker){say, arg, FIELD_RULE_RESPONSE});
}

const struct schema_table request_headers_schema = {
    .name = "request_headers",
    .doc = "Changes to the header fields that go upstream.",
    .size = sizeof(struct headers_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .check = check_request,
};

const struct schema_table response_headers_schema = {
    .name = "response_headers",
    .doc = "Changes to the header fields that go to the client, of replies by Weir too.",
    .size = sizeof(struct headers_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .check = check_response,
};
