/* SPDX-License-Identifier: Apache-2.0 */
/* access_log.c: see access_log.h.
 * Invariants:
 * 1. A line takes at most ACCESS_LOG_LINE bytes: the rooms below and FIXED add up to less.
 * 2. struct log_worker is touched by its worker's thread only. */
#include "features/access_log.h"

#include "base/bytes16.h"
#include "base/json.h"
#include "base/line_writer.h"
#include "base/mem.h"
#include "features/registry.h"
#include "proxy/exchange.h"
#include "proxy/preface.h"
#include "proxy/retry.h"

/* Most bytes of each text, escapes included. */
enum {
    ROOM_PATH = 8192,
    ROOM_QUERY = 8192,
    ROOM_AGENT = 2048,
    ROOM_REFERRER = 2048,
    ROOM_META = 4096,
    ROOM_NAME = 512,  /* host, route, upstream, endpoint, authority */
    ROOM_SHORT = 256, /* method, request id, unique id */
    FIXED = 2048,     /* keys, numbers, steps */
};
_Static_assert(JSON_PLAIN_MAX <= ROOM_NAME && JSON_PLAIN_MAX <= ROOM_SHORT, "of plain texts");
_Static_assert(ROOM_PATH + ROOM_QUERY + ROOM_AGENT + ROOM_REFERRER + ROOM_META + 6 * ROOM_NAME +
                       3 * ROOM_SHORT + FIXED <=
                   ACCESS_LOG_LINE,
               "a line could outgrow its room");

#define SECOND_TEXT 20u /* "2026-11-23T08:15:30." */
#define STEP_TEXT 24u

/* What a worker needs to write lines. */
struct log_worker {
    _Alignas(64) struct line_ring *ring;
    int64_t second;       /* that second_text is of; -1: none */
    char second_text[32]; /* SECOND_TEXT bytes count */
    uint8_t step_n[STEP_COUNT];
    char step_text[STEP_COUNT][STEP_TEXT]; /* "\"attempt\":" */
};

struct access_log {
    struct line_writer *writer;
    struct log_worker *workers;
};

/* ---- a line --------------------------------------------------------------------------------- */

/* Appends key (a constant with everything up to the opening quote), s and the closing quote. */
#define TEXT(at, key, s, room)                                                                     \
    do {                                                                                           \
        (at) = json_text(JSON_LIT(at, key "\""), s, room);                                         \
        *(at)++ = '"';                                                                             \
    } while (0)
/* The same for a text that needs no look: a known name, or plain, which says json_plain. */
#define PLAIN(at, key, s)                                                                          \
    do {                                                                                           \
        (at) = bytes_put(JSON_LIT(at, key "\""), (s).p, (s).n);                                    \
        *(at)++ = '"';                                                                             \
    } while (0)
#define NAME(at, key, s, plain)                                                                    \
    do {                                                                                           \
        if (plain)                                                                                 \
            PLAIN(at, key, s);                                                                     \
        else                                                                                       \
            TEXT(at, key, s, ROOM_NAME);                                                           \
    } while (0)
#define NUMBER(at, key, v) ((at) = json_u64(JSON_LIT(at, key), v))

static char *put_time(char *at, struct log_worker *w, int64_t wall_us)
{
    int64_t second = wall_us / 1000000;
    unsigned us = (unsigned) (wall_us % 1000000);
    if (second != w->second) {
        clock_iso8601(wall_us, w->second_text);
        w->second = second;
    }
    at = (char *) memcpy(at, w->second_text, SECOND_TEXT) + SECOND_TEXT;
    at = json_two(at, us / 10000);
    at = json_two(at, us / 100 % 100);
    at = json_two(at, us % 100);
    return JSON_LIT(at, "Z\"");
}

/* The client's address; "unix" for one that came by a unix socket and told of none. */
static char *put_client(char *at, const struct exchange *x)
{
    static const struct ip none;
    at = JSON_LIT(at, ",\"client_ip\":\"");
    if (x->peer_unix && memcmp(&x->client_ip, &none, sizeof(none)) == 0)
        return JSON_LIT(at, "unix\"");
    at += ip_print(x->client_ip, at);
    *at++ = '"';
    return at;
}

/* What a PROXY header told beyond the client's address. */
static char *put_announced(char *at, const struct announced *a)
{
    const struct proxy_header *h = &a->header;
    struct addr destination = addr_from_ip(h->destination, h->destination_port);
    at = JSON_LIT(at, ",\"destination\":\"");
    at += addr_print(&destination, at);
    *at++ = '"';
    if (h->authority.n)
        TEXT(at, ",\"proxy_authority\":", h->authority, ROOM_NAME);
    if (h->unique_id.n)
        TEXT(at, ",\"proxy_unique_id\":", h->unique_id, ROOM_SHORT);
    return at;
}

static char *put_request(char *at, const struct exchange *x, bool query)
{
    const struct head *in = x->in;
    at = put_client(at, x);
    if (x->session && x->session->announced)
        at = put_announced(at, x->session->announced);
    if (x->kind == EXCHANGE_CONNECTION && in->sni.n)
        TEXT(at, ",\"sni\":", in->sni, ROOM_NAME);
    if (x->kind == EXCHANGE_CONNECTION)
        at = JSON_LIT(at, ",\"protocol\":\"tls\"");
    if (!in || in->method.n == 0)
        return at;
    if (in->method_id != METHOD_OTHER)
        PLAIN(at, ",\"method\":", in->method);
    else
        TEXT(at, ",\"method\":", in->method, ROOM_SHORT);
    TEXT(at, ",\"host\":", in->authority, ROOM_NAME);
    TEXT(at, ",\"path\":", in->path, ROOM_PATH);
    if (in->has_query && query)
        TEXT(at, ",\"query\":", in->query, ROOM_QUERY);
    if (in->major == 0) /* refused before that was read */
        return at;
    at = JSON_LIT(at, ",\"protocol\":\"HTTP/");
    *at++ = (char) ('0' + in->major);
    if (in->major < 2) {
        *at++ = '.';
        *at++ = (char) ('0' + in->minor);
    }
    *at++ = '"';
    const struct field *f = fields_get_id(&in->fields, FIELD_REFERER);
    if (f)
        TEXT(at, ",\"referrer\":", f->value, ROOM_REFERRER);
    f = fields_get_id(&in->fields, FIELD_USER_AGENT);
    if (f)
        TEXT(at, ",\"user_agent\":", f->value, ROOM_AGENT);
    return at;
}

static char *put_outcome(char *at, const struct exchange *x)
{
    const struct attempt *a = x->attempt;
    const struct upstream *u = x->plan->upstream;
    const struct endpoint *e = a ? a->endpoint : NULL;
    NAME(at, ",\"route\":", x->route->name, x->route->plain_name);
    if (u)
        NAME(at, ",\"upstream\":", u->name, u->plain_name);
    if (e)
        NAME(at, ",\"endpoint\":", e->address, e->plain_address);
    NUMBER(at, ",\"attempts\":", x->n_attempts);
    if (x->retry_refused)
        TEXT(at, ",\"retry_refused\":",
             str_c(retry_refused_name((enum retry_refused) x->retry_refused)), ROOM_SHORT);
    NUMBER(at, ",\"status\":", exchange_status(x));
    const struct fault_row *why = fault_row(x->fault);
    PLAIN(at, ",\"reason\":", str_of(why->name, why->name_n));
    NUMBER(at, ",\"bytes_in\":", x->client ? x->client->bytes_in : 0);
    NUMBER(at, ",\"bytes_out\":", x->client ? x->client->bytes_out : 0);
    if (x->in && x->in->early)
        at = JSON_LIT(at, ",\"early_data\":true");
    if (a && a->link == NULL && !a->connected)
        return at; /* no connection was had */
    if (a)
        at = a->reused ? JSON_LIT(at, ",\"reused\":true") : JSON_LIT(at, ",\"reused\":false");
    if (a && a->http2)
        at = JSON_LIT(at, ",\"upstream_protocol\":\"HTTP/2\"");
    return at;
}

static char *put_step(char *at, const struct log_worker *w, unsigned step, usec_t us)
{
    if (at[-1] != '{')
        *at++ = ',';
    memcpy(at, w->step_text[step], STEP_TEXT);
    return json_u64(at + w->step_n[step], us);
}

static char *put_times(char *at, const struct exchange *x, const struct log_worker *w)
{
    NUMBER(at, ",\"duration_us\":", loop_now(x->worker->loop) - x->started);
    at = JSON_LIT(at, ",\"steps\":{");
#pragma GCC unroll 16 /* of most steps nothing is said */
    for (unsigned i = 0; i < STEP_COUNT; i++)
        if (x->step_us[i])
            at = put_step(at, w, i, x->step_us[i]);
    *at++ = '}';
    return at;
}

static char *put_meta(char *at, const struct schema_map *meta)
{
    const struct str *values = meta->items;
    char *end = at + ROOM_META - 32; /* braces, quotes and the key of the object */
    at = JSON_LIT(at, ",\"meta\":");
    char mark = '{';
    for (size_t i = 0; i < meta->n && end - at > 64; i++) {
        *at++ = mark;
        *at++ = '"';
        at = json_text(at, meta->names[i], (size_t) (end - at) / 2);
        at = JSON_LIT(at, "\":\"");
        at = json_text(at, values[i], (size_t) (end - at));
        *at++ = '"';
        mark = ',';
    }
    *at++ = '}';
    return at;
}

size_t access_log_line(char *line, const struct exchange *x, void *worker)
{
    struct log_worker *w = worker;
    const struct access_log_conf *conf = x->plan->feature_conf[FEATURE_ACCESS_LOG];
    char *at = JSON_LIT(line, "{\"time\":\"");
    at = put_time(at, w, x->started_wall);
    at = put_request(at, x, !conf || conf->query);
    at = put_outcome(at, x);
    at = put_times(at, x, w);
    if (x->request_id.n)
        PLAIN(at, ",\"request_id\":", x->request_id);
    if (x->identity.n)
        TEXT(at, ",\"identity\":", x->identity, ROOM_NAME);
    if (x->plan->settings->meta.n)
        at = put_meta(at, &x->plan->settings->meta);
    at = JSON_LIT(at, "}\n");
    return (size_t) (at - line);
}

static void on_finish(struct exchange *x, void *slot)
{
    (void) slot;
    struct log_worker *w = x->worker->feature_state[FEATURE_ACCESS_LOG];
    if (!w || !x->session) /* what Weir asks for by itself is not logged */
        return;
    char *line = line_ring_begin(w->ring);
    if (line)
        line_ring_end(w->ring, access_log_line(line, x, w));
    else
        counter_add(&x->worker->stats->log_dropped, 1);
}

/* ---- start and stop ------------------------------------------------------------------------- */

static void worker_init(struct log_worker *w, struct line_ring *ring)
{
    w->ring = ring;
    w->second = -1;
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        char *at = w->step_text[i];
        *at++ = '"';
        at = json_text(at, str_c(step_name((enum step) i)), STEP_TEXT - 4);
        at = JSON_LIT(at, "\":");
        w->step_n[i] = (uint8_t) (at - w->step_text[i]);
    }
}

static bool wanted(const struct access_log_conf *conf)
{
    return conf && conf->path.n > 0 && !str_eq(conf->path, STR("off"));
}

bool access_log_start(const struct access_log_conf *conf, unsigned n_workers,
                      struct access_log **out, char **why)
{
    *out = NULL;
    if (!wanted(conf))
        return true;
    struct str path = str_eq(conf->path, STR("stdout")) ? STR("") : conf->path;
    char *reason = NULL;
    struct line_writer *writer =
        line_writer_new(path, n_workers, ACCESS_LOG_RING, ACCESS_LOG_LINE, &reason);
    if (!writer) {
        *why = mem_printf("access_log.path: %s; name a file in a directory that exists and that "
                          "Weir's user may write to",
                          reason);
        mem_free(reason);
        return false;
    }
    struct access_log *log = mem_new(sizeof(*log));
    log->writer = writer;
    log->workers = mem_new_aligned(n_workers * sizeof(*log->workers), 64);
    for (unsigned i = 0; i < n_workers; i++)
        worker_init(&log->workers[i], line_writer_ring(writer, i));
    *out = log;
    return true;
}

void access_log_reopen(struct access_log *log)
{
    if (log)
        line_writer_reopen(log->writer);
}

void access_log_stop(struct access_log *log)
{
    if (!log)
        return;
    line_writer_free(log->writer);
    mem_free(log->workers);
    mem_free(log);
}

static bool start(const void *conf, unsigned n_workers, void **state, char **why)
{
    struct access_log *log = NULL;
    bool fine = access_log_start(conf, n_workers, &log, why);
    *state = log;
    return fine;
}

static void stop(void *state)
{
    access_log_stop(state);
}

static void *worker_state(void *state, uint32_t worker)
{
    struct access_log *log = state;
    return log ? &log->workers[worker] : NULL;
}

static bool active(const void *conf)
{
    return wanted(conf);
}

const struct feature feature_access_log = {
    .name = "access_log",
    .purpose = "Writes one JSON line for each exchange.",
    .conf = &access_log_schema,
    .start = start,
    .stop = stop,
    .worker_state = worker_state,
    .active = active,
    .connections = true,
    .on_finish = on_finish,
};
