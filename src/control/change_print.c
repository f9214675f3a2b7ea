/* SPDX-License-Identifier: Apache-2.0 */
/* change_print.c: changes in words and in JSON. */
#include "control/change.h"

const char *change_kind_name(enum change_kind k)
{
    static const char *const names[CHANGE_KINDS] = {
        [CHANGE_SETTINGS] = "settings", [CHANGE_LISTENER] = "listener",
        [CHANGE_UPSTREAM] = "upstream", [CHANGE_ENDPOINT] = "endpoint",
        [CHANGE_ROUTE] = "route",
    };
    return names[k];
}

const char *change_what_name(enum change_what w)
{
    static const char *const names[] = {
        [CHANGE_ADDED] = "added", [CHANGE_REMOVED] = "removed", [CHANGE_CHANGED] = "changed"};
    return names[w];
}

void change_text(const struct change *c, struct text *out)
{
    text_addf(out, "%s%s%.*s: %s", change_kind_name(c->kind), c->name.n ? " " : "",
              STR_ARG(c->name), change_what_name(c->what));
    for (size_t i = 0; i < c->n_fields; i++) {
        const struct change_field *f = &c->fields[i];
        text_addf(out, "%s %.*s %.*s -> %.*s%s", i ? "," : ":", STR_ARG(f->path), STR_ARG(f->from),
                  STR_ARG(f->to), f->restart ? " (at a restart)" : "");
    }
}

void change_json(const struct change *c, struct text *out)
{
    text_addf(out, "{\"kind\":\"%s\",\"name\":", change_kind_name(c->kind));
    text_add_json(out, c->name);
    text_addf(out, ",\"what\":\"%s\",\"fields\":[", change_what_name(c->what));
    for (size_t i = 0; i < c->n_fields; i++) {
        const struct change_field *f = &c->fields[i];
        text_add(out, i ? STR(",{\"field\":") : STR("{\"field\":"));
        text_add_json(out, f->path);
        text_add(out, STR(",\"from\":"));
        text_add_json(out, f->from);
        text_add(out, STR(",\"to\":"));
        text_add_json(out, f->to);
        text_add(out, f->restart ? STR(",\"restart\":true}") : STR("}"));
    }
    text_add(out, STR("]}"));
}

void change_list_text(const struct change_list *l, size_t most, struct text *out)
{
    size_t n = most && l->n > most ? most : l->n;
    for (size_t i = 0; i < n; i++) {
        change_text(&l->v[i], out);
        text_add(out, STR("\n"));
    }
    if (n < l->n)
        text_addf(out, "and %zu more\n", l->n - n);
}

void change_list_json(const struct change_list *l, struct text *out)
{
    text_add(out, STR("["));
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            text_add(out, STR(","));
        change_json(&l->v[i], out);
    }
    text_add(out, STR("]"));
}
