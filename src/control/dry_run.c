/* SPDX-License-Identifier: Apache-2.0 */
/* dry_run.c: see dry_run.h.
 * Invariants:
 * 1. The exchange made here is never queued: only functions that look at its values see it, and of
 *    features only those that are marked offline. */
#include "control/dry_run.h"

#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_error.h"
#include "http/url.h"
#include "proxy/client_ip.h"
#include "proxy/grpc_reply.h"
#include "proxy/hop.h"
#include "proxy/worker.h"

struct dry {
    const struct snapshot *s;
    const struct dry_request *r;
    struct arena *a;
    struct dry_result *out;
    struct exchange *x;
    router_trace trace;
    void *trace_arg;
};

/* ---- the request head ---------------------------------------------------------------------- */

static bool has_name(const struct dry_request *r, struct str name)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        if (str_ieq(r->names[i], name))
            return true;
    }
    return false;
}

/* The bytes that a client would send, and the scheme. */
static bool head_text(const struct dry_request *r, struct arena *a, struct str *text,
                      struct str *scheme, struct str *why)
{
    struct url url;
    const char *problem = NULL;
    struct str target = r->url, host = STR("localhost");
    *scheme = STR("http");
    if (str_istarts(r->url, STR("http://")) || str_istarts(r->url, STR("https://"))) {
        if (!url_parse(r->url, &url, &problem)) {
            *why = arena_printf(a, "URL \"%.*s\": %s", STR_ARG(r->url), problem);
            return false;
        }
        struct str path = url.path.n ? url.path : STR("/");
        target = arena_printf(a, "%.*s%s%.*s", STR_ARG(path), url.has_query ? "?" : "",
                              STR_ARG(url.query));
        host = url.authority;
        *scheme = url.scheme;
    }
    *text = arena_printf(a, "%.*s %.*s HTTP/1.1\r\n", STR_ARG(r->method), STR_ARG(target));
    if (!has_name(r, STR("host")))
        *text = arena_printf(a, "%.*sHost: %.*s\r\n", STR_ARG(*text), STR_ARG(host));
    for (size_t i = 0; i < r->n_fields; i++)
        *text = arena_printf(a, "%.*s%.*s: %.*s\r\n", STR_ARG(*text), STR_ARG(r->names[i]),
                             STR_ARG(r->values[i]));
    *text = arena_printf(a, "%.*s\r\n", STR_ARG(*text));
    return true;
}

static bool parse(struct dry *d)
{
    struct str text, scheme;
    struct head *h = &d->out->in;
    size_t scan = 0, skip = 0;
    if (!head_text(d->r, d->a, &text, &scheme, &d->out->why))
        return false;
    /* A line end inside a value would make this more than one head. */
    if (h1_head_end(text.p, text.n, &scan, &skip) != text.n || skip) {
        d->out->why = STR("the request holds a line end");
        return false;
    }
    fields_init(&h->fields, d->a);
    d->out->fault = h1_parse_request(h, d->a, text, scheme, &d->s->request_limits);
    if (str_eq(scheme, STR("https")))
        h->sni = h->host; /* clients ask by TLS for whom they ask by HTTP */
    return true;
}

/* ---- the route ----------------------------------------------------------------------------- */

static void find_route(struct dry *d)
{
    struct dry_result *out = d->out;
    enum fault f = FAULT_NO_ROUTE;
    struct routed to = snapshot_route(d->s, &out->in, d->a, &f, &out->allow);
    /* Told of the path as it was matched in the end. */
    if (d->trace)
        (void) router_explain(d->s->router, &out->in, d->a, d->trace, d->trace_arg);
    out->route = to.route;
    out->fault = exchange_take_route(d->x, to.route ? to : routed(d->s->fallback));
    if (!to.route && out->fault != FAULT_REQ_CONNECT)
        out->fault = f;
}

/* ---- what comes of it ---------------------------------------------------------------------- */

/* One hook of kind; attempt: of ON_SEND. */
static enum hook run_hook(const struct feature *f, enum hook_kind kind, struct exchange *x,
                          void *slot, struct attempt *attempt)
{
    switch (kind) {
    case ON_ACCESS:
        return f->on_access(x, slot);
    case ON_SEND:
        return f->on_send(x, slot, attempt);
    case ON_FAULT:
        return f->on_fault(x, slot, x->fault);
    default:
        return f->on_response_head(x, slot);
    }
}

/* Runs the hooks of kind of features that need no connection. */
static enum fault run_hooks(struct dry *d, enum hook_kind kind, struct attempt *attempt)
{
    struct exchange *x = d->x;
    const struct hook_list *l = &x->plan->hooks[kind];
    for (uint32_t i = 0; i < l->n; i++) {
        const struct feature *f = l->v[i].feature;
        void *slot = x->slots ? x->slots + l->v[i].slot : NULL;
        if (!f->offline)
            continue;
        if (run_hook(f, kind, x, slot, attempt) != HOOK_PASS)
            return x->pending ? (enum fault) x->pending : FAULT_HOOK;
    }
    return FAULT_OK;
}

static void add_reply(struct dry *d, struct str name, struct str value)
{
    must(fields_add(&d->out->reply, name, value));
}

static void own_answer(struct dry *d)
{
    const struct plan *p = d->out->route->plan;
    d->out->fault = run_hooks(d, ON_ACCESS, NULL);
    if (d->out->fault != FAULT_OK)
        return;
    if (p->action == ROUTE_REDIRECT) {
        struct str to;
        d->out->fault = redirect_location(&p->redirect, &d->out->in, d->a, &to);
        d->out->status = (uint16_t) p->redirect.status;
        if (d->out->fault == FAULT_OK)
            add_reply(d, STR("Location"), to);
    } else if (p->action == ROUTE_REPLY) {
        const struct str *values = p->reply.headers.items;
        d->out->status = (uint16_t) p->reply.status;
        if (p->reply.body.n)
            add_reply(d, STR("Content-Type"), p->reply.content_type);
        for (size_t i = 0; i < p->reply.headers.n; i++)
            add_reply(d, p->reply.headers.names[i], values[i]);
    }
}

/* What the engine does to the head of an answer that Weir makes, a fault's too: header rules and
 * the like have their say. */
static void finish_answer(struct dry *d)
{
    struct exchange *x = d->x;
    struct head answer = {.status = d->out->status, .minor = 1};
    /* Why a head was refused is known already. */
    if (!x->plan && exchange_take_route(x, routed(d->s->fallback)) == FAULT_MEMORY)
        return;
    if (d->out->fault != FAULT_OK) {
        x->fault = d->out->fault;
        x->allow = d->out->allow;
        (void) run_hooks(d, ON_FAULT, NULL);
        reply_fault(x, d->out->fault);
        d->out->reply = x->reply.fields;
    }
    answer.fields = d->out->reply;
    x->from_weir = true;
    x->response = &answer;
    if (grpc_reply(x, &answer) != FAULT_OK)
        return;
    d->out->status = answer.status;
    (void) run_hooks(d, ON_RESPONSE_HEAD, NULL); /* it fails for want of memory alone */
    x->response = NULL;
    d->out->reply = answer.fields;
}

static enum fault send_upstream(struct dry *d)
{
    struct exchange *x = d->x;
    const struct upstream *u = x->plan->upstream;
    struct attempt attempt = {.x = x};
    struct str endpoint = u->n_endpoints ? u->endpoints[0]->address : STR("");
    if (u->host.n)
        endpoint = u->host;
    d->out->upstream = u;
    enum fault f = run_hooks(d, ON_ACCESS, &attempt);
    if (f == FAULT_OK)
        f = hop_request(x);
    if (f == FAULT_OK && x->plan->rewrite)
        f = rewrite_apply(x->plan->rewrite, x->out, &x->arena, endpoint);
    if (f == FAULT_OK)
        f = run_hooks(d, ON_SEND, &attempt);
    if (f == FAULT_OK)
        d->out->out = x->out;
    return f;
}

static void go(struct dry *d)
{
    struct dry_result *out = d->out;
    bool by_weir = out->fault == FAULT_OK && hop_max_forwards(d->x);
    bool options = out->in.method_id == METHOD_OPTIONS;
    if (by_weir && !options)
        add_reply(d, STR("Allow"), STR("OPTIONS"));
    if (by_weir)
        out->status = options ? 200 : 405;
    else if (out->fault == FAULT_OK)
        find_route(d);
    if (!by_weir && out->fault == FAULT_OK && out->route->plan->action == ROUTE_UPSTREAM)
        out->fault = send_upstream(d);
    else if (!by_weir && out->fault == FAULT_OK)
        own_answer(d);
    if (out->fault != FAULT_OK)
        out->status = (uint16_t) fault_row(out->fault)->status;
    if (out->status)
        finish_answer(d);
}

bool dry_run(const struct snapshot *s, const struct dry_request *r, struct dry_result *out,
             router_trace trace, void *arg)
{
    struct exchange *x = mem_new(sizeof *x);
    struct dry d = {s, r, &x->arena, out, x, trace, arg};
    *out = (struct dry_result){.fault = FAULT_OK, .x = x};
    arena_init(&x->arena, NULL, SIZE_MAX);
    fields_init(&out->reply, d.a);
    if (!parse(&d))
        return false;
    x->magic = EXCHANGE_MAGIC;
    x->worker = mem_new(sizeof *x->worker);
    x->worker->random = 1;
    x->snapshot = (struct snapshot *) (uintptr_t) s;
    x->in = &out->in;
    x->peer_ip = r->client;
    x->peer_trusted = client_ip_trusted(s, r->client);
    x->client_ip = client_ip_derive(s, x->peer_ip, x->peer_trusted, &out->in.fields);
    out->client_ip = x->client_ip;
    out->client_trusted = x->peer_trusted;
    go(&d);
    return true;
}

void dry_run_fini(struct dry_result *out)
{
    if (!out->x)
        return;
    arena_fini(&out->x->arena);
    mem_free(out->x->worker);
    mem_free(out->x);
    out->x = NULL;
}

struct str dry_target(const struct dry_result *r)
{
    const struct head *h = r->out;
    if (h->target_form == TARGET_AUTHORITY) /* CONNECT */
        return h->authority;
    return arena_printf(&r->x->arena, "%.*s%s%.*s", STR_ARG(h->path), h->has_query ? "?" : "",
                        STR_ARG(h->query));
}

bool dry_field(const struct dry_result *r, struct str name, struct str *value)
{
    const struct fields *f = r->out ? &r->out->fields : &r->reply;
    if (r->out && str_ieq(name, STR("host"))) {
        *value = r->out->authority;
        return true;
    }
    const struct field *one = fields_get(f, name);
    if (one)
        *value = one->value;
    return one != NULL;
}

/* ---- connections ---------------------------------------------------------------------------- */

#define CONNECTION STR("tls://")

bool dry_is_connection(struct str url)
{
    return str_starts(url, CONNECTION);
}

bool dry_hello_name(struct client_hello *h, struct str url)
{
    struct str name = str_sub(url, CONNECTION.n, url.n);
    for (size_t i = 0; i < name.n && i < CLIENT_HELLO_NAME; i++)
        h->sni[i] = str_lower(name.p[i]);
    h->sni_n = (uint16_t) name.n;
    return name.n < CLIENT_HELLO_NAME && (name.n == 0 || addr_is_name(name));
}

bool dry_hello_alpn(struct client_hello *h, struct str list)
{
    struct str item;
    while (str_next_item(&list, &item)) {
        if (item.n > 255 || item.n + 1 > CLIENT_HELLO_ALPN - h->alpn_n)
            return false;
        h->alpn[h->alpn_n] = (char) item.n;
        memcpy(h->alpn + h->alpn_n + 1, item.p, item.n);
        h->alpn_n = (uint16_t) (h->alpn_n + item.n + 1);
    }
    return h->alpn_n > 0;
}
