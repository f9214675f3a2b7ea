/* SPDX-License-Identifier: Apache-2.0 */
/* headers: the operator's rules for header fields: request_headers and response_headers of a route,
 * each with set, add and remove. Values are templates, compiled when a route is built; what they
 * name is filled in for each exchange. Constant; hooks run on the exchange's worker. */
#ifndef WEIR_FEATURES_HEADERS_H
#define WEIR_FEATURES_HEADERS_H

#include "proxy/phase.h"

struct header_rules; /* compiled, in the route's memory */

/* routes[].request_headers and routes[].response_headers */
struct headers_conf {
    struct schema_map set;     /* name -> struct str: the only field of that name */
    struct schema_map add;     /* name -> struct str: one field more */
    struct schema_list remove; /* struct str */
    struct header_rules *rules;
};

extern const struct schema_table request_headers_schema, response_headers_schema;
extern const struct feature feature_request_headers, feature_response_headers;

/* Why text is no template for a field value; NULL: it is one. Static text. */
const char *headers_template_wrong(struct str text);

#endif
