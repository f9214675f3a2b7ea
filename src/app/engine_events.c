/* SPDX-License-Identifier: Apache-2.0 */
/* engine_events.c: what changes becomes events, of which features hear: what differs between two
 * configurations, addresses that names mean, and states of endpoints that are others than a second
 * ago. States are made by workers, checks and the resolver alike, so they are looked at, in one
 * place.
 * Invariants:
 * 1. endpoint.told is its state at the last look, a constant name; NULL: retired, or not looked at
 *    yet.
 * 2. What an endpoint was only between two looks is told by the counts of its changes:
 *    endpoint.told_changes has those of the last look. */
#include "app/engine.h"
#include "base/mem.h"
#include "control/admin.h"
#include "control/events.h"
#include "upstream/moved.h"

/* ---- addresses ----------------------------------------------------------------------------- */

static struct str list_of(struct arena *a, const struct endpoint_addrs *set)
{
    struct text t = {0};
    char one[ADDR_TEXT_MAX];
    text_add(&t, STR("["));
    for (uint32_t i = 0; i < set->n; i++) {
        size_t n = addr_print(&set->a[i], one);
        text_addf(&t, "%s%.*s", i ? ", " : "", (int) n, one);
    }
    text_add(&t, STR("]"));
    struct str list = arena_str(a, text_str(&t));
    text_fini(&t);
    return list;
}

static void moved(void *arg, const struct endpoint *e, const struct endpoint_addrs *was,
                  const struct endpoint_addrs *is)
{
    struct arena a;
    arena_init(&a, NULL, SIZE_MAX);
    engine_tell_endpoint(arg, e,
                         (struct change_field){.path = STR("addresses"),
                                               .from = list_of(&a, was),
                                               .to = list_of(&a, is)});
    arena_fini(&a);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void tell_features(struct event_subscriber *s, const struct event *event)
{
    features_tell(&list_entry(s, struct engine, teller)->features, event);
}

void engine_begin_events(struct engine *e)
{
    /* Numbers go on from process to process: a millisecond has room for a thousand. */
    e->events = events_new((uint64_t) (clock_wall() / (int64_t) USEC_PER_MS) << 10);
    e->teller.tell = tell_features;
    events_subscribe(e->events, &e->teller);
    upstream_registry_hear_moved(e->registry, (struct moved_hearer){moved, e});
}

void engine_end_events(struct engine *e)
{
    events_leave(&e->teller);
    events_free(e->events);
}

/* ---- configurations ------------------------------------------------------------------------ */

static enum event_kind event_of(enum change_kind k)
{
    static const enum event_kind kinds[CHANGE_KINDS] = {
        [CHANGE_SETTINGS] = EVENT_SETTINGS, [CHANGE_LISTENER] = EVENT_LISTENER,
        [CHANGE_UPSTREAM] = EVENT_UPSTREAM, [CHANGE_ENDPOINT] = EVENT_ENDPOINT,
        [CHANGE_ROUTE] = EVENT_ROUTE,
    };
    return kinds[k];
}

void engine_tell_changes(struct engine *e, const struct change_list *l)
{
    struct text words = {0}, json = {0};
    for (size_t i = 0; i < l->n; i++) {
        words.n = json.n = 0;
        change_text(&l->v[i], &words);
        change_json(&l->v[i], &json);
        events_add(e->events, event_of(l->v[i].kind), text_str(&words), text_str(&json));
    }
    text_fini(&words);
    text_fini(&json);
}

void engine_tell_endpoint(struct engine *e, const struct endpoint *endpoint, struct change_field f)
{
    char *name =
        mem_printf("%.*s/%.*s", STR_ARG(endpoint->upstream_name), STR_ARG(endpoint->address));
    struct change c = {CHANGE_ENDPOINT, CHANGE_CHANGED, str_c(name), &f, 1, 1};
    struct change_list l = {.v = &c, .n = 1, .cap = 1};
    engine_tell_changes(e, &l);
    mem_free(name);
}

/* ---- states -------------------------------------------------------------------------------- */

static void tell(struct engine *e, const struct endpoint *of, const char *was, const char *is)
{
    struct text words = {0}, json = {0};
    char *name = mem_printf("%.*s/%.*s", STR_ARG(of->upstream_name), STR_ARG(of->address));
    text_addf(&words, "endpoint %s: %s -> %s", name, was, is);
    text_add(&json, STR("{\"endpoint\":"));
    text_add_json(&json, str_c(name));
    text_addf(&json, ",\"from\":\"%s\",\"to\":\"%s\"}", was, is);
    events_add(e->events, EVENT_STATE, text_str(&words), text_str(&json));
    text_fini(&words);
    text_fini(&json);
    mem_free(name);
}

/* How often e became that since the look before. */
static uint32_t times(const struct endpoint *e, enum endpoint_change c)
{
    return atomic_load(&e->changes[c]) - e->told_changes[c];
}

/* Tells how often e was something else and was it no more (or the other way round) between was and
 * is. */
static void tell_brief(struct engine *engine, const struct endpoint *e, const char *was,
                       const char *is)
{
    static const struct {
        const char *state;
        enum endpoint_change begin, end;
        bool shows; /* whatever the endpoint is beside that */
    } kinds[] = {{"down", CHANGE_DOWN, CHANGE_UP, true},
                 {"ejected", CHANGE_EJECTED, CHANGE_RETURNED, false},
                 {"drained", CHANGE_DRAINED, CHANGE_UNDRAINED, false}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *state = kinds[i].state;
        bool began = strcmp(was, state) == 0;
        const char *other = !began ? was : strcmp(is, state) != 0 ? is : "up";
        uint32_t begun = times(e, kinds[i].begin), ended = times(e, kinds[i].end);
        uint32_t n = begun < ended ? begun : ended;
        if (!kinds[i].shows && strcmp(other, "up") != 0)
            continue;
        for (; n > 0; n--) {
            tell(engine, e, began ? state : other, began ? other : state);
            tell(engine, e, began ? other : state, began ? state : other);
        }
    }
}

static void look_at(void *arg, struct endpoint *endpoint)
{
    bool retired = atomic_load_explicit(&endpoint->retired, memory_order_relaxed);
    const char *was = endpoint->told, *is = retired ? NULL : admin_endpoint_state(endpoint);
    endpoint->told = is;
    if (was && is)
        tell_brief(arg, endpoint, was, is);
    if (was && is && strcmp(was, is) != 0)
        tell(arg, endpoint, was, is);
    for (int i = 0; i < ENDPOINT_CHANGES; i++)
        endpoint->told_changes[i] = atomic_load(&endpoint->changes[i]);
}

void engine_look_at_states(struct engine *e)
{
    upstream_registry_each(e->registry, look_at, e);
}
