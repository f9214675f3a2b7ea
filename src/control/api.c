/* SPDX-License-Identifier: Apache-2.0 */
/* api.c: see api.h.
 * Invariants:
 * 1. x->owner is the exchange's struct api_call, or NULL before it is made.
 * 2. A row's function runs with the whole body at hand, or (a row without) with none. */
#include "control/api.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "http/bytes.h"
#include "http/url.h"
#include "proxy/handler.h"

static const struct api_row rows[] = {
    /* clang-format off */
    {METHOD_GET, "/v1", api_index, false, "this list"},
    {METHOD_GET, "/v1/config", api_config, false, "the configuration in use; ?as=text: its file"},
    {METHOD_POST, "/v1/reload", api_reload, false,
     "load the file again: ?changes=keep, discard or ask"},
    {METHOD_GET, "/v1/history", api_history, false, "the configurations that are kept"},
    {METHOD_POST, "/v1/rollback", api_rollback, false, "go back to an earlier one: ?back"},
    {METHOD_GET, "/v1/routes", api_routes, false, "routes: ?offset, ?limit"},
    {METHOD_POST, "/v1/routes", api_route_add, true, "add a route: ?within=ROUTE"},
    {METHOD_GET, "/v1/routes/*", api_route, false, "one route"},
    {METHOD_PUT, "/v1/routes/*", api_route_set, true, "replace it, or add it: ?within=ROUTE"},
    {METHOD_DELETE, "/v1/routes/*", api_route_remove, false, "remove it"},
    {METHOD_GET, "/v1/upstreams", api_upstreams, false, "upstreams: ?offset, ?limit"},
    {METHOD_GET, "/v1/upstreams/*", api_upstream, false, "one upstream as configured"},
    {METHOD_POST, "/v1/upstreams/*/endpoints", api_endpoint_add, true, "add an endpoint"},
    {METHOD_GET, "/v1/upstreams/*/endpoints/*", api_endpoint, false, "one endpoint as configured"},
    {METHOD_PUT, "/v1/upstreams/*/endpoints/*", api_endpoint_set, true, "replace it, or add it"},
    {METHOD_DELETE, "/v1/upstreams/*/endpoints/*", api_endpoint_remove, false, "remove it"},
    {METHOD_POST, "/v1/upstreams/*/endpoints/*/drain", api_drain, false, "give it no new requests"},
    {METHOD_POST, "/v1/upstreams/*/endpoints/*/undrain", api_undrain, false,
     "give it its weight again"},
    {METHOD_GET, "/v1/upstreams/*/weights", api_weights, false, "the weights, by address"},
    {METHOD_PUT, "/v1/upstreams/*/weights", api_weights_set, true,
     "set all weights; an address left out gets that of the file"},
    {METHOD_PATCH, "/v1/upstreams/*/weights", api_weights_patch, true, "set some of them"},
    {METHOD_PUT, "/v1/upstreams/*/breaker", api_breaker_set, true,
     "{\"state\": \"open\", \"close\" or \"auto\"}"},
    {METHOD_GET, "/v1/endpoints", api_endpoints, false,
     "endpoints as they are: ?upstream, ?offset, ?limit"},
    {METHOD_GET, "/v1/exchanges", api_exchanges, false,
     "exchanges that run now, oldest first: ?limit"},
    {METHOD_GET, "/v1/events", api_events, false, "what happens, as server-sent events"},
    {METHOD_GET, "/v1/changes", api_changes, false, "what was changed on top of the file"},
    {METHOD_DELETE, "/v1/changes", api_changes_discard, false, "go back to what the file says"},
    /* clang-format on */
};

const struct api_row *api_rows(size_t *n)
{
    *n = sizeof rows / sizeof rows[0];
    return rows;
}

/* ---- answers ------------------------------------------------------------------------------- */

bool api_keep(struct exchange *x, void (*drop)(void *p), void *p)
{
    if (arena_on_free(&x->arena, drop, p))
        return true;
    drop(p);
    exchange_fail(x, FAULT_MEMORY);
    return false;
}

enum hook api_answer(struct exchange *x, uint16_t status, struct str type, struct text *text)
{
    struct str body = text_str(text);
    if (!arena_on_free(&x->arena, mem_free, text->p)) {
        text_fini(text);
    } else if (reply_text(x, status, type, body) &&
               fields_add_id(&x->reply.fields, FIELD_CACHE_CONTROL, STR("no-store"))) {
        return HOOK_REPLY;
    }
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

enum hook api_json(struct api_call *c, uint16_t status, struct text *text)
{
    text_add(text, STR("\n"));
    return api_answer(c->x, status, STR("application/json"), text);
}

/* Adds a field to the reply that is made; what memory refuses is left out. */
static void say_field(struct exchange *x, struct str name, struct str value)
{
    if (!value.p || !fields_add(&x->reply.fields, name, value))
        exchange_fail(x, FAULT_MEMORY);
}

void api_tag(struct api_call *c, uint64_t hash)
{
    struct arena *a = &c->x->arena;
    say_field(c->x, STR("ETag"), arena_printf(a, "\"%016" PRIx64 "\"", hash));
}

static enum hook problem(struct exchange *x, uint16_t status, const char *kind, struct str detail,
                         const struct text *more)
{
    struct text t = {0};
    text_addf(&t, "{\"type\":\"urn:weir:problem:%s\",\"title\":\"%.*s\",\"status\":%u,\"detail\":",
              kind, STR_ARG(status_reason(status)), status);
    text_add_json(&t, detail);
    if (more)
        text_add(&t, text_str(more));
    text_add(&t, STR("}\n"));
    enum hook h = api_answer(x, status, STR("application/problem+json"), &t);
    if (h == HOOK_REPLY && status == 401)
        say_field(x, STR("WWW-Authenticate"), STR("Bearer realm=\"weir\""));
    return h;
}

enum hook api_problem(struct exchange *x, uint16_t status, const char *kind, const char *format,
                      ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return problem(x, status, kind, str_c(text), NULL);
}

/* Where it is: in what was sent, in the configuration that would come of it, or in the file. */
static void put_place(const struct live_report *r, const struct conf_error *e, struct text *out)
{
    struct text pointer = {0};
    if (e->pos.line >= CONF_JSON_LINE) {
        bool sent = r->subject && conf_node_pointer(r->subject, e->pos.line, &pointer);
        if (sent || (r->tree && conf_node_pointer(r->tree->root, e->pos.line, &pointer))) {
            text_add(out, sent ? STR(",\"pointer\":") : STR(",\"configuration_pointer\":"));
            text_add_json(out, text_str(&pointer));
        }
    } else if (e->pos.line) {
        text_add(out, STR(",\"file\":"));
        text_add_json(out, str_c(e->pos.file ? e->pos.file : r->loaded->errors.file));
        text_addf(out, ",\"line\":%u,\"column\":%u", e->pos.line, e->pos.column);
    }
    text_fini(&pointer);
}

/* All that is wrong with a file, a line each in why. */
static enum hook refused_load(struct api_call *c, struct str why)
{
    struct text more = {0};
    struct str rest = why;
    bool first = true;
    text_add(&more, STR(",\"errors\":["));
    while (rest.n) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = end < 0 ? rest : str_sub(rest, 0, (size_t) end);
        rest = end < 0 ? STR("") : str_sub(rest, (size_t) end + 1, rest.n);
        if (line.n == 0)
            continue;
        text_add(&more, first ? STR("{\"detail\":") : STR(",{\"detail\":"));
        text_add_json(&more, line);
        text_add(&more, STR("}"));
        first = false;
    }
    text_add(&more, STR("]"));
    enum hook h = problem(c->x, 422, "refused",
                          STR("the configuration is refused, the old one stays"), &more);
    text_fini(&more);
    return h;
}

enum hook api_refused(struct api_call *c, enum live_result result, struct live_report *r)
{
    if (result == LIVE_REFUSED && c->about.load)
        return refused_load(c, str_c(r->why));
    if (result == LIVE_REFUSED)
        return api_problem(c->x, 422, "refused", "%s", r->why);
    if (result == LIVE_UNSURE)
        return api_problem(c->x, 503, "unsure",
                           "the change is in force and in the file, but whether a power failure "
                           "leaves it there is unknown: %s; mend the disk and make any change: "
                           "each writes the whole file",
                           r->why);
    if (result == LIVE_DISK)
        return api_problem(c->x, 507, "not-kept", "nothing was changed: %s", r->why);
    const struct conf_errors *e = &r->loaded->errors;
    struct text more = {0};
    text_add(&more, STR(",\"errors\":["));
    for (size_t i = 0; i < e->n; i++) {
        text_add(&more, i ? STR(",{\"detail\":") : STR("{\"detail\":"));
        text_add_json(&more, e->v[i].text);
        put_place(r, &e->v[i], &more);
        text_add(&more, STR("}"));
    }
    text_add(&more, STR("]"));
    if (e->unsaid)
        text_addf(&more, ",\"more_errors\":%zu", e->unsaid);
    struct str first = e->n ? e->v[0].text : STR("");
    enum hook h = problem(c->x, 422, "invalid", first, &more);
    text_fini(&more);
    return h;
}

/* ---- who may ask --------------------------------------------------------------------------- */

/* Takes as long for a wrong token as for the right one. */
static bool same_secret(struct str a, struct str b)
{
    unsigned differ = a.n != b.n;
    for (size_t i = 0; i < a.n; i++)
        differ |= (unsigned char) a.p[i] ^ (unsigned char) (b.n ? b.p[i % b.n] : 0);
    return differ == 0;
}

static bool has_token(const struct exchange *x, const struct admin *a)
{
    const struct field *f = fields_only(&x->in->fields, FIELD_AUTHORIZATION);
    struct str scheme = STR("Bearer ");
    return f && a->token.n && str_istarts(f->value, scheme) &&
           same_secret(str_trim(str_sub(f->value, scheme.n, f->value.n)), a->token);
}

bool admin_allows(struct exchange *x, const struct admin *a, enum admin_page page)
{
    if (x->peer_unix || (page < ADMIN_PAGES && a->open_pages >> page & 1) || has_token(x, a))
        return true;
    if (a->token_wanted)
        (void) api_problem(
            x, 401, "token",
            "a token is needed: Authorization: Bearer TOKEN, as in admin.token_file");
    else
        (void) api_problem(x, 403, "no-token",
                           "this is not served by TCP without a token: set admin.token_file, or "
                           "admin.address to a unix socket");
    return false;
}

/* ---- what is asked ------------------------------------------------------------------------- */

struct str api_param(struct api_call *c, const char *name)
{
    struct str value = STR("");
    struct str query = c->x->in->query;
    char *room = query.n ? arena_alloc(&c->x->arena, query.n) : NULL;
    if (room)
        (void) query_param(&query, str_c(name), room, &value);
    return value;
}

bool api_number(struct api_call *c, const char *name, uint64_t other, uint64_t most, uint64_t *out)
{
    struct str text = api_param(c, name);
    *out = other;
    if (text.n == 0)
        return true;
    if (str_to_u64(text, out) && *out <= most)
        return true;
    (void) api_problem(c->x, 400, "parameter", "%s must be a number up to %" PRIu64, name, most);
    return false;
}

static bool tag_in(const struct fields *f, struct str name, struct str tag)
{
    const struct field *field = fields_get(f, name);
    struct str list = field->value, item;
    while (str_next_item(&list, &item)) {
        if (str_eq(item, STR("*")) || str_eq(item, tag))
            return true;
    }
    return false;
}

bool api_matches(struct api_call *c, bool there, uint64_t hash)
{
    const struct fields *f = &c->x->in->fields;
    struct str yes = STR("If-Match"), no = STR("If-None-Match");
    struct str tag = arena_printf(&c->x->arena, "\"%016" PRIx64 "\"", hash);
    if (fields_get(f, yes) && !(there && tag_in(f, yes, tag))) {
        (void) api_problem(c->x, 412, "changed",
                           there ? "it was changed meanwhile: read it again, then decide"
                                 : "it is not there any more");
        return false;
    }
    if (fields_get(f, no) && there && tag_in(f, no, tag)) {
        (void) api_problem(c->x, 412, "exists", "it is there already");
        return false;
    }
    return true;
}

bool api_config_matches(struct api_call *c)
{
    return !c->a->live || api_matches(c, true, c->a->live->number);
}

/* The segment with its escapes undone, in a; p NULL: memory. */
static struct str decoded(struct str s, struct arena *a)
{
    char *to = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; to && i < s.n; i++) {
        if (s.p[i] == '%' && i + 2 < s.n && byte_is(s.p[i + 1], BYTE_HEX) &&
            byte_is(s.p[i + 2], BYTE_HEX)) {
            to[n++] = (char) (byte_hex(s.p[i + 1]) << 4 | byte_hex(s.p[i + 2]));
            i += 2;
        } else {
            to[n++] = s.p[i];
        }
    }
    return str_of(to, n);
}

static struct str segment(struct str *rest)
{
    *rest = str_sub(*rest, 1, rest->n);
    ptrdiff_t end = str_find(*rest, '/');
    struct str s = str_sub(*rest, 0, end < 0 ? rest->n : (size_t) end);
    *rest = str_sub(*rest, s.n, rest->n);
    return s;
}

/* path is one of pattern; arg gets what stands for the stars. */
static bool path_fits(struct str path, struct str pattern, struct str arg[API_ARGS])
{
    size_t n = 0;
    while (path.n && pattern.n) {
        struct str s = segment(&path), p = segment(&pattern);
        if (str_eq(p, STR("*")) && s.n)
            arg[n++] = s;
        else if (!str_eq(p, s))
            return false;
    }
    return path.n == 0 && pattern.n == 0;
}

static void drop_call(void *p)
{
    struct api_call *c = p;
    text_fini(&c->body);
    json_decref(c->json);
}

static enum hook not_allowed(struct exchange *x, struct str allow)
{
    enum hook h = api_problem(x, 405, "method", "allowed here: %.*s", STR_ARG(allow));
    if (h == HOOK_REPLY)
        say_field(x, STR("Allow"), allow);
    return h;
}

/* doc names the parameter: "?NAME". */
static bool has_param(const char *doc, struct str name)
{
    for (const char *at = strchr(doc, '?'); at; at = strchr(at + 1, '?')) {
        struct str rest = str_c(at + 1);
        if (str_starts(rest, name) &&
            (rest.n == name.n || !(rest.p[name.n] >= 'a' && rest.p[name.n] <= 'z')))
            return true;
    }
    return false;
}

/* A parameter that the row's doc does not have would be a wish that goes unheard. */
static bool params_known(struct exchange *x, const struct api_row *row)
{
    struct str query = x->in->has_query ? x->in->query : STR("");
    while (query.n) {
        ptrdiff_t amp = str_find(query, '&');
        struct str name = str_sub(query, 0, amp < 0 ? query.n : (size_t) amp);
        query = str_sub(query, amp < 0 ? query.n : (size_t) amp + 1, query.n);
        ptrdiff_t eq = str_find(name, '=');
        name.n = eq < 0 ? name.n : (size_t) eq;
        if (name.n == 0 || has_param(row->doc, name))
            continue;
        (void) api_problem(x, 400, "parameter", "there is no parameter \"%.*s\" of: %s",
                           (int) (name.n > 100 ? 100 : name.n), name.p, row->doc);
        return false;
    }
    return true;
}

/* Finds the row; NULL: a problem is the reply. */
static struct api_call *begin(struct exchange *x, struct admin *a)
{
    struct str path = x->in->path, allow = STR(""), arg[API_ARGS] = {{NULL, 0}};
    static const char *const names[METHOD_COUNT] = {
        [METHOD_GET] = "GET, HEAD", [METHOD_POST] = "POST",   [METHOD_PUT] = "PUT",
        [METHOD_DELETE] = "DELETE", [METHOD_PATCH] = "PATCH",
    };
    uint8_t method = x->in->method_id == METHOD_HEAD ? METHOD_GET : x->in->method_id;
    if (path.n > 4 && path.p[path.n - 1] == '/')
        path.n--;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!path_fits(path, str_c(rows[i].path), arg))
            continue;
        if (rows[i].method != method) {
            allow = arena_printf(&x->arena, "%.*s%s%s", STR_ARG(allow), allow.n ? ", " : "",
                                 names[rows[i].method]);
            continue;
        }
        if (!params_known(x, &rows[i]))
            return NULL;
        struct api_call *c = arena_zalloc(&x->arena, sizeof *c);
        if (!c || !api_keep(x, drop_call, c))
            return NULL;
        *c = (struct api_call){.x = x, .a = a, .row = &rows[i]};
        for (size_t k = 0; k < API_ARGS && arg[k].n; k++)
            c->arg[k] = decoded(arg[k], &x->arena);
        x->owner = c;
        return c;
    }
    if (allow.n)
        (void) not_allowed(x, allow);
    else
        (void) api_problem(x, 404, "no-such-path", "there is no %.*s; GET /v1 lists what there is",
                           (int) (path.n > 200 ? 200 : path.n), path.p);
    return NULL;
}

static enum hook too_large(struct api_call *c)
{
    enum hook h = api_problem(c->x, 413, "too-large", "a body may have %u bytes", API_BODY_MAX);
    c->x->reply.close = true;
    return h;
}

/* Reads what has come. HOOK_PASS: all of it is there. */
static enum hook read_body(struct api_call *c)
{
    if (c->x->in->body == BODY_LENGTH && c->x->in->length > API_BODY_MAX)
        return too_large(c);
    for (;;) {
        size_t got = 0;
        enum io io = handler_read(c->x, text_room(&c->body, 16384), 16384, &got);
        c->body.n += got;
        if (c->body.n > API_BODY_MAX)
            return too_large(c);
        if (io == IO_AGAIN)
            return HOOK_WAIT;
        if (io == IO_ERR)
            return HOOK_FAIL;
        if (io == IO_EOF)
            return HOOK_PASS;
    }
}

static enum hook parse_body(struct api_call *c)
{
    char *why = NULL;
    if (c->body.n == 0)
        return api_problem(c->x, 400, "no-body", "a body in JSON is missing");
    c->json = conf_json_parse(text_str(&c->body), &why);
    text_fini(&c->body);
    if (c->json)
        return HOOK_PASS;
    enum hook h = api_problem(c->x, 400, "json", "%s", why);
    mem_free(why);
    return h;
}

enum hook admin_api(struct exchange *x, void *arg)
{
    struct admin *a = arg;
    struct api_call *c = x->owner;
    if (!c) {
        if (!admin_allows(x, a, ADMIN_PAGES) || !(c = begin(x, a)))
            return x->pending ? HOOK_FAIL : HOOK_REPLY;
    }
    if (c->row->body && !c->json) {
        enum hook h = read_body(c);
        if (h == HOOK_PASS)
            h = parse_body(c);
        if (h != HOOK_PASS)
            return h;
    }
    if (api_is_changing(c))
        return api_changed(c);
    if (a->frozen && c->row->method != METHOD_GET)
        return api_problem(x, 503, "upgrade",
                           "a new program is about to take over: nothing may be changed until it "
                           "has; try again in a moment");
    return c->row->run(c);
}
