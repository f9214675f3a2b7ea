/* SPDX-License-Identifier: Apache-2.0 */
/* conf_plain: the part of YAML that large configurations keep to, read in one pass, many times
 * faster than libyaml reads the whole language: block maps and lists, flow ones, texts that begin
 * and end in one line, comments; of ASCII. Part of conf_lex, on its thread. It judges nothing: of
 * any other text it says only that it is one, and libyaml has the word. */
#ifndef WEIR_CONTROL_CONF_PLAIN_H
#define WEIR_CONTROL_CONF_PLAIN_H

#include "base/map.h"
#include "control/conf_lex.h"

/* The tree of text, in tree, with places as libyaml has them. NULL: it is for libyaml. */
struct conf_node *conf_plain(struct str text, struct arena *tree, const char *file);
/* What conf_lex does with texts that are for libyaml. */
struct conf_node *conf_lex_yaml(struct str text, struct arena *tree, struct conf_errors *e);

/* A map that is being read, and its members by key. */
struct conf_members {
    struct conf_node *map;
    struct map keys; /* of all of them, once they are more than a few; for map_fini */
};

/* The member of that key, or NULL. */
struct conf_node *conf_members_get(const struct conf_members *m, struct str key);
/* Appends n, whose key is new. */
void conf_members_add(struct conf_members *m, struct conf_node *n);

#endif
