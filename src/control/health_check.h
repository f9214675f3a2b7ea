/* SPDX-License-Identifier: Apache-2.0 */
/* health_check: the checks that a configuration asks for: a connection, a request or a program that
 * looks at each endpoint now and then, made on the main loop, whose results all workers see in the
 * endpoint. Main thread. A mark is taken back when nobody checks the endpoint any more, or can. */
#ifndef WEIR_CONTROL_HEALTH_CHECK_H
#define WEIR_CONTROL_HEALTH_CHECK_H

#include "proxy/worker.h"

struct health_checks;

/* No checks yet; w: the main worker. */
struct health_checks *health_checks_new(struct worker *w);
/* The checks of these upstreams from now on, in place of all others; those of an upstream that was
 * there before go on undisturbed. */
void health_checks_use(struct health_checks *h, struct upstream *const *upstreams, uint32_t n);
/* Ends all checks; the endpoints keep their state. Scripts are killed. */
void health_checks_stop(struct health_checks *h);
/* Frees; stopped before. Waits for scripts that were killed. NULL is allowed. */
void health_checks_free(struct health_checks *h);

#endif
