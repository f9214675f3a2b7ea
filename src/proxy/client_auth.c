/* SPDX-License-Identifier: Apache-2.0 */
/* client_auth.c: see client_auth.h. Holds no state. */
#include "proxy/client_auth.h"

#include "net/tls.h"
#include "proxy/session.h"

enum fault client_auth(struct exchange *x)
{
    const struct conn *c = &x->session->conn;
    struct tls_info info;
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
