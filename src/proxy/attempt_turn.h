/* SPDX-License-Identifier: Apache-2.0 */
/* attempt_turn: choosing an endpoint where the requests in progress are limited (max_active): one
 * that has room, else the attempt waits in the FIFO of upstream/turn.h. Worker thread, of its
 * attempt; attempt_pick.c calls it for such upstreams alone. */
#ifndef WEIR_PROXY_ATTEMPT_TURN_H
#define WEIR_PROXY_ATTEMPT_TURN_H

#include "proxy/attempt.h"

struct worker;

/* Sets a->endpoint, whose turn is taken; a->endpoint NULL: a waits, and its exchange is woken.
 * pick->tried is tried, with room for ATTEMPTS_MAX more. */
enum fault attempt_in_turn(struct attempt *a, struct pick *pick,
                           struct endpoint **tried) FAULT_CHECKED;
/* The same for an attempt that must have this one endpoint again. */
RARE enum fault attempt_same_in_turn(struct attempt *a, struct endpoint *e) FAULT_CHECKED;
/* a waits: looks around now and then, for what changes without anyone's leaving (health, a reload,
 * an endpoint that came back). A fault: there is nobody left to wait for. */
RARE enum fault attempt_still_waits(struct attempt *a) FAULT_CHECKED;
/* A snapshot came to w: what was asked before it had a limit is counted from now on. */
void attempts_adopt(struct worker *w);
/* When to call that next. */
usec_t attempt_looks_again(const struct attempt *a);

/* ---- attempt_pick.c ---- */

/* Neither a hook nor the endpoint's breaker objects to a->endpoint; *refused: the breaker did. */
bool attempt_accepted(struct attempt *a, bool *refused);
/* The balancer's choice. */
struct endpoint *attempt_balance(const struct attempt *a, const struct pick *pick);
/* Why there is nobody to ask: no name of u was ever resolved, or none is usable. */
enum fault attempt_nobody(const struct upstream *u);
/* The endpoints of a's earlier attempts, into pick->tried. */
void attempt_tried(const struct attempt *a, struct pick *pick, struct endpoint **tried);

#endif
