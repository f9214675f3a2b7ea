/* SPDX-License-Identifier: Apache-2.0 */
/* source_limit.c: see source_limit.h. Invariants:
 * 1. counts maps the bytes of a source to how many it has, never 0; read and changed under lock. */
#include "proxy/source_limit.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

struct source_limit {
    pthread_mutex_t lock;
    struct map counts;
};

struct source_limit *source_limit_new(void)
{
    struct source_limit *s = mem_new(sizeof *s);
    must(pthread_mutex_init(&s->lock, NULL) == 0);
    return s;
}

void source_limit_free(struct source_limit *s)
{
    must(s->counts.n == 0);
    map_fini(&s->counts);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* The bytes that tell sources apart. */
static struct str source_of(const struct ip *ip)
{
    return str_of((const char *) ip->b, ip_is_v4(*ip) ? 16 : 8);
}

bool source_limit_take(struct source_limit *s, struct ip ip, uint64_t max)
{
    struct str source = source_of(&ip);
    pthread_mutex_lock(&s->lock);
    uintptr_t n = (uintptr_t) map_get(&s->counts, source);
    bool good = n < max;
    if (good)
        map_set(&s->counts, source, (void *) (n + 1));
    pthread_mutex_unlock(&s->lock);
    return good;
}

void source_limit_put(struct source_limit *s, struct ip ip)
{
    struct str source = source_of(&ip);
    pthread_mutex_lock(&s->lock);
    uintptr_t n = (uintptr_t) map_get(&s->counts, source);
    must(n > 0);
    if (n == 1)
        map_remove(&s->counts, source);
    else
        map_set(&s->counts, source, (void *) (n - 1));
    pthread_mutex_unlock(&s->lock);
}
