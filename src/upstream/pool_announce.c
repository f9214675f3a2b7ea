/* SPDX-License-Identifier: Apache-2.0 */
/* pool_announce: links that are for some waits only: see pool_announce.h. Invariants:
 * 1. A link is lent, or counted on by a wait, only when both announce the same bytes, or both none,
 *    and both are for HTTP/1.1 alone, or neither.
 * 2. pool.keyed is set before the first link or wait that is for some only: where there never was
 *    one, the answers here cost one test. */
#include "upstream/pool_announce.h"
#include "base/mem.h"
#include "base/panic.h"
#include "net/sock.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_share.h"

struct announcement {
    uint64_t hash;
    struct str bytes; /* behind the struct */
};

static size_t announcement_size(size_t n)
{
    return sizeof(struct announcement) + n;
}

bool announcement_set(struct link *l, struct str bytes)
{
    if (bytes.n == 0)
        return true;
    if (!mem_charge(l->worker->account, announcement_size(bytes.n)))
        return false;
    struct announcement *a = mem_new(announcement_size(bytes.n));
    char *to = (char *) (a + 1);
    memcpy(to, bytes.p, bytes.n);
    *a = (struct announcement){str_hash(bytes), str_of(to, bytes.n)};
    l->announced = a;
    return true;
}

void announcement_free(struct link *l)
{
    if (!l->announced)
        return;
    mem_credit(l->worker->account, announcement_size(l->announced->bytes.n));
    mem_free(l->announced);
    l->announced = NULL;
}

struct str announcement_bytes(const struct link *l)
{
    return l->announced ? l->announced->bytes : STR("");
}

bool announcement_is(const struct link *l, struct str bytes, uint64_t hash)
{
    return l->announced && l->announced->hash == hash && str_eq(l->announced->bytes, bytes);
}

bool announcement_send(struct link *l)
{
    return !l->announced || sock_preface(conn_fd(&l->conn), l->announced->bytes);
}

struct link_kind link_kind(const struct link *l)
{
    return (struct link_kind){announcement_bytes(l), l->h1_only};
}

/* Links of that kind being opened, less the waits that count on them. The youngest such link and
 * the oldest such wait are given, too. */
static int64_t surplus(struct link_pool *p, struct link_kind kind, struct link **youngest,
                       struct link_wait **oldest)
{
    int64_t n = 0;
    struct str bytes = kind.announce;
    uint64_t hash = bytes.n ? str_hash(bytes) : 0;
    *youngest = NULL;
    *oldest = NULL;
    list_each(it, &p->opening) {
        struct link *l = list_entry(it, struct link, node);
        if (l->h1_only != kind.h1)
            continue;
        if (bytes.n ? announcement_is(l, bytes, hash) : !l->announced) {
            *youngest = l;
            n++;
        }
    }
    list_each(it, &p->opening_waits) {
        struct link_wait *w = list_entry(it, struct link_wait, node);
        if (w->want_h1 != kind.h1 || !str_eq(w->announce, bytes))
            continue;
        *oldest = *oldest ? *oldest : w;
        n--;
    }
    return n;
}

struct link_wait *wait_bereft(struct link_pool *p, const struct link *l)
{
    struct link *youngest;
    struct link_wait *oldest;
    if (!p->keyed)
        return p->n_opening_waits > p->n_opening * p->each
                   ? list_entry(p->opening_waits.root.next, struct link_wait, node)
                   : NULL;
    return surplus(p, link_kind(l), &youngest, &oldest) < 0 ? oldest : NULL;
}

struct link *opening_spare(struct link_pool *p, const struct link_wait *w)
{
    struct link *youngest;
    struct link_wait *oldest;
    if (!share_spare(p))
        return NULL;
    if (!p->keyed)
        return list_entry(p->opening.root.prev, struct link, node);
    return surplus(p, wait_kind(w), &youngest, &oldest) > 0 ? youngest : NULL;
}
