/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel: bytes both ways after 101 or a CONNECT that was allowed. Holds its route and upstream
 * only, never a snapshot, so that a reload is not kept in memory by a WebSocket. */
#include "proxy/driver.h"

void tunnel_begin(struct exchange *x)
{
    struct attempt *a = x->attempt;
    x->client_watch = false; /* a half-close is passed on, not an abort */
    x->client_keep = false;
    attempt_judge(a); /* not when the tunnel ends, in hours: a breaker waits for its probes */
    route_ref(x->route);
    snapshot_unuse(x->snapshot, x->worker->index);
    x->snapshot = NULL;
    x->listener = NULL;
    if (a->link)
        pool_keep_private(a->link);
    pump_stop(&x->request, x);
    x->request = (struct pump){0};
    x->request_done = x->response_done = false;
    x->client->ops->tunnel(x->client);
    a->leg->ops->tunnel(a->leg);
    pump_start(&x->request, x, DIR_REQUEST, x->client, a->leg);
    pump_start(&x->response_pump, x, DIR_RESPONSE, a->leg, x->client);
}
