/* SPDX-License-Identifier: Apache-2.0 */
/* trie_inside: what building and changing tries share. Nothing outside trie*.c includes this. The
 * main thread's. */
#ifndef WEIR_PROXY_TRIE_INSIDE_H
#define WEIR_PROXY_TRIE_INSIDE_H

#include "proxy/trie.h"

/* A new zeroed block of one of the store's slabs; nodes may move. */
uint32_t trie_block(struct trie_store *s, struct slab *of, uint32_t n);
/* Node at gets the n children from number first on, led to by bytes, ascending; nodes stay where
 * they are. */
void trie_set_children(struct trie_store *s, uint32_t at, const uint8_t *bytes, uint32_t n,
                       uint32_t first);

/* Node at, if it is a leaf with one value, keeps what that stands for. */
void trie_set_near(struct trie_store *s, uint32_t at, struct trie_near near);

#endif
