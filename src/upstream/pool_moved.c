/* SPDX-License-Identifier: Apache-2.0 */
/* pool_moved: see moved.h. Whom a link is connected to is asked of the kernel, and only when its
 * endpoint has lost an address since: a link need not keep it. */
#include "base/panic.h"
#include "net/sock.h"
#include "upstream/pool_inside.h"

bool link_strayed(struct link *l)
{
    struct endpoint *e = l->pool->endpoint;
    uint32_t moves = atomic_load(&e->moves);
    struct addr peer;
    if (l->moves == moves)
        return false;
    must(!l->conn.connecting);
    l->moves = moves;
    return sock_peer(conn_fd(&l->conn), &peer) && !endpoint_has_addr(e, &peer);
}

void pool_leave_moved(struct link_pool *p)
{
    uint32_t moves = atomic_load(&p->endpoint->moves);
    struct list *const unused[] = {&p->idle, &p->probing};
    if (p->moves == moves)
        return;
    p->moves = moves;
    list_each(it, &p->lent) {
        struct link *l = list_entry(it, struct link, node);
        if (link_strayed(l))
            pool_share_stop(l, EVICT_MOVED);
    }
    bool serving = p->serving;
    p->serving = true; /* as it could take the next link away */
    for (size_t i = 0; i < 2; i++) {
        list_each_safe(it, unused[i]) {
            struct link *l = list_entry(it, struct link, node);
            if (link_strayed(l))
                link_evict(l, EVICT_MOVED, false);
        }
    }
    p->serving = serving;
    if (pool_limited(p))
        pool_serve(p);
}
