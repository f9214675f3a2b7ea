/* SPDX-License-Identifier: Apache-2.0 */
/* conf_json.c: the tables as JSON Schema (2020-12). Holds no state. */
#include "control/conf_docs.h"

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; text && *text; text++) {
        unsigned char c = (unsigned char) *text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ')
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* The members that describe a scalar, without braces. */
static void print_scalar(FILE *out, const struct schema_field *f, enum schema_type type)
{
    switch (type) {
    case SCHEMA_BOOL:
        fputs("\"type\": \"boolean\"", out);
        break;
    case SCHEMA_INT:
    case SCHEMA_FLOAT:
        fprintf(out, "\"type\": \"%s\"", type == SCHEMA_INT ? "integer" : "number");
        if (f->min || f->max)
            fprintf(out, ", \"minimum\": %lld, \"maximum\": %lld", (long long) f->min,
                    (long long) f->max);
        break;
    case SCHEMA_DURATION:
        fputs("\"type\": [\"string\", \"integer\", \"boolean\"], \"pattern\": "
              "\"^(off|0|([0-9]+(\\\\.[0-9]+)?(us|ms|s|m|h|d))+)$\"",
              out);
        break;
    case SCHEMA_SIZE:
        fputs("\"type\": [\"string\", \"integer\", \"boolean\"], \"pattern\": "
              "\"^(off|[0-9]+(\\\\.[0-9]+)?(B|KiB|MiB|GiB|TiB)?)$\"",
              out);
        break;
    case SCHEMA_RATE:
        fputs("\"type\": [\"string\", \"boolean\"], \"pattern\": "
              "\"^(off|[0-9]+(\\\\.[0-9]+)?(B|KiB|MiB|GiB|TiB)?/s)$\"",
              out);
        break;
    case SCHEMA_ENUM:
        fputs("\"enum\": [", out);
        for (size_t i = 0; f->choices[i]; i++) {
            fputs(i ? ", " : "", out);
            print_string(out, f->choices[i]);
        }
        fputs("]", out);
        break;
    default:
        /* A text that looks like a number needs no quotes. */
        fputs("\"type\": [\"string\", \"number\", \"boolean\"]", out);
    }
}

static void print_ref(FILE *out, const struct schema_table *t)
{
    fprintf(out, "\"$ref\": \"#/$defs/%s\"", t->name);
}

static void print_item(FILE *out, const struct schema_field *f)
{
    fputs("{", out);
    if (f->sub)
        print_ref(out, f->sub);
    else
        print_scalar(out, f, f->item);
    fputs("}", out);
}

static void print_value(FILE *out, const struct schema_field *f)
{
    if (f->type == SCHEMA_OBJECT) {
        print_ref(out, f->sub);
    } else if (f->type == SCHEMA_LIST) {
        fputs("\"anyOf\": [{\"type\": \"array\", \"items\": ", out);
        print_item(out, f);
        fputs("}, ", out);
        print_item(out, f);
        fputs("]", out);
    } else if (f->type == SCHEMA_MAP) {
        fputs("\"type\": \"object\", \"additionalProperties\": ", out);
        print_item(out, f);
    } else {
        print_scalar(out, f, f->type);
    }
}

static void print_property(FILE *out, const char *name, const struct schema_field *f,
                           const char *before)
{
    fprintf(out, "%s\n        ", before);
    print_string(out, name);
    fputs(": {", out);
    print_value(out, f);
    if (f->doc) {
        fputs(", \"description\": ", out);
        print_string(out, f->doc);
    }
    fputs("}", out);
}

struct schema_page {
    FILE *out;
    const struct feature_set *features;
    bool any;
};

static void print_properties(const struct schema_page *p, const struct schema_table *t)
{
    const struct schema_field *f;
    fputs("\"properties\": {", p->out);
    for (size_t i = 0; (f = schema_row(t, i, NULL)); i++)
        print_property(p->out, f->name, f, i ? "," : "");
    for (uint32_t i = 0; i < p->features->n; i++) {
        const struct feature *one = p->features->v[i];
        const struct schema_field row = {
            .type = SCHEMA_OBJECT, .sub = one->conf, .doc = one->purpose};
        if (one->conf && (t == &file_schema || (t == &route_schema && one->route_scope)))
            print_property(p->out, one->name, &row, ",");
    }
    fputs("}", p->out);
}

static void print_required(FILE *out, const struct schema_table *t)
{
    const struct schema_field *f;
    bool any = false;
    for (size_t i = 0; (f = schema_row(t, i, NULL)); i++) {
        if (!f->required)
            continue;
        fputs(any ? ", " : ", \"required\": [", out);
        print_string(out, f->name);
        any = true;
    }
    fputs(any ? "]" : "", out);
}

static void print_table(void *arg, const struct schema_table *t)
{
    struct schema_page *p = arg;
    const struct schema_field *alone = NULL;
    if (t->short_form)
        alone = schema_find(t, str_c(t->short_form), NULL);
    fprintf(p->out, "%s\n    ", p->any ? "," : "");
    p->any = true;
    print_string(p->out, t->name);
    fprintf(p->out, ": {%s", alone ? "\"anyOf\": [{" : "");
    fputs("\"type\": [\"object\", \"null\"], \"additionalProperties\": false, ", p->out);
    print_properties(p, t);
    print_required(p->out, t);
    if (alone) {
        fputs("}, {", p->out);
        print_value(p->out, alone);
        fputs("}]", p->out);
    }
    if (t->doc) {
        fputs(", \"description\": ", p->out);
        print_string(p->out, t->doc);
    }
    fputs("}", p->out);
}

void docs_json(FILE *out, const struct feature_set *features)
{
    struct schema_page p = {out, features, false};
    fprintf(out,
            "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
            "  \"title\": \"Weir configuration\",\n"
            "  \"$comment\": \"Generated by weir schema --format json\",\n"
            "  \"$ref\": \"#/$defs/%s\",\n  \"$defs\": {",
            file_schema.name);
    docs_tables(features, print_table, &p);
    fputs("\n  }\n}\n", out);
}
