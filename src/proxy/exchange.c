/* SPDX-License-Identifier: Apache-2.0 */
/* exchange: the table of steps and the one driver. The steps themselves are in exchange_steps.c
 * (up to the attempt) and exchange_respond.c (from the answer on). Invariants:
 * 1. Only exchange_run changes step; every change is one that the row allows (asserted in debug
 *    builds).
 * 2. Every exchange reaches finish, exactly once; nothing else frees it.
 * 3. head_sent: from then on a fault can only break the message, never make a reply; but a gRPC
 *    call may still get its status behind whole messages (step stream again).
 * 4. fault is the first fault that decided the outcome; later ones are its consequences. */
#include "base/panic.h"
#include "net/tls.h"
#include "proxy/driver.h"
#include "proxy/grpc_reply.h"
#include "proxy/leg_h1.h"
#include "proxy/listener.h"
#include "proxy/passthrough.h"
#include "proxy/preface.h"

#define DL(d) (1u << DEADLINE_##d)
#define TO(s) (1u << STEP_##s)

/* The table. A row: the step, its function step_NAME, where STEP_NEXT goes; the configured
 * deadlines that apply; every step that may follow. */
/* clang-format off */
#define STEPS(ROW)                                                                                 \
    ROW(READ_HEAD, read_head, ADMIT,                                                               \
        DL(CLIENT_HEAD), TO(ADMIT) | TO(REPLY) | TO(FINISH))                                       \
    ROW(ADMIT, admit, ROUTE,                                                                       \
        0, TO(ROUTE) | TO(REPLY) | TO(FINISH))                                                     \
    ROW(ROUTE, route, ACCESS,                                                                      \
        0, TO(ACCESS) | TO(REPLY) | TO(FINISH))                                                    \
    ROW(ACCESS, access, LOOKUP,                                                                    \
        DL(EXCHANGE), TO(LOOKUP) | TO(REPLY) | TO(FINISH))                                         \
    ROW(LOOKUP, lookup, ATTEMPT,                                                                   \
        DL(EXCHANGE), TO(ATTEMPT) | TO(REPLY) | TO(FINISH))                                        \
    ROW(ATTEMPT, attempt, RESPOND,                                                                 \
        DL(POOL_WAIT) | DL(CONNECT) | DL(UPSTREAM_SEND) | DL(CLIENT_BODY) | DL(FIRST_BYTE)         \
            | DL(CALL_IDLE) | DL(EXCHANGE), TO(RESPOND) | TO(REPLY) | TO(FINISH))                  \
    ROW(RESPOND, respond, STREAM,                                                                  \
        DL(EXCHANGE), TO(ATTEMPT) | TO(STREAM) | TO(TUNNEL) | TO(REPLY) | TO(FINISH))              \
    ROW(STREAM, stream, FINISH,                                                                    \
        DL(CLIENT_BODY) | DL(CLIENT_SEND) | DL(UPSTREAM_SEND) | DL(RESPONSE_IDLE) | DL(CALL_IDLE)  \
            | DL(EXCHANGE), TO(STREAM) | TO(FINISH))                                               \
    ROW(REPLY, reply, FINISH,                                                                      \
        DL(CLIENT_BODY) | DL(CLIENT_SEND) | DL(EXCHANGE), TO(FINISH))                              \
    ROW(TUNNEL, tunnel, FINISH,                                                                    \
        DL(TUNNEL_IDLE), TO(FINISH))                                                               \
    ROW(FINISH, finish, FINISH,                                                                    \
        0, 0)
/* clang-format on */

struct step_row {
    const char *name;
    uint32_t deadlines, allowed;
};

#define AS_ROW(id, name, next, deadlines, allowed) [STEP_##id] = {#name, deadlines, allowed},
static const struct step_row rows[STEP_COUNT] = {STEPS(AS_ROW)};

/* Runs the present step; *next is where its row goes from there. A switch, so that the compiler can
 * join the steps with the driver. */
static inline enum step_verdict run_step(struct exchange *x, enum step *next)
{
#define AS_CASE(id, name, to, deadlines, allowed)                                                  \
    case STEP_##id:                                                                                \
        *next = STEP_##to;                                                                         \
        return step_##name(x);
    switch ((enum step) x->step) {
        STEPS(AS_CASE)
    case STEP_COUNT:
        break;
    }
    panic("no such step: %u", x->step);
}

static const char *const deadline_names[DEADLINE_COUNT] = {
    [DEADLINE_CLIENT_HEAD] = "client_head",     [DEADLINE_CLIENT_BODY] = "client_body",
    [DEADLINE_CLIENT_SEND] = "client_send",     [DEADLINE_KEEPALIVE] = "keepalive",
    [DEADLINE_CONNECT] = "connect_timeout",     [DEADLINE_POOL_WAIT] = "pool_wait",
    [DEADLINE_FIRST_BYTE] = "first_byte",       [DEADLINE_RESPONSE_IDLE] = "response_idle",
    [DEADLINE_UPSTREAM_SEND] = "upstream_send", [DEADLINE_EXCHANGE] = "exchange",
    [DEADLINE_TUNNEL_IDLE] = "tunnel_idle",     [DEADLINE_CALL_IDLE] = "call_idle",
};

const char *step_name(enum step s)
{
    return rows[s].name;
}

uint32_t step_deadlines(enum step s)
{
    return rows[s].deadlines;
}

uint32_t step_allowed(enum step s)
{
    return rows[s].allowed;
}

const char *deadline_name(enum deadline d)
{
    return deadline_names[d];
}

/* Most jumps of one run, then the others get their turn. Where STEP_NEXT goes is always further
 * down the table. */
#define RUN_JUMPS 16

static inline void enter(struct exchange *x, enum step next)
{
    debug_must(rows[x->step].allowed & (1u << next));
    x->step = (uint8_t) next;
}

/* What a panic in a run says. */
static const char *running_step(const void *of)
{
    const struct exchange *x = of;
    if (x->step == STEP_ATTEMPT && x->attempt)
        return attempt_step_name((enum attempt_step) x->attempt->step);
    return x->step < STEP_COUNT ? rows[x->step].name : NULL;
}

/* Somebody reads what the client sends, and will find its end there: not while hooks look at an
 * answer, nor before a reply is whole, which a callback may be making. */
static bool request_read(const struct exchange *x)
{
    bool pumped = x->request.state == PUMP_COPY || x->request.state == PUMP_SPLICE;
    if (x->request_done || x->step == STEP_RESPOND)
        return false;
    return x->step == STEP_REPLY ? x->response_done
                                 : pumped && !x->request.held_up && !list_linked(&x->memory_node);
}

/* Who only ended its sending side: that is handed on where bytes are passed through, and may be
 * allowed; in the middle of its request it still hears an answer that has begun. */
static bool half_close_ends(const struct exchange *x)
{
    return x->kind != EXCHANGE_CONNECTION && !x->plan->settings->client_half_close &&
           (x->request_done || !x->head_sent);
}

/* The client went away and nothing of its request is being read: an abort. */
static bool client_left(const struct exchange *x)
{
    if (!x->client_watch || !x->client->ops->gone(x->client, true) || request_read(x))
        return false;
    return half_close_ends(x) || x->client->ops->gone(x->client, false);
}

/* What stops any step: a deadline, a client that went away, the end of a graceful stop.
 * Answers whether a jump was made. */
static bool interrupted(struct exchange *x, usec_t now)
{
    enum fault f = FAULT_OK;
    if (x->pending != FAULT_OK)
        f = x->pending;
    else if (now >= x->deadline)
        f = deadlines_expired(x);
    if (f == FAULT_OK && client_left(x))
        f = FAULT_CLIENT_GONE;
    if (f == FAULT_OK || x->step == STEP_FINISH)
        return false;
    x->hook_at = 0;
    if (attempt_timed_out(x, f)) {
        x->pending = FAULT_OK;
        enter(x, STEP_RESPOND);
        return true;
    }
    enter(x, step_fail(x, f) == STEP_JUMP ? x->jump : STEP_FINISH);
    return true;
}

/* The driver: the only place that runs steps. The common ways of all steps are joined into it; what
 * needs an array or the address of a local, and few requests take, is kept out by noinline where it
 * is defined: else each run would pay for its room and its guard. */
static void exchange_run(struct task *t)
{
    struct exchange *x = list_entry(t, struct exchange, task);
    must(x->magic == EXCHANGE_MAGIC);
    usec_t now = loop_now(x->worker->loop);
    /* A turn has one time: only the step that waited for this run takes any. */
    x->step_us[x->step] += now - x->now;
    x->now = now;
    panic_subject(running_step, x);
    enum step began = x->step;
    int jumps = interrupted(x, now);
    enum step_verdict v = STEP_NEXT;
    while (jumps < RUN_JUMPS) {
        enum step next;
        v = run_step(x, &next);
        if (__builtin_expect(v == STEP_NEXT, 1)) {
            enter(x, next);
        } else if (v == STEP_JUMP) {
            x->hook_at = 0; /* the hooks that stopped here are done with */
            enter(x, x->jump);
            jumps++;
        } else {
            break;
        }
    }
    panic_subject(NULL, NULL);
    if (v == STEP_DONE)
        return;
    if (jumps || x->step != began)
        x->step_since = now;
    if (v != STEP_WAIT || client_left(x))
        exchange_wake(x); /* more to do; or it left before this step began: no event will say so */
    if (v == STEP_WAIT)
        deadlines_arm(x);
}

void exchange_wake(struct exchange *x)
{
    must(x->magic == EXCHANGE_MAGIC);
    loop_queue(x->worker->loop, &x->task);
}

void exchange_fail(struct exchange *x, enum fault f)
{
    x->pending = (uint8_t) f;
}

enum step_verdict step_jump(struct exchange *x, enum step to)
{
    x->jump = (uint8_t) to;
    return STEP_JUMP;
}

/* After the reply to f the client may go on: its head was understood, nothing of its own was wrong,
 * and what is left of its body can be dropped. An upstream's trouble is not its client's. */
static bool client_in_step(const struct exchange *x, enum fault f)
{
    if (x->step == STEP_READ_HEAD || x->in->method_id == METHOD_CONNECT)
        return false;
    switch (f) {
    case FAULT_NO_ROUTE:
    case FAULT_NO_METHOD:
    case FAULT_DENIED:
    case FAULT_MATCH_LIMIT:
    case FAULT_HOOK:
    case FAULT_REWRITE:
        return true;
    default:
        return fault_row(f)->side == FAULT_SIDE_UPSTREAM;
    }
}

enum step_verdict step_fail(struct exchange *x, enum fault f)
{
    if (x->fault == FAULT_OK) {
        x->fault = f;
        counter_add(&x->worker->stats->faults[f], 1);
    }
    x->pending = FAULT_OK;
    bool reply = x->kind == EXCHANGE_REQUEST && !x->head_sent && x->step != STEP_REPLY &&
                 fault_row(f)->status != 0;
    if (x->kind == EXCHANGE_CONNECTION)
        passthrough_refuse(x, f);
    if (!reply || !client_in_step(x, f))
        x->client_keep = false;
    if (!reply)
        return step_jump(x, x->step == STEP_STREAM && grpc_end(x, f) ? STEP_STREAM : STEP_FINISH);
    if (x->attempt)
        attempt_end(x->attempt, false, f);
    pump_stop(&x->request, x);
    pump_stop(&x->response_pump, x);
    x->hook_at = 0;
    if (hooks_run(x, ON_FAULT) != HOOK_REPLY)
        reply_fault(x, f);
    return step_jump(x, STEP_REPLY);
}

/* Enough for the largest limits.target and limits.fields; what is large is charged. */
#define EXCHANGE_ARENA_MAX (16u * 1024 * 1024)

struct exchange *exchange_new(struct worker *w, struct snapshot *s)
{
    struct exchange *x = pool_get(&w->exchanges);
    if (!x)
        return NULL;
    size_t door = 2 * (sizeof(struct block) + BLOCK_BYTES);
    if (!mem_charge(&w->account, door)) {
        pool_put(&w->exchanges, x);
        return NULL;
    }
    memset(x, 0, sizeof(*x));
    x->magic = EXCHANGE_MAGIC;
    x->worker = w;
    x->reserved = door;
    x->task.run = exchange_run;
    x->deadline = USEC_NEVER;
    x->started = x->step_since = x->now = loop_now(w->loop);
    x->started_wall = loop_wall(w->loop);
    arena_init_in(&x->arena, &w->chunks, EXCHANGE_ARENA_MAX, (char *) x + EXCHANGE_OFFSET,
                  EXCHANGE_ROOM);
    x->snapshot = s;
    snapshot_use(s, w->index);
    x->route = s->fallback;
    x->plan = s->fallback->plan;
    x->in = &x->request_head;
    list_push_back(&w->exchange_list, &x->node);
    counter_add(&w->stats->exchanges_open, 1);
    return x;
}

void exchange_discard(struct exchange *x)
{
    struct worker *w = x->worker;
    loop_unqueue(&x->task);
    list_unlink(&x->node);
    counter_sub(&w->stats->exchanges_open, 1);
    list_remove(&x->memory_node);
    exchange_abandon(x);
    chain_clear(&x->replay, &w->buffers);
    arena_fini(&x->arena);
    block_unref(x->in_block);
    block_unref(x->response_block);
    if (x->snapshot)
        snapshot_unuse(x->snapshot, w->index);
    else
        route_unref(x->route); /* of a tunnel */
    mem_credit(&w->account, x->reserved);
    x->magic = 0;
    pool_put(&w->exchanges, x);
    worker_check_drained(w);
}

struct exchange *exchange_of(struct session *s)
{
    struct worker *w = s->worker;
    struct exchange *x = exchange_new(w, w->snapshot);
    if (!x)
        return NULL;
    x->listener = &s->listener->spec;
    x->scheme = s->conn.ops == &conn_tls || preface_told_tls(s) ? STR("https") : STR("http");
    if (x->scheme.n == 5 && s->listener->now)
        x->hsts = s->listener->now->hsts; /* of the snapshot that x uses */
    x->session = s;
    x->peer_ip = x->client_ip = s->peer_ip; /* until the head tells more */
    x->peer_port = s->peer_port;
    x->peer_unix = s->peer_unix;
    return x;
}

bool exchange_open(struct session *s)
{
    struct exchange *x = exchange_of(s);
    if (!x)
        return false;
    x->timer = &s->timer;
    x->client = leg_h1_client(x, s);
    if (!x->client) {
        exchange_discard(x);
        return false;
    }
    session_busy(s, x);
    exchange_wake(x);
    return true;
}

uint16_t exchange_status(const struct exchange *x)
{
    return x->head_sent && x->response ? x->response->status : 0;
}
