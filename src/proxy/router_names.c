/* SPDX-License-Identifier: Apache-2.0 */
/* router_names.c: rules by the names of their routes: a hash table in pages, of which a version
 * copies those that it changes.
 * Invariants:
 * 1. Cells and pages are never written to once a version that has them is kept.
 * 2. There are at most FULL times as many entries as lists. */
#include "base/panic.h"
#include "proxy/router_store.h"

#define FULL 4u

/* Which list a name is in. */
struct spot {
    uint32_t page, list;
};

static struct spot spot_of(const struct names *names, struct str name)
{
    uint32_t hash = (uint32_t) str_hash(name);
    return (struct spot){(hash / NAMES_PAGE) & (names->n_pages - 1), hash % NAMES_PAGE};
}

uint32_t names_find(const struct router *r, struct str name)
{
    struct spot at = spot_of(&r->names, name);
    uint32_t cell = r->pages[r->forest.table[r->names.pages + at.page]].first[at.list];
    for (; cell; cell = r->cells[cell].next) {
        uint32_t entry = r->cells[cell].entry;
        if (str_eq(r->entries[entry].route->name, name))
            return entry;
    }
    return 0;
}

void names_each(const struct router *r, void (*fn)(void *arg, uint32_t entry), void *arg)
{
    for (uint32_t p = 0; p < r->names.n_pages; p++) {
        const struct names_page *page = &r->pages[r->forest.table[r->names.pages + p]];
        for (uint32_t i = 0; i < NAMES_PAGE; i++) {
            for (uint32_t c = page->first[i]; c; c = r->cells[c].next)
                fn(arg, r->cells[c].entry);
        }
    }
}

/* ---- changing ------------------------------------------------------------------------------ */

static uint32_t *page_number(const struct router *r, uint32_t page)
{
    return store_at(r->store, SLAB_TABLE, r->names.pages + page);
}

static struct names_page *page_at(const struct router *r, uint32_t page)
{
    return store_at(r->store, SLAB_PAGES, *page_number(r, page));
}

void names_init(struct router *r, uint32_t n)
{
    r->names.n_pages = 1;
    while (r->names.n_pages * NAMES_PAGE < n)
        r->names.n_pages *= 2;
    r->names.pages = store_take(r->store, SLAB_TABLE, r->names.n_pages);
    for (uint32_t i = 0; i < r->names.n_pages; i++) {
        uint32_t page = store_take(r->store, SLAB_PAGES, 1);
        *page_number(r, i) = page;
    }
}

/* The page and the list of pages become r's own. */
static void own_page(struct router *r, uint32_t page)
{
    struct router_store *s = r->store;
    uint32_t n = r->names.n_pages, old = r->names.pages;
    r->names.pages = store_take(s, SLAB_TABLE, n);
    memcpy(page_number(r, 0), store_at(s, SLAB_TABLE, old), n * sizeof(uint32_t));
    store_leave(s, SLAB_TABLE, old, n);
    uint32_t was = *page_number(r, page), now = store_take(s, SLAB_PAGES, 1);
    *page_number(r, page) = now;
    *page_at(r, page) = *(struct names_page *) store_at(s, SLAB_PAGES, was);
    store_leave(s, SLAB_PAGES, was, 1);
}

static struct cell cell_at(const struct router_store *s, uint32_t at)
{
    return *(struct cell *) store_at(s, SLAB_CELLS, at);
}

static uint32_t cell_new(struct router_store *s, uint32_t entry, uint32_t next)
{
    uint32_t at = store_take(s, SLAB_CELLS, 1);
    *(struct cell *) store_at(s, SLAB_CELLS, at) = (struct cell){entry, next};
    return at;
}

static struct spot spot_of_entry(const struct router *r, uint32_t entry)
{
    const struct entry *e = store_at(r->store, SLAB_ENTRIES, entry);
    return spot_of(&r->names, e->route->name);
}

/* Adds an entry; own: its page is r's own. */
static void add(struct router *r, uint32_t entry, bool own)
{
    struct spot at = spot_of_entry(r, entry);
    if (!own)
        own_page(r, at.page);
    uint32_t cell = cell_new(r->store, entry, page_at(r, at.page)->first[at.list]);
    page_at(r, at.page)->first[at.list] = cell;
}

static void move(void *arg, uint32_t entry)
{
    add(arg, entry, true);
}

static void leave_page(struct router_store *s, uint32_t number)
{
    const struct names_page *page = store_at(s, SLAB_PAGES, number);
    for (uint32_t i = 0; i < NAMES_PAGE; i++) {
        for (uint32_t c = page->first[i]; c; c = cell_at(s, c).next)
            store_leave(s, SLAB_CELLS, c, 1);
    }
    store_leave(s, SLAB_PAGES, number, 1);
}

/* A larger index with the same entries. */
static void widen(struct router *r)
{
    router_look(r);
    const struct router before = *r;
    names_init(r, r->n_rules * 2);
    names_each(&before, move, r);
    for (uint32_t p = 0; p < before.names.n_pages; p++)
        leave_page(r->store, *page_number(&before, p));
    store_leave(r->store, SLAB_TABLE, before.names.pages, before.names.n_pages);
}

void names_add(struct router *r, uint32_t entry)
{
    bool first = r->store->versions.root.next == &r->node && !r->kept;
    if (!first && r->n_rules > r->names.n_pages * NAMES_PAGE * FULL)
        widen(r);
    add(r, entry, first);
}

void names_remove(struct router *r, uint32_t entry)
{
    struct router_store *s = r->store;
    struct spot at = spot_of_entry(r, entry);
    own_page(r, at.page);
    uint32_t cell = page_at(r, at.page)->first[at.list], found = cell;
    while (cell_at(s, found).entry != entry)
        found = cell_at(s, found).next;
    uint32_t to = cell_at(s, found).next;
    /* Those before it, in another order: nobody minds. */
    for (; cell != found; cell = cell_at(s, cell).next) {
        to = cell_new(s, cell_at(s, cell).entry, to);
        store_leave(s, SLAB_CELLS, cell, 1);
    }
    store_leave(s, SLAB_CELLS, found, 1);
    page_at(r, at.page)->first[at.list] = to;
}
