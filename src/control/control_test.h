/* SPDX-License-Identifier: Apache-2.0 */
/* control_test: what the tests of this floor share: features of their own, loading of a text with
 * its errors, trees and JSON. Tests only; one thread. */
#ifndef WEIR_CONTROL_CONTROL_TEST_H
#define WEIR_CONTROL_CONTROL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "control/conf_load.h"
#include "control/conf_tree.h"

/* A feature of routes and one of the top level. */
struct stamp_conf {
    struct str text;
    struct schema_map tags;
    int64_t count;
};
struct journal_conf {
    struct str path;
};

static const struct schema_field stamp_rows[] = {
    {.name = "text", .type = SCHEMA_STRING, .offset = offsetof(struct stamp_conf, text), .def = ""},
    {.name = "tags",
     .type = SCHEMA_MAP,
     .offset = offsetof(struct stamp_conf, tags),
     .item = SCHEMA_STRING},
    {.name = "count",
     .type = SCHEMA_INT,
     .offset = offsetof(struct stamp_conf, count),
     .def = "1",
     .min = 0,
     .max = 9},
};
static const struct schema_table stamp_schema = {.name = "stamp",
                                                 .size = sizeof(struct stamp_conf),
                                                 .fields = stamp_rows,
                                                 .n_fields = SCHEMA_COUNT(stamp_rows)};
static const struct schema_field journal_rows[] = {
    {.name = "path",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct journal_conf, path),
     .def = "off"},
};
static const struct schema_table journal_schema = {.name = "journal",
                                                   .size = sizeof(struct journal_conf),
                                                   .fields = journal_rows,
                                                   .n_fields = SCHEMA_COUNT(journal_rows),
                                                   .short_form = "path"};

/* Active where it has a text. */
static inline bool stamp_active(const void *conf)
{
    return ((const struct stamp_conf *) conf)->text.n > 0;
}
/* With count: 0 it leaves responses alone. */
static inline bool stamp_wants(const void *conf, enum hook_kind kind)
{
    return kind != ON_RESPONSE_HEAD || ((const struct stamp_conf *) conf)->count > 0;
}
/* A hook that does nothing. */
static inline enum hook stamp_access(struct exchange *x, void *slot)
{
    (void) x;
    (void) slot;
    return HOOK_PASS;
}
/* A hook that does nothing. */
static inline void journal_finish(struct exchange *x, void *slot)
{
    (void) x;
    (void) slot;
}

static const struct feature stamp_feature = {.name = "stamp",
                                             .conf = &stamp_schema,
                                             .route_scope = true,
                                             .offline = true,
                                             .slot = 24,
                                             .active = stamp_active,
                                             .wants = stamp_wants,
                                             .on_access = stamp_access,
                                             .on_response_head = stamp_access};
static const struct feature journal_feature = {.name = "journal",
                                               .conf = &journal_schema,
                                               .slot = 8,
                                               .on_response_head = stamp_access,
                                               .on_finish = journal_finish};
static const struct feature *const test_features[] = {&journal_feature, &stamp_feature};
static const struct feature_set test_set = {test_features, 2};

/* Loads text as t.yaml; NULL with *errors. */
static inline struct conf_loaded *load(const char *text, char **errors)
{
    return conf_load_text(str_c(text), "t.yaml", &test_set, errors);
}

/* Loads a text that must be good. */
static inline struct conf_loaded *load_good(const char *text)
{
    char *errors;
    struct conf_loaded *l = load(text, &errors);
    if (!l)
        fail_msg("refused: %s", errors);
    return l;
}

/* The text is refused with exactly these lines. */
static inline void assert_refused(const char *text, const char *expected)
{
    char *errors;
    struct conf_loaded *l = load(text, &errors);
    if (l)
        fail_msg("not refused; expected %s", expected);
    assert_string_equal(errors, expected);
    mem_free(errors);
}

/* The tree of a text that must be good. */
static inline struct conf_tree *tree_of(const char *text)
{
    struct conf_tree *t = conf_tree_new(str_c(text), "t.yaml", &test_set);
    assert_non_null(t);
    return t;
}

/* The value of JSON that has ' for ". For json_decref. */
static inline json_t *json_of(const char *text)
{
    char *copy = mem_strdup(str_c(text)), *why = NULL;
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json_t *v = conf_json_parse(str_c(copy), &why);
    if (!v)
        fail_msg("%s: %s", copy, why);
    mem_free(copy);
    return v;
}

/* v is the value of that JSON. */
static inline void assert_json(const json_t *v, const char *expected)
{
    json_t *wanted = json_of(expected);
    struct text got = {0};
    conf_json_print(v, &got);
    if (!json_equal(v, wanted))
        fail_msg("%.*s, expected %s", STR_ARG(text_str(&got)), expected);
    text_fini(&got);
    json_decref(wanted);
}

/* So is what the node says. */
static inline void assert_node(const struct conf_node *n, const char *expected)
{
    assert_non_null(n);
    json_t *v = conf_node_json(n);
    assert_json(v, expected);
    json_decref(v);
}

#endif
