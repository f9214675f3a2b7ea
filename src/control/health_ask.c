/* SPDX-License-Identifier: Apache-2.0 */
/* health_ask: checks by a request: an HTTP answer of the right status and body, or what
 * grpc.health.v1 says of a service. Invariant: body holds at most what the check looks at. */
#include <stdio.h>

#include "control/health_inside.h"
#include "upstream/tune.h"

#define PATTERN_ARENA (64u * 1024)
#define GRPC_BODY_MAX 256u

static void on_head(void *arg, const struct head *h)
{
    struct check *c = arg;
    c->status = h->status;
    const struct field *f = fields_get(&h->fields, STR("grpc-status"));
    uint64_t n;
    if (f && str_to_u64(f->value, &n) && n < 100)
        c->grpc_status = (int) n;
}

static void on_trailers(void *arg, const struct fields *t)
{
    struct check *c = arg;
    const struct field *f = fields_get(t, STR("grpc-status"));
    uint64_t n;
    if (f && str_to_u64(f->value, &n) && n < 100)
        c->grpc_status = (int) n;
}

static void on_body(void *arg, struct chain *in)
{
    struct check *c = arg;
    size_t most = c->conf->type == HEALTH_GRPC ? GRPC_BODY_MAX : (size_t) c->conf->body_bytes;
    size_t room = most > c->body.n ? most - c->body.n : 0;
    size_t n = in->bytes < room ? in->bytes : room;
    if (n && (c->conf->body.n || c->conf->type == HEALTH_GRPC))
        c->body.n += chain_peek(in, text_room(&c->body, n), n);
    chain_drop(in, &c->worker->buffers, in->bytes);
}

/* ---- http ---------------------------------------------------------------------------------- */

/* 404 may mean: finish what you have, and send no more. */
static void look_at_drain(struct check *c)
{
    bool drain = c->conf->drain_404 && c->status == 404;
    if (drain || c->drained)
        tune_reported(c->endpoint, drain ? STR("0") : STR("100"));
    c->drained = drain;
}

/* What about the body is not as it should be; NULL: nothing. */
static const char *body_wrong(const struct check *c)
{
    const struct check_route *r = (const struct check_route *) (const void *) c->route;
    struct arena a;
    struct pattern_run run = {.arena = &a};
    bool yes = false;
    if (!r->body)
        return NULL;
    arena_init(&a, NULL, PATTERN_ARENA);
    enum fault f = pattern_match(r->body, text_str(&c->body), &run, &yes);
    pattern_run_end(&run);
    arena_fini(&a);
    if (f == FAULT_MATCH_LIMIT)
        return ", but health.body took too many steps on its body";
    return yes ? NULL : ", but its body does not match health.body";
}

static void http_answered(struct check *c)
{
    char evidence[256];
    struct str path = str_sub(c->conf->path, 0, 100);
    bool drains = c->conf->drain_404 && c->status == 404;
    bool passed = drains || health_status_passes(c->conf, c->status);
    const char *wrong = passed && !drains ? body_wrong(c) : NULL;
    passed = passed && !wrong;
    if (passed)
        look_at_drain(c);
    snprintf(evidence, sizeof evidence, "check: %.*s was answered with %u%s", STR_ARG(path),
             (unsigned) c->status, wrong ? wrong : "");
    check_ended(c, passed, evidence, STR(""));
}

/* ---- grpc ---------------------------------------------------------------------------------- */

static const char *grpc_word(int status)
{
    switch (status) {
    case 5:
        return " (NOT_FOUND: it does not know the service)";
    case 12:
        return " (UNIMPLEMENTED: it has no grpc.health.v1)";
    case 14:
        return " (UNAVAILABLE)";
    default:
        return "";
    }
}

static void grpc_answered(struct check *c)
{
    char evidence[320], service[160] = "the server";
    enum grpc_serving s = grpc_health_answer(text_str(&c->body));
    bool passed = false;
    if (c->conf->service.n)
        snprintf(service, sizeof service, "service %.*s", STR_ARG(c->conf->service));
    if (c->status != 200) {
        snprintf(evidence, sizeof evidence,
                 "check: grpc.health.v1 was answered with HTTP status %u", (unsigned) c->status);
    } else if (c->grpc_status != 0) {
        snprintf(evidence, sizeof evidence, "check: grpc.health.v1 gave grpc-status %d%s for %s",
                 c->grpc_status, grpc_word(c->grpc_status), service);
    } else {
        passed = s == GRPC_SERVING;
        snprintf(evidence, sizeof evidence, "check: grpc.health.v1 says %s of %s",
                 grpc_serving_name(s), service);
    }
    check_ended(c, passed, evidence, STR(""));
}

/* ---- both ---------------------------------------------------------------------------------- */

static void on_end(void *arg, enum fault f)
{
    struct check *c = arg;
    char evidence[256];
    bool grpc = c->conf->type == HEALTH_GRPC;
    c->fetch = NULL;
    if (fault_row(f)->side == FAULT_SIDE_SELF && f != FAULT_OK && f != FAULT_EXCHANGE_TIMEOUT) {
        check_unmade(c, fault_name(f));
    } else if (f == FAULT_OK && grpc) {
        grpc_answered(c);
    } else if (f == FAULT_OK) {
        http_answered(c);
    } else {
        struct str path = grpc ? STR("grpc.health.v1") : str_sub(c->conf->path, 0, 100);
        snprintf(evidence, sizeof evidence, "check: %.*s failed: %s", STR_ARG(path), fault_name(f));
        check_ended(c, false, evidence, STR(""));
    }
    text_fini(&c->body);
}

void check_ask(struct check *c)
{
    static const struct fetch_events events = {
        .on_head = on_head, .on_body = on_body, .on_trailers = on_trailers, .on_end = on_end};
    const struct endpoint *e = c->endpoint;
    bool grpc = c->conf->type == HEALTH_GRPC;
    struct str host = e->text.form == ADDR_UNIX ? STR("localhost") : e->address;
    char ask[GRPC_HEALTH_ASK_MAX];
    struct field fields[] = {{.name = STR("User-Agent"), .value = STR("weir-health-check")},
                             {.name = STR("Content-Type"), .value = STR("application/grpc")},
                             {.name = STR("TE"), .value = STR("trailers")}};
    struct fetch_request r = {.method = grpc ? STR("POST") : c->conf->method,
                              .path = grpc ? STR("/grpc.health.v1.Health/Check") : c->conf->path,
                              .authority = c->conf->host.n ? c->conf->host : host,
                              .fields = fields,
                              .n_fields = grpc ? 3 : 1,
                              .route = c->route,
                              .endpoint = c->endpoint,
                              .unannounced = !c->conf->proxy_protocol,
                              .timeout = c->conf->timeout};
    if (grpc)
        r.body = str_of(ask, grpc_health_ask(c->conf->service, ask));
    c->status = 0;
    c->grpc_status = -1;
    c->fetch = fetch_start(c->worker, &r, &events, c);
    if (!c->fetch)
        check_unmade(c, fault_name(FAULT_MEMORY));
}
