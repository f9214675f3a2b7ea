/* SPDX-License-Identifier: Apache-2.0 */
/* suspend: how a hook hands its exchange to another thread and gets it back. The ticket outlives
 * the exchange: its x is set to NULL when the exchange ends first. Invariants:
 * 1. x->ticket is the one ticket that is out; ticket->x is touched on the worker's thread only.
 * 2. A ticket is freed by the worker when its post arrives, never before. */
#include "proxy/driver.h"

struct exchange_ticket {
    struct post post; /* first */
    struct loop *loop;
    struct exchange *x; /* NULL: it ended */
};

static void ticket_arrived(struct post *p)
{
    struct exchange_ticket *t = (struct exchange_ticket *) (void *) p;
    if (t->x) {
        t->x->ticket = NULL;
        exchange_wake(t->x);
    }
    mem_free(t);
}

struct exchange_ticket *exchange_suspend(struct exchange *x)
{
    if (x->ticket)
        return NULL;
    struct exchange_ticket *t = mem_new(sizeof(*t));
    *t = (struct exchange_ticket){.post.run = ticket_arrived, .loop = x->worker->loop, .x = x};
    x->ticket = t;
    return t;
}

void exchange_resume(struct exchange_ticket *t)
{
    loop_post(t->loop, &t->post);
}

void exchange_abandon(struct exchange *x)
{
    if (x->ticket)
        x->ticket->x = NULL;
    x->ticket = NULL;
}
