/* SPDX-License-Identifier: Apache-2.0 */
/* api: the admin API (/v1) between HTTP and its functions: who may ask, which row of the table
 * answers, the request's body as JSON, answers as JSON and problems (RFC 9457). One call is one
 * exchange of the main thread's worker, and lives as long. docs/admin-api.md lists the rows. */
#ifndef WEIR_CONTROL_API_H
#define WEIR_CONTROL_API_H

#include "base/text.h"
#include "control/admin.h"
#include "control/live.h"
#include "proxy/exchange.h"

#define API_ARGS 3u
#define API_BODY_MAX (16u << 20)

struct api_call;
/* The functions of the rows; each fills x->reply or waits. */
typedef enum hook api_fn(struct api_call *c);

/* What a change is about: a route or an endpoint of the upstream that the path names; and how it is
 * answered once it is made. */
struct api_about {
    struct str route, endpoint;
    bool removed, load;
    uint16_t status;
    api_fn *answer;
};

struct api_wait;

struct api_call {
    struct exchange *x;
    struct admin *a;
    const struct api_row *row;
    struct str arg[API_ARGS]; /* what stands for the stars of the row's path, decoded */
    struct text body;         /* as it comes */
    json_t *json;             /* of the body; NULL: there was none */
    void *state;              /* of the row's function between calls; see api_keep */
    struct api_about about;
    struct api_wait *wait; /* of a change that had to wait; NULL: none has */
};

struct api_row {
    uint8_t method;   /* enum method; GET serves HEAD, too */
    const char *path; /* a star stands for one segment */
    api_fn *run;
    bool body;       /* JSON is wanted */
    const char *doc; /* with each parameter of the query as ?NAME */
};

/* The table; *n is how many. */
const struct api_row *api_rows(size_t *n);

/* The route handler of /v1; arg is the struct admin. */
enum hook admin_api(struct exchange *x, void *arg);
/* The peer may have that page or (ADMIN_PAGES) the API; false: a problem is the reply. */
bool admin_allows(struct exchange *x, const struct admin *a, enum admin_page page);

/* Keeps p until the exchange ends, then drop(p). False: memory; the exchange has failed. */
bool api_keep(struct exchange *x, void (*drop)(void *p), void *p)
    __attribute__((warn_unused_result));
/* Answers with text, which is freed with the exchange, under that media type. */
enum hook api_answer(struct exchange *x, uint16_t status, struct str type, struct text *text);
/* The same, as JSON. */
enum hook api_json(struct api_call *c, uint16_t status, struct text *text);
/* Adds the entity tag of what hash is the number of. */
void api_tag(struct api_call *c, uint64_t hash);
/* If-Match and If-None-Match of the request hold for what hash is the number of (there: it exists);
 * false: a 412 is the reply. */
bool api_matches(struct api_call *c, bool there, uint64_t hash);
/* The same for the configuration as a whole, whose tag GET /v1/config and /v1/changes give. */
bool api_config_matches(struct api_call *c);
/* Answers with a problem; kind is its name in docs/admin-api.md. */
enum hook api_problem(struct exchange *x, uint16_t status, const char *kind, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));
/* Answers with why a change was not made. */
enum hook api_refused(struct api_call *c, enum live_result result, struct live_report *r);
/* The number of a query parameter, or other; false: it is none, a problem is the reply. */
bool api_number(struct api_call *c, const char *name, uint64_t other, uint64_t most, uint64_t *out);
/* The value of a query parameter; empty without one. */
struct str api_param(struct api_call *c, const char *name);

/* The configuration in use; NULL: a problem is the reply. */
struct conf_tree *api_tree(struct api_call *c);
/* The upstream that the path names; NULL: a problem is the reply. */
const struct conf_node *api_upstream_node(struct api_call *c);
/* Appends the weights of an upstream's endpoints as a JSON object. */
void api_put_weights(struct api_call *c, const struct conf_node *upstream, struct text *out);

/* The functions of the rows, by file: api_read.c, */
extern api_fn api_index, api_config, api_routes, api_route, api_upstreams, api_upstream,
    api_weights, api_endpoints, api_endpoint, api_changes;
/* api_exchanges.c, api_events.c, */
extern api_fn api_exchanges, api_events;
/* api_change.c. */
extern api_fn api_route_add, api_route_set, api_route_remove, api_endpoint_add, api_endpoint_set,
    api_endpoint_remove, api_drain, api_undrain, api_weights_set, api_weights_patch,
    api_breaker_set, api_changes_discard;
/* The change that c made is being kept, or was: its answer, or waits. */
enum hook api_changed(struct api_call *c);
/* c made a change that is being kept, or was. */
bool api_is_changing(const struct api_call *c);
/* What c waits with, if it is c's turn to change something. NULL: it waits for that, or fails: *h
 * is what it returns. */
struct live_waiter *api_turn(struct api_call *c, enum hook *h);
/* The load that c began is over, or (LIVE_WAITS) will be. */
enum hook api_loaded(struct api_call *c, enum live_result result, struct live_waiter *w);
/* The text of the file in use: GET /v1/config?as=text. */
enum hook api_config_text(struct api_call *c);
/* Loads the file again; the answer comes when that is in use or refused. */
enum hook api_reload(struct api_call *c);
/* Goes back to an earlier configuration. */
enum hook api_rollback(struct api_call *c);
/* Lists the configurations that are kept. */
enum hook api_history(struct api_call *c);

#endif
