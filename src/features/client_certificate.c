/* SPDX-License-Identifier: Apache-2.0 */
/* client_certificate.c: see client_certificate.h. */
#include "features/client_certificate.h"

#include "features/registry.h"
#include "http/base64.h"
#include "net/tls.h"
#include "proxy/exchange.h"
#include "proxy/session.h"

/* A byte sequence (RFC 9651 3.3.5): base64 between colons. */
static struct str byte_sequence(struct arena *a, struct str bytes)
{
    size_t n = BASE64_SIZE(bytes.n);
    char *to = arena_alloc(a, n + 2);
    if (!to)
        return (struct str){0};
    to[0] = to[n + 1] = ':';
    base64_encode(to + 1, bytes.p, bytes.n);
    return str_of(to, n + 2);
}

/* The views of info end with the connection: copies go on. */
static bool put(struct exchange *x, struct str name, struct str value)
{
    struct str copy = arena_str(&x->arena, value);
    return copy.p && fields_set(&x->out->fields, name, copy);
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot, (void) a;
    const struct client_certificate_conf *conf = x->plan->feature_conf[FEATURE_CLIENT_CERTIFICATE];
    struct tls_info info;
    if (!x->identity.n || !x->session || !conn_tls_info(&x->session->conn, &info) || !info.verified)
        return HOOK_PASS;
    bool good = true;
    if (conf->cert) {
        struct str value = byte_sequence(&x->arena, info.der);
        good = value.p && fields_set(&x->out->fields, STR("X-Client-Cert"), value);
    }
    if (good && conf->dn)
        good = put(x, STR("X-Client-DN"), info.subject);
    if (good && conf->san && info.san.n)
        good = put(x, STR("X-Client-SAN"), info.san);
    if (good)
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

static bool active(const void *route_conf)
{
    const struct client_certificate_conf *conf = route_conf;
    return conf->cert || conf->dn || conf->san;
}

const struct feature feature_client_certificate = {
    .name = "client_certificate",
    .purpose = "Tells the upstream who the client is by its TLS certificate.",
    .conf = &client_certificate_schema,
    .route_scope = true,
    .active = active,
    .on_send = on_send,
};
