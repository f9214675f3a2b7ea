/* SPDX-License-Identifier: Apache-2.0 */
/* client_auth.c: see client_auth.h. Holds no state. */
#include "proxy/client_auth.h"

#include "net/tls.h"
#include "proxy/h2_session.h"
#include "proxy/listener.h"
#include "proxy/session.h"

/* What the listener asks of clients for this host has changed since the connection was made: the
 * client is to make another one, and to prove itself there. */
static bool outdated(struct exchange *x)
{
    struct session *s = x->session;
    const struct listener_spec *l = s->listener->now;
    if (!l || !l->tls || !conn_tls_outdated(&s->conn, l->tls, x->in->host))
        return false;
    x->client_keep = false;
    if (s->state == SESSION_H2)
        h2_session_shutdown(s->h2);
    return true;
}

enum fault client_auth(struct exchange *x)
{
    const struct conn *c = &x->session->conn;
    struct tls_info info;
    if (outdated(x))
        return FAULT_REQ_MISDIRECTED;
    if (!conn_tls_asks(c) || !conn_tls_info(c, &info))
        return FAULT_OK;
    if (info.verified) {
        x->identity = arena_str(&x->arena, info.identity); /* it outlives the connection */
        if (!x->identity.p)
            return FAULT_MEMORY;
    }
    if (!conn_tls_serves(c, x->in->host))
        return FAULT_REQ_MISDIRECTED;
    return info.denied ? FAULT_CLIENT_CERT_DENIED : FAULT_OK;
}
