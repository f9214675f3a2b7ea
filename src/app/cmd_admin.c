/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_admin.c: the commands over the admin API: route, endpoint, upstream, breaker, status, events,
 * diff. Each is a line of the table: what is asked, and how the answer is shown. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "base/mem.h"
#include "control/conf_node.h"

#define BODY_MAX (16u << 20)

struct options {
    struct admin_options admin; /* first */
    const char *within;
    double weight; /* negative: not said */
};

/* ---- asking -------------------------------------------------------------------------------- */

/* A weight as a person writes it; the API says whether it is one that may be. */
static bool read_weight(const char *text, double *w)
{
    char more;
    return sscanf(text, "%lf%c", w, &more) == 1 && isfinite(*w) && *w >= 0;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        ADMIN_OPTIONS,
        {"within", required_argument, NULL, 'i'},
        {"weight", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (admin_option(&o->admin, c, optarg))
            continue;
        if (c == '?') /* getopt has said why */
            return false;
        if (c == 'i') {
            o->within = optarg;
        } else if (!read_weight(optarg, &o->weight)) {
            fprintf(stderr, "%s: --weight %s: a number is wanted, 0 or more\n", argv[0], optarg);
            return false;
        }
    }
    return true;
}

/* One request; show (NULL: nothing) prints what came of it. Returns the exit status. */
static int ask(const struct options *o, const char *method, const struct text *path,
               struct str body, void (*show)(const json_t *v))
{
    struct text out = {0};
    char *to = mem_strdup(text_str(path)), *why = NULL;
    bool good = admin_ask(&o->admin, method, to, body, &out), json = o->admin.json;
    if (good) {
        json_t *v = conf_json_parse(text_str(&out), &why);
        if (json || !v)
            fwrite(out.p, 1, out.n, stdout);
        else if (show)
            show(v);
        if (v && !json && json_is_false(json_object_get(v, "kept")) && strcmp(method, "GET"))
            fputs("not kept over a restart: the configuration has no state_dir\n", stderr);
        json_decref(v);
    }
    text_fini(&out);
    mem_free(to);
    mem_free(why);
    return good ? 0 : 1;
}

/* ---- showing ------------------------------------------------------------------------------- */

static const char *word(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "";
}

static long long number(const json_t *v, const char *key)
{
    return (long long) json_integer_value(json_object_get(v, key));
}

static void show_routes(const json_t *v)
{
    size_t i;
    const json_t *r;
    json_array_foreach(json_object_get(v, "routes"), i, r)
    {
        struct text match = {0};
        const json_t *m = json_object_get(r, "match");
        if (m)
            conf_json_print(m, &match);
        const char *to = word(r, "to");
        const char *does = to[0]                            ? to
                           : json_object_get(r, "reply")    ? "(reply)"
                           : json_object_get(r, "redirect") ? "(redirect)"
                                                            : "";
        printf("%-8s %-24s %-20s %.*s\n", word(r, "origin"), word(r, "name"), does,
               STR_ARG(text_str(&match)));
        text_fini(&match);
    }
    if (json_object_get(v, "next"))
        printf("... %lld in all; --json and the API have pages\n", number(v, "total"));
}

static void show_endpoints(const json_t *v)
{
    size_t i;
    const json_t *e;
    printf("%-16s %-24s %-10s %7s %10s %6s\n", "UPSTREAM", "ENDPOINT", "STATE", "WEIGHT",
           "REQUESTS", "OPEN");
    json_array_foreach(json_object_get(v, "endpoints"), i, e)
    {
        printf("%-16s %-24s %-10s %7.6g %10lld %6lld\n", word(e, "upstream"), word(e, "address"),
               word(e, "state"), json_number_value(json_object_get(e, "weight")),
               number(e, "requests"), number(json_object_get(e, "connections"), "open"));
    }
}

static void show_upstreams(const json_t *v)
{
    size_t i;
    const json_t *u;
    printf("%-16s %-14s %-9s %7s %10s %9s %s\n", "UPSTREAM", "BALANCE", "BREAKER", "ACTIVE",
           "REQUESTS", "FAILURES", "UP");
    json_array_foreach(json_object_get(v, "upstreams"), i, u)
    {
        const json_t *e = json_object_get(u, "endpoints");
        const char *breaker = word(json_object_get(u, "breaker"), "state");
        printf("%-16s %-14s %-9s %7lld %10lld %9lld %lld/%lld\n", word(u, "name"),
               word(u, "balance"), breaker[0] ? breaker : "-", number(u, "active"),
               number(u, "requests"), number(u, "failures"), number(e, "up"), number(e, "total"));
    }
}

static void show_changes(const json_t *v)
{
    size_t i;
    const json_t *c;
    json_array_foreach(json_object_get(v, "changes"), i, c) printf("%s\n", word(c, "words"));
}

static void show_status(const json_t *v)
{
    const json_t *c = json_object_get(v, "configuration"), *u;
    size_t i;
    printf("Weir %s, %s since %s\n", word(v, "version"), word(v, "state"), word(v, "started"));
    long long routes = number(c, "routes");
    printf("configuration %lld of %s: %lld route%s\n", number(c, "generation"), word(c, "loaded"),
           routes, routes == 1 ? "" : "s");
    json_array_foreach(json_object_get(v, "upstreams"), i, u)
    {
        size_t k;
        const json_t *e;
        json_array_foreach(json_object_get(u, "endpoints"), k, e)
            printf("%-16s %-24s %s\n", word(u, "name"), word(e, "address"), word(e, "state"));
    }
}

/* ---- commands ------------------------------------------------------------------------------ */

/* The words of a command come in one order only: what was said is shown beside what may be. */
static int wrong(int n, char **a, const char *name, const char *usage)
{
    if (n > 0)
        fprintf(stderr, "%s: '%s%s%s' is not understood\n", name, a[0], n > 1 ? " " : "",
                n > 1 ? a[1] : "");
    fprintf(stderr, "%s: usage: %s%s%s\n", name, name, usage[0] ? " " : "", usage);
    return 2;
}

/* The JSON of an argument, or of stdin for "-" (more than the API takes is its to refuse). */
static char *json_argument(const char *text)
{
    struct text t = {0};
    size_t n;
    if (strcmp(text, "-") != 0)
        return mem_strdup(str_c(text));
    while ((n = fread(text_room(&t, 65536), 1, 65536, stdin)) > 0 && t.n < BODY_MAX)
        t.n += n;
    char *s = mem_strdup(text_str(&t));
    text_fini(&t);
    return s;
}

static int route_write(const struct options *o, const char *method, struct text *path,
                       const char *json)
{
    if (o->within) {
        text_add(path, STR("?within="));
        struct text name = {0};
        admin_path_add(&name, str_c(o->within));
        text_add(path, str_sub(text_str(&name), 1, name.n));
        text_fini(&name);
    }
    char *body = json_argument(json);
    int status = ask(o, method, path, str_c(body), NULL);
    mem_free(body);
    return status;
}

static int run_route(int n, char **a, const struct options *o, struct text *path)
{
    text_add(path, STR("/v1/routes"));
    if (n == 1 && !strcmp(a[0], "ls"))
        return ask(o, "GET", path, STR(""), show_routes);
    if (n == 2 && !strcmp(a[0], "add"))
        return route_write(o, "POST", path, a[1]);
    if (n >= 2)
        admin_path_add(path, str_c(a[1]));
    if (n == 3 && !strcmp(a[0], "set"))
        return route_write(o, "PUT", path, a[2]);
    if (n == 2 && !strcmp(a[0], "rm"))
        return ask(o, "DELETE", path, STR(""), NULL);
    return -1;
}

/* {"A": W, ...} of "A=W" arguments; NULL: one is not of that form, or an address comes twice, which
 * was said. */
static json_t *weights_of(int n, char **a)
{
    json_t *v = json_object();
    for (int i = 0; i < n; i++) {
        char *eq = strrchr(a[i], '=');
        double w;
        if (!eq || !read_weight(eq + 1, &w)) {
            fprintf(stderr, "%s: ADDRESS=WEIGHT is wanted, a weight of 0 or more\n", a[i]);
            json_decref(v);
            return NULL;
        }
        *eq = '\0';
        if (json_object_get(v, a[i])) {
            fprintf(stderr, "%s: its weight is given twice\n", a[i]);
            json_decref(v);
            return NULL;
        }
        json_object_set_new(v, a[i], conf_json_number(w));
    }
    return v;
}

static int ask_with(const struct options *o, const char *method, const struct text *path, json_t *v)
{
    struct text body = {0};
    conf_json_print(v, &body);
    json_decref(v);
    int status = ask(o, method, path, text_str(&body), NULL);
    text_fini(&body);
    return status;
}

static int run_endpoint(int n, char **a, const struct options *o, struct text *path)
{
    if (n >= 1 && n <= 2 && !strcmp(a[0], "ls")) {
        struct text name = {0};
        admin_path_add(&name, str_c(n == 2 ? a[1] : ""));
        text_addf(path, "/v1/endpoints%s%.*s", n == 2 ? "?upstream=" : "", (int) name.n - 1,
                  name.p + 1);
        text_fini(&name);
        return ask(o, "GET", path, STR(""), show_endpoints);
    }
    if (n < 3)
        return -1;
    text_add(path, STR("/v1/upstreams"));
    admin_path_add(path, str_c(a[1]));
    if (!strcmp(a[0], "weight")) {
        json_t *v = weights_of(n - 2, a + 2);
        text_add(path, STR("/weights"));
        return v ? ask_with(o, "PATCH", path, v) : -1;
    }
    text_add(path, STR("/endpoints"));
    if (n != 3)
        return -1;
    if (!strcmp(a[0], "add")) {
        json_t *v = json_object();
        json_object_set_new(v, "address", json_string(a[2]));
        if (o->weight >= 0)
            json_object_set_new(v, "weight", conf_json_number(o->weight));
        return ask_with(o, "POST", path, v);
    }
    admin_path_add(path, str_c(a[2]));
    if (!strcmp(a[0], "rm"))
        return ask(o, "DELETE", path, STR(""), NULL);
    if (strcmp(a[0], "drain") != 0 && strcmp(a[0], "undrain") != 0)
        return -1;
    text_addf(path, "/%s", a[0]);
    return ask(o, "POST", path, STR(""), NULL);
}

static int run_upstream(int n, char **a, const struct options *o, struct text *path)
{
    text_add(path, STR("/v1/upstreams"));
    return n == 1 && !strcmp(a[0], "ls") ? ask(o, "GET", path, STR(""), show_upstreams) : -1;
}

static int run_breaker(int n, char **a, const struct options *o, struct text *path)
{
    if (n != 2)
        return -1;
    json_t *v = json_object();
    json_object_set_new(v, "state", json_string(a[1]));
    text_add(path, STR("/v1/upstreams"));
    admin_path_add(path, str_c(a[0]));
    text_add(path, STR("/breaker"));
    return ask_with(o, "PUT", path, v);
}

static int run_status(int n, char **a, const struct options *o, struct text *path)
{
    (void) a;
    text_add(path, STR("/status"));
    return n == 0 ? ask(o, "GET", path, STR(""), show_status) : -1;
}

static int run_diff(int n, char **a, const struct options *o, struct text *path)
{
    (void) a;
    text_add(path, STR("/v1/changes"));
    return n == 0 ? ask(o, "GET", path, STR(""), show_changes) : -1;
}

/* A line of the stream: events for people, else as JSON, one a line. */
static void show_event(void *arg, struct str line)
{
    const struct options *o = arg;
    struct str data = STR("data: ");
    char *why = NULL;
    if (!str_starts(line, data))
        return;
    line = str_sub(line, data.n, line.n);
    json_t *v = o->admin.json ? NULL : conf_json_parse(line, &why);
    if (v)
        printf("%s %-9s %s\n", word(v, "time"), word(v, "event"), word(v, "text"));
    else
        printf("%.*s\n", STR_ARG(line));
    fflush(stdout);
    json_decref(v);
    mem_free(why);
}

static int run_events(int n, char **a, const struct options *o, struct text *path)
{
    struct admin_client c;
    (void) a, (void) path;
    if (n != 0)
        return -1;
    if (admin_client_init(&c, &o->admin))
        admin_client_follow(&c, "/v1/events", show_event, (void *) (uintptr_t) o);
    admin_client_fini(&c);
    return 1; /* it goes on until it is ended, or cannot */
}

static int run(int argc, char **argv, const char *usage,
               int (*fn)(int n, char **a, const struct options *o, struct text *path))
{
    struct options o = {.weight = -1};
    struct text path = {0};
    if (!read_options(argc, argv, &o))
        return 2;
    int status = fn(argc - optind, argv + optind, &o, &path);
    text_fini(&path);
    return status < 0 ? wrong(argc - optind, argv + optind, argv[0], usage) : status;
}

int cmd_route(int argc, char **argv)
{
    return run(argc, argv, "ls | add JSON | set NAME JSON | rm NAME", run_route);
}

int cmd_endpoint(int argc, char **argv)
{
    return run(
        argc, argv,
        "ls [UPSTREAM] | add|rm|drain|undrain UPSTREAM ADDRESS | weight UPSTREAM ADDRESS=N...",
        run_endpoint);
}

int cmd_upstream(int argc, char **argv)
{
    return run(argc, argv, "ls", run_upstream);
}

int cmd_breaker(int argc, char **argv)
{
    return run(argc, argv, "UPSTREAM open|close|auto", run_breaker);
}

int cmd_status(int argc, char **argv)
{
    return run(argc, argv, "", run_status);
}

int cmd_diff(int argc, char **argv)
{
    return run(argc, argv, "", run_diff);
}

int cmd_events(int argc, char **argv)
{
    return run(argc, argv, "", run_events);
}
