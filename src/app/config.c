/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: see config.h. */
#include "app/config.h"

#include "app/channel.h"
#include "base/file_io.h"
#include "base/mem.h"
#include "features/registry.h"

void config_fini(struct config *c)
{
    conf_loaded_free(c->loaded);
    mem_free((void *) (uintptr_t) c->text.p);
    *c = (struct config){0};
}

/* text: owned. */
static bool parse(struct config *c, const char *path, struct str text, char **why)
{
    *c = (struct config){.text = text};
    c->loaded = conf_load_text(text, path, &feature_registry, why);
    if (c->loaded)
        return true;
    config_fini(c);
    return false;
}

/* C code's configuration is judged by the snapshot's checks, as the library's is. */
static bool make(struct config *c, const struct config_source *from)
{
    struct conf_loaded *l = mem_new(sizeof *l);
    arena_init(&l->arena, NULL, SIZE_MAX);
    conf_errors_init(&l->errors, &l->arena, "command line");
    l->features = &feature_registry;
    l->file = conf_alloc(&l->arena, sizeof *l->file);
    schema_defaults(&file_schema, l->file);
    from->fill(l->file, &l->arena, from->arg);
    *c = (struct config){.loaded = l};
    return true;
}

bool config_take_text(struct config *c, const struct config_source *from, struct str text,
                      char **why)
{
    return parse(c, from->path, text, why);
}

bool config_read(struct config *c, const struct config_source *from, char **why)
{
    *c = (struct config){0};
    if (!from->path)
        return make(c, from);
    size_t n;
    char *reason = NULL, *text = file_read(from->path, CONF_TEXT_MAX, &n, &reason);
    if (text)
        return parse(c, from->path, str_of(text, n), why);
    *why = mem_printf("%s\n", reason ? reason : from->path); /* the reason names the file */
    mem_free(reason);
    return false;
}

bool config_read_fd(struct config *c, const struct config_source *from, int fd, char **why)
{
    size_t n;
    char *text = from->path ? channel_memfd_text(fd, SIZE_MAX, &n) : NULL;
    return text ? parse(c, from->path, str_of(text, n), why) : config_read(c, from, why);
}

int config_text_fd(const struct config *c)
{
    return c->text.p ? channel_memfd(c->text) : -1;
}
