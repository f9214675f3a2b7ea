/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_tls.c: servers and clients of TLS for a snapshot; what is wrong with their files is said
 * where the configuration names them. Holds no state. */
#include "base/log.h"
#include "control/snapshot_inside.h"
#include "net/tls.h"
#include "upstream/upstream.h"

/* Where to look for a text that was said. */
struct told {
    struct build *build;
    const struct schema_table *table;
    const void *conf;
    struct schema_pos pos;
};

static struct str find_text(const struct schema_table *table, const char *object, struct str text);

static struct str in_items(const struct schema_field *f, const char *items, size_t n,
                           struct str text)
{
    struct str found = {0};
    for (size_t i = 0; i < n && !found.p; i++) {
        if (f->sub)
            found = find_text(f->sub, items + i * f->sub->size, text);
        else if (f->item == SCHEMA_STRING &&
                 str_eq(((const struct str *) (const void *) items)[i], text))
            found = ((const struct str *) (const void *) items)[i];
    }
    return found;
}

/* The configuration's own copy of a text: its place is known by where it lies. */
static struct str find_text(const struct schema_table *table, const char *object, struct str text)
{
    struct str found = {0};
    for (size_t i = 0; i < table->n_fields && !found.p; i++) {
        const struct schema_field *f = &table->fields[i];
        const void *value = object + f->offset;
        if (f->type == SCHEMA_STRING && str_eq(*(const struct str *) value, text)) {
            found = *(const struct str *) value;
        } else if (f->type == SCHEMA_OBJECT) {
            found = find_text(f->sub, value, text);
        } else if (f->type == SCHEMA_LIST) {
            const struct schema_list *l = value;
            found = in_items(f, l->items, l->n, text);
        } else if (f->type == SCHEMA_MAP) {
            const struct schema_map *m = value;
            found = in_items(f, m->items, m->n, text);
        }
    }
    return found;
}

static void say(void *arg, struct str at, const char *text)
{
    struct told *t = arg;
    struct schema_pos pos = t->pos;
    if (at.n)
        pos = conf_place_of(t->build->errors, find_text(t->table, t->conf, at), pos);
    conf_say(t->build->errors, pos, "%s", text);
}

static void say_untimely(void *arg, struct str at, const char *text)
{
    const struct told *t = arg;
    (void) at;             /* it is in the text */
    if (t->build->in->tls) /* else nobody is going to be shown it */
        log_error("tls.expires", "%s (used all the same, as this is a start)", text);
}

static struct tls_errors errors_to(struct told *t)
{
    return (struct tls_errors){
        .say = say, .untimely = t->build->in->starts ? say_untimely : NULL, .arg = t};
}

struct tls_server *build_tls_server(struct build *b, const struct tls_server_conf *conf)
{
    struct told t = {b, &tls_server_schema, conf, conf->pos};
    struct tls_errors e = errors_to(&t);
    return tls_server_new(b->in->tls, conf, &e);
}

struct str build_hsts(struct build *b, const struct hsts_conf *conf)
{
    return arena_printf(
        b->arena, "max-age=%llu%s%s", (unsigned long long) (conf->max_age / USEC_PER_SEC),
        conf->include_subdomains ? "; includeSubDomains" : "", conf->preload ? "; preload" : "");
}

/* What is offered by ALPN when tls.alpn does not say it. */
static void offer_protocols(const struct upstream_conf *u, struct tls_client_conf *tls)
{
    static const struct str offered[] = {{"h2", 2}, {"http/1.1", 8}};
    if (tls->alpn.n || u->protocol == PROTOCOL_H1)
        return;
    tls->alpn.items = (void *) (uintptr_t) offered;
    tls->alpn.n = u->protocol == PROTOCOL_H2 ? 1 : 2;
}

static struct tls_client *build_tls_client(struct build *b, const struct upstream_conf *u)
{
    struct told t = {b, &tls_client_schema, &u->tls, u->tls.pos};
    struct tls_errors e = errors_to(&t);
    struct tls_client_conf conf = u->tls;
    offer_protocols(u, &conf);
    return tls_client_new(b->in->tls, &conf, &e);
}

void build_tls_clients(struct build *b)
{
    const struct upstream_conf *u = b->conf->upstreams.items;
    b->tls = mem_new((b->conf->upstreams.n + 1) * sizeof(struct tls_client *));
    for (size_t i = 0; i < b->conf->upstreams.n; i++) {
        if (upstream_speaks_tls(&u[i]))
            b->tls[i] = build_tls_client(b, &u[i]);
    }
}

void build_tls_drop(struct build *b)
{
    for (size_t i = 0; i < b->conf->upstreams.n; i++)
        tls_client_unref(b->tls[i]);
    mem_free(b->tls);
}

void snapshot_judge_files(const struct proxy_conf *conf, struct conf_errors *e)
{
    const struct snapshot_inputs in = {.starts = true};
    struct build b = {.conf = conf, .in = &in, .errors = e};
    const struct listener_conf *l = conf->listeners.items;
    const struct upstream_conf *u = conf->upstreams.items;
    for (size_t i = 0; i < conf->listeners.n; i++) {
        if (l[i].tls_given && l[i].tls.pos.file)
            tls_server_unref(build_tls_server(&b, &l[i].tls));
    }
    for (size_t i = 0; i < conf->upstreams.n; i++) {
        if (upstream_speaks_tls(&u[i]) && u[i].tls.pos.file)
            tls_client_unref(build_tls_client(&b, &u[i]));
    }
}
