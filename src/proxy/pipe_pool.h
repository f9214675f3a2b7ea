/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_pool: a worker's pipes for splice(2), charged to its account. Large ones, which take a
 * fifth of the system calls, are few and for those whose reader keeps up: a pipe goes from one to
 * the other as soon as it is empty. Worker thread. Knows neither legs nor exchanges. */
#ifndef WEIR_PROXY_PIPE_POOL_H
#define WEIR_PROXY_PIPE_POOL_H

#include "base/mem.h"
#include "net/conn.h"

#define PIPE_SMALL ((size_t) 64 * 1024)   /* what the kernel gives without a quota */
#define PIPE_LARGE ((size_t) 1024 * 1024) /* the most that it gives to anybody */
#define PIPES_LARGE 16u                   /* open at a time */

struct pipe_pool {
    struct mem_account *account;
    struct pipe_pair *small, *large; /* parked ones */
    uint32_t n_small;                /* parked */
    uint32_t n_large;                /* open, parked or not */
    bool no_large;                   /* the kernel refused one */
};

/* A pipe without a byte in it, of PIPE_LARGE where that is wanted and to be had, else of
 * PIPE_SMALL. NULL: no memory or no fds. */
struct pipe_pair *pipe_take(struct pipe_pool *pp, bool large) __attribute__((warn_unused_result));
/* Gives a pipe back when it is empty, else closes it. */
void pipe_park(struct pipe_pool *pp, struct pipe_pair *p);
/* The bytes in p will stay for a while: a large one gets no larger than they need. */
void pipe_shrink(struct pipe_pool *pp, struct pipe_pair *p);
/* Closes the parked pipes. */
void pipe_pool_fini(struct pipe_pool *pp);

#endif
