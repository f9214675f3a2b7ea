/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_explain.c: weir explain: which route a request takes, which were passed over and why, and the
 * head that would go upstream. Everything is said by the engine's own functions (control/dry_run);
 * nothing is sent. */
#include <stdio.h>

#include "app/commands.h"
#include "base/mem.h"
#include "control/conf_load.h"
#include "control/dry_run.h"
#include "features/registry.h"
#include "proxy/passthrough.h"
#include "upstream/upstream.h"

#define FIELDS_MAX 100
#define FAR_MAX 20 /* rules shown that differ already by host or path; the rest is counted */

/* The command line. */
struct asked {
    const char *file;
    struct dry_request request;
    struct str names[FIELDS_MAX], values[FIELDS_MAX];
    bool connection; /* asked about a connection, by hello alone */
    struct client_hello hello;
};

/* What was told of the rules so far. */
struct telling {
    size_t rules, far, unsaid;
};

/* ---- the command line ---------------------------------------------------------------------- */

static int usage(const char *what, const char *which)
{
    fprintf(stderr,
            "weir explain: %s%s\n"
            "Usage: weir explain FILE METHOD URL [-H 'NAME: VALUE']... [--from IP]\n"
            "       weir explain FILE tls://NAME [--alpn PROTOCOLS]\n",
            what, which);
    return 2;
}

/* "Name: value" into the request. */
static bool add_field(struct asked *a, struct str text)
{
    ptrdiff_t colon = str_find(text, ':');
    size_t n = a->request.n_fields;
    if (colon <= 0 || n == FIELDS_MAX)
        return false;
    a->names[n] = str_sub(text, 0, (size_t) colon);
    a->values[n] = str_trim(str_sub(text, (size_t) colon + 1, text.n));
    a->request.n_fields++;
    return field_name_valid(a->names[n]) && field_value_valid(a->values[n]);
}

/* What stands behind tls://. False: no host name. */
static bool set_name(struct asked *a, struct str url)
{
    a->connection = true;
    return dry_hello_name(&a->hello, url);
}

/* The words that are no options. 0, or the exit status. */
static int read_words(struct asked *a, const char *const *words, int n)
{
    const char *needed = "FILE, METHOD and URL are needed, or FILE and tls://NAME";
    if (n < 2)
        return usage(needed, "");
    a->file = words[0];
    if (n == 2 && dry_is_connection(str_c(words[1])))
        return set_name(a, str_c(words[1])) ? 0 : usage("no host name in ", words[1]);
    if (n < 3)
        return usage(needed, "");
    if (a->hello.alpn_n)
        return usage("--alpn is of connections: tls://NAME", "");
    a->request.method = str_c(words[1]);
    a->request.url = str_c(words[2]);
    return 0;
}

/* 0, or the exit status. */
static int read_arguments(struct asked *a, int argc, char **argv)
{
    const char *words[3] = {NULL};
    int n = 0;
    (void) ip_parse(STR("127.0.0.1"), &a->request.client);
    a->request.names = a->names;
    a->request.values = a->values;
    for (int i = 1; i < argc; i++) {
        struct str arg = str_c(argv[i]);
        bool last = i + 1 == argc;
        if (str_eq(arg, STR("-H"))) {
            if (last || !add_field(a, str_c(argv[++i])))
                return usage("-H wants 'NAME: VALUE', not ", last ? "nothing" : argv[i]);
        } else if (str_eq(arg, STR("--from"))) {
            if (last || !ip_parse(str_c(argv[++i]), &a->request.client))
                return usage("--from wants an IP address, not ", last ? "nothing" : argv[i]);
        } else if (str_eq(arg, STR("--alpn"))) {
            if (last || !dry_hello_alpn(&a->hello, str_c(argv[++i])))
                return usage("--alpn wants protocols, like h2,http/1.1, not ",
                             last ? "nothing" : argv[i]);
        } else if (arg.n && arg.p[0] == '-') {
            return usage("no option ", argv[i]);
        } else if (n == 3) {
            return usage("unexpected argument ", argv[i]);
        } else {
            words[n++] = argv[i];
        }
    }
    return read_words(a, words, n);
}

/* ---- telling ------------------------------------------------------------------------------- */

/* One rule; those that differ by host or path are cut short. */
static void tell_rule(void *arg, const struct route *r, const char *verdict)
{
    struct telling *t = arg;
    bool chosen = strcmp(verdict, "chosen") == 0;
    bool far = strcmp(verdict, "host differs") == 0 || strcmp(verdict, "sni differs") == 0 ||
               strcmp(verdict, "path differs") == 0;
    if (t->rules++ == 0)
        printf("rules, in the order of the file:\n");
    if (far && t->far++ >= FAR_MAX) {
        t->unsaid++;
        return;
    }
    printf("  %c %-24.*s %s\n", chosen ? '>' : '-', STR_ARG(r->name), verdict);
}

static void tell_field(struct str name, struct str value)
{
    printf("  %.*s: %.*s\n", STR_ARG(name), STR_ARG(value));
}

/* The route's name, place and meta. */
static void tell_route_name(const struct asked *a, const struct route *r)
{
    printf("route:    %.*s", STR_ARG(r->name));
    if (r->line)
        printf(" (%s:%u)", a->file, r->line);
    printf("\n");
    const struct str *values = r->plan->settings->meta.items;
    for (size_t i = 0; i < r->plan->settings->meta.n; i++)
        printf("meta:     %.*s: %.*s\n", STR_ARG(r->plan->settings->meta.names[i]),
               STR_ARG(values[i]));
}

static void tell_route(const struct asked *a, const struct dry_result *got)
{
    char ip[46];
    ip_print(got->client_ip, ip);
    printf("client:   %s%s\n", ip, got->client_trusted ? " (from a trusted proxy)" : "");
    if (got->route)
        tell_route_name(a, got->route);
}

static void tell_upstream(const struct upstream *u)
{
    printf("upstream: %.*s\n", STR_ARG(u->name));
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = u->endpoints[i];
        printf("  %.*s, weight %g\n", STR_ARG(e->address), (double) atomic_load(&e->weight) / 1000);
    }
}

/* The request line and fields as they would be written. */
static void tell_outgoing(const struct dry_result *got)
{
    const struct head *h = got->out;
    struct str target = dry_target(got);
    printf("sent upstream:\n  %.*s %.*s HTTP/1.1\n", STR_ARG(h->method), STR_ARG(target));
    tell_field(STR("Host"), h->authority);
    for (uint32_t i = 0; i < h->fields.n; i++) {
        if (h->fields.v[i].id != FIELD_HOST)
            tell_field(h->fields.v[i].name, h->fields.v[i].value);
    }
    if (h->upgrade.n)
        tell_field(STR("Connection"), STR("Upgrade"));
    else if (h->te_trailers)
        tell_field(STR("Connection"), STR("TE"));
}

/* Weir's own answer: a redirect, a fixed reply, a C function's, or a fault. */
static void tell_answer(const struct dry_result *got)
{
    if (got->status == 0) {
        printf("answer:   made by a function of the program\n");
        return;
    }
    const struct fault_row *row = fault_row(got->fault);
    struct str reason = status_reason(got->status);
    if (got->fault != FAULT_OK)
        printf("answer:   %u %s: %s\n", got->status, row->name, row->text);
    else
        printf("answer:   %u %.*s\n", got->status, STR_ARG(reason));
    for (uint32_t i = 0; i < got->reply.n; i++)
        tell_field(got->reply.v[i].name, got->reply.v[i].value);
}

static int tell(const struct asked *a, const struct snapshot *s)
{
    struct dry_result got;
    struct telling t = {0};
    bool made = dry_run(s, &a->request, &got, tell_rule, &t);
    if (!made) {
        fprintf(stderr, "weir explain: %.*s\n", STR_ARG(got.why));
        dry_run_fini(&got);
        return 2;
    }
    if (t.unsaid)
        printf("  and %zu more that differ by host or path\n", t.unsaid);
    tell_route(a, &got);
    if (got.upstream)
        tell_upstream(got.upstream);
    if (got.out)
        tell_outgoing(&got);
    else
        tell_answer(&got);
    int status = got.fault == FAULT_OK ? 0 : 1;
    dry_run_fini(&got);
    return status;
}

/* The same of rules for connections, where the name asked for is the host. */
static void tell_pass(void *arg, const struct route *r, const char *verdict)
{
    tell_rule(arg, r, strcmp(verdict, "host differs") == 0 ? "sni differs" : verdict);
}

static int tell_connection(const struct asked *a, const struct snapshot *s)
{
    struct telling t = {0};
    const struct client_hello *h = &a->hello;
    struct head head = {.host = str_of(h->sni, h->sni_n), .alpn = str_of(h->alpn, h->alpn_n)};
    struct arena arena;
    const struct route *r = passthrough_route(s, h);
    arena_init(&arena, NULL, SIZE_MAX);
    if (s->passes)
        (void) router_explain(s->passes, &head, &arena, tell_pass, &t);
    arena_fini(&arena);
    if (r) {
        tell_route_name(a, r);
        tell_upstream(r->plan->upstream);
        return 0;
    }
    const struct fault_row *row = fault_row(h->sni_n ? FAULT_SNI_UNKNOWN : FAULT_SNI_MISSING);
    printf("refused:  %s: %s\n"
           "          (a listener that has tls, too, answers it itself)\n",
           row->name, row->text);
    return 1;
}

int cmd_explain(int argc, char **argv)
{
    struct asked a = {0};
    int status = read_arguments(&a, argc, argv);
    if (status)
        return status;
    char *errors = NULL;
    struct conf_loaded *l = conf_load_untested(a.file, &feature_registry, &errors);
    struct conf_trial *trial = l ? conf_trial_new(l, &errors) : NULL;
    if (trial) {
        const struct snapshot *s = conf_trial_snapshot(trial);
        status = a.connection ? tell_connection(&a, s) : tell(&a, s);
    } else {
        fprintf(stderr, "%s", errors ? errors : "");
        status = 1;
    }
    mem_free(errors);
    conf_trial_free(trial);
    if (l)
        conf_loaded_free(l);
    return status;
}
