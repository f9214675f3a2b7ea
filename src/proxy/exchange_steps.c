/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_steps: the steps of an exchange up to the attempt; what follows is in
 * exchange_respond.c. Each says when it is entered and how it is left. */
#include <stdio.h>

#include "http/grpc.h"
#include "http/url.h"
#include "net/tls.h"
#include "proxy/client_auth.h"
#include "proxy/client_ip.h"
#include "proxy/driver.h"
#include "proxy/hop.h"
#include "proxy/listener.h"
#include "proxy/passthrough.h"
#include "proxy/session.h"

/* We come here with a client that sent its first byte. We leave with a whole head in
 * x->in, or with the fault that its bytes are. */
enum step_verdict step_read_head(struct exchange *x)
{
    if (x->kind == EXCHANGE_CONNECTION)
        return STEP_NEXT; /* passthrough_open has filled it */
    switch (x->client->ops->read_head(x->client, x->in)) {
    case IO_OK:
        x->client_keep = x->in->keep_alive && !(x->session && x->session->listener->closing);
        return STEP_NEXT;
    case IO_AGAIN:
        if (x->client->bytes_in || list_linked(&x->memory_node))
            return STEP_WAIT;
        x->request_done = x->client_keep = true; /* nothing was there: idle again */
        return step_jump(x, STEP_FINISH);
    case IO_EOF:
        return step_jump(x, STEP_FINISH);
    case IO_ERR:
        break;
    }
    return step_fail(x, x->client->fault);
}

/* A request for a host whose connections are passed through, on one that was not: a client took it
 * for the same server because of its certificate (RFC 9110 7.4). */
static bool misdirected(const struct exchange *x)
{
    return x->session && x->session->passthrough && x->kind == EXCHANGE_REQUEST &&
           passthrough_takes(x->snapshot, x->in->host);
}

/* What came before the handshake was over goes on only when asking twice does no harm, for so it
 * may come (RFC 8470 4); else the client is told to ask again, and then it is over. */
static __attribute__((noinline)) enum fault admit_tls(struct exchange *x)
{
    enum fault f = client_auth(x);
    if (f != FAULT_OK || __builtin_expect(!conn_tls_early(&x->session->conn), 1))
        return f;
    x->in->early = true;
    counter_add(&x->worker->stats->early_requests, 1);
    return method_safe(x->in->method_id) && !x->in->upgrade.n ? FAULT_OK : FAULT_REQ_TOO_EARLY;
}

bool exchange_peer_trusted(const struct exchange *x)
{
    const struct snapshot *s = x->snapshot;
    return x->peer_unix ? s->trust_unix : s->n_trusted && client_ip_trusted(s, x->peer_ip);
}

/* We come here with a head that is well-formed. We leave when who is asking is known and the
 * rules that hold for every route are met. */
enum step_verdict step_admit(struct exchange *x)
{
    const struct snapshot *s = x->snapshot;
    x->peer_trusted = exchange_peer_trusted(x);
    if (x->peer_trusted)
        x->client_ip = client_ip_derive(s, x->peer_ip, true, &x->in->fields);
    x->client_watch = true;
    x->grpc = (uint8_t) grpc_kind(x->in, NULL);
    if (x->grpc != GRPC_NONE)
        x->time_limit = grpc_timeout(x->in);
    x->request_done = x->in->body == BODY_NONE || (x->in->body == BODY_LENGTH && !x->in->length);
    if (x->listener && x->in->target_form == TARGET_ABSOLUTE && !str_ieq(x->in->scheme, x->scheme))
        return step_fail(x, FAULT_REQ_MISDIRECTED);
    /* Over TLS alone: who is there, and for which host. */
    enum fault f = x->session && x->session->conn.transport ? admit_tls(x) : FAULT_OK;
    if (f == FAULT_OK && misdirected(x))
        f = FAULT_REQ_MISDIRECTED;
    if (f != FAULT_OK)
        return step_fail(x, f);
    bool options = x->in->method_id == METHOD_OPTIONS;
    if ((options || x->in->method_id == METHOD_TRACE) && hop_max_forwards(x)) {
        reply_init(x, options ? 200 : 405);
        if (!options && !fields_add_id(&x->reply.fields, FIELD_ALLOW, STR("OPTIONS")))
            return step_fail(x, FAULT_MEMORY);
        x->reply.close = x->in->body != BODY_NONE;
        return step_jump(x, STEP_REPLY);
    }
    return STEP_NEXT;
}

/* The name that the client asked for by TLS, where routes match it: in lower case and without the
 * dot at its end, as rules are written. False: memory. */
static bool note_sni(struct exchange *x)
{
    struct tls_info tls;
    if (!x->snapshot->asks_sni || !x->session || !conn_tls_info(&x->session->conn, &tls))
        return true;
    size_t n = tls.sni.n - (tls.sni.n > 1 && tls.sni.p[tls.sni.n - 1] == '.');
    char *low = arena_alloc(&x->arena, n + 1);
    for (size_t i = 0; low && i < n; i++)
        low[i] = str_lower(tls.sni.p[i]);
    x->in->sni = str_of(low, low ? n : 0);
    return low != NULL;
}

enum fault exchange_take_route(struct exchange *x, struct routed to)
{
    x->route = to.route;
    x->plan = to.plan;
    x->route_tag = to.tag;
    if (to.plan->slots_bytes) {
        x->slots = arena_zalloc(&x->arena, to.plan->slots_bytes);
        if (!x->slots)
            return FAULT_MEMORY;
    }
    const struct settings_conf *c = to.plan->settings;
    if (c->slashes != SLASH_KEEP && x->kind == EXCHANGE_REQUEST) {
        enum fault f = path_slashes(&x->in->path, &x->arena, (enum slash_policy) c->slashes);
        if (f != FAULT_OK)
            return f;
    }
    if (x->in->method_id == METHOD_CONNECT && !c->allow_connect)
        return FAULT_REQ_CONNECT;
    if (c->limits.body && x->in->body == BODY_LENGTH && x->in->length > c->limits.body)
        return FAULT_REQ_BODY_LARGE;
    return FAULT_OK;
}

/* The listener only sends elsewhere, and there is somewhere. */
static bool goes_https(const struct exchange *x)
{
    const struct head *in = x->in;
    bool usual = in->target_form == TARGET_ORIGIN || in->target_form == TARGET_ABSOLUTE;
    return usual && in->host.n && !str_eq(x->scheme, STR("https")) &&
           !str_starts(in->path, STR("/.well-known/acme-challenge/"));
}

/* The same URL by https (RFC 9110 15.4.9: the method stays). */
static __attribute__((noinline)) enum step_verdict to_https(struct exchange *x, unsigned port)
{
    const struct head *in = x->in;
    char colon[8] = "";
    if (port != 443)
        snprintf(colon, sizeof colon, ":%u", port);
    struct str to = arena_printf(&x->arena, "https://%.*s%s%.*s%s%.*s", STR_ARG(in->host), colon,
                                 STR_ARG(in->path), in->has_query ? "?" : "", STR_ARG(in->query));
    enum fault f = exchange_take_route(x, routed(x->snapshot->fallback));
    reply_init(x, 308);
    if (f == FAULT_OK && (!to.p || !fields_add_id(&x->reply.fields, FIELD_LOCATION, to)))
        f = FAULT_MEMORY;
    return f == FAULT_OK ? step_jump(x, STEP_REPLY) : step_fail(x, f);
}

/* The route of the request; none: x->pending says why. */
static __attribute__((noinline)) struct routed find_route(struct exchange *x)
{
    enum fault f = FAULT_MEMORY;
    struct routed to = routed(NULL);
    if (note_sni(x))
        to = snapshot_route(x->snapshot, x->in, &x->arena, &f, &x->allow);
    if (!to.route)
        exchange_fail(x, f);
    return to;
}

static inline enum step_verdict take(struct exchange *x, struct routed to)
{
    enum fault f = exchange_take_route(x, to);
    return f == FAULT_OK ? STEP_NEXT : step_fail(x, f);
}

/* No rule takes the request: x->pending says so, unless there is more to say against it. */
static __attribute__((noinline)) enum step_verdict no_route(struct exchange *x)
{
    enum fault f = exchange_take_route(x, routed(x->snapshot->fallback));
    return step_fail(x, f == FAULT_REQ_CONNECT || f == FAULT_MEMORY ? f : x->pending);
}

/* We come here with an admitted request. We leave with its route, or with the fallback's
 * settings and a fault. */
enum step_verdict step_route(struct exchange *x)
{
    if (x->session && x->session->listener->now &&
        __builtin_expect(x->session->listener->now->conf.redirect_https != 0, 0) && goes_https(x))
        return to_https(x, (unsigned) x->session->listener->now->conf.redirect_https);
    if (__builtin_expect(x->forced_route != NULL, 0))
        return take(x, routed(x->forced_route));
    struct routed to = find_route(x);
    return __builtin_expect(!to.route, 0) ? no_route(x) : take(x, to);
}

/* What a hook that stopped the chain asked for. */
static enum step_verdict after_hook(struct exchange *x, enum hook h)
{
    if (h == HOOK_WAIT)
        return STEP_WAIT;
    if (h == HOOK_REPLY)
        return step_jump(x, STEP_REPLY);
    return step_fail(x, x->pending ? x->pending : FAULT_HOOK);
}

/* We come here with a route and no upstream yet. We leave when every on_access hook has passed. */
enum step_verdict step_access(struct exchange *x)
{
    enum hook h = hooks_run(x, ON_ACCESS);
    return h == HOOK_PASS ? STEP_NEXT : after_hook(x, h);
}

static __attribute__((noinline)) enum step_verdict static_reply(struct exchange *x)
{
    const struct plan *p = x->plan;
    if (p->action == ROUTE_REDIRECT) {
        struct str to;
        enum fault f = redirect_location(&p->redirect, x->in, &x->arena, &to);
        reply_init(x, (uint16_t) p->redirect.status);
        if (f == FAULT_OK && !fields_add_id(&x->reply.fields, FIELD_LOCATION, to))
            f = FAULT_MEMORY;
        if (f != FAULT_OK)
            return step_fail(x, f);
        return step_jump(x, STEP_REPLY);
    }
    if (!reply_text(x, (uint16_t) p->reply.status, p->reply.content_type, p->reply.body))
        return step_fail(x, FAULT_MEMORY);
    const struct str *values = p->reply.headers.items;
    for (size_t i = 0; i < p->reply.headers.n; i++)
        if (!fields_set(&x->reply.fields, p->reply.headers.names[i], values[i]))
            return step_fail(x, FAULT_MEMORY);
    return step_jump(x, STEP_REPLY);
}

/* We come here when access was given. We leave with a reply of our own, or when an upstream
 * is to be asked. */
enum step_verdict step_lookup(struct exchange *x)
{
    enum hook h = hooks_run(x, ON_LOOKUP);
    if (h != HOOK_PASS)
        return after_hook(x, h);
    if (x->plan->action == ROUTE_HANDLER) {
        h = x->plan->handler(x, x->plan->handler_arg);
        return h == HOOK_PASS ? step_jump(x, STEP_REPLY) : after_hook(x, h);
    }
    if (x->plan->action != ROUTE_UPSTREAM)
        return static_reply(x);
    enum fault f = attempt_begin(x);
    return f == FAULT_OK ? STEP_NEXT : step_fail(x, f);
}

/* We come here with a new attempt, or back for the head after an interim one. We leave when the
 * attempt has a head or a fault. */
enum step_verdict step_attempt(struct exchange *x)
{
    return attempt_run(x->attempt);
}
