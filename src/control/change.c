/* SPDX-License-Identifier: Apache-2.0 */
/* change.c: see change.h.
 * Invariants:
 * 1. A change of what = CHANGE_CHANGED has a field at least.
 * 2. What a route inherits is told once, where it is said: a field whose old and new value are
 *    those of the top level is no change of the route. */
#include "control/change.h"

#include "base/map.h"
#include "control/conf_check.h"

#define VALUE_MAX 100u /* longest value that is shown whole */

/* Two objects of one table; top: where what they do not say comes from, or NULL. */
struct pair {
    const char *old, *now;
    const char *top_old, *top_now;
};

struct diff {
    struct change_list *out;
    const struct conf_file *old, *now;
    const struct feature_set *features;
};

void change_list_init(struct change_list *l, struct arena *a)
{
    *l = (struct change_list){.arena = a};
}

/* ---- noting -------------------------------------------------------------------------------- */

/* Room for one more of size bytes in an array of the arena. */
static void *grown(struct arena *a, void *v, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return v;
    size_t more = *cap ? *cap * 2 : 4;
    void *to = conf_alloc(a, more * size);
    if (n)
        memcpy(to, v, n * size);
    *cap = more;
    return to;
}

static struct change *note(struct diff *d, enum change_kind kind, enum change_what what,
                           struct str name)
{
    struct change_list *l = d->out;
    l->v = grown(l->arena, l->v, l->n, &l->cap, sizeof *l->v);
    l->v[l->n] = (struct change){.kind = kind, .what = what, .name = name};
    return &l->v[l->n++];
}

/* Takes back a change that has no field. */
static void settle(struct diff *d, struct change *c)
{
    if (c->n_fields == 0)
        d->out->n--;
}

static struct str shortened(struct arena *a, struct str s)
{
    return s.n <= VALUE_MAX ? s : arena_printf(a, "%.*s...", (int) VALUE_MAX, s.p);
}

static void note_field(struct diff *d, struct change *c, struct change_field f)
{
    struct arena *a = d->out->arena;
    f.restart = f.restart && (c->kind == CHANGE_SETTINGS || c->kind == CHANGE_LISTENER);
    f.from = shortened(a, f.from);
    f.to = shortened(a, f.to);
    c->fields = grown(a, c->fields, c->n_fields, &c->cap_fields, sizeof *c->fields);
    c->fields[c->n_fields++] = f;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static bool differs(const struct schema_field *f, const char *a, const char *b)
{
    return !schema_equal_value(f, a, b);
}

/* Lists and maps of objects are told by their length. */
static struct str value_text(struct diff *d, const struct schema_field *f, const char *value)
{
    struct arena *a = d->out->arena;
    if (f->sub && f->type == SCHEMA_LIST)
        return arena_printf(a, "%zu entries",
                            ((const struct schema_list *) (const void *) value)->n);
    if (f->sub && f->type == SCHEMA_MAP)
        return arena_printf(a, "%zu entries",
                            ((const struct schema_map *) (const void *) value)->n);
    return schema_print(f, value, a);
}

static void diff_value(struct diff *d, struct change *c, const struct schema_field *f,
                       struct pair at, struct str path)
{
    struct change_field field = {.path = path, .restart = !f->reloadable};
    field.from = value_text(d, f, at.old);
    field.to = value_text(d, f, at.now);
    if (str_eq(field.from, field.to))
        field.to = arena_printf(d->out->arena, "%.*s (others)", STR_ARG(field.to));
    note_field(d, c, field);
}

static bool skipped(const char *const *skip, const char *name)
{
    for (; skip && *skip; skip++) {
        if (strcmp(*skip, name) == 0)
            return true;
    }
    return false;
}

static bool is_given(const struct schema_field *f, const char *object)
{
    return !f->given || *(const bool *) (object + f->given);
}

static void diff_rows(struct diff *d, struct change *c, const struct schema_table *t, struct pair p,
                      struct str prefix);

static void diff_row(struct diff *d, struct change *c, const struct schema_field *f, struct pair p,
                     struct str prefix)
{
    struct pair at = {p.old + f->offset, p.now + f->offset, NULL, NULL};
    bool given = is_given(f, p.old), stays = given == is_given(f, p.now);
    struct arena *a = d->out->arena;
    if (stays && !differs(f, at.old, at.now))
        return;
    struct str path = arena_printf(a, "%.*s%s", STR_ARG(prefix), f->name);
    if (!stays) {
        struct str said = value_text(d, f, given ? at.old : at.now), none = STR("none");
        note_field(d, c,
                   (struct change_field){.path = path,
                                         .from = given ? said : none,
                                         .to = given ? none : said,
                                         .restart = !f->reloadable});
    } else if (f->type == SCHEMA_OBJECT) {
        diff_rows(d, c, f->sub, at, arena_printf(a, "%.*s.", STR_ARG(path)));
    } else {
        diff_value(d, c, f, at, path);
    }
}

static void diff_rows(struct diff *d, struct change *c, const struct schema_table *t, struct pair p,
                      struct str prefix)
{
    const struct schema_field *f;
    size_t base;
    for (size_t i = 0; (f = schema_row(t, i, &base)); i++) {
        struct pair at = {p.old + base, p.now + base, NULL, NULL};
        diff_row(d, c, f, at, prefix);
    }
}

/* The rows of t but those in skip (ended by NULL). */
static void diff_object(struct diff *d, struct change *c, const struct schema_table *t,
                        struct pair p, const char *const *skip)
{
    const struct schema_field *f;
    size_t base;
    for (size_t i = 0; (f = schema_row(t, i, &base)); i++) {
        struct pair at = {p.old + base, p.now + base, NULL, NULL};
        if (!skipped(skip, f->name))
            diff_row(d, c, f, at, STR(""));
    }
}

/* ---- features ------------------------------------------------------------------------------ */

/* What feature i is told: here, else at the top, else its defaults. */
static const void *told(struct diff *d, const void *here, const void *top, uint32_t i)
{
    const struct schema_table *t = d->features->v[i]->conf;
    if (here || top)
        return here ? here : top;
    void *defaults = conf_alloc(d->out->arena, t->size);
    schema_defaults(t, defaults);
    return defaults;
}

static bool same(const struct schema_table *t, const void *a, const void *b)
{
    return a == b || schema_equal(t, a, b);
}

/* old, now: of a route, which may have them from the top level, or (top) of that itself. */
static void diff_features(struct diff *d, struct change *c, void *const *old, void *const *now,
                          bool top)
{
    for (uint32_t i = 0; i < d->features->n; i++) {
        const struct schema_table *t = d->features->v[i]->conf;
        if (!t || (!old[i] && !now[i]))
            continue;
        struct pair p = {told(d, old[i], d->old->proxy.features[i], i),
                         told(d, now[i], d->now->proxy.features[i], i),
                         told(d, NULL, d->old->proxy.features[i], i),
                         told(d, NULL, d->now->proxy.features[i], i)};
        bool inherited = !top && same(t, p.old, p.top_old) && same(t, p.now, p.top_now);
        if (!inherited && !same(t, p.old, p.now))
            diff_rows(d, c, t, p, arena_printf(d->out->arena, "%s.", d->features->v[i]->name));
    }
}

/* ---- the top level ------------------------------------------------------------------------- */

static void diff_settings(struct diff *d)
{
    static const char *const elsewhere[] = {"listeners", "upstreams", "routes", NULL};
    struct change *c = note(d, CHANGE_SETTINGS, CHANGE_CHANGED, STR(""));
    struct pair p = {(const char *) d->old, (const char *) d->now, NULL, NULL};
    diff_object(d, c, &file_schema, p, elsewhere);
    diff_features(d, c, d->old->proxy.features, d->now->proxy.features, true);
    settle(d, c);
}

/* ---- listeners ----------------------------------------------------------------------------- */

static struct str listener_name(const struct listener_conf *l)
{
    return l->name.n ? l->name : l->address;
}

static const struct listener_conf *listener_of(const struct schema_list *l, struct str address)
{
    const struct listener_conf *v = l->items;
    for (size_t i = 0; i < l->n; i++) {
        if (str_eq(v[i].address, address))
            return &v[i];
    }
    return NULL;
}

static void diff_listeners(struct diff *d)
{
    const struct schema_list *old = &d->old->proxy.listeners, *now = &d->now->proxy.listeners;
    const struct listener_conf *v = old->items;
    for (size_t i = 0; i < old->n; i++) {
        if (!listener_of(now, v[i].address))
            note(d, CHANGE_LISTENER, CHANGE_REMOVED, listener_name(&v[i]));
    }
    v = now->items;
    for (size_t i = 0; i < now->n; i++) {
        const struct listener_conf *was = listener_of(old, v[i].address);
        struct change *c =
            note(d, CHANGE_LISTENER, was ? CHANGE_CHANGED : CHANGE_ADDED, listener_name(&v[i]));
        struct pair p = {(const char *) was, (const char *) &v[i], NULL, NULL};
        if (was) {
            diff_object(d, c, &listener_schema, p, NULL);
            settle(d, c);
        }
    }
}

/* ---- upstreams and endpoints --------------------------------------------------------------- */

static struct str endpoint_name(struct diff *d, struct str upstream, struct str address)
{
    return arena_printf(d->out->arena, "%.*s/%.*s", STR_ARG(upstream), STR_ARG(address));
}

/* Upstreams that were not there or are gone had or have none. */
static void diff_endpoints(struct diff *d, struct str name, const struct schema_list *old,
                           const struct schema_list *now)
{
    struct map was = {0};
    const struct endpoint_conf *e = old->items;
    for (size_t i = 0; i < old->n; i++)
        map_set(&was, e[i].address, (void *) &e[i]);
    e = now->items;
    for (size_t i = 0; i < now->n; i++) {
        const struct endpoint_conf *before = map_remove(&was, e[i].address);
        struct pair p = {(const char *) before, (const char *) &e[i], NULL, NULL};
        if (before && schema_equal(&endpoint_schema, before, &e[i]))
            continue;
        struct change *c = note(d, CHANGE_ENDPOINT, before ? CHANGE_CHANGED : CHANGE_ADDED,
                                endpoint_name(d, name, e[i].address));
        if (before)
            diff_object(d, c, &endpoint_schema, p, NULL);
    }
    e = old->items;
    for (size_t i = 0; i < old->n; i++) {
        if (map_remove(&was, e[i].address))
            note(d, CHANGE_ENDPOINT, CHANGE_REMOVED, endpoint_name(d, name, e[i].address));
    }
    map_fini(&was);
}

/* old NULL: it is new; now NULL: it is gone. */
static void diff_upstream(struct diff *d, struct str name, const struct upstream_conf *old,
                          const struct upstream_conf *now)
{
    static const char *const apart[] = {"endpoints", NULL};
    static const struct schema_list none = {0};
    if (old && now && schema_equal(&upstream_schema, old, now))
        return;
    enum change_what what = !old ? CHANGE_ADDED : !now ? CHANGE_REMOVED : CHANGE_CHANGED;
    struct change *c = note(d, CHANGE_UPSTREAM, what, name);
    struct pair p = {(const char *) old, (const char *) now, NULL, NULL};
    if (old && now) {
        diff_object(d, c, &upstream_schema, p, apart);
        settle(d, c);
    }
    diff_endpoints(d, name, old ? &old->endpoints : &none, now ? &now->endpoints : &none);
}

static void diff_upstreams(struct diff *d)
{
    const struct schema_map *old = &d->old->proxy.upstreams, *now = &d->now->proxy.upstreams;
    const struct upstream_conf *v = old->items;
    struct map was = {0};
    for (size_t i = 0; i < old->n; i++)
        map_set(&was, old->names[i], (void *) &v[i]);
    v = now->items;
    for (size_t i = 0; i < now->n; i++)
        diff_upstream(d, now->names[i], map_remove(&was, now->names[i]), &v[i]);
    for (size_t i = 0; i < old->n; i++) {
        const struct upstream_conf *gone = map_remove(&was, old->names[i]);
        if (gone)
            diff_upstream(d, old->names[i], gone, NULL);
    }
    map_fini(&was);
}

/* ---- routes -------------------------------------------------------------------------------- */

/* The settings of a route, but what is the top level's before and after. */
static void diff_inherited(struct diff *d, struct change *c, struct pair p)
{
    const struct schema_field *f;
    size_t base, size = sizeof(struct settings_conf);
    struct arena *a = d->out->arena;
    /* Most routes say nothing of their own: a copy, pointers too. */
    if (memcmp(p.old, p.top_old, size) == 0 && memcmp(p.now, p.top_now, size) == 0)
        return;
    for (size_t i = 0; (f = schema_row(&settings_schema, i, &base)); i++) {
        size_t at = base + f->offset;
        if (!differs(f, p.old + at, p.now + at))
            continue;
        if (f->type != SCHEMA_OBJECT) {
            if (differs(f, p.old + at, p.top_old + at) || differs(f, p.now + at, p.top_now + at))
                diff_row(d, c, f, (struct pair){p.old + base, p.now + base, NULL, NULL}, STR(""));
            continue;
        }
        const struct schema_field *in;
        size_t more;
        struct str prefix = arena_printf(a, "%s.", f->name);
        for (size_t k = 0; (in = schema_row(f->sub, k, &more)); k++) {
            size_t here = at + more + in->offset;
            if (differs(in, p.old + here, p.top_old + here) ||
                differs(in, p.now + here, p.top_now + here))
                diff_row(d, c, in, (struct pair){p.old + at + more, p.now + at + more, NULL, NULL},
                         prefix);
        }
    }
}

static void diff_route(struct diff *d, const struct flat_route *old, const struct flat_route *now)
{
    static const char *const apart[] = {"name", "match", "routes", NULL};
    struct schema_table own = route_schema;
    own.also = NULL;
    struct change *c = note(d, CHANGE_ROUTE, CHANGE_CHANGED, now->name);
    struct pair match = {(const char *) old->match, (const char *) now->match, NULL, NULL};
    struct pair rows = {(const char *) old->conf, (const char *) now->conf, NULL, NULL};
    struct pair settings = {
        (const char *) &old->conf->settings, (const char *) &now->conf->settings,
        (const char *) &d->old->proxy.settings, (const char *) &d->now->proxy.settings};
    diff_rows(d, c, &match_schema, match, STR("match."));
    diff_object(d, c, &own, rows, apart);
    diff_inherited(d, c, settings);
    diff_features(d, c, old->conf->features, now->conf->features, false);
    settle(d, c);
}

static void diff_order(struct diff *d)
{
    struct change *c = note(d, CHANGE_SETTINGS, CHANGE_CHANGED, STR(""));
    note_field(d, c,
               (struct change_field){.path = STR("routes"),
                                     .from = STR("their order"),
                                     .to = STR("another order (matters where matches are alike)")});
}

static void diff_flat(struct diff *d, const struct flat_routes *old, const struct flat_routes *now)
{
    struct map was = {0};
    const struct flat_route *last = NULL;
    bool in_order = true;
    for (size_t i = 0; i < old->n; i++)
        map_set(&was, old->v[i].name, &old->v[i]);
    for (size_t i = 0; i < now->n; i++) {
        const struct flat_route *before = map_remove(&was, now->v[i].name);
        if (!before) {
            note(d, CHANGE_ROUTE, CHANGE_ADDED, now->v[i].name);
            continue;
        }
        in_order = in_order && before > last;
        last = before;
        diff_route(d, before, &now->v[i]);
    }
    for (size_t i = 0; i < old->n; i++) {
        if (map_remove(&was, old->v[i].name))
            note(d, CHANGE_ROUTE, CHANGE_REMOVED, old->v[i].name);
    }
    if (!in_order)
        diff_order(d);
    map_fini(&was);
}

/* Of a file that was checked, or one that C code made. */
static struct flat_routes flat_of(struct diff *d, const struct conf_file *file)
{
    struct conf_errors e;
    if (file->flat)
        return *file->flat;
    conf_errors_init(&e, d->out->arena, NULL);
    struct flat_routes flat = conf_flatten(&file->proxy, &e);
    conf_errors_fini(&e);
    return flat;
}

static void diff_routes(struct diff *d)
{
    struct flat_routes old = flat_of(d, d->old), now = flat_of(d, d->now);
    diff_flat(d, &old, &now);
}

void conf_diff_route(const struct conf_file *file, const struct flat_route *old,
                     const struct flat_route *now, const struct feature_set *features,
                     struct change_list *out)
{
    struct diff d = {.out = out, .old = file, .now = file, .features = features};
    if (old && now)
        diff_route(&d, old, now);
    else
        note(&d, CHANGE_ROUTE, now ? CHANGE_ADDED : CHANGE_REMOVED, now ? now->name : old->name);
}

void conf_diff(const struct conf_file *old, const struct conf_file *now,
               const struct feature_set *features, struct change_list *out)
{
    struct diff d = {.out = out, .old = old, .now = now, .features = features};
    diff_settings(&d);
    diff_listeners(&d);
    diff_upstreams(&d);
    diff_routes(&d);
}
