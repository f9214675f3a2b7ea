/* SPDX-License-Identifier: Apache-2.0 */
/* router_store.c: what versions of a router share, and when blocks of it are free again.
 * Invariants:
 * 1. Only the newest version may be not kept; what it made and did without is in made and left.
 * 2. A block in a version's left was last used by that version: it is given back when this one and
 *    all older ones are freed, so that no version that a worker may read leads to it.
 * 3. Entries are dropped (their references) exactly when their block is given back; those of the
 *    last version at the end of the store. */
#include "proxy/router_store.h"
#include "base/mem.h"
#include "base/panic.h"

static struct slab *slab_of(struct router_store *s, enum slab_kind kind)
{
    return kind == SLAB_NODES   ? &s->tries.nodes
           : kind == SLAB_TABLE ? &s->tries.table
                                : &s->slabs[kind];
}

void *store_at(const struct router_store *s, enum slab_kind kind, uint32_t at)
{
    return slab_at(slab_of((struct router_store *) (uintptr_t) s, kind), at);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static void pieces_add(struct pieces *b, struct piece one)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->v = mem_resize(b->v, b->cap * sizeof(*b->v));
    }
    b->v[b->n++] = one;
}

static void pieces_fini(struct pieces *b)
{
    mem_free(b->v);
    *b = (struct pieces){0};
}

static struct router *newest(const struct router_store *s)
{
    return list_entry(s->versions.root.prev, struct router, node);
}

/* What the first version makes ends with the store alone. */
static bool is_first(const struct router_store *s)
{
    return newest(s)->node.prev == &s->versions.root && !newest(s)->kept;
}

static void note_made(struct router_store *s, enum slab_kind kind, uint32_t at, uint32_t n)
{
    if (!is_first(s))
        pieces_add(&s->made, (struct piece){at, n, (uint8_t) kind});
}

void store_leave(struct router_store *s, enum slab_kind kind, uint32_t at, uint32_t n)
{
    if (at && n)
        pieces_add(&s->left, (struct piece){at, n, (uint8_t) kind});
}

uint32_t store_take(struct router_store *s, enum slab_kind kind, uint32_t n)
{
    uint32_t at = slab_take(slab_of(s, kind), n);
    note_made(s, kind, at, n);
    return at;
}

static enum slab_kind kind_of(const struct router_store *s, const struct slab *of)
{
    return of == &s->tries.nodes ? SLAB_NODES : SLAB_TABLE;
}

static void trie_made(void *arg, const struct slab *of, uint32_t at, uint32_t n)
{
    note_made(arg, kind_of(arg, of), at, n);
}

static void trie_left(void *arg, const struct slab *of, uint32_t at, uint32_t n)
{
    store_leave(arg, kind_of(arg, of), at, n);
}

static void entry_drop(struct entry *e)
{
    if (e->conditions)
        conditions_free(e->conditions);
    pattern_free(e->pattern);
    route_unref(e->route);
    if (e->own) {
        struct arena *own = e->own;
        arena_fini(own);
        mem_free(own);
    }
}

/* Gives the blocks back. */
static void release(struct router_store *s, struct pieces *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct piece *one = &b->v[i];
        if (one->slab == SLAB_ENTRIES)
            entry_drop(store_at(s, SLAB_ENTRIES, one->at));
        slab_give(slab_of(s, one->slab), one->at, one->n);
    }
    pieces_fini(b);
}

/* ---- versions ------------------------------------------------------------------------------ */

struct router *router_store_new(void)
{
    static const uint32_t sizes[SLABS] = {
        [SLAB_SETS] = sizeof(struct host_set),    [SLAB_GROUPS] = sizeof(struct group),
        [SLAB_RULES] = sizeof(struct rule),       [SLAB_REGEXES] = sizeof(struct regex_path),
        [SLAB_ENTRIES] = sizeof(struct entry),    [SLAB_CELLS] = sizeof(struct cell),
        [SLAB_PAGES] = sizeof(struct names_page),
    };
    struct router_store *s = mem_new(sizeof(*s));
    arena_init(&s->arena, NULL, SIZE_MAX);
    list_init(&s->versions);
    trie_store_init(&s->tries);
    s->tries.made = trie_made;
    s->tries.left = trie_left;
    s->tries.arg = s;
    for (int i = SLAB_SETS; i < SLABS; i++)
        slab_init(&s->slabs[i], sizes[i]);
    struct router *r = mem_new(sizeof(*r));
    r->store = s;
    list_push_back(&s->versions, &r->node);
    return r;
}

struct router *router_version(struct router_store *s)
{
    const struct router *from = newest(s);
    must(from->kept);
    struct router *r = mem_new(sizeof(*r));
    r->store = s;
    r->hosts = from->hosts;
    r->any = from->any;
    r->names = from->names;
    r->n_rules = from->n_rules;
    list_push_back(&s->versions, &r->node);
    router_look(r);
    return r;
}

void router_look(struct router *r)
{
    struct router_store *s = r->store;
    const void *items[SLABS] = {NULL};
    for (enum slab_kind i = 0; i < SLABS; i++) {
        struct slab_memory *m = slab_memory_ref(slab_of(s, i));
        slab_memory_unref(r->held[i]);
        r->held[i] = m;
        items[i] = m ? m->items : NULL;
    }
    r->forest = trie_store_view(&s->tries);
    r->sets = items[SLAB_SETS];
    r->groups = items[SLAB_GROUPS];
    r->rules = items[SLAB_RULES];
    r->regexes = items[SLAB_REGEXES];
    r->entries = items[SLAB_ENTRIES];
    r->cells = items[SLAB_CELLS];
    r->pages = items[SLAB_PAGES];
}

void router_keep(struct router *r)
{
    struct router_store *s = r->store;
    if (r->kept)
        return;
    must(r == newest(s));
    r->kept = true;
    if (r->node.prev != &s->versions.root)
        list_entry(r->node.prev, struct router, node)->left = s->left;
    else
        pieces_fini(&s->left);
    s->left = (struct pieces){0};
    pieces_fini(&s->made);
}

static void stop_looking(struct router *r)
{
    for (int i = 0; i < SLABS; i++)
        slab_memory_unref(r->held[i]);
}

static void end_version(struct router *r)
{
    list_remove(&r->node);
    mem_free(r);
}

static void drop_named(void *arg, uint32_t entry)
{
    entry_drop(store_at(arg, SLAB_ENTRIES, entry));
}

static void end_store(struct router_store *s)
{
    trie_store_fini(&s->tries);
    for (int i = SLAB_SETS; i < SLABS; i++)
        slab_fini(&s->slabs[i]);
    pieces_fini(&s->made);
    pieces_fini(&s->left);
    arena_fini(&s->arena);
    mem_free(s);
}

/* The newest version was never used: it leaves no trace. */
static void undo(struct router *r)
{
    struct router_store *s = r->store;
    bool first = is_first(s);
    for (uint32_t i = 1; first && i < s->slabs[SLAB_ENTRIES].n; i++)
        drop_named(s, i);
    release(s, &s->made);
    pieces_fini(&s->left);
    stop_looking(r);
    end_version(r);
    if (first)
        end_store(s);
}

void router_free(struct router *r)
{
    if (!r)
        return;
    struct router_store *s = r->store;
    if (!r->kept) {
        undo(r);
        return;
    }
    r->freed = true;
    while (!list_empty(&s->versions)) {
        struct router *oldest = list_entry(s->versions.root.next, struct router, node);
        if (!oldest->freed)
            break;
        if (oldest == newest(s)) {
            router_look(oldest);
            names_each(oldest, drop_named, s);
        }
        release(s, &oldest->left);
        stop_looking(oldest);
        end_version(oldest);
    }
    if (list_empty(&s->versions))
        end_store(s);
}
