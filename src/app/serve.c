/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c: see serve.h. */
#include "app/serve.h"

#include <stdio.h>

#include "app/engine.h"
#include "app/server.h"
#include "base/mem.h"

#define ADMIN_BACKLOG 128

/* The listeners of the file and its admin page; texts are copies, for mem_free. */
static uint32_t list_listeners(const struct conf_file *file, unsigned n_workers,
                               struct supervisor_listener *out)
{
    const struct listener_conf *conf = file->proxy.listeners.items;
    uint32_t n = 0;
    for (size_t i = 0; i < file->proxy.listeners.n; i++)
        out[n++] = (struct supervisor_listener){
            .address = mem_str(conf[i].address), .n = n_workers, .backlog = (int) conf[i].backlog};
    if (file->admin.address.n)
        out[n++] = (struct supervisor_listener){.address = mem_str(file->admin.address),
                                                .n = 1,
                                                .backlog = ADMIN_BACKLOG,
                                                .mode = admin_mode(&file->admin)};
    return n;
}

/* The command line's word, else the file's; a copy, or NULL. */
static char *one_of(const char *given, struct str configured)
{
    if (given)
        return mem_strdup(str_c(given));
    return configured.n ? mem_strdup(configured) : NULL;
}

int serve(const struct serve_options *o)
{
    struct config c;
    char *why = NULL;
    if (!config_read(&c, &o->source, &why)) {
        fputs(why, stderr);
        mem_free(why);
        return 1;
    }
    const struct conf_file *file = c.loaded->file;
    struct server_plan server = {.source = o->source,
                                 .user = one_of(o->user, file->user),
                                 .n_workers = engine_workers(file->proxy.workers),
                                 .pin = o->pin || file->pin_workers};
    char *pid_file = one_of(o->pid_file, file->pid_file);
    struct supervisor_listener *listeners =
        mem_new((file->proxy.listeners.n + 1) * sizeof *listeners);
    struct supervisor_plan plan = {
        .listeners = listeners,
        .n_listeners = list_listeners(file, server.n_workers, listeners),
        .config = config_text_fd(&c),
        .pid_file = pid_file,
        .drain = file->proxy.drain,
        .serve = server_run,
        .ready = o->ready,
        .ready_arg = o->source.arg,
        .arg = &server,
    };
    config_fini(&c); /* a large one shall not be held twice */
    int status = supervisor_run(&plan);
    for (uint32_t i = 0; i < plan.n_listeners; i++)
        mem_free((void *) (uintptr_t) listeners[i].address.p);
    mem_free(listeners);
    mem_free(server.user);
    mem_free(pid_file);
    return status;
}
