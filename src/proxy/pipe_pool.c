/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_pool: see pipe_pool.h. Invariant: the account was charged for the cap of each open pipe. */
#include "proxy/pipe_pool.h"

#define PARKED_SMALL 64u

static bool is_large(const struct pipe_pair *p)
{
    return p->cap > PIPE_SMALL;
}

static void drop(struct pipe_pool *pp, struct pipe_pair *p)
{
    pp->n_large -= is_large(p);
    mem_credit(pp->account, p->cap);
    pipe_close(p);
    mem_free(p);
}

/* Charges for cap bytes and opens a pipe that has them, or fewer. */
static struct pipe_pair *open_one(struct pipe_pool *pp, size_t cap)
{
    if (!mem_charge(pp->account, cap))
        return NULL;
    struct pipe_pair *p = mem_new(sizeof(*p));
    if (!pipe_open(p, cap)) {
        mem_credit(pp->account, cap);
        mem_free(p);
        return NULL;
    }
    if (p->cap < cap)
        mem_credit(pp->account, cap - p->cap);
    return p;
}

static struct pipe_pair *unpark(struct pipe_pair **parked)
{
    struct pipe_pair *p = *parked;
    if (p)
        *parked = p->next;
    return p;
}

struct pipe_pair *pipe_take(struct pipe_pool *pp, bool large)
{
    struct pipe_pair *p = large ? unpark(&pp->large) : NULL;
    if (!p && large && !pp->no_large && pp->n_large < PIPES_LARGE) {
        p = open_one(pp, PIPE_LARGE);
        pp->no_large = p && !is_large(p);
        pp->n_large += p && is_large(p);
    }
    if (!p && (p = unpark(&pp->small)))
        pp->n_small--;
    return p ? p : open_one(pp, PIPE_SMALL);
}

void pipe_park(struct pipe_pool *pp, struct pipe_pair *p)
{
    bool small = !is_large(p);
    struct pipe_pair **parked = small ? &pp->small : &pp->large;
    bool room = small ? pp->n_small < PARKED_SMALL : p->cap == PIPE_LARGE && !pp->large;
    if (p->bytes || !room) {
        drop(pp, p);
        return;
    }
    pp->n_small += small;
    p->next = *parked;
    *parked = p;
}

void pipe_shrink(struct pipe_pool *pp, struct pipe_pair *p)
{
    size_t before = p->cap, fits = PIPE_SMALL;
    while (fits < p->bytes)
        fits *= 2;
    if (fits >= before || !pipe_resize(p, fits))
        return;
    mem_credit(pp->account, before - p->cap);
    pp->n_large -= !is_large(p);
}

void pipe_pool_fini(struct pipe_pool *pp)
{
    struct pipe_pair *p;
    while ((p = unpark(&pp->large)) || (p = unpark(&pp->small)))
        drop(pp, p);
    pp->n_small = 0;
}
