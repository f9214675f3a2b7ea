/* SPDX-License-Identifier: Apache-2.0 */
/* conf_docs: the pages that are printed from the same tables that Weir runs by: configuration
 * reference, example file, JSON Schema, faults, steps, hooks. Called by `weir schema`; constant
 * input, any thread. Prints, and does nothing else. */
#ifndef WEIR_CONTROL_CONF_DOCS_H
#define WEIR_CONTROL_CONF_DOCS_H

#include <stdio.h>

#include "control/conf_file.h"

/* docs/config.md: every table and row. */
void docs_markdown(FILE *out, const struct feature_set *features);
/* docs/weir.example.yaml: a small configuration that works, and behind it every key, commented. */
void docs_example(FILE *out, const struct feature_set *features);
/* docs/weir.schema.json: JSON Schema (2020-12), for editors. */
void docs_json(FILE *out, const struct feature_set *features);
/* docs/faults.md: every reason code. */
void docs_faults(FILE *out);
/* docs/steps.md: the steps of an exchange and of an attempt, drawn. */
void docs_steps(FILE *out);
/* docs/hooks.md: every hook, and what each feature does in it. */
void docs_hooks(FILE *out, const struct feature_set *features);

/* A row's value in words ("a duration", "one of a, b"), NUL-terminated in text. */
void docs_type(const struct schema_field *f, char *text, size_t size);
/* Calls each() for the top level and every table below it, once each, outer ones first. */
void docs_tables(const struct feature_set *features,
                 void (*each)(void *arg, const struct schema_table *t), void *arg);

#endif
