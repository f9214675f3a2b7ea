/* SPDX-License-Identifier: Apache-2.0 */
/* conf_docs.c: the reference page and the example file. Holds no state. */
#include "control/conf_docs.h"

#include "base/panic.h"

#define TABLES_MAX 128u

/* ---- walking ------------------------------------------------------------------------------- */

struct tables {
    const struct schema_table *v[TABLES_MAX];
    size_t n;
};

static void collect(struct tables *t, const struct schema_table *table)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->v[i] == table)
            return;
    }
    must(t->n < TABLES_MAX);
    t->v[t->n++] = table;
    for (size_t i = 0; i < table->n_fields; i++) {
        if (table->fields[i].sub)
            collect(t, table->fields[i].sub);
    }
    if (table->also)
        collect(t, table->also);
}

void docs_tables(const struct feature_set *features,
                 void (*each)(void *arg, const struct schema_table *t), void *arg)
{
    struct tables t = {.n = 0};
    collect(&t, &file_schema);
    for (uint32_t i = 0; i < features->n; i++) {
        if (features->v[i]->conf)
            collect(&t, features->v[i]->conf);
    }
    for (size_t i = 0; i < t.n; i++)
        each(arg, t.v[i]);
}

static const char *type_name(enum schema_type type)
{
    switch (type) {
    case SCHEMA_BOOL:
        return "true or false";
    case SCHEMA_INT:
        return "number";
    case SCHEMA_FLOAT:
        return "number";
    case SCHEMA_DURATION:
        return "duration";
    case SCHEMA_SIZE:
        return "size";
    case SCHEMA_RATE:
        return "rate";
    case SCHEMA_STRING:
        return "text";
    case SCHEMA_ADDRESS:
        return "address";
    case SCHEMA_CIDR:
        return "network";
    case SCHEMA_REGEX:
        return "pattern";
    default:
        return "value";
    }
}

void docs_type(const struct schema_field *f, char *text, size_t size)
{
    const char *what = f->sub ? f->sub->name : type_name(f->item);
    size_t used = 0;
    switch (f->type) {
    case SCHEMA_OBJECT:
        snprintf(text, size, "%s", f->sub->name);
        break;
    case SCHEMA_LIST:
        snprintf(text, size, "list of %s", what);
        break;
    case SCHEMA_MAP:
        snprintf(text, size, "map of name to %s", what);
        break;
    case SCHEMA_ENUM:
        for (size_t i = 0; f->choices[i] && used < size; i++)
            used +=
                (size_t) snprintf(text + used, size - used, "%s%s", i ? ", " : "", f->choices[i]);
        break;
    case SCHEMA_ADDRESS:
        snprintf(text, size, "%s%s%s", type_name(f->type), f->choices ? " or " : "",
                 f->choices ? f->choices[0] : "");
        break;
    default:
        snprintf(text, size, "%s", type_name(f->type));
    }
}

/* ---- the reference ------------------------------------------------------------------------- */

/* Text in a cell of a table: '|' would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static bool numeric(enum schema_type type)
{
    return type == SCHEMA_INT || type == SCHEMA_DURATION || type == SCHEMA_SIZE ||
           type == SCHEMA_RATE;
}

static void print_bounds(FILE *out, const struct schema_field *f)
{
    struct arena a;
    if (!numeric(f->type) || (f->min == 0 && f->max == 0))
        return;
    arena_init(&a, NULL, SIZE_MAX);
    struct str low = schema_print(f, &f->min, &a), high = schema_print(f, &f->max, &a);
    fprintf(out, ", %.*s to %.*s", STR_ARG(low), STR_ARG(high));
    arena_fini(&a);
}

static void print_row(FILE *out, const struct schema_field *f)
{
    char type[256];
    docs_type(f, type, sizeof type);
    fprintf(out, "| `%s` | ", f->name);
    if (f->sub)
        fprintf(out, "%.*s[%s](#%s)", (int) (strlen(type) - strlen(f->sub->name)), type,
                f->sub->name, f->sub->name);
    else
        print_cell(out, type);
    print_bounds(out, f);
    fputs(" | ", out);
    if (f->required)
        fputs("required", out);
    else if (f->def && f->def[0])
        fprintf(out, "`%s`", f->def);
    fprintf(out, " | %s | ", f->reloadable ? "" : "restart");
    print_cell(out, f->doc ? f->doc : "");
    if (f->example) {
        fputs(" Example: `", out);
        print_cell(out, f->example);
        fputs("`", out);
    }
    fputs(" |\n", out);
}

static void print_feature_rows(FILE *out, const struct feature_set *features, bool routes_only)
{
    for (uint32_t i = 0; i < features->n; i++) {
        const struct feature *f = features->v[i];
        if (!f->conf || (routes_only && !f->route_scope))
            continue;
        fprintf(out, "| `%s` | [%s](#%s) | | | %s%s |\n", f->name, f->conf->name, f->conf->name,
                f->purpose, f->route_scope ? "" : " Top level only.");
    }
}

struct reference {
    FILE *out;
    const struct feature_set *features;
};

static void print_table(void *arg, const struct schema_table *t)
{
    const struct reference *r = arg;
    /* Its rows stand with the top level's, where a person looks for them. */
    if (t == &proxy_schema)
        return;
    fprintf(r->out, "\n## %s\n\n%s\n", t->name, t->doc ? t->doc : "");
    if (t->short_form)
        fprintf(r->out, "\nIn place of the map, the value of `%s` alone will do.\n", t->short_form);
    fputs("\n| Key | Value | Default | Change | What |\n|---|---|---|---|---|\n", r->out);
    for (size_t i = 0; i < t->n_fields; i++)
        print_row(r->out, &t->fields[i]);
    if (t == &file_schema || t == &route_schema)
        print_feature_rows(r->out, r->features, t == &route_schema);
    if (t->also == &proxy_schema) {
        t = t->also;
        for (size_t i = 0; i < t->n_fields; i++)
            print_row(r->out, &t->fields[i]);
    }
    if (t->also)
        fprintf(r->out, "\nAnd every key of [%s](#%s).\n", t->also->name, t->also->name);
}

void docs_markdown(FILE *out, const struct feature_set *features)
{
    struct reference r = {out, features};
    fputs(
        "# Configuration\n\n"
        "<!-- Generated by weir schema --format markdown; do not edit. -->\n\n"
        "A configuration is one YAML file. Every key that is left out has the default below.\n"
        "`weir check FILE` says everything that is wrong with it, each with line and column, and\n"
        "runs its tests; `weir explain FILE METHOD URL` shows which route a request takes.\n"
        "SIGHUP loads it anew: a file with an error is refused and the old configuration stays.\n"
        "Where a change needs a restart, the column Change says so.\n\n"
        "- Durations have a unit: `250ms`, `30s`, `1h30m`; `off` is none.\n"
        "- Sizes: `64KiB`, `1MiB`, `2GiB`, or a number of bytes. Rates: `10KiB/s`, `off`.\n"
        "- Addresses: `host:port`, `[v6]:port`, `unix:/path`.\n"
        "- Where a list is expected, a single value may stand.\n"
        "- Anchors, aliases and merge keys (`<<`) work; tags do not. A key given twice is an\n"
        "  error.\n"
        "- A route inherits what it does not say from the route around it, and that from the top\n"
        "  level; maps (`meta`, header rules) are merged by name.\n",
        out);
    docs_tables(features, print_table, &r);
}

/* ---- the example --------------------------------------------------------------------------- */

struct example {
    FILE *out;
    const struct feature_set *features;
    const struct schema_table *open[16]; /* being printed: a table within itself is cut short */
    size_t depth;
};

static void print_example_rows(struct example *e, const struct schema_table *t, size_t indent,
                               const char *first);

/* A sentence as comment lines of at most 98 columns. */
static void print_comment(FILE *out, size_t indent, const char *text)
{
    size_t room = 96 - indent;
    while (*text) {
        size_t n = strlen(text);
        if (n > room)
            for (n = room; n > 0 && text[n] != ' '; n--)
                continue;
        if (n == 0)
            n = strcspn(text, " ");
        fprintf(out, "#%*s# %.*s\n", (int) indent, "", (int) n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static bool is_open(const struct example *e, const struct schema_table *t)
{
    for (size_t i = 0; i < e->depth; i++) {
        if (e->open[i] == t)
            return true;
    }
    return e->depth == SCHEMA_COUNT(e->open);
}

static void print_example_row(struct example *e, const struct schema_field *f, size_t indent,
                              const char *lead)
{
    if (f->doc)
        print_comment(e->out, indent + strlen(lead), f->doc);
    fprintf(e->out, "#%*s%s%s:", (int) indent, "", lead, f->name);
    indent += strlen(lead);
    if (!f->sub || is_open(e, f->sub)) {
        fprintf(e->out, " %s\n", f->example ? f->example : f->def ? f->def : "");
        return;
    }
    fputs("\n", e->out);
    if (f->type == SCHEMA_MAP)
        fprintf(e->out, "#%*sname:\n", (int) indent + 2, "");
    size_t below = indent + (f->type == SCHEMA_MAP ? 4 : 2);
    print_example_rows(e, f->sub, below, f->type == SCHEMA_LIST ? "- " : "");
}

static void print_example_rows(struct example *e, const struct schema_table *t, size_t indent,
                               const char *first)
{
    const struct schema_field *f;
    const char *lead = first;
    e->open[e->depth++] = t;
    for (size_t i = 0; (f = schema_row(t, i, NULL)); i++) {
        print_example_row(e, f, indent, lead);
        if (lead[0]) {
            indent += strlen(lead);
            lead = "";
        }
    }
    for (uint32_t i = 0; i < e->features->n; i++) {
        const struct feature *one = e->features->v[i];
        const struct schema_field row = {
            .name = one->name, .type = SCHEMA_OBJECT, .sub = one->conf, .doc = one->purpose};
        if (one->conf && (t == &file_schema || (t == &route_schema && one->route_scope)))
            print_example_row(e, &row, indent, "");
    }
    e->depth--;
}

void docs_example(FILE *out, const struct feature_set *features)
{
    struct example e = {.out = out, .features = features};
    fputs("# Generated by weir schema --format example; do not edit.\n"
          "#\n"
          "# This works as it stands: weir run --config weir.example.yaml\n"
          "listeners:\n"
          "  - address: 127.0.0.1:8080\n"
          "upstreams:\n"
          "  origin:\n"
          "    endpoints:\n"
          "      - address: 127.0.0.1:9000\n"
          "routes:\n"
          "  - match: {path: /*}\n"
          "    to: origin\n"
          "\n"
          "# Every key there is, with an example; take the first # of a line away to use it.\n"
          "# A route has only one of to, redirect and reply.\n\n",
          out);
    print_example_rows(&e, &file_schema, 0, "");
}
