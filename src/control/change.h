/* SPDX-License-Identifier: Apache-2.0 */
/* change: what differs between two configurations: listeners, upstreams, their endpoints, routes
 * and settings that were added, removed or changed, with each field's old and new value as text.
 * Works on the structs of two loads by their schema rows. Owned by whoever compares, its thread
 * only. It changes neither. */
#ifndef WEIR_CONTROL_CHANGE_H
#define WEIR_CONTROL_CHANGE_H

#include "base/text.h"
#include "control/conf_check.h"
#include "control/conf_file.h"

enum change_kind {
    CHANGE_SETTINGS, /* the top level; its name is empty */
    CHANGE_LISTENER, /* known by address, named by its name */
    CHANGE_UPSTREAM,
    CHANGE_ENDPOINT, /* named UPSTREAM/ADDRESS */
    CHANGE_ROUTE,    /* flattened: nested ones by their own names */
    CHANGE_KINDS
};

enum change_what { CHANGE_ADDED, CHANGE_REMOVED, CHANGE_CHANGED };

/* One field; of what was added or removed there are none. */
struct change_field {
    struct str path;     /* "timeouts.first_byte" */
    struct str from, to; /* in configuration syntax, long ones cut */
    bool restart;        /* takes effect at a restart only */
};

struct change {
    enum change_kind kind;
    enum change_what what;
    struct str name;
    struct change_field *fields;
    size_t n_fields, cap_fields;
};

/* In the order of the kinds, within each in the order of the text. */
struct change_list {
    struct arena *arena; /* everything lies there; borrowed */
    struct change *v;
    size_t n, cap;
};

/* None yet. */
void change_list_init(struct change_list *l, struct arena *a);
/* Appends to out what differs between two checked files. Texts in out are borrowed from both and
 * from out's arena. */
void conf_diff(const struct conf_file *old, const struct conf_file *now,
               const struct feature_set *features, struct change_list *out);
/* The same of one route alone, both before and after it in that file; NULL: it was or is not. */
void conf_diff_route(const struct conf_file *file, const struct flat_route *old,
                     const struct flat_route *now, const struct feature_set *features,
                     struct change_list *out);
/* "route", "listener" ... */
const char *change_kind_name(enum change_kind k);
/* "added", "removed", "changed" */
const char *change_what_name(enum change_what w);
/* In words: "route api: changed: timeouts.first_byte 60s -> 5s". */
void change_text(const struct change *c, struct text *out);
/* The same as a JSON object. */
void change_json(const struct change *c, struct text *out);
/* All, one a line; at most `most` lines (0: all), then how many more. Empty: nothing differs. */
void change_list_text(const struct change_list *l, size_t most, struct text *out);
/* All as a JSON array. */
void change_list_json(const struct change_list *l, struct text *out);

#endif
