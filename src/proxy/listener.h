/* SPDX-License-Identifier: Apache-2.0 */
/* listener: a listening socket of one worker. Accepts as many a turn as seem to wait, pauses when
 * fds or memory run out. Known by its address across snapshots. Worker thread only. */
#ifndef WEIR_PROXY_LISTENER_H
#define WEIR_PROXY_LISTENER_H

#include "proxy/worker.h"

struct listener {
    struct watch watch; /* first */
    struct worker *worker;
    struct str address;              /* owned */
    struct listener_spec spec;       /* its own copy: sessions outlive the snapshot that named it */
    const struct listener_spec *now; /* in the worker's current snapshot; NULL: not named there */
    bool closing;          /* no more accepts; each session answers what it is asked, then ends */
    uint32_t batch;        /* connections to ask for at the next event in a row */
    uint64_t turn;         /* of the last event */
    struct list_node node; /* worker->listeners */
    int fd;                /* also while it is not watched, in a pause */
    struct timer retry;    /* the pause is over */
    uint32_t refs;         /* the worker's and one a session */
    struct listener_gauge *gauge; /* shared by the workers' listeners of this address */
};

/* How many sessions each address has over all workers, so that max_connections is exact. One a
 * process or library instance; lives until all workers are gone. */
struct listener_gauges *listener_gauges_new(void);
/* Frees; no listener may be left. */
void listener_gauges_free(struct listener_gauges *g);

/* Starts accepting on fd; a little later when kernel memory is short. */
struct listener *listener_open(struct worker *w, int fd, struct str address);
/* Points each listener at its spec in the worker's new snapshot; closes those it does not name;
 * true: there were some. */
bool listeners_update(struct worker *w);
/* Stops accepting and closes the socket; freed with the last session. Whoever waits in the queue is
 * let in before, unless a successor does that. */
void listener_close(struct listener *l);
/* One session more. */
void listener_opened_one(struct listener *l);
/* One session less. */
void listener_closed_one(struct listener *l);

#endif
