/* SPDX-License-Identifier: Apache-2.0 */
/* changes: what was changed at run time on top of the file: a short list of routes set or removed,
 * endpoints added, removed, weighted or drained, breakers held. Kept as JSON, which is also what
 * the state file and GET /v1/changes hold; a list is never changed, each change makes a new one.
 * The main thread's. It judges no values: what comes of it is loaded like a file. */
#ifndef WEIR_CONTROL_CHANGES_H
#define WEIR_CONTROL_CHANGES_H

#include "control/conf_tree.h"

/* An item of the list is an object, one of
 *   {"route": NAME, "set": {...}, "within": NAME?, "was": HASH}
 *   {"route": NAME, "removed": true, "was": HASH}
 *   {"upstream": NAME, "endpoint": ADDRESS, "set": {...}?, "removed": true?, "weight": N?,
 *    "drained": true?, "was": HASH}
 *   {"upstream": NAME, "breaker": "open" or "closed"}
 * "was" tells what the file said of it when it was changed; absent: nothing. */

/* The list is of that form. */
bool changes_valid(const json_t *list);
/* The list with route set (within: where a new one goes; "": the top level). now: the configuration
 * with list in force. For json_decref, as all that follow. */
json_t *changes_set_route(const json_t *list, const struct conf_tree *base,
                          const struct conf_tree *now, struct str name, struct str within,
                          json_t *route);
/* The route that list adds that one within; empty: none. */
struct str changes_within(const json_t *list, struct str name);
/* The list with the route removed. */
json_t *changes_remove_route(const json_t *list, const struct conf_tree *base,
                             const struct conf_tree *now, struct str name);
/* The list with an endpoint added or replaced; endpoint NULL: removed. */
json_t *changes_set_endpoint(const json_t *list, const struct conf_tree *base, struct str upstream,
                             struct str address, json_t *endpoint);
/* The list with another weight (below 0: the file's). */
json_t *changes_weigh(const json_t *list, const struct conf_tree *base, struct str upstream,
                      struct str address, double weight);
/* The list with the endpoint drained or not. */
json_t *changes_drain(const json_t *list, const struct conf_tree *base, struct str upstream,
                      struct str address, bool drained);
/* The list with the breaker held ("open", "closed") or not ("auto"). */
json_t *changes_hold(const json_t *list, struct str upstream, struct str state);
/* The endpoint is drained by list. */
bool changes_drained(const json_t *list, struct str upstream, struct str address);
/* The weight that the endpoint has apart from drained, by list. False: list says none. */
bool changes_weight(const json_t *list, struct str upstream, struct str address, double *weight);

/* The configuration with list on top of base; what cannot be applied is said to e, of which the
 * texts live in e's arena. Lines of its JSON go on from *line. */
struct conf_tree *changes_apply(const json_t *list, struct conf_tree *base, unsigned *line,
                                struct conf_errors *e);
/* What the item does, in words: "route shop: replaced"; for mem_free. */
char *changes_words(const json_t *item);
/* What base says of what the item is about; NULL: nothing. */
const struct conf_node *changes_target(const json_t *item, const struct conf_tree *base);
/* Base no longer says of it what it said when it was changed, nor what the item says. */
bool changes_conflicts(const json_t *item, const struct conf_tree *base);
/* The list (keep: false: without the items that conflict) as made on base: what base says as well
 * is left out, and what is said of endpoints that it does not have. */
json_t *changes_rebase(const json_t *list, const struct conf_tree *base, bool keep);

#endif
