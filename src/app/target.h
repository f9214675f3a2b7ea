/* SPDX-License-Identifier: Apache-2.0 */
/* target: the URL of a single upstream, as Go's NewSingleHostReverseProxy takes it: its path goes
 * before each request's, its query before the request's. Shared by weir proxy and the library.
 * Values in the caller's arena; any thread. Never resolves a name. */
#ifndef WEIR_APP_TARGET_H
#define WEIR_APP_TARGET_H

#include "proxy/conf.h"

struct target {
    struct str endpoint; /* host:port or unix:/path */
    struct str host;     /* for Host when it is rewritten */
    struct str prefix;   /* base path without its last slash */
    struct str query;    /* replacement for the end of the path; empty: none */
    bool tls;            /* https */
};

/* Reads "http[s]://host[:port][/base][?query]" or "unix:/path". NULL: good; else static text that
 * says what is wrong. */
const char *target_read(struct target *t, struct str url, struct arena *a);
/* The rewrite that joins requests to the target. */
void target_rewrite(const struct target *t, bool host_rewrite, struct rewrite_conf *out);

#endif
