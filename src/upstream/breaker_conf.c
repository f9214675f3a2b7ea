/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of breaker. */
#include "upstream/breaker.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

static const char *const scope_choices[] = {"upstream", "endpoint", "route", NULL};

#define BREAKER_ROW(member, of_type)                                                               \
    .name = #member, .type = of_type, .offset = offsetof(struct breaker_conf, member),             \
    .reloadable = true, .since = "0.1"

static const struct schema_field breaker_rows[] = {
    {BREAKER_ROW(enabled, SCHEMA_BOOL), .def = "true",
     .doc = "Answer 503 breaker_open at once, with Retry-After, when too many calls fail; without "
            "the key breaker there is none.",
     .example = "false"},
    {BREAKER_ROW(scope, SCHEMA_ENUM), .def = "upstream", .choices = scope_choices,
     .doc = "What has a breaker of its own: the upstream, each endpoint (an open one is left out), "
            "or each route to the upstream.",
     .example = "endpoint"},
    {BREAKER_ROW(window, SCHEMA_DURATION), .def = "10s", .min = SECOND / 100, .max = DAY,
     .unit = "duration", .doc = "The time that is looked back on, in ten parts.", .example = "30s"},
    {BREAKER_ROW(minimum_calls, SCHEMA_INT), .def = "100", .min = 1, .max = 1000000000,
     .doc = "With fewer calls in the window nothing is decided.", .example = "20"},
    {BREAKER_ROW(failure_rate, SCHEMA_INT), .def = "50", .min = 1, .max = 100,
     .doc = "Percentage of failures at which it opens.", .example = "30"},
    {BREAKER_ROW(close_rate, SCHEMA_INT), .def = "45", .min = 1, .max = 100,
     .doc = "It closes when fewer of the probes failed than this percentage, or than failure_rate "
            "where that is less.",
     .example = "20"},
    {BREAKER_ROW(slow_over, SCHEMA_DURATION), .def = "off", .max = DAY, .unit = "duration",
     .doc = "An answer that begins later is slow; off: none is.", .example = "800ms"},
    {BREAKER_ROW(slow_rate, SCHEMA_INT), .def = "50", .min = 1, .max = 100,
     .doc = "Percentage of slow answers at which it opens.", .example = "80"},
    {BREAKER_ROW(open, SCHEMA_DURATION), .def = "5s", .min = SECOND / 100, .max = DAY,
     .unit = "duration",
     .doc = "How long it stays open the first time; twice as long each time that the probes fail.",
     .example = "10s"},
    {BREAKER_ROW(max_open, SCHEMA_DURATION), .def = "1m", .min = SECOND / 100, .max = DAY,
     .unit = "duration", .doc = "The longest.", .example = "5m"},
    {BREAKER_ROW(probes, SCHEMA_INT), .def = "5", .min = 1, .max = 10000,
     .doc = "Real requests that pass after that time to see whether it may close.",
     .example = "10"},
    {BREAKER_ROW(connect, SCHEMA_BOOL), .def = "true",
     .doc = "A connection that cannot be made is a failure.", .example = "false"},
    {BREAKER_ROW(timeout, SCHEMA_BOOL), .def = "true",
     .doc = "An answer that does not come in time is a failure.", .example = "false"},
    {BREAKER_ROW(reset, SCHEMA_BOOL), .def = "true",
     .doc = "A connection that breaks is a failure.", .example = "false"},
    {BREAKER_ROW(invalid, SCHEMA_BOOL), .def = "true",
     .doc = "An answer that is not HTTP is a failure.", .example = "false"},
    {BREAKER_ROW(statuses, SCHEMA_LIST), .item = SCHEMA_INT, .max = 100,
     .doc = "Statuses that are failures; none given: 500 to 599.", .example = "[500, 503]"},
};

static void breaker_check(const void *object,
                          void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct breaker_conf *c = object;
    const int64_t *status = c->statuses.items;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (status[i] < 100 || status[i] > 599)
            say(arg, "statuses", "statuses holds one that is no status: 100 to 599 are");
    }
}

const struct schema_table breaker_schema = {
    .name = "breaker",
    .doc = "Answers at once when too many calls fail.",
    .size = sizeof(struct breaker_conf),
    .fields = breaker_rows,
    .n_fields = SCHEMA_COUNT(breaker_rows),
    .check = breaker_check,
    .short_form = "enabled",
};
