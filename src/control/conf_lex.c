/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A node is complete before its parent links it, and no two parents share one: an alias copies.
 * 2. copied counts the nodes made by aliases and merge keys; at CONF_COPIES_MAX the text is
 *    refused, so that a few lines cannot ask for gigabytes.
 * 3. After failed is set no more event is read. */
#include "control/conf_lex.h"

#include <string.h>
#include <yaml.h>

#include "base/map.h"
#include "base/panic.h"

#define MEMBERS_FEW 16u /* keys that are compared one by one */

/* The members of one map, by key. */
struct members {
    struct conf_node *map;
    struct map keys; /* of all of them, once they are more than a few */
};

struct lex {
    struct str text;
    yaml_parser_t parser;
    yaml_event_t event;
    bool have_event;
    struct conf_errors *errors;
    struct arena *arena;
    struct map anchors; /* name -> struct conf_node, complete ones */
    size_t copied;
    bool failed;
};

static struct schema_pos pos_of(const struct lex *l, yaml_mark_t mark)
{
    return (struct schema_pos){l->errors->file, (unsigned) mark.line + 1,
                               (unsigned) mark.column + 1};
}

/* The place of byte number at; columns count characters, as libyaml's do. */
static struct schema_pos pos_of_byte(const struct lex *l, size_t at)
{
    struct schema_pos pos = {l->errors->file, 1, 1};
    for (size_t i = 0; i < at && i < l->text.n; i++) {
        pos.column += (l->text.p[i] & 0xc0) != 0x80;
        if (l->text.p[i] == '\n') {
            pos.line++;
            pos.column = 1;
        }
    }
    return pos;
}

/* The byte at mark; NUL: there is none. */
static char byte_at(const struct lex *l, yaml_mark_t mark)
{
    struct str rest = l->text;
    for (size_t line = 0; line < mark.line; line++) {
        ptrdiff_t end = str_find(rest, '\n');
        if (end < 0)
            return '\0';
        rest = str_sub(rest, (size_t) end + 1, rest.n);
    }
    return mark.column < rest.n ? rest.p[mark.column] : '\0';
}

static void refuse(struct lex *l, struct schema_pos pos, const char *text)
{
    if (!l->failed)
        conf_say(l->errors, pos, "%s", text);
    l->failed = true;
}

static void refuse_yaml(struct lex *l)
{
    const yaml_parser_t *p = &l->parser;
    struct schema_pos pos = pos_of(l, p->problem_mark);
    const char *problem = p->problem ? p->problem : "it cannot be read";
    const char *context = p->context ? p->context : "";
    if (p->error == YAML_READER_ERROR) {
        conf_say(l->errors, pos_of_byte(l, p->problem_offset),
                 "not valid YAML: %s; the file must be UTF-8 text", problem);
    } else if (strstr(context, "quoted scalar")) {
        conf_say(l->errors, pos_of(l, p->context_mark),
                 "the quote that begins here is not closed: %s", problem);
    } else if (strstr(context, "an alias") || strstr(context, "an anchor")) {
        conf_say(l->errors, pos_of(l, p->context_mark),
                 "a text that begins with * or & needs quotes, as in \"*.example.com\"");
    } else if (byte_at(l, p->problem_mark) == '\t') { /* it stands for indentation there */
        conf_say(l->errors, pos, "not valid YAML: a tab; indent with spaces");
    } else if (strstr(problem, "cannot start any token")) {
        conf_say(l->errors, pos, "not valid YAML: a text that begins with @, ` or %% needs quotes");
    } else if (strstr(problem, "mapping values are not allowed")) {
        conf_say(
            l->errors, pos,
            "not valid YAML: no key: value can be here; the line may be indented too far, or a "
            "key above have no space behind its colon; a text that holds a colon and a space "
            "needs quotes");
    } else if (strstr(problem, "expected node content") && byte_at(l, p->problem_mark) == ':') {
        conf_say(l->errors, pos_of(l, p->context_mark),
                 "not valid YAML: an address that begins with a bracket or a colon needs quotes "
                 "here, as in \"[::1]:8080\"");
    } else if (strstr(context, "flow ")) {
        conf_say(l->errors, pos, "not valid YAML: %s, %s; the bracket opens at line %zu", problem,
                 context, p->context_mark.line + 1);
    } else if (p->context) {
        conf_say(l->errors, pos, "not valid YAML: %s, %s (line %zu); check the indentation",
                 problem, context, p->context_mark.line + 1);
    } else {
        conf_say(l->errors, pos, "not valid YAML: %s", problem);
    }
    l->failed = true;
}

/* Reads the next event; false at an error. */
static bool next_event(struct lex *l)
{
    if (l->have_event)
        yaml_event_delete(&l->event);
    l->have_event = false;
    if (l->failed)
        return false;
    if (!yaml_parser_parse(&l->parser, &l->event)) {
        refuse_yaml(l);
        return false;
    }
    l->have_event = true;
    return true;
}

static struct conf_node *node_new(struct lex *l, enum conf_kind kind)
{
    struct conf_node *n = conf_alloc(l->arena, sizeof *n);
    n->kind = kind;
    n->pos = pos_of(l, l->event.start_mark);
    return n;
}

static void node_add(struct conf_node *parent, struct conf_node *n)
{
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->n++;
}

struct conf_node *conf_member(const struct conf_node *map, const char *key)
{
    for (struct conf_node *n = map->first; n; n = n->next) {
        if (str_eq(n->key, str_c(key)))
            return n;
    }
    return NULL;
}

bool conf_is_null(const struct conf_node *n)
{
    return n->kind == CONF_SCALAR && n->plain &&
           (n->text.n == 0 || str_eq(n->text, STR("~")) || str_eq(n->text, STR("null")));
}

/* ---- anchors, aliases, merge keys ---------------------------------------------------------- */

static void note_anchor(struct lex *l, struct str name, struct conf_node *n)
{
    if (name.n)
        map_set(&l->anchors, name, n);
}

/* A copy of n and all below; keeps places, which are those of the anchor. NULL: too much. */
static struct conf_node *node_copy(struct lex *l, const struct conf_node *n)
{
    if (l->failed)
        return NULL;
    if (++l->copied > CONF_COPIES_MAX) {
        refuse(l, n->pos, "aliases repeat this too often; write it out or let routes inherit");
        return NULL;
    }
    struct conf_node *to = conf_alloc(l->arena, sizeof *to);
    *to = *n;
    to->first = to->last = to->next = NULL;
    to->n = 0;
    for (const struct conf_node *child = n->first; child; child = child->next) {
        struct conf_node *c = node_copy(l, child);
        if (!c)
            return NULL;
        node_add(to, c);
    }
    return to;
}

static struct conf_node *take_alias(struct lex *l)
{
    const char *name = (const char *) l->event.data.alias.anchor;
    struct schema_pos pos = pos_of(l, l->event.start_mark);
    const struct conf_node *n = map_get(&l->anchors, str_c(name));
    if (!n) {
        refuse(l, pos,
               "this alias has no anchor above it (a text that begins with * needs quotes)");
        return NULL;
    }
    return node_copy(l, n);
}

static struct conf_node *member_of(struct members *m, struct str key)
{
    if (m->keys.n)
        return map_get(&m->keys, key);
    for (struct conf_node *n = m->map->first; n; n = n->next) {
        if (str_eq(n->key, key))
            return n;
    }
    return NULL;
}

static void member_add(struct members *m, struct conf_node *n)
{
    node_add(m->map, n);
    if (m->keys.n) {
        map_set(&m->keys, n->key, n);
    } else if (m->map->n > MEMBERS_FEW) {
        for (n = m->map->first; n; n = n->next)
            map_set(&m->keys, n->key, n);
    }
}

/* Takes the merge key off the map: members of what it names that the map does not have. */
static void merge_in(struct lex *l, struct members *m, const struct conf_node *from)
{
    if (from->kind == CONF_LIST) {
        for (const struct conf_node *n = from->first; n && !l->failed; n = n->next) {
            if (n->kind == CONF_LIST)
                refuse(l, n->pos, "a merge key (<<) takes a map or a list of maps");
            else
                merge_in(l, m, n);
        }
        return;
    }
    if (from->kind != CONF_MAP) {
        refuse(l, from->pos, "a merge key (<<) takes a map or a list of maps");
        return;
    }
    for (const struct conf_node *n = from->first; n; n = n->next) {
        if (member_of(m, n->key))
            continue;
        struct conf_node *c = node_copy(l, n);
        if (!c)
            return;
        member_add(m, c);
    }
}

/* ---- nodes --------------------------------------------------------------------------------- */

static struct conf_node *take_node(struct lex *l, unsigned depth);

/* A tag is said and left out: the other errors are wanted too. */
static void refuse_tag(struct lex *l, const yaml_char_t *tag)
{
    static const char *const known[] = {"!", YAML_STR_TAG, YAML_MAP_TAG, YAML_SEQ_TAG};
    bool refused = tag != NULL;
    for (size_t i = 0; refused && i < SCHEMA_COUNT(known); i++)
        refused = !str_eq(str_c((const char *) tag), str_c(known[i]));
    if (refused)
        conf_say(l->errors, pos_of(l, l->event.start_mark), "tags (!name) have no meaning here");
}

static struct conf_node *take_scalar(struct lex *l)
{
    struct conf_node *n = node_new(l, CONF_SCALAR);
    struct str text =
        str_of((const char *) l->event.data.scalar.value, l->event.data.scalar.length);
    refuse_tag(l, l->event.data.scalar.tag);
    n->plain = l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (str_find(text, '\0') >= 0)
        conf_say(l->errors, n->pos, "a text holds a NUL byte");
    n->text = arena_str(l->arena, str_c(text.n ? text.p : ""));
    note_anchor(l, str_c((const char *) l->event.data.scalar.anchor), n);
    return n;
}

static struct conf_node *take_list(struct lex *l, unsigned depth)
{
    struct conf_node *list = node_new(l, CONF_LIST);
    struct str anchor =
        arena_str(l->arena, str_c((const char *) l->event.data.sequence_start.anchor));
    refuse_tag(l, l->event.data.sequence_start.tag);
    while (next_event(l) && l->event.type != YAML_SEQUENCE_END_EVENT) {
        struct conf_node *n = take_node(l, depth + 1);
        if (!n)
            return NULL;
        node_add(list, n);
    }
    note_anchor(l, anchor, list);
    return l->failed ? NULL : list;
}

/* Reads one key and its value. */
static bool take_member(struct lex *l, struct members *m, struct conf_node **merge, unsigned depth)
{
    struct schema_pos at = pos_of(l, l->event.start_mark);
    if (l->event.type != YAML_SCALAR_EVENT) {
        refuse(l, at, "a key must be a plain text (one that begins with *, { or [ needs quotes)");
        return false;
    }
    bool plain = l->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct str key = arena_str(
        l->arena, str_of((const char *) l->event.data.scalar.value, l->event.data.scalar.length));
    if (!next_event(l))
        return false;
    struct conf_node *n = take_node(l, depth + 1);
    if (!n)
        return false;
    n->key = key;
    n->at_key = at;
    if (plain && str_eq(key, STR("<<"))) {
        *merge = n;
        return true;
    }
    /* Upstreams and fields are named by keys, and names are printed. */
    if (!str_printable(key))
        conf_say(l->errors, at, "a key holds a control byte");
    const struct conf_node *other = member_of(m, key);
    if (other) {
        /* Said, but read on: the other errors are wanted too. */
        conf_say(l->errors, at, "\"%.*s\" is given twice; the first is at line %u", STR_ARG(key),
                 other->at_key.line);
        return true;
    }
    member_add(m, n);
    return true;
}

static struct conf_node *take_map(struct lex *l, unsigned depth)
{
    struct conf_node *map = node_new(l, CONF_MAP), *merge = NULL;
    struct str anchor =
        arena_str(l->arena, str_c((const char *) l->event.data.mapping_start.anchor));
    struct members members = {.map = map};
    bool going = true;
    refuse_tag(l, l->event.data.mapping_start.tag);
    while (going && next_event(l) && l->event.type != YAML_MAPPING_END_EVENT)
        going = take_member(l, &members, &merge, depth);
    if (!l->failed && merge)
        merge_in(l, &members, merge);
    map_fini(&members.keys);
    note_anchor(l, anchor, map);
    return l->failed ? NULL : map;
}

/* The node that begins with the present event. NULL: refused. */
static struct conf_node *take_node(struct lex *l, unsigned depth)
{
    if (depth > CONF_DEPTH_MAX) {
        refuse(l, pos_of(l, l->event.start_mark),
               "this is nested too deep (64 levels are allowed)");
        return NULL;
    }
    switch (l->event.type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(l);
    case YAML_SEQUENCE_START_EVENT:
        return take_list(l, depth);
    case YAML_MAPPING_START_EVENT:
        return take_map(l, depth);
    case YAML_ALIAS_EVENT:
        return take_alias(l);
    default:
        refuse(l, pos_of(l, l->event.start_mark), "a value is missing");
        return NULL;
    }
}

/* The one document of the stream. */
static struct conf_node *take_document(struct lex *l)
{
    if (!next_event(l) || !next_event(l))
        return NULL;
    if (l->event.type == YAML_STREAM_END_EVENT)
        return node_new(l, CONF_MAP);
    if (!next_event(l))
        return NULL;
    struct conf_node *root = take_node(l, 0);
    if (!root || !next_event(l) || !next_event(l))
        return NULL;
    if (l->event.type != YAML_STREAM_END_EVENT)
        refuse(l, pos_of(l, l->event.start_mark),
               "a second document begins here; a file holds one configuration");
    return l->failed ? NULL : root;
}

struct conf_node *conf_lex(struct str text, struct arena *tree, struct conf_errors *e)
{
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* an editor's mark of UTF-8 (YAML 5.2) */
        text = str_of(text.p + 3, text.n - 3); /* with nothing behind it, too */
    struct lex l = {.text = text, .errors = e, .arena = tree};
    if (text.n > CONF_TEXT_MAX) {
        conf_say(e, (struct schema_pos){e->file, 0, 0}, "larger than 64MiB");
        return NULL;
    }
    must(yaml_parser_initialize(&l.parser));
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *) text.p, text.n);
    struct conf_node *root = take_document(&l);
    if (l.have_event)
        yaml_event_delete(&l.event);
    yaml_parser_delete(&l.parser);
    map_fini(&l.anchors);
    return root;
}
