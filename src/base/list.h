/* SPDX-License-Identifier: Apache-2.0 */
/* list: intrusive doubly linked list. The owner embeds struct list_node; the list owns
 * nothing. Single-threaded. An unlinked node has next == NULL. */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};

/* The head of a list: a node that belongs to nobody. */
struct list {
    struct list_node root;
};

/* The object that embeds node as member. */
#define list_entry(node, type, member) ((type *) (void *) ((char *) (node) -offsetof(type, member)))
#define list_each(it, l)                                                                           \
    for (struct list_node *it = (l)->root.next; it != &(l)->root; it = it->next)
/* The same; the current node may be removed in the body. */
#define list_each_safe(it, l)                                                                      \
    for (struct list_node *it = (l)->root.next, *it##_next = it->next; it != &(l)->root;           \
         it = it##_next, it##_next = it->next)

/* Makes l empty. */
static inline void list_init(struct list *l)
{
    l->root.next = l->root.prev = &l->root;
}
/* True when l has no node. */
static inline bool list_empty(const struct list *l)
{
    return l->root.next == &l->root;
}
/* True when the node is in a list. */
static inline bool list_linked(const struct list_node *n)
{
    return n->next != NULL;
}
/* Puts n before at. */
static inline void list_insert_before(struct list_node *at, struct list_node *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
/* Appends. */
static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_before(&l->root, n);
}
/* Prepends. */
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_before(l->root.next, n);
}
/* Unlinks n, which is linked. */
static inline void list_unlink(struct list_node *n)
{
    n->next->prev = n->prev;
    n->prev->next = n->next;
    n->next = n->prev = NULL;
}
/* Unlinks n; harmless when it is not linked. */
static inline void list_remove(struct list_node *n)
{
    if (n->next)
        list_unlink(n);
}
/* Unlinks and returns the first node, or NULL. */
static inline struct list_node *list_pop_front(struct list *l)
{
    struct list_node *n = l->root.next;
    if (n == &l->root)
        return NULL;
    list_unlink(n);
    return n;
}

#endif
