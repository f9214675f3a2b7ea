/* SPDX-License-Identifier: Apache-2.0 */
/* driver: the engine's inner interface between exchange.c, its steps, attempts, legs and sessions.
 * Features and embedders see exchange.h only. Worker thread. */
#ifndef WEIR_PROXY_DRIVER_H
#define WEIR_PROXY_DRIVER_H

#include "proxy/exchange.h"
#include "proxy/worker.h"

struct session;

/* An exchange comes from its pool with the beginning of its arena behind it: enough for what a
 * browser asks and gets, so that most need no chunk. */
#define EXCHANGE_OFFSET ((sizeof(struct exchange) + ARENA_ALIGN - 1) & ~(size_t) (ARENA_ALIGN - 1))
#define EXCHANGE_ROOM 4848u

/* x ends: a ticket that is out finds nobody. */
void exchange_abandon(struct exchange *x);

/* What a step answers to the driver. */
enum step_verdict {
    STEP_NEXT, /* go to the row's first allowed step */
    STEP_WAIT, /* an event, timer or hook will wake the exchange */
    STEP_JUMP, /* x->jump is the next step */
    STEP_DONE, /* finish only: the exchange is gone */
};

/* Opens an exchange for s (which becomes busy) and queues it. False: the memory door is shut. */
bool exchange_open(struct session *s) __attribute__((warn_unused_result));
/* A new exchange of s's client, without a leg and a timer: the caller attaches them before the
 * first wake. NULL: the memory door is shut. */
struct exchange *exchange_of(struct session *s);
/* The same for a client that is a piece of Weir; leg is attached by the caller before the first
 * wake. */
struct exchange *exchange_new(struct worker *w, struct snapshot *s);
/* The peer of the client's connection is a trusted proxy; also before x->peer_trusted says so. */
bool exchange_peer_trusted(const struct exchange *x);
/* The client waits to be told to send its body. Who never is may keep it back for good: what it
 * sends next could be read as anything (RFC 9110 10.1.1). */
static inline bool exchange_unasked(const struct exchange *x)
{
    return x->in->expect_continue && !x->continues && !x->request.bytes;
}
/* Frees what exchange_new made, when no step has run. */
void exchange_discard(struct exchange *x);

/* The steps; exchange_steps.c and exchange_respond.c say when each is entered and left. */
/* Reads the request head into x->in. */
enum step_verdict step_read_head(struct exchange *x);
/* Rules that hold for every route; who is asking. */
enum step_verdict step_admit(struct exchange *x);
/* Finds the route and applies its limits. */
enum step_verdict step_route(struct exchange *x);
/* on_access hooks. */
enum step_verdict step_access(struct exchange *x);
/* on_lookup hooks; the route's own answer, or the first attempt. */
enum step_verdict step_lookup(struct exchange *x);
/* Runs the newest attempt. */
enum step_verdict step_attempt(struct exchange *x);
/* Decides about the answer: forward, try again, tunnel, reply. */
enum step_verdict step_respond(struct exchange *x);
/* Moves both bodies. */
enum step_verdict step_stream(struct exchange *x);
/* Writes an answer made here. */
enum step_verdict step_reply(struct exchange *x);
/* Moves bytes both ways after a switch of protocols. */
enum step_verdict step_tunnel(struct exchange *x);
/* Ends the exchange, exactly once; it is gone afterwards. */
enum step_verdict step_finish(struct exchange *x);

/* Notes the next step and answers STEP_JUMP. */
enum step_verdict step_jump(struct exchange *x, enum step to);
/* A fault ends the present business: reply while nothing was sent, else finish with a broken
 * message. */
enum step_verdict step_fail(struct exchange *x, enum fault f);

/* Runs the hooks of kind from x->hook_at on. HOOK_PASS: all passed. */
enum hook hooks_run(struct exchange *x, enum hook_kind kind);
/* Runs all on_finish hooks. */
void hooks_finish(struct exchange *x);
/* The same for on_send, on_pick and on_attempt_end. */
enum hook hooks_attempt(struct exchange *x, enum hook_kind kind, struct attempt *a);
/* The same for body blocks: in is emptied into out through every hook. */
enum hook hooks_data(struct exchange *x, enum direction dir, struct chain *in, struct chain *out);
/* The same for trailers. */
enum hook hooks_trailers(struct exchange *x, enum direction dir, struct fields *t);

/* Begins the next attempt. FAULT_MEMORY when the arena refuses. */
enum fault attempt_begin(struct exchange *x) FAULT_CHECKED;
/* Runs the newest attempt's table. STEP_NEXT: it has a head or a fault (attempt->fault);
 * STEP_WAIT. */
enum step_verdict attempt_run(struct attempt *a);
/* After an interim head: wait for the next one. */
void attempt_await_again(struct attempt *a);
/* Ends it: hooks, balancer, link released (keep) or evicted. Idempotent. */
void attempt_end(struct attempt *a, bool keep, enum fault f);
/* Chooses a->endpoint, and counts the attempt in: attempt_leave must follow. A fault: there is none
 * (a->endpoint may be NULL then, and nothing was counted). */
enum fault attempt_choose(struct attempt *a) FAULT_CHECKED;
/* Tells balancer and figures how the attempt at a->endpoint ended. Called by attempt_end. */
void attempt_leave(struct attempt *a);
/* Tells the breaker that let a pass what came of it, once: with the head of the answer, or at the
 * end. */
void attempt_judge(struct attempt *a);
/* Whose doing the end of a is; a stale link counts as a reset. */
enum blame attempt_blame(const struct attempt *a);
/* A deadline of the upstream's side has passed while the attempt runs: it fails with f, and respond
 * decides. False: it is not for respond to decide. */
bool attempt_timed_out(struct exchange *x, enum fault f);

/* Turns x into a tunnel: both legs raw, both pumps started, snapshot let go. */
void tunnel_begin(struct exchange *x);
/* Starts moving bytes. */
void pump_start(struct pump *p, struct exchange *x, enum direction dir, struct leg *source,
                struct leg *sink);
/* Moves what can be moved now. */
enum pump_verdict pump_run(struct pump *p, struct exchange *x);
/* Ends the sink's message with these trailers (NULL: none): PUMP_DONE, or PUMP_SINK_ERR. */
enum pump_verdict pump_end(struct pump *p, struct exchange *x, struct fields *trailers);
/* Drops what it holds. */
void pump_stop(struct pump *p, struct exchange *x);
/* The message ended before all of it was written: gives the source credit for what has been. To be
 * called while p->unsettled, each time the sink has taken some. */
void pump_settle(struct pump *p);
/* What was kept of the request's body for one more attempt is not wanted. */
void exchange_forget_body(struct exchange *x);
/* Bytes that are on their way between the legs. */
size_t pump_waiting(const struct pump *p);
/* The same with what a multiplexed source has brought and nobody has read. */
size_t pump_held(const struct pump *p);

/* Arms the timer for the earliest deadline of the present step. */
void deadlines_arm(struct exchange *x);
/* The fault of a deadline that has passed, or FAULT_OK. */
enum fault deadlines_expired(struct exchange *x);

/* Puts x on the list of those that wait for memory; it is woken when some may be free. */
void memory_wait(struct exchange *x);
/* A block for x: from the account, or from x's reservation when it holds none. NULL: waits, see
 * memory_wait. */
struct block *memory_block(struct exchange *x);

#endif
