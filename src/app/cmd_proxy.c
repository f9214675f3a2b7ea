/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_proxy.c: weir proxy: one upstream, no file. Paths are joined, the query of the URL is put
 * before the request's and Host stays the client's, as Go's NewSingleHostReverseProxy does. */
#include <getopt.h>
#include <stdio.h>

#include "app/commands.h"
#include "app/serve.h"
#include "app/sockets.h"
#include "app/target.h"
#include "base/mem.h"

struct proxy_options {
    struct str from, to; /* to: as given */
    struct target target;
    bool host_rewrite;
    uint64_t workers;
};

static int wrong(const char *what, const char *which)
{
    fprintf(stderr, "weir proxy: %s%s\n", what, which);
    return 2;
}

static void fill_route(struct route_conf *r, const struct proxy_options *o,
                       const struct settings_conf *settings)
{
    schema_defaults(&route_schema, r);
    r->settings = *settings;
    r->name = STR("proxy");
    r->match.path = STR("/*");
    r->to = STR("target");
    target_rewrite(&o->target, o->host_rewrite, &r->rewrite);
}

static void fill(struct conf_file *file, struct arena *a, const void *arg)
{
    const struct proxy_options *o = arg;
    struct proxy_conf *p = &file->proxy;
    struct listener_conf *l = conf_alloc(a, sizeof *l);
    struct endpoint_conf *e = conf_alloc(a, sizeof *e);
    struct upstream_conf *u = conf_alloc(a, sizeof *u);
    struct route_conf *r = conf_alloc(a, sizeof *r);
    struct str *name = conf_alloc(a, sizeof *name);
    schema_defaults(&listener_schema, l);
    l->address = o->from;
    schema_defaults(&endpoint_schema, e);
    e->address = o->target.endpoint;
    schema_defaults(&upstream_schema, u);
    u->endpoints = (struct schema_list){e, 1};
    u->tls_given = o->target.tls;
    *name = STR("target");
    fill_route(r, o, &p->settings);
    p->listeners = (struct schema_list){l, 1};
    p->upstreams = (struct schema_map){name, u, 1};
    p->routes = (struct schema_list){r, 1};
    p->workers = (int64_t) o->workers;
}

static void ready(const void *arg, const struct sockets *listening)
{
    const struct proxy_options *o = arg;
    char *from = sockets_text(sockets_find(listening, o->from));
    printf("forwarding %s to %.*s\n", from, STR_ARG(o->to));
    fflush(stdout);
    mem_free(from);
}

/* An option that is given once; else a mistake would go unseen. */
static bool take_once(struct str *to)
{
    bool first = !to->n;
    *to = str_c(optarg);
    return first;
}

static int read_options(int argc, char **argv, struct proxy_options *o)
{
    static const struct option known[] = {
        {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 't'},
        {"host-rewrite", no_argument, NULL, 'h'},
        {"workers", required_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "f:t:", known, NULL)) >= 0) {
        switch (c) {
        case 'f':
            if (!take_once(&o->from))
                return wrong("--from is given twice; for several listeners use weir run", "");
            break;
        case 't':
            if (!take_once(&o->to))
                return wrong("--to is given twice; for several endpoints use weir run", "");
            break;
        case 'h':
            o->host_rewrite = true;
            break;
        case 'w':
            if (!str_to_u64(str_c(optarg), &o->workers) || o->workers > 1024)
                return wrong("--workers takes a number up to 1024, not ", optarg);
            break;
        default: /* getopt has said why */
            return 2;
        }
    }
    if (optind < argc)
        return wrong("unexpected argument ", argv[optind]);
    if (!o->from.n || !o->to.n)
        return wrong(o->from.n ? "--to" : "--from", " is missing");
    return 0;
}

int cmd_proxy(int argc, char **argv)
{
    struct proxy_options o = {.from = STR("")};
    int status = read_options(argc, argv, &o);
    if (status)
        return status;
    struct arena a;
    arena_init(&a, NULL, SIZE_MAX);
    const char *why = target_read(&o.target, o.to, &a);
    struct serve_options s = {.source = {.fill = fill, .arg = &o}, .ready = ready};
    status = why ? wrong("--to: ", why) : serve(&s);
    arena_fini(&a);
    return status;
}
