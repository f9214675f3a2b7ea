/* SPDX-License-Identifier: Apache-2.0 */
/* exchange: one request and its response. exchange.c opens with the table of steps and the one
 * driver; everything that waits calls exchange_wake. Owned by its worker, used on its thread
 * only (but exchange_resume). Never freed by a step: finish is the one end. */
#ifndef WEIR_PROXY_EXCHANGE_H
#define WEIR_PROXY_EXCHANGE_H

#include "base/arena.h"
#include "http/head.h"
#include "net/addr.h"
#include "net/loop.h"
#include "proxy/attempt.h"
#include "proxy/leg.h"
#include "proxy/pump.h"
#include "proxy/reply.h"
#include "proxy/route.h"
#include "proxy/snapshot.h"

/* Steps in order of the happy path; rows in exchange.c. */
enum step {
    STEP_READ_HEAD,
    STEP_ADMIT,
    STEP_ROUTE,
    STEP_ACCESS,
    STEP_LOOKUP,
    STEP_ATTEMPT,
    STEP_RESPOND,
    STEP_STREAM,
    STEP_REPLY,
    STEP_TUNNEL,
    STEP_FINISH,
    STEP_COUNT
};

/* Configured deadlines a step is under; names as in timeouts. */
enum deadline {
    DEADLINE_CLIENT_HEAD,
    DEADLINE_CLIENT_BODY,
    DEADLINE_CLIENT_SEND,
    DEADLINE_KEEPALIVE,
    DEADLINE_CONNECT,
    DEADLINE_POOL_WAIT,
    DEADLINE_FIRST_BYTE,
    DEADLINE_RESPONSE_IDLE,
    DEADLINE_UPSTREAM_SEND,
    DEADLINE_EXCHANGE,
    DEADLINE_TUNNEL_IDLE,
    DEADLINE_CALL_IDLE,
    DEADLINE_COUNT
};

/* What is exchanged. */
enum exchange_kind {
    EXCHANGE_REQUEST,    /* a request and its response */
    EXCHANGE_CONNECTION, /* bytes, by a passthrough route: no head is read or written */
};

/* The PROXY header that its links begin with. */
enum exchange_announce {
    ANNOUNCE_AS_UPSTREAM, /* as the upstream's proxy_protocol says */
    ANNOUNCE_NOTHING,     /* none: a fetch that asked for that */
};

#define EXCHANGE_MAGIC 0x57585831u

struct exchange {
    struct task task; /* in the run queue: exchange_run. First, so that both have one address */
    uint32_t magic;
    uint8_t step;    /* enum step */
    uint8_t jump;    /* enum step: where STEP_JUMP goes */
    uint8_t pending; /* enum fault noted by exchange_fail, acted on by the next run */
    uint8_t kind;    /* enum exchange_kind */
    uint8_t hook_at; /* next hook of the list being run: where WAIT resumes */
    uint8_t grpc;    /* enum grpc_kind: what the request is a call of */
    /* eight at most, each with its invariant */
    bool head_sent : 1;     /* a final head was queued to the client: no reply is possible now */
    bool request_done : 1;  /* the client's message was read to its end */
    bool response_done : 1; /* the upstream's message was read to its end */
    bool client_keep : 1;   /* the client connection may serve another request after this one */
    bool from_weir : 1;     /* the response is a reply made here */
    bool client_watch : 1;  /* a client that ends its side now ends the exchange */

    struct worker *worker;
    struct snapshot *snapshot; /* one use */
    /* of snapshot (a tunnel: one reference); snapshot->fallback before and without a match */
    struct route *route;
    const struct plan *plan; /* of route */
    const struct listener_spec *listener;
    struct str scheme;   /* of the client's connection: http or https; empty: a fetch */
    struct str hsts;     /* Strict-Transport-Security for the answer; empty: none */
    struct timer *timer; /* of the session or fetch */
    struct arena arena;

    struct leg *client;      /* for the whole life; NULL only after finish */
    struct head *in;         /* what the client sent: const to hooks */
    struct head *out;        /* what goes upstream in this attempt: mutable in on_send */
    struct head *response;   /* what goes to the client: mutable in on_response_head */
    struct attempt *attempt; /* the newest; earlier ones by attempt->prev; NULL: none */
    uint32_t n_attempts;
    uint8_t retry_refused;                   /* enum retry_refused */
    uint32_t interims;                       /* 1xx answers seen */
    uint32_t continues;                      /* 100 sent, theirs or ours: the body may come */
    struct pump request;                     /* client -> upstream */
    struct pump response_pump;               /* upstream -> client */
    struct reply reply;                      /* filled before STEP_REPLY */
    enum fault fault;                        /* the first that decided the outcome; FAULT_OK */
    unsigned char *slots;                    /* per-exchange state of features, plan->slots_bytes */
    struct block *in_block, *response_block; /* what the first heads' views point into, or NULL */

    struct ip peer_ip;     /* of the connection (or of PROXY protocol); zeros on unix sockets */
    uint16_t peer_port;    /* 0 on unix sockets */
    bool peer_unix;        /* the peer came by a unix socket */
    struct ip client_ip;   /* the one derived address: used by logs, limits, hashing, rules alike */
    bool peer_trusted;     /* peer is a trusted proxy */
    uint8_t announce;      /* enum exchange_announce */
    uint16_t route_tag;    /* of route; 0 before a match */
    struct str request_id; /* set by the request_id feature, json_plain; empty: none */
    struct str identity;   /* verified identity; empty: none */
    struct str allow;      /* methods for a 405 */

    usec_t started;                   /* first byte of the request */
    int64_t started_wall;             /* the same, us since 1970 */
    usec_t step_since;                /* when the present step was entered; as of the last run */
    usec_t now;                       /* of the run (loop_now); between two, of the last one */
    usec_t step_us[STEP_COUNT];       /* time spent in each step, up to the last run */
    usec_t time_limit;                /* that the client set (grpc-timeout); 0: none */
    usec_t deadline;                  /* earliest armed deadline; USEC_NEVER: none */
    size_t reserved;                  /* bytes charged at the door: a block for each direction */
    uint32_t discarded;               /* request body bytes dropped after the answer */
    struct chain replay;              /* request body bytes kept for one more attempt */
    struct list_node memory_node;     /* in worker->memory_waiters while waiting for a block */
    struct list_node node;            /* in worker->exchange_list */
    struct exchange_ticket *ticket;   /* outstanding exchange_suspend; NULL: none */
    struct session *session;          /* the client's connection; NULL for a fetch */
    struct endpoint *forced_endpoint; /* of a check: asked whatever its state; NULL: choose */
    struct route *forced_route;       /* of a fetch: taken instead of asking the router */
    void *owner;                      /* fetch, or the library's object */
    /* What in, response and attempt begin as: none of them needs memory of its own. */
    struct head request_head, response_head;
    struct attempt first_attempt;
};

/* Queues x to run this turn; the only way in for sockets, timers, pools and hooks (worker
 * thread). */
void exchange_wake(struct exchange *x);
/* A ticket by which another thread may wake a suspended exchange, valid even after x ended.
 * Taken on the worker's thread by a hook before it answers WAIT. */
struct exchange_ticket *exchange_suspend(struct exchange *x);
/* Any thread: wakes the exchange if it is still there, frees the ticket. */
void exchange_resume(struct exchange_ticket *t);
/* The per-exchange slot of feature number i of the set. */
static inline void *exchange_slot(struct exchange *x, uint32_t i)
{
    return x->slots + x->plan->slots[i];
}
/* A matched route's slots, and what it says of the head alone: the slashes of the path, CONNECT,
 * the length of the body. Also for a dry run. */
enum fault exchange_take_route(struct exchange *x, struct routed to) FAULT_CHECKED;
/* Ends x with f at its next run (exchange_wake): a reply while nothing was sent, else a broken
 * message. */
void exchange_fail(struct exchange *x, enum fault f);
/* Name of a step, as in logs, diagrams and panics. */
const char *step_name(enum step s);
/* The row's deadlines: bits of enum deadline. */
uint32_t step_deadlines(enum step s);
/* The row's allowed next steps: bits of enum step. */
uint32_t step_allowed(enum step s);
/* Name of a deadline as in the configuration. */
const char *deadline_name(enum deadline d);
/* Status that the client got (or would have got): 0 when none. */
uint16_t exchange_status(const struct exchange *x);

#endif
