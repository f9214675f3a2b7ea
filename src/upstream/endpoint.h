/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint: one address of an upstream and its state across reloads and workers: weight,
 * activity, health, resolved addresses, connection count. Counted; the registry finds it by name.
 * Fields marked atomic are read by all workers; everything else is set at birth or under a lock. It
 * never connects by itself: pools do. */
#ifndef WEIR_UPSTREAM_ENDPOINT_H
#define WEIR_UPSTREAM_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/list.h"
#include "net/addr.h"
#include "upstream/outcome.h"

struct breaker;
struct check;
struct link_pool;
struct endpoint_share;
struct pool_conf;
struct tls_client;
struct upstream_registry;

#define ENDPOINT_ADDRS_MAX 16

/* A set of resolved addresses; read and replaced under the endpoint's lock. */
struct endpoint_addrs {
    uint32_t n;
    struct addr a[ENDPOINT_ADDRS_MAX];
};

/* Why a link left its pool; names in endpoint.c, used as metric labels. */
enum evict_reason {
    EVICT_IDLE,     /* idle_timeout */
    EVICT_LIFETIME, /* max_lifetime */
    EVICT_REQUESTS, /* max_requests */
    EVICT_CLOSED,   /* the endpoint closed it while idle */
    EVICT_READABLE, /* bytes came while idle */
    EVICT_SURPLUS,  /* above max_idle */
    EVICT_ERROR,    /* I/O or framing error, or an abandoned exchange */
    EVICT_NOT_KEPT, /* the response said close, or keepalive is off */
    EVICT_RETIRED,  /* the endpoint left the configuration, or shutdown */
    EVICT_PROBE,    /* a probe failed */
    EVICT_GOAWAY,   /* the endpoint said GOAWAY, or allows no stream (HTTP/2) */
    EVICT_MOVED,    /* the endpoint's name does not mean its address any more */
    EVICT_REASONS
};

/* Figures of one endpoint written by one worker. The attempt adds to requests and latency, the pool
 * writes the rest: reused grows when a link is lent again, waits when a request has to queue. */
struct endpoint_stats {
    _Alignas(64) counter_t requests, opens, open_failures, reused, waits, evictions[EVICT_REASONS];
    counter_t failures[BLAMES];                /* ends of attempts, by blame; NONE is not counted */
    counter_t open_now, idle_now, waiting_now; /* gauges */
    counter_t shared_now, loans_now;           /* gauges: HTTP/2 links, requests on them */
    struct histogram latency;                  /* first byte, microseconds */
};

/* Why an endpoint was ejected; names in eject.c, used as metric labels. */
enum eject_reason { EJECT_IN_ROW, EJECT_SHARE, EJECT_DEVIATION, EJECT_REASONS };

/* What its answers made of it (eject.c). */
struct endpoint_passive {
    _Atomic uint32_t in_row; /* failures without an answer between them */
    _Atomic uint32_t ejections[EJECT_REASONS];
    /* Under the registry's lock. */
    usec_t until;           /* while ejected */
    uint32_t times;         /* by which the time grows */
    uint64_t total, failed; /* requests at the last sweep */
};

/* What the state of an endpoint went over to; names in health.c, used as metric labels. */
enum endpoint_change {
    CHANGE_DOWN,
    CHANGE_UP,
    CHANGE_EJECTED,
    CHANGE_RETURNED,
    CHANGE_DRAINED, /* it asked for no new requests */
    CHANGE_UNDRAINED,
    ENDPOINT_CHANGES
};

/* What checks are warned of; names in health.c, used as metric labels. */
enum check_warning { CHECK_SLOW, CHECK_FLAPPING, CHECK_WARNINGS };

/* What health checks found (control/health_check.c). */
struct endpoint_checked {
    _Atomic uint32_t results[2]; /* that failed, that passed */
    _Atomic uint32_t last_us;    /* how long the last one took */
    _Atomic uint32_t lag_us;     /* how much later than planned it began */
    _Atomic uint64_t all_us;     /* how long all of them took */
    _Atomic uint64_t cpu_us;     /* what scripts had of a processor */
    _Atomic uint32_t unmade;     /* that could not be made, which says nothing of the endpoint */
    _Atomic uint32_t warnings[CHECK_WARNINGS];
    /* The main thread's. */
    struct check *by; /* the check of it; NULL: nobody checks */
    char *evidence;   /* of the last one; NULL: none yet */
    char *output;     /* of the last script; NULL: none */
    int64_t at;       /* wall time of its end */
    uint32_t row;     /* results in a row that speak against the present state */
    bool warned[CHECK_WARNINGS];
};

/* What the shares of weight are made of (tune.c); the main thread's. */
struct endpoint_tuning {
    usec_t returned;          /* slow start began; 0: none */
    usec_t reported;          /* when the endpoint last said its share */
    uint32_t feedback;        /* thousandths, by response time */
    uint32_t said;            /* thousandths, by the endpoint itself */
    uint64_t answers, sum_us; /* of all workers, at the last look */
    bool was_fit;
};

struct endpoint {
    /* Set at birth. */
    struct str upstream_name, address;
    bool plain_address;              /* the log may say the address as it is: json_plain */
    struct breaker *_Atomic breaker; /* made when the configuration wants one; NULL: none yet */
    struct upstream_run *run;        /* of the upstream's name */
    uint64_t id;                     /* of both names, the same everywhere */
    struct addr_text text;
    struct upstream_registry *registry;
    struct endpoint_stats *stats;  /* one a worker, each on cache lines of its own */
    struct endpoint_share *shares; /* one a worker, private to the pools */
    struct link_pool **pools;      /* one a worker, made on first use by that worker */
    void *resolve;                 /* the main thread's watch */
    const char *told;              /* the main thread's: the state that subscribers know; or NULL */
    uint32_t told_changes[ENDPOINT_CHANGES]; /* counts at that look; the main thread's */
    /* Read by every worker, written when something changed; by way of the functions below. */
    _Atomic uint32_t weight;              /* thousandths: weight 1 is 1000 */
    _Atomic uint32_t share;               /* thousandths of weight that are in force */
    _Atomic bool up;                      /* what checks say; true at birth */
    _Atomic bool ejected;                 /* what its answers say: no requests for a while */
    _Atomic bool resolve_failed;          /* no address known */
    _Atomic bool retired;                 /* no longer configured: pools close their idle links */
    struct endpoint_addrs *_Atomic addrs; /* NULL until resolved; look inside under lock only */
    _Atomic uint32_t conf_number, moves;  /* grow: *pool was changed; addrs lost one */
    /* Written by all workers, and only where a limit or a balancer needs them. */
    _Alignas(64) _Atomic uint32_t open; /* open or opening links where max_connections is set */
    _Atomic uint32_t waiting;           /* requests in the queue at the limit */
    _Atomic uint32_t idle;  /* permits to idle that workers hold: never above max_idle */
    _Atomic uint32_t turns; /* requests in progress where max_active is set: turn.c */
    _Atomic uint32_t max_active, max_pending; /* as configured last; 0: no limit, nobody waits */
    uint32_t pending;           /* requests that wait for this one alone; under run->queue_lock */
    _Atomic uint32_t next_addr; /* which address to try next */
    _Atomic uint32_t refs;
    _Alignas(64) _Atomic uint32_t active; /* attempts in progress: see balance_ops.counts_active */
    _Atomic uint64_t ewma_us;             /* response time, see ewma.h */
    _Atomic uint32_t changes[ENDPOINT_CHANGES]; /* of its state */
    _Atomic uint32_t reported; /* share that its own answers asked for, thousandths, + 1; 0: none */
    /* Under lock. */
    pthread_mutex_t lock;
    struct pool_conf *pool; /* current settings; copy them by endpoint_pool_conf */
    struct tls_client *tls; /* how it is spoken to; one reference; NULL: without TLS */
    struct list queue;      /* of struct ticket (pool_inside.h): one FIFO over all workers */
    /* Of the registry, under its lock. */
    uint32_t uses;         /* upstreams that name it; 0: retired */
    const void *builder;   /* the upstream that is being built with it */
    uint32_t given_weight; /* as configured last */
    struct endpoint_tuning tuning;
    struct endpoint_passive passive;
    struct endpoint_checked checked;
};

/* It has as many requests in progress as max_active allows. Any thread. */
static inline bool endpoint_full(const struct endpoint *e)
{
    uint32_t most = atomic_load_explicit(&e->max_active, memory_order_relaxed);
    return most && atomic_load(&e->turns) >= most;
}
/* One more reference; any thread. */
struct endpoint *endpoint_ref(struct endpoint *e);
/* One less; the last one frees; any thread, under no lock of this floor. */
void endpoint_unref(struct endpoint *e);
/* Publishes resolved addresses (main thread); n 0 marks resolve_failed when none were known (those
 * known are kept). Pools are told of the first ones, which requests may wait for, and of a loss. */
void endpoint_set_ips(struct endpoint *e, const struct ip *ips, size_t n);
/* The address for the next connect, in turn; false: FAULT_RESOLVE. Any thread. */
bool endpoint_addr(struct endpoint *e, struct addr *out);
/* Copies the settings in force (any thread); probe_path is a copy for mem_free. */
void endpoint_pool_conf(struct endpoint *e, struct pool_conf *out);
/* How TLS is spoken to it now: one reference, or NULL: it is not. Any thread. */
struct tls_client *endpoint_tls(struct endpoint *e);
/* Metric label of a change. */
const char *endpoint_change_name(enum endpoint_change c);
/* Metric label of a warning. */
const char *check_warning_name(enum check_warning w);
/* Metric label of a reason. */
const char *eject_reason_name(enum eject_reason r);
/* Metric label of a reason. */
const char *evict_reason_name(enum evict_reason r);

#endif
