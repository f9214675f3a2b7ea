/* SPDX-License-Identifier: Apache-2.0 */
/* conf_node: configuration trees from JSON and to JSON, as the admin API speaks them: the same tree
 * that YAML gives, so that one schema judges both. Owned by one load or one request, its thread
 * only. Knows no schema. */
#ifndef WEIR_CONTROL_CONF_NODE_H
#define WEIR_CONTROL_CONF_NODE_H

#include <jansson.h>

#include "base/text.h"
#include "control/conf_lex.h"

/* Lines from here on number values of JSON, in the order of the text, where a tree of YAML has its
 * lines: see conf_node_pointer. */
#define CONF_JSON_LINE (1u << 30)

/* The tree of a JSON value, in tree; line is the last number used, 0 at first, and grows. NULL: it
 * is nested too deep or holds a key that is none (e says so). */
struct conf_node *conf_node_of_json(const json_t *value, struct arena *tree, unsigned *line,
                                    struct conf_errors *e);
/* Parses JSON text. NULL: *why says what is wrong and where, for mem_free. For json_decref. */
json_t *conf_json_parse(struct str text, char **why);
/* The JSON value of a tree; for json_decref. */
json_t *conf_node_json(const struct conf_node *n);
/* Appends the tree as JSON text. A text in YAML that reads as a JSON number, true, false or null is
 * one. */
void conf_node_print(const struct conf_node *n, struct text *out);
/* A number, without a fraction where it has none. */
json_t *conf_json_number(double v);
/* Appends a JSON value, without line breaks. */
void conf_json_print(const json_t *value, struct text *out);
/* Appends the JSON pointer (RFC 6901) of the value of that line (above CONF_JSON_LINE) below root;
 * false: it is not there. */
bool conf_node_pointer(const struct conf_node *root, unsigned line, struct text *out);
/* A copy of n with the same children; it belongs to no parent yet. */
struct conf_node *conf_node_copy(const struct conf_node *n, struct arena *tree);
/* Appends n to the list or map. */
void conf_node_add(struct conf_node *parent, struct conf_node *n);
/* An empty map under that key. */
struct conf_node *conf_node_map(struct arena *tree, struct str key);
/* A text in quotes under that key. */
struct conf_node *conf_node_text(struct arena *tree, struct str key, struct str text);
/* Gives a map without a name one, in front, as people write it. */
void conf_node_name(struct conf_node *map, struct str name, struct arena *tree);

#endif
