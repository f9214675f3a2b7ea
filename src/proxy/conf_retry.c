/* SPDX-License-Identifier: Apache-2.0 */
/* conf_retry.c: the rows of retry. */
#include "http/field.h"
#include "proxy/conf.h"
#include "proxy/field_rule.h"

#define SECOND INT64_C(1000000)
#define KIB INT64_C(1024)

#define RETRY(member, of_type)                                                                     \
    .name = #member, .type = of_type, .offset = offsetof(struct retry_conf, member),               \
    .reloadable = true, .since = "0.1"

static const struct schema_field retry_rows[] = {
    {RETRY(enabled, SCHEMA_BOOL), .def = "true",
     .doc = "Try again when an attempt failed, as far as the other keys allow; false: never.",
     .example = "false"},
    {RETRY(tries, SCHEMA_INT), .def = "3", .min = 1, .max = 8,
     .doc = "Endpoints asked for one request, the first included; each is asked once (and once "
            "more on a fresh connection when a kept one turned out to be closed).",
     .example = "2"},
    {RETRY(connect, SCHEMA_BOOL), .def = "true",
     .doc = "After a connection that could not be made; any method, for nothing was sent.",
     .example = "false"},
    {RETRY(reset, SCHEMA_BOOL), .def = "true",
     .doc = "After a connection that broke before the head of an answer was whole; idempotent "
            "methods.",
     .example = "false"},
    {RETRY(timeout, SCHEMA_BOOL), .def = "true",
     .doc = "After timeouts.first_byte, timeouts.upstream_send or per_try; idempotent methods.",
     .example = "false"},
    {RETRY(invalid, SCHEMA_BOOL), .def = "false",
     .doc = "After an answer that is not HTTP; idempotent methods.", .example = "true"},
    {RETRY(statuses, SCHEMA_LIST), .item = SCHEMA_INT, .max = 100,
     .doc =
         "Statuses of answers that are taken for a failure to try again; idempotent methods; the "
         "last answer goes to the client.",
     .example = "[502, 503, 504]"},
    {RETRY(any_method, SCHEMA_BOOL), .def = "false",
     .doc = "Every method counts as idempotent: requests may be carried out twice.",
     .example = "true"},
    {RETRY(idempotency_key, SCHEMA_BOOL), .def = "false",
     .doc = "Requests with Idempotency-Key count as idempotent: the service knows repeats by it.",
     .example = "true"},
    {RETRY(per_try, SCHEMA_DURATION), .def = "off", .max = 86400 * SECOND, .unit = "duration",
     .doc = "Longest time from the start of an attempt to the head of its answer; off: as "
            "timeouts say.",
     .example = "2s"},
    {RETRY(backoff, SCHEMA_DURATION), .def = "25ms", .max = 60 * SECOND, .unit = "duration",
     .doc = "Before the second try a random time up to this, twice as much before each further "
            "one; none when nothing was sent.",
     .example = "100ms"},
    {RETRY(max_backoff, SCHEMA_DURATION), .def = "250ms", .max = 600 * SECOND, .unit = "duration",
     .doc = "Upper bound of backoff.", .example = "1s"},
    {RETRY(max_wait, SCHEMA_DURATION), .def = "1s", .max = 600 * SECOND, .unit = "duration",
     .doc =
         "Longest Retry-After (seconds or a date) that is waited for; an answer with a longer one "
         "goes to the client.",
     .example = "5s"},
    {RETRY(budget, SCHEMA_INT), .def = "50", .max = 100,
     .doc = "Retries in progress at most, in percent of an upstream's requests in progress; those "
            "of requests that no endpoint had seen do not count.",
     .example = "20"},
    {RETRY(budget_least, SCHEMA_INT), .def = "100", .max = 1000000,
     .doc = "Retries in progress that are allowed whatever budget says.", .example = "10"},
    {RETRY(buffer, SCHEMA_SIZE), .def = "64KiB", .max = 64 * KIB * KIB, .unit = "bytes",
     .doc =
         "Of a request's body so much is kept until the answer begins; beyond that the request "
         "is not tried again, which the access log says. All requests on one HTTP/2 connection of "
         "a client have 128KiB together.",
     .example = "256KiB"},
    {RETRY(deadline_header, SCHEMA_STRING), .def = "",
     .doc = "Name of a request header that tells the endpoint how many milliseconds of "
            "timeouts.exchange are left; empty: none.",
     .example = "X-Timeout-Ms"},
};

static void retry_check(const void *object,
                        void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct retry_conf *c = object;
    const int64_t *status = c->statuses.items;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (status[i] < 400 || status[i] > 599)
            say(arg, "statuses", "statuses holds one that is no failure; 400 to 599 are");
    }
    if (c->deadline_header.n && !field_name_valid(c->deadline_header))
        say(arg, "deadline_header", "deadline_header is not the name of a header");
    else if (c->deadline_header.n && field_rule_wrong(c->deadline_header, FIELD_RULE_REQUEST))
        say(arg, "deadline_header", field_rule_wrong(c->deadline_header, FIELD_RULE_REQUEST));
}

const struct schema_table retry_schema = {
    .name = "retry",
    .doc = "When a failed attempt is followed by another one.",
    .size = sizeof(struct retry_conf),
    .fields = retry_rows,
    .n_fields = SCHEMA_COUNT(retry_rows),
    .check = retry_check,
    .short_form = "enabled",
};
