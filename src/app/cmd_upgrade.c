/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_upgrade.c: weir upgrade: asks the supervisor itself, which then is another program. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "app/admin_client.h"
#include "app/commands.h"
#include "app/door.h"
#include "app/handover.h"
#include "base/file_io.h"
#include "base/mem.h"
#include "control/conf_node.h"

struct options {
    struct admin_options admin; /* first */
    const char *pid_file, *binary;
    uint64_t pid, within;
};

static bool read_number(const char *name, uint64_t least, const char *value, uint64_t *to)
{
    if (str_to_u64(str_c(value), to) && *to >= least && *to <= INT32_MAX)
        return true;
    fprintf(stderr, "weir upgrade: --%s %s: a number is wanted, %llu or more\n", name, value,
            (unsigned long long) least);
    return false;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        ADMIN_OPTIONS,
        {"pid-file", required_argument, NULL, 'f'},
        {"pid", required_argument, NULL, 'p'},
        {"binary", required_argument, NULL, 'b'},
        {"within", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int c;
    bool good = true;
    while (good && (c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (admin_option(&o->admin, c, optarg))
            continue;
        if (c == 'f')
            o->pid_file = optarg;
        else if (c == 'b')
            o->binary = optarg;
        else if (c == 'p')
            good = read_number("pid", 1, optarg, &o->pid);
        else if (c == 'w')
            good = read_number("within", 1, optarg, &o->within);
        else
            good = false; /* getopt has said why */
    }
    if (good && optind < argc)
        fprintf(stderr, "weir upgrade: unexpected argument '%s'\n", argv[optind]);
    return good && optind == argc;
}

/* ---- which process --------------------------------------------------------------------------- */

static pid_t pid_of_file(const char *path)
{
    size_t n;
    uint64_t pid = 0;
    char *why = NULL, *text = file_read_start(path, 64, &n, &why);
    if (!text)
        fprintf(stderr, "%s\n", why);
    else if (!str_to_u64(str_trim(str_of(text, strcspn(text, "\r\n"))), &pid) || pid == 0 ||
             pid > INT32_MAX)
        fprintf(stderr, "%s: it does not hold the id of a process\n", path);
    mem_free(why);
    mem_free(text);
    return pid <= INT32_MAX ? (pid_t) pid : 0;
}

/* Asks the running Weir itself. */
static pid_t pid_of_status(const struct options *o)
{
    struct text out = {0};
    char *why = NULL;
    json_int_t pid = 0;
    if (admin_ask(&o->admin, "GET", "/status", STR(""), &out)) {
        json_t *v = conf_json_parse(text_str(&out), &why);
        pid = json_integer_value(json_object_get(v, "supervisor"));
        json_decref(v);
        if (pid <= 0)
            fputs(
                "the running Weir does not name its supervisor: it is of a version that cannot be "
                "upgraded; say --pid-file\n",
                stderr);
    }
    mem_free(why);
    text_fini(&out);
    return (pid_t) pid;
}

static pid_t pid_of(const struct options *o)
{
    if (o->pid)
        return (pid_t) o->pid;
    return o->pid_file ? pid_of_file(o->pid_file) : pid_of_status(o);
}

static void print_json(pid_t pid, bool good, const char *text)
{
    struct text out = {0};
    text_addf(&out, "{\"upgraded\":%s,\"supervisor\":%ld,\"detail\":", good ? "true" : "false",
              (long) pid);
    text_add_json(&out, str_c(text));
    text_add(&out, STR("}\n"));
    fwrite(out.p, 1, out.n, stdout);
    text_fini(&out);
}

int cmd_upgrade(int argc, char **argv)
{
    struct options o = {.pid = 0};
    bool good = false;
    if (!read_options(argc, argv, &o))
        return 2;
    pid_t pid = pid_of(&o);
    char *binary = o.binary ? handover_absolute(o.binary) : NULL;
    char *text = pid > 0 ? door_ask(pid, (unsigned) o.within, binary, &good) : NULL;
    if (text && o.admin.json)
        print_json(pid, good, text);
    else if (text)
        fprintf(good ? stdout : stderr, "%s\n", text);
    mem_free(text);
    mem_free(binary);
    return good ? 0 : 1;
}
