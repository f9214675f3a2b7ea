/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of ejection. */
#include "upstream/upstream.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

#define EJECTION_ROW(member, of_type)                                                              \
    .name = #member, .type = of_type, .offset = offsetof(struct ejection_conf, member),            \
    .reloadable = true, .since = "0.1"

static const struct schema_field ejection_rows[] = {
    {EJECTION_ROW(enabled, SCHEMA_BOOL), .def = "true",
     .doc = "Leave out an endpoint for a while when its answers fail, as the requests of clients "
            "show; the only endpoint never is.",
     .example = "false"},
    {EJECTION_ROW(consecutive, SCHEMA_INT), .def = "5", .max = 10000,
     .doc = "Failures in a row: no connection, no answer in time, a broken or malformed one, 502, "
            "503 or 504; 0: not looked at.",
     .example = "3"},
    {EJECTION_ROW(failure_share, SCHEMA_INT), .def = "85", .max = 100,
     .doc = "Percentage of failures among at least 50 requests of 10 seconds; 0: not looked at.",
     .example = "60"},
    {EJECTION_ROW(deviation, SCHEMA_FLOAT), .def = "1.9", .max = 10,
     .doc = "Standard deviations by which the share of good answers lies below the mean of all "
            "endpoints, where at least 5 had 100 requests in 10 seconds; 0: not looked at.",
     .example = "2.5"},
    {EJECTION_ROW(duration, SCHEMA_DURATION), .def = "30s", .min = SECOND / 10, .max = DAY,
     .unit = "duration",
     .doc = "How long the first time; the second time twice as long, and so on.", .example = "10s"},
    {EJECTION_ROW(max_duration, SCHEMA_DURATION), .def = "5m", .min = SECOND / 10, .max = DAY,
     .unit = "duration", .doc = "The longest.", .example = "10m"},
    {EJECTION_ROW(max_ejected, SCHEMA_INT), .def = "50", .max = 100,
     .doc = "Largest percentage of the endpoints that are ejected at a time.", .example = "30"},
};

const struct schema_table ejection_schema = {
    .name = "ejection",
    .doc = "Leaves out endpoints whose answers fail.",
    .size = sizeof(struct ejection_conf),
    .fields = ejection_rows,
    .n_fields = SCHEMA_COUNT(ejection_rows),
    .short_form = "enabled",
};
