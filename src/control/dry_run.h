/* SPDX-License-Identifier: Apache-2.0 */
/* dry_run: a request taken through parsing, routing, rewriting and header rules by the engine's own
 * functions, without a connection: for weir explain and the tests of a configuration. One thread,
 * on a snapshot that no worker needs to run. It sends nothing and changes nothing. */
#ifndef WEIR_CONTROL_DRY_RUN_H
#define WEIR_CONTROL_DRY_RUN_H

#include "net/addr.h"
#include "net/client_hello.h"
#include "proxy/exchange.h"

struct dry_request {
    struct str method, url; /* url: absolute, or a path for host "localhost" */
    struct ip client;       /* the peer's address */
    const struct str *names, *values;
    size_t n_fields;
};

struct dry_result {
    struct head in;
    const struct route *route; /* NULL: none matched */
    enum fault fault;          /* why no request goes on; FAULT_OK */
    struct str allow;          /* methods, with FAULT_NO_METHOD */
    uint16_t status;           /* of Weir's own answer; 0: the upstream answers */
    struct fields reply;       /* fields of Weir's own answer, framing aside */
    const struct head *out;    /* what goes upstream; NULL: nothing does */
    const struct upstream *upstream;
    struct ip client_ip;
    bool client_trusted;
    struct str why;     /* when dry_run answered false */
    struct exchange *x; /* private: its arena holds all of the above */
};

/* Runs r through s, telling trace (may be NULL) about every rule in file order, with arg. False:
 * the URL or a field cannot be sent at all, why says it. Either way out is for dry_run_fini. */
bool dry_run(const struct snapshot *s, const struct dry_request *r, struct dry_result *out,
             router_trace trace, void *arg);
/* url asks for a connection to pass through (tls://NAME), not for a request. */
bool dry_is_connection(struct str url);
/* The name behind tls://, as a client would ask for it; empty: for none. False: no host name. */
bool dry_hello_name(struct client_hello *h, struct str url);
/* "h2,http/1.1" as what a client offers. False: it is nothing, or more than a hello here does. */
bool dry_hello_alpn(struct client_hello *h, struct str list);
/* Frees what out's texts lie in. */
void dry_run_fini(struct dry_result *out);
/* The target of what goes upstream (r->out is there), as it is written. */
struct str dry_target(const struct dry_result *r);
/* The value that goes out (or stands in Weir's answer) under name: "Host" is the authority. False:
 * none. */
bool dry_field(const struct dry_result *r, struct str name, struct str *value);

#endif
