/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the printed pages: the example works, every example of a row is valid, every key and
 * every fault is there, and the JSON has the right shape. */
#include <stdio.h>

#include "base/fault.h"
#include "control/conf_docs.h"
#include "control/control_test.h"
#include "features/registry.h"

typedef void (*printer)(FILE *out, const struct feature_set *features);

/* What the printer prints, for free(). Not inlined: gcc 12 takes it for a dangling pointer. */
__attribute__((noinline)) static char *printed(printer print)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    print(out, &feature_registry);
    fclose(out);
    return text;
}

static void the_example_works(void **state)
{
    (void) state;
    char *text = printed(docs_example), *errors;
    struct conf_loaded *l = conf_load_text(str_c(text), "example", &feature_registry, &errors);
    if (!l)
        fail_msg("%s", errors);
    conf_loaded_free(l);
    free(text);
}

/* The lines behind the working part, each without its first '#', are YAML with known keys. */
static void the_example_can_be_uncommented(void **state)
{
    (void) state;
    struct arena a;
    struct conf_errors e;
    struct conf_file *file = mem_new(sizeof *file);
    char *text = printed(docs_example), *rest = strstr(text, "\n\n## "), *to = rest;
    assert_non_null(rest);
    for (const char *from = rest; *from; from++) {
        if (!(*from == '#' && from[-1] == '\n'))
            *to++ = *from;
    }
    *to = '\0';
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, "example");
    struct conf_node *root = conf_lex(str_c(rest), &a, &e);
    if (root)
        conf_parse(root, &feature_registry, file, &e);
    char *errors = conf_errors_print(&e);
    if (!root || (errors && strstr(errors, "unknown key")))
        fail_msg("%s", errors);
    mem_free(errors);
    conf_errors_fini(&e);
    arena_fini(&a);
    mem_free(file);
    free(text);
}

static void check_examples(void *arg, const struct schema_table *t)
{
    (void) arg;
    for (size_t i = 0; i < t->n_fields; i++) {
        const struct schema_field *f = &t->fields[i];
        struct arena a;
        struct conf_errors e;
        arena_init(&a, NULL, SIZE_MAX);
        conf_errors_init(&e, &a, "example");
        char *object = conf_alloc(&a, t->size);
        if (!f->doc || !f->example || !f->since)
            fail_msg("%s.%s has no doc, example or version", t->name, f->name);
        schema_defaults(t, object);
        struct conf_node *n = conf_lex(str_c(f->example), &a, &e);
        if (n)
            conf_parse_value(f, n, object + f->offset, &e);
        char *errors = conf_errors_print(&e);
        if (errors)
            fail_msg("%s.%s: %s", t->name, f->name, errors);
        conf_errors_fini(&e);
        arena_fini(&a);
    }
}

static void examples_of_rows_are_valid(void **state)
{
    (void) state;
    docs_tables(&feature_registry, check_examples, NULL);
}

static void expect_keys(void *arg, const struct schema_table *t)
{
    char cell[80];
    for (size_t i = 0; i < t->n_fields; i++) {
        snprintf(cell, sizeof cell, "| `%s` |", t->fields[i].name);
        if (!strstr(arg, cell))
            fail_msg("%s.%s is not on the page", t->name, t->fields[i].name);
    }
}

static void the_reference_has_every_key(void **state)
{
    (void) state;
    char *text = printed(docs_markdown);
    docs_tables(&feature_registry, expect_keys, text);
    free(text);
}

static void faults(FILE *out, const struct feature_set *features)
{
    (void) features;
    docs_faults(out);
}

static void the_faults_are_all_there(void **state)
{
    (void) state;
    char *text = printed(faults);
    for (int i = FAULT_OK + 1; i < FAULT_COUNT; i++)
        assert_non_null(strstr(text, fault_name((enum fault) i)));
    free(text);
}

/* Brackets and quotes of a JSON text are balanced; its top is one object. */
static void the_json_is_balanced(void **state)
{
    (void) state;
    char *text = printed(docs_json), open[64];
    size_t depth = 0;
    bool quoted = false;
    for (const char *p = text; *p; p++) {
        if (*p == '"' && (p == text || p[-1] != '\\'))
            quoted = !quoted;
        if (quoted)
            continue;
        if (*p == '{' || *p == '[') {
            assert_true(depth < sizeof open);
            open[depth++] = *p;
        } else if (*p == '}' || *p == ']') {
            assert_true(depth > 0);
            assert_int_equal(open[--depth], *p == '}' ? '{' : '[');
        }
    }
    assert_int_equal(depth, 0);
    assert_false(quoted);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_works),
        cmocka_unit_test(examples_of_rows_are_valid),
        cmocka_unit_test(the_example_can_be_uncommented),
        cmocka_unit_test(the_reference_has_every_key),
        cmocka_unit_test(the_faults_are_all_there),
        cmocka_unit_test(the_json_is_balanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
