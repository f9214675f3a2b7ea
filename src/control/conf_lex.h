/* SPDX-License-Identifier: Apache-2.0 */
/* conf_lex: YAML text (libyaml) to a tree of nodes that know their places. Owned by one load, its
 * thread only; nodes live in an arena of their own, which may be freed once they are parsed.
 * Bounded: depth, copies made by aliases, bytes. Knows no schema and never guesses a type: a scalar
 * is its text. */
#ifndef WEIR_CONTROL_CONF_LEX_H
#define WEIR_CONTROL_CONF_LEX_H

#include "control/conf_error.h"

#define CONF_DEPTH_MAX 64u        /* nested lists and maps */
#define CONF_COPIES_MAX 100000u   /* nodes that aliases and merge keys may add */
#define CONF_TEXT_MAX (64u << 20) /* bytes of a file */

enum conf_kind { CONF_SCALAR, CONF_LIST, CONF_MAP };

struct conf_node {
    enum conf_kind kind;
    bool plain;               /* a scalar without quotes */
    struct schema_pos pos;    /* of the value */
    struct schema_pos at_key; /* of the key, in a map */
    struct str key;           /* in a map */
    struct str text;          /* of a scalar; NUL-terminated */
    struct conf_node *first;  /* items or members, in order */
    struct conf_node *last, *next;
    size_t n; /* how many */
};

/* The tree of text, in tree; or NULL: errors say why (an empty text gives an empty map). */
struct conf_node *conf_lex(struct str text, struct arena *tree, struct conf_errors *e);
/* The member of a map of that key, or NULL. */
struct conf_node *conf_member(const struct conf_node *map, const char *key);
/* A scalar that says nothing: "key:", "~" or "null" without quotes. */
bool conf_is_null(const struct conf_node *n);

#endif
