/* SPDX-License-Identifier: Apache-2.0 */
/* announce: see announce.h. Holds no state. */
#include "proxy/announce.h"

#include "net/sock.h"
#include "net/tls.h"
#include "proxy/preface.h"

/* The ends of the client's connection. False: there is nobody to tell of. */
static bool ends(const struct exchange *x, struct proxy_header *h)
{
    static const struct ip none;
    const struct announced *told = x->session ? x->session->announced : NULL;
    struct addr local;
    bool is_peer = !x->peer_unix && memcmp(&x->client_ip, &x->peer_ip, sizeof(none)) == 0;
    if (!x->session || memcmp(&x->client_ip, &none, sizeof(none)) == 0)
        return false;
    h->source = x->client_ip;
    h->source_port = is_peer ? x->peer_port : 0;
    if (told) {
        h->destination = told->header.destination;
        h->destination_port = told->header.destination_port;
        return true;
    }
    if (sock_local(conn_fd(&x->session->conn), &local) && addr_ip(&local, &h->destination))
        h->destination_port = addr_port(&local);
    else if (ip_is_v4(x->client_ip)) /* unknown, of the same family */
        h->destination = (struct ip){.b = {[10] = 0xff, [11] = 0xff}};
    return true;
}

/* What is known of the client's TLS: of that with Weir, else what it asks of the endpoint. */
static void tls_of(const struct exchange *x, struct proxy_header *h)
{
    struct tls_info tls;
    if (x->in->sni.n)
        h->authority = x->in->sni;
    if (!x->session || !conn_tls_info(&x->session->conn, &tls))
        return;
    h->authority = tls.sni;
    h->alpn = tls.alpn;
    h->ssl = (struct proxy_ssl){.given = true,
                                .client = PROXY_SSL_TLS,
                                .verify = tls.verified ? 0 : 1,
                                .version = tls.version,
                                .cipher = tls.cipher};
    if (tls.verified)
        h->ssl.client |= PROXY_SSL_CERT_CONN | PROXY_SSL_CERT_SESS;
}

static uint8_t number(enum proxy_out version)
{
    return version == PROXY_OUT_V1 ? 1 : 2;
}

size_t announce_self(enum proxy_out version, char out[PROXY_HEADER_MAX])
{
    const struct proxy_header h = {.version = number(version)};
    return proxy_write(&h, out);
}

enum fault announce_client(struct exchange *x, enum proxy_out version, struct str *out)
{
    char bytes[PROXY_HEADER_MAX];
    struct proxy_header h = {0};
    if (x->session && x->session->announced)
        h = x->session->announced->header;
    tls_of(x, &h);
    h.told = ends(x, &h);
    h.version = number(version);
    *out = arena_str(&x->arena, str_of(bytes, proxy_write(&h, bytes)));
    return out->p ? FAULT_OK : FAULT_MEMORY;
}
