/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_top.c: weir top: upstreams with their rates and first-byte times since the last look, and the
 * exchanges that have run longest, over the admin API, 80 columns wide. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "base/clock.h"
#include "base/mem.h"
#include "control/conf_node.h"

#define LONGEST 10u

/* An answer as JSON; NULL: why was said. */
static json_t *get(const struct admin_client *c, const char *path)
{
    struct text t = {0};
    char *why = NULL;
    bool good = admin_client_ask(c, "GET", path, STR(""), &t);
    json_t *v = good ? conf_json_parse(text_str(&t), &why) : NULL;
    text_fini(&t);
    mem_free(why);
    return v;
}

static long long number(const json_t *v, const char *key)
{
    return (long long) json_integer_value(json_object_get(v, key));
}

static const char *word(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    return s ? s : "-";
}

/* The upstream of that name in an earlier answer, or NULL. */
static const json_t *earlier(const json_t *before, const char *name)
{
    size_t i;
    const json_t *u;
    json_array_foreach(json_object_get(before, "upstreams"), i, u)
    {
        if (str_eq(str_c(word(u, "name")), str_c(name)))
            return u;
    }
    return NULL;
}

/* The bound, in ms, below which `share` of the answers since the earlier look began; 0: none. */
static double bound_of(const json_t *now, const json_t *before, const json_t *bounds, double share)
{
    const json_t *n = json_object_get(now, "first_byte");
    const json_t *b = json_object_get(before, "first_byte");
    long long since[64] = {0}, total = 0, so_far = 0;
    for (size_t i = 0; i < json_array_size(n) && i < 64; i++) {
        since[i] =
            json_integer_value(json_array_get(n, i)) - json_integer_value(json_array_get(b, i));
        total += since[i];
    }
    for (size_t i = 0; total > 0 && i < json_array_size(bounds) && i < 64; i++) {
        so_far += since[i];
        if ((double) so_far >= share * (double) total)
            return (double) json_integer_value(json_array_get(bounds, i)) / 1000;
    }
    return 0;
}

static double a_second(const json_t *now, const json_t *before, const char *key, double seconds)
{
    return (double) (number(now, key) - number(before, key)) / seconds;
}

/* What is told of each upstream, by name. For json_decref. */
static json_t *rows_of(const json_t *now, const json_t *before, double seconds)
{
    size_t i;
    const json_t *u, *bounds = json_object_get(now, "first_byte_bounds_us");
    json_t *rows = json_array();
    json_array_foreach(json_object_get(now, "upstreams"), i, u)
    {
        const json_t *old = earlier(before, word(u, "name"));
        const json_t *e = json_object_get(u, "endpoints");
        double p50 = bound_of(u, old, bounds, 0.5), p99 = bound_of(u, old, bounds, 0.99);
        json_t *row =
            json_pack("{s:s,s:s,s:I,s:I,s:I,s:f,s:f}", "name", word(u, "name"), "breaker",
                      word(json_object_get(u, "breaker"), "state"), "up",
                      (json_int_t) number(e, "up"), "endpoints", (json_int_t) number(e, "total"),
                      "active", (json_int_t) number(u, "active"), "requests_per_second",
                      a_second(u, old, "requests", seconds), "failures_per_second",
                      a_second(u, old, "failures", seconds));
        json_object_set_new(row, "p50_below_ms", p50 > 0 ? conf_json_number(p50) : json_null());
        json_object_set_new(row, "p99_below_ms", p99 > 0 ? conf_json_number(p99) : json_null());
        json_array_append_new(rows, row);
    }
    return rows;
}

static void show_time(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    if (json_is_number(v))
        printf(" %8.4g", json_number_value(v));
    else
        printf(" %8s", "-");
}

static void show_upstreams(const json_t *rows)
{
    size_t i;
    const json_t *row;
    printf("%-18s %-9s %6s %7s %8s %7s %8s %8s\n", "UPSTREAM", "BREAKER", "UP", "ACTIVE", "REQ/S",
           "FAIL/S", "P50 <MS", "P99 <MS");
    json_array_foreach(rows, i, row)
    {
        char up[48];
        snprintf(up, sizeof up, "%lld/%lld", number(row, "up"), number(row, "endpoints"));
        printf("%-18.18s %-9s %6s %7lld %8.1f %7.1f", word(row, "name"), word(row, "breaker"), up,
               number(row, "active"),
               json_number_value(json_object_get(row, "requests_per_second")),
               json_number_value(json_object_get(row, "failures_per_second")));
        show_time(row, "p50_below_ms");
        show_time(row, "p99_below_ms");
        printf("\n");
    }
}

static void show_exchanges(const json_t *v)
{
    size_t i;
    const json_t *x;
    printf("\n%-10s %-9s %-16s %-7s %s\n", "AGE S", "STEP", "ROUTE", "METHOD", "PATH");
    json_array_foreach(json_object_get(v, "exchanges"), i, x)
    {
        if (i < LONGEST)
            printf("%-10.3f %-9s %-16.16s %-7.7s %.34s\n", (double) number(x, "age_us") / 1e6,
                   word(x, "step"), word(x, "route"), word(x, "method"), word(x, "path"));
    }
}

/* One look: a table, or with json an object on a line. */
static void show(const json_t *now, const json_t *before, const json_t *running, double seconds,
                 bool json)
{
    json_t *rows = rows_of(now, before, seconds);
    if (json) {
        json_t *all = json_pack("{s:O,s:O}", "upstreams", rows, "exchanges",
                                json_object_get(running, "exchanges"));
        struct text t = {0};
        conf_json_print(all, &t);
        printf("%.*s\n", STR_ARG(text_str(&t)));
        text_fini(&t);
        json_decref(all);
    } else {
        show_upstreams(rows);
        show_exchanges(running);
    }
    json_decref(rows);
    fflush(stdout);
}

static int look(const struct admin_client *c, bool once, bool json)
{
    json_t *before = get(c, "/v1/upstreams");
    bool good = before;
    bool clear = isatty(STDOUT_FILENO) && !once && !json;
    while (good) {
        usec_t began = clock_now();
        sleep(1);
        json_t *now = get(c, "/v1/upstreams"),
               *running = now ? get(c, "/v1/exchanges?limit=10") : NULL;
        good = now && running;
        if (good) {
            if (clear)
                fputs("\033[H\033[2J", stdout);
            show(now, before, running, (double) (clock_now() - began) / 1e6, json);
        }
        json_decref(running);
        json_decref(before);
        before = now;
        if (once)
            break;
    }
    json_decref(before);
    return good ? 0 : 1;
}

int cmd_top(int argc, char **argv)
{
    static const struct option known[] = {
        ADMIN_OPTIONS,
        {"once", no_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    struct admin_options o = {0};
    bool once = false;
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (c == '?')
            return 2; /* getopt has said why */
        if (!admin_option(&o, c, optarg))
            once = true;
    }
    if (optind < argc) {
        fprintf(stderr, "weir top: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    struct admin_client client;
    int status = admin_client_init(&client, &o) ? look(&client, once, o.json) : 1;
    admin_client_fini(&client);
    return status;
}
