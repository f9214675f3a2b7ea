/* SPDX-License-Identifier: Apache-2.0 */
/* server_states.c: tells subscribers when an endpoint's state is another than a second ago. States
 * are made by workers, checks and the resolver alike, so they are looked at, in one place.
 * Invariants:
 * 1. states has the endpoints of the last look that were not retired, and names that are constant.
 */
#include "app/server_inside.h"
#include "base/mem.h"

#define LOOK_PAUSE USEC_PER_SEC

struct look {
    struct server *s;
    struct map now;
};

static void tell(struct server *s, struct str name, const char *was, const char *is)
{
    struct text words = {0}, json = {0};
    text_addf(&words, "endpoint %.*s: %s -> %s", STR_ARG(name), was, is);
    text_add(&json, STR("{\"endpoint\":"));
    text_add_json(&json, name);
    text_addf(&json, ",\"from\":\"%s\",\"to\":\"%s\"}", was, is);
    events_add(s->events, EVENT_STATE, text_str(&words), text_str(&json));
    text_fini(&words);
    text_fini(&json);
}

static void look_at(void *arg, struct endpoint *e)
{
    struct look *l = arg;
    if (atomic_load_explicit(&e->retired, memory_order_relaxed))
        return;
    const char *is = admin_endpoint_state(e);
    char *name = mem_printf("%.*s/%.*s", STR_ARG(e->upstream_name), STR_ARG(e->address));
    const char *was = map_get(&l->s->states, str_c(name));
    if (was && strcmp(was, is) != 0)
        tell(l->s, str_c(name), was, is);
    map_set(&l->now, str_c(name), (void *) (uintptr_t) is);
    mem_free(name);
}

static void look(struct timer *t)
{
    struct look l = {.s = list_entry(t, struct server, state_timer)};
    upstream_registry_each(l.s->engine->registry, look_at, &l);
    map_fini(&l.s->states);
    l.s->states = l.now;
    timer_set(l.s->engine->loop, t, loop_now(l.s->engine->loop) + LOOK_PAUSE);
}

void server_watch_states(struct server *s)
{
    timer_init(&s->state_timer, look);
    look(&s->state_timer);
}
