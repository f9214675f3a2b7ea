/* SPDX-License-Identifier: Apache-2.0 */
/* url: request targets, paths, queries and authorities (RFC 3986, RFC 9112 3.2). The string
 * that is matched is the string that is forwarded. Sans-I/O, any thread; results are views of
 * the input when nothing had to change, else arena copies. */
#ifndef WEIR_HTTP_URL_H
#define WEIR_HTTP_URL_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/str.h"
#include "http/h1_parse.h"
#include "http/head.h"

/* An absolute URL taken apart ("http://host:8080/base?x=1"). */
struct url {
    struct str scheme, authority, host, path, query;
    uint16_t port; /* 0: none given */
    bool has_query;
};

/* Parses an absolute http or https URL without user info or fragment; *why is static. */
bool url_parse(struct str text, struct url *out, const char **why);
/* Splits and checks "host", "host:port", "[v6]:port" (RFC 3986 3.2.2); lower-cases into a when it
 * must; the colon of an empty port goes. User info, empty host, bad port, an escaped ASCII byte:
 * REQ_HOST. Sets authority, host (without a trailing dot) and port. */
enum fault authority_parse(struct str text, struct arena *a, struct head *into) FAULT_CHECKED;
/* Parses a request target of h's method into h (form, authority for absolute form, path, query).
 * Dot segments (also %2e) resolved, escaped unreserved bytes decoded, escapes upper-cased, %2F and
 * // kept, raw "<>[]^`{|} in a path escaped; a backslash in a path, bad escapes, %00, fragments,
 * spaces, control and non-ASCII bytes: REQ_TARGET. The query is checked, not changed. */
enum fault target_parse(struct head *h, struct arena *a, struct str raw) FAULT_CHECKED;
/* Applies a route's slash policy to a normalised path ("//" and "%2F"): MERGE collapses runs of
 * '/', REJECT answers REQ_TARGET for either. */
enum fault path_slashes(struct str *path, struct arena *a, enum slash_policy policy) FAULT_CHECKED;
/* Normalises a path as target_parse does. */
enum fault path_normalise(struct str raw, struct arena *a, struct str *out) FAULT_CHECKED;
/* A path whose bytes and escapes are all allowed as they are; "" too. No normal form is asked. */
bool path_valid(struct str path);
/* The query as Go's cleanQueryParams leaves it: pairs with ';' or bad escapes are dropped,
 * the rest re-encoded; unchanged (same view) when clean; p is NULL when the arena refuses. */
struct str query_clean(struct str query, struct arena *a);
/* base + path with exactly one slash at the join; escapes survive. */
struct str path_join(struct str base, struct str path, struct arena *a);
/* a & b with one '&' when both are there. */
struct str query_join(struct str a, struct str b, struct arena *arena);
/* Value of the next parameter of that name, percent-decoded into room, which has query->n bytes and
 * may serve all calls, for a client may give thousands; *query is moved behind it. Pairs that
 * query_clean drops are passed over. False when there is none. */
bool query_param(struct str *query, struct str name, char *room, struct str *value);

#endif
