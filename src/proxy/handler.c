/* SPDX-License-Identifier: Apache-2.0 */
/* handler.c: see handler.h. */
#include "proxy/handler.h"

#include "proxy/driver.h"

static bool invite(struct exchange *x)
{
    if (!exchange_unasked(x) || x->head_sent)
        return true; /* behind the answer's head an interim one would be part of its body */
    struct head go = {.status = 100, .reason = STR("Continue"), .major = 1, .minor = 1};
    fields_init(&go.fields, &x->arena);
    x->continues++;
    return x->client->ops->write_interim(x->client, &go) == FAULT_OK;
}

enum io handler_read(struct exchange *x, void *to, size_t n, size_t *got)
{
    struct chain in = {0};
    *got = 0;
    if (x->request_done)
        return IO_EOF;
    if (!invite(x))
        return IO_ERR;
    enum io io = x->client->ops->read_block(x->client, &in, n);
    *got = chain_peek(&in, to, n);
    x->request.bytes += in.bytes;
    chain_clear(&in, &x->worker->buffers);
    leg_taken(x->client, 0, 0);
    uint64_t most = x->plan->settings->limits.body;
    if (most && x->request.bytes > most) {
        exchange_fail(x, FAULT_REQ_BODY_LARGE);
        return IO_ERR;
    }
    if (io == IO_EOF)
        x->request_done = true;
    if (io == IO_ERR)
        exchange_fail(x, x->client->fault);
    return io;
}
