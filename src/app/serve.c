/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c: see serve.h. */
#include "app/serve.h"

#include <stdio.h>

#include "app/engine.h"
#include "app/handover.h"
#include "app/server.h"
#include "base/mem.h"

/* The listeners of the file and its admin page; texts are copies, for mem_free. */
static uint32_t list_listeners(const struct conf_file *file, unsigned n_workers,
                               struct socket_wish *out)
{
    const struct listener_conf *conf = file->proxy.listeners.items;
    uint32_t n = 0;
    for (size_t i = 0; i < file->proxy.listeners.n; i++)
        out[n++] = (struct socket_wish){.address = mem_str(conf[i].address),
                                        .n = n_workers,
                                        .backlog = (int) conf[i].backlog,
                                        .mode = MODE_BY_UMASK};
    if (file->admin.address.n)
        out[n++] = (struct socket_wish){.address = mem_str(file->admin.address),
                                        .n = 1,
                                        .backlog = ADMIN_BACKLOG,
                                        .mode = (int) admin_mode(&file->admin)};
    return n;
}

/* The command line's word, else the file's; a copy, or NULL. */
static char *one_of(const char *given, struct str configured)
{
    if (given)
        return mem_strdup(str_c(given));
    return configured.n ? mem_strdup(configured) : NULL;
}

/* A name that is said at the start, and stays over upgrades: with facts it is what the program
 * before had. The configuration comes from the server by then, which may not choose its user, nor
 * a file for root to write. */
static char *first_of(const json_t *facts, const char *name, const char *given,
                      struct str configured)
{
    if (!facts)
        return one_of(given, configured);
    return one_of(json_string_value(json_object_get(facts, name)), STR(""));
}

/* What the server's process is begun with. */
static struct server_plan plan_server(const struct serve_options *o, const struct conf_file *file,
                                      const json_t *facts)
{
    return (struct server_plan){.source = o->source,
                                .user = first_of(facts, "user", o->user, file->user),
                                .n_workers = engine_workers(file->proxy.workers),
                                .pin = o->pin || file->pin_workers};
}

/* This program was begun by the supervisor of another one, to serve in the place of its server. */
static int follow(const struct serve_options *o, const json_t *facts)
{
    struct sockets sockets;
    struct config c;
    char *why = NULL;
    struct server_start start = {
        .channel = handover_fd_of(facts, "channel"),
        .config = handover_fd_of(facts, "config"),
        .began = handover_fd_of(facts, "config"),
        .state = handover_fd_of(facts, "state"),
        .generation = (uint32_t) json_integer_value(json_object_get(facts, "generation")),
        .follows = true,
        .sockets = &sockets,
    };
    sockets_init(&sockets);
    handover_sockets_of(json_object_get(facts, "sockets"), &sockets);
    int status = 1;
    if (config_read_fd(&c, &o->source, start.config, &why)) {
        struct server_plan server = plan_server(o, c.loaded->file, facts);
        config_fini(&c);
        status = server_run(&start, &server);
        mem_free(server.user);
    } else {
        server_cannot(&start, why);
    }
    mem_free(why);
    sockets_fini(&sockets, false);
    return status;
}

static int supervise(const struct serve_options *o, const json_t *facts)
{
    struct config c;
    char *why = NULL;
    int text = handover_fd_of(facts, "config");
    if (!config_read_fd(&c, &o->source, text, &why)) {
        fputs(why, stderr);
        mem_free(why);
        return 1;
    }
    const struct conf_file *file = c.loaded->file;
    struct server_plan server = plan_server(o, file, facts);
    char *pid_file = first_of(facts, "pid_file", o->pid_file, file->pid_file);
    /* Who follows another program is left its lock. */
    char *state_dir = facts ? NULL : one_of(NULL, file->state_dir);
    struct socket_wish *listeners = mem_new((file->proxy.listeners.n + 1) * sizeof *listeners);
    struct supervisor_plan plan = {
        .listeners = listeners,
        .n_listeners = list_listeners(file, server.n_workers, listeners),
        .config = text >= 0 ? text : config_text_fd(&c),
        .pid_file = pid_file,
        .state_dir = state_dir,
        .user = server.user,
        .drain = file->proxy.drain,
        .serve = server_run,
        .ready = o->ready,
        .ready_arg = o->source.arg,
        .arg = &server,
        .resumed = facts,
    };
    config_fini(&c); /* a large one shall not be held twice */
    int status = supervisor_run(&plan);
    for (uint32_t i = 0; i < plan.n_listeners; i++)
        mem_free((void *) (uintptr_t) listeners[i].address.p);
    mem_free(listeners);
    mem_free(server.user);
    mem_free(pid_file);
    mem_free(state_dir);
    return status;
}

int serve(const struct serve_options *o)
{
    json_t *facts;
    int status = 1;
    switch (handover_take(&facts)) {
    case HANDOVER_NONE:
    case HANDOVER_SUPERVISOR:
        status = supervise(o, facts);
        break;
    case HANDOVER_SERVER:
        status = follow(o, facts);
        break;
    case HANDOVER_BROKEN:
        break;
    }
    json_decref(facts);
    return status;
}
