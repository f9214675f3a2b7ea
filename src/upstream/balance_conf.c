/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of balance. */
#include "upstream/balance.h"

#define HOUR ((int64_t) (3600 * USEC_PER_SEC))

static const char *const algorithm_choices[] = {"ring", "maglev", NULL};

#define BALANCE_ROW(member, of_type)                                                               \
    .name = #member, .type = of_type, .offset = offsetof(struct balance_conf, member),             \
    .reloadable = true, .since = "0.1"

static const struct schema_field balance_rows[] = {
    {BALANCE_ROW(policy, SCHEMA_ENUM), .def = "round_robin", .choices = balance_names,
     .doc = "round_robin: in turn, by weight; least_active: of two drawn by weight the one with "
            "fewer requests in progress; ewma: of two the one that answers sooner (response time "
            "times requests in progress); random: drawn by weight; hash: the same key to the same "
            "endpoint.",
     .example = "ewma"},
    {BALANCE_ROW(on, SCHEMA_STRING), .def = "client_ip",
     .doc = "What hash is made of: client_ip, path, header:NAME, cookie:NAME or query:NAME; a "
            "request without it goes to an endpoint drawn by weight.",
     .example = "header:X-User"},
    {BALANCE_ROW(algorithm, SCHEMA_ENUM), .def = "ring", .choices = algorithm_choices,
     .doc = "How hash finds the endpoint: ring moves the fewest keys when endpoints change, maglev "
            "spreads them more evenly.",
     .example = "maglev"},
    {BALANCE_ROW(bounded_load, SCHEMA_FLOAT), .def = "0", .max = 10,
     .doc = "hash passes over an endpoint that has more than this many times its share of the "
            "requests in progress (1.0 to 10.0; 1.25 is usual); 0: no bound.",
     .example = "1.25"},
    {BALANCE_ROW(sticky, SCHEMA_STRING), .def = "",
     .doc = "Name of a cookie by which a client stays with its endpoint, whatever the policy; "
            "also one of weight 0 keeps its clients; empty: none.",
     .example = "weir_endpoint"},
    {BALANCE_ROW(feedback, SCHEMA_BOOL), .def = "false",
     .doc = "With round_robin and random: every 10 seconds an endpoint that answers slower than "
            "the mean gets less than its weight, down to a tenth.",
     .example = "true"},
    {BALANCE_ROW(weight_header, SCHEMA_STRING), .def = "",
     .doc = "Name of a response header by which an endpoint says how much of its weight it wants, "
            "in percent (0 to 100); taken out of the answer; forgotten after 3 minutes; empty: "
            "none.",
     .example = "Endpoint-Weight"},
    {BALANCE_ROW(slow_start, SCHEMA_DURATION), .def = "30s", .max = HOUR, .unit = "duration",
     .doc = "An endpoint that comes back gets its weight back over this time, from a tenth on; "
            "off: at once.",
     .example = "1m"},
    {BALANCE_ROW(panic_threshold, SCHEMA_INT), .def = "50", .max = 100,
     .doc = "When fewer than this percentage of the endpoints are usable, all of them are used: "
            "the checks may be wrong, and the few would be overrun; 0: never.",
     .example = "30"},
    {BALANCE_ROW(zone, SCHEMA_STRING), .def = "",
     .doc = "Where this Weir runs: endpoints of that zone are preferred; empty: no preference.",
     .example = "eu-1a"},
};

enum hash_key balance_key(struct str on, struct str *name)
{
    static const struct {
        const char *prefix;
        enum hash_key key;
    } forms[] = {{"header:", KEY_HEADER}, {"cookie:", KEY_COOKIE}, {"query:", KEY_QUERY}};
    *name = STR("");
    if (str_eq(on, STR("client_ip")))
        return KEY_CLIENT_IP;
    if (str_eq(on, STR("path")))
        return KEY_PATH;
    for (size_t i = 0; i < SCHEMA_COUNT(forms); i++) {
        struct str prefix = str_c(forms[i].prefix);
        if (!str_starts(on, prefix) || on.n == prefix.n)
            continue;
        *name = str_sub(on, prefix.n, on.n);
        return forms[i].key;
    }
    return KEY_NONE;
}

/* Bytes of a token (RFC 9110 5.6.2): header and cookie names. */
static bool token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = str_lower(s.p[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && str_find(STR("!#$%&'*+-.^_`|~"), c) < 0)
            return false;
    }
    return true;
}

static void balance_check(const void *object,
                          void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct balance_conf *b = object;
    struct str name;
    enum hash_key key = balance_key(b->on, &name);
    if (key == KEY_NONE)
        say(arg, "on",
            "\"on\" is client_ip, path, header:NAME, cookie:NAME or query:NAME, such as "
            "header:X-User");
    else if ((key == KEY_HEADER || key == KEY_COOKIE) && !token(name))
        say(arg, "on", "the name behind the colon holds a byte that no such name has");
    if (b->bounded_load != 0 && b->bounded_load < 1)
        say(arg, "bounded_load", "bounded_load is below 1: no endpoint could have its share");
    if (!token(b->sticky))
        say(arg, "sticky", "sticky is not the name of a cookie: letters, digits and - . _ only");
    if (!token(b->weight_header))
        say(arg, "weight_header", "weight_header is not the name of a header");
    if (b->feedback && b->policy != 0 && !str_eq(str_c(balance_names[b->policy]), STR("random")))
        say(arg, "feedback",
            "feedback works with round_robin and random; the other policies see load by "
            "themselves");
}

const struct schema_table balance_schema = {
    .name = "balance",
    .doc = "How an endpoint is chosen for a request.",
    .size = sizeof(struct balance_conf),
    .fields = balance_rows,
    .n_fields = SCHEMA_COUNT(balance_rows),
    .pos = offsetof(struct balance_conf, pos),
    .check = balance_check,
    .short_form = "policy",
};
