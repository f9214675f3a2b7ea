/* SPDX-License-Identifier: Apache-2.0 */
/* retry: whether a failed attempt is followed by another one, and when: the conditions of
 * settings.retry, RFC 9110 9.2.2, the budget. Worker thread, within one exchange. Decides; the
 * respond step acts. */
#ifndef WEIR_PROXY_RETRY_H
#define WEIR_PROXY_RETRY_H

#include "proxy/exchange.h"

/* How another attempt follows. */
struct retry_plan {
    usec_t pause; /* before it begins */
    bool counts;  /* against the budget */
};

/* Another attempt follows x's, which has a fault or an answer of a status that may be retried, by
 * *plan. False: no; x->retry_refused says why where that is not plain. */
bool retry_wanted(struct exchange *x, struct retry_plan *plan);
/* x's request may be sent again after an endpoint saw some of it (RFC 9110 9.2.2). */
bool retry_repeatable(const struct exchange *x);
/* The answer of x's attempt has a status that the route retries. */
bool retry_status(const struct exchange *x);
/* Name of a refusal, as in the access log. */
const char *retry_refused_name(enum retry_refused r);

#endif
