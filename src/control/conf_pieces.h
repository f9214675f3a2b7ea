/* SPDX-License-Identifier: Apache-2.0 */
/* conf_pieces: where in the text of a configuration each route of the top level lies, so that one
 * of many is read without the others. For texts as large ones are: none is within another, each
 * begins behind a dash on a line of its own, and no alias reaches across.
 * Made by a load from its tree; owned by a conf_tree, the main thread's. It never judges a text. */
#ifndef WEIR_CONTROL_CONF_PIECES_H
#define WEIR_CONTROL_CONF_PIECES_H

#include "control/conf_lex.h"

struct conf_pieces;

/* The pieces of text, of which root is the tree; names: of all routes, as loading gives them (NULL:
 * the text gives each one its name). NULL: it is none of those texts. */
struct conf_pieces *conf_pieces_new(struct str text, const struct conf_node *root,
                                    const struct str *names);
/* Frees it, and the text that it was given; NULL is allowed. */
void conf_pieces_free(struct conf_pieces *p);
/* Gives it a copy of its text (for mem_free), out of which it reads from here on. */
void conf_pieces_give(struct conf_pieces *p, struct str text);
/* How many there are. */
size_t conf_pieces_count(const struct conf_pieces *p);
/* Route i, in the order of the text: as a load of the whole would read it, its name in front where
 * the text has none. file: for places. */
struct conf_node *conf_pieces_read(const struct conf_pieces *p, size_t i, struct arena *tree,
                                   const char *file);
/* The route of that name, and its number; NULL: there is none. */
struct conf_node *conf_pieces_find(const struct conf_pieces *p, struct str name, struct arena *tree,
                                   const char *file, size_t *i);

#endif
