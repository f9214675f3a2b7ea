/* SPDX-License-Identifier: Apache-2.0 */
/* str: a borrowed view of bytes, never owned, never NUL-terminated by promise.
 * Owner: whoever owns the bytes. Any thread. Never allocates, never frees. */
#ifndef WEIR_BASE_STR_H
#define WEIR_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;      /* bytes */
};

/* A view of a string literal. */
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* printf arguments for a view: printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int) (s).n, (s).p

/* A view of n bytes at p. */
static inline struct str str_of(const char *p, size_t n)
{
    return (struct str){p, n};
}

/* A view of a NUL-terminated string; NULL gives the empty view. */
static inline struct str str_c(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

/* Equal bytes. */
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII lower case of one byte; other bytes unchanged. */
static inline char str_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : c;
}

/* Equal but for ASCII case (RFC 9110 5.1). */
bool str_ieq(struct str a, struct str b);
/* a begins with prefix. */
bool str_starts(struct str a, struct str prefix);
/* a ends with suffix. */
bool str_ends(struct str a, struct str suffix);
/* a begins with prefix but for ASCII case. */
bool str_istarts(struct str a, struct str prefix);
/* Order by bytes, then length: <0, 0, >0. */
int str_cmp(struct str a, struct str b);
/* Index of the first c in a, or -1. */
ptrdiff_t str_find(struct str a, char c);
/* Index of the last c in a, or -1. */
ptrdiff_t str_rfind(struct str a, char c);
/* Bytes [from, to) of a, clipped to its length. */
struct str str_sub(struct str a, size_t from, size_t to);
/* Without leading and trailing SP and HTAB (OWS, RFC 9110 5.6.3). */
struct str str_trim(struct str a);
/* Takes the next comma-separated element off *list, trimmed, skipping empty
 * ones (RFC 9110 5.6.1); honours quoted strings. False at the end. */
bool str_next_item(struct str *list, struct str *item);
/* The list holds token, compared without case. */
bool str_has_token(struct str list, struct str token);
/* No control byte (below the space, or DEL) is in a. */
bool str_printable(struct str a);
/* Decimal digits only, the whole view, no overflow. False otherwise. */
bool str_to_u64(struct str a, uint64_t *out);
/* 64-bit keyed hash of bytes (SipHash-1-3 or better, key per process, so that
 * peers cannot choose collisions). */
uint64_t str_hash(struct str a);
/* The same over the ASCII lower case of a. */
uint64_t str_ihash(struct str a);
/* Unkeyed 64-bit hash, equal on all machines and runs (content keys, consistent hashing). */
uint64_t str_stable_hash(struct str a, uint64_t seed);
/* Edit distance, for nearest-name hints; capped at max + 1. */
unsigned str_distance(struct str a, struct str b, unsigned max);

#endif
