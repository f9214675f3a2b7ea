/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: the table of commands. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "base/str.h"
#include "net/tls.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage; /* arguments */
    const char *purpose;
    const char *help; /* for --help, behind usage and purpose */
};

#define ADMIN_HELP                                                                                 \
    "  --admin ADDRESS   whom to ask: unix:/path or IP:port; else that of --config, else\n"        \
    "                    $WEIR_ADMIN, else unix:/run/weir/admin.sock\n"                            \
    "  --config FILE     take address and token_file from its admin section\n"                     \
    "  --token-file FILE holds the token for an IP:port; else $WEIR_TOKEN_FILE\n"                  \
    "  --json            print JSON, as the API gives it\n"                                        \
    "\n"                                                                                           \
    "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n"

static const struct command commands[] = {
    {"run", cmd_run, "--config FILE [--pid-file FILE] [--user NAME] [--pin]",
     "serve by a configuration, in the foreground",
     "  --config FILE    the configuration (YAML)\n"
     "  --pid-file FILE  write the supervisor's process id there\n"
     "  --user NAME      started as root: the server process becomes this user\n"
     "  --pin            bind each worker to a CPU of its own\n"
     "\n"
     "Signals: SIGHUP reads the configuration again (a bad one is refused, the old one stays),\n"
     "SIGUSR1 reopens the access log, SIGUSR2 is weir upgrade, SIGTERM or SIGINT lets running "
     "exchanges finish within\n"
     "`drain` and exits 0; the second one stops at once.\n"},
    {"proxy", cmd_proxy, "--from ADDRESS --to URL [--host-rewrite] [--workers N]",
     "forward everything to one URL",
     "  --from ADDRESS   where to listen: :8081, 127.0.0.1:8081, unix:/path\n"
     "  --to URL         where to send it: http://localhost:8080, https://host/base\n"
     "  --host-rewrite   send the URL's host as Host instead of the client's\n"
     "  --workers N      worker threads; default: one a core\n"
     "\n"
     "A path in URL goes before the path of each request. X-Forwarded-For, -Host and -Proto are\n"
     "set.\n"},
    {"demo", cmd_demo, "[--port PORT]", "three small origins behind Weir, and a page to watch",
     "  --port PORT      where the page is; default 8080, 0: any free port\n"
     "\n"
     "Ctrl-C ends it.\n"},
    {"check", cmd_check, "FILE", "check a configuration and run its tests",
     "Prints every error as FILE:LINE:COLUMN: what is wrong. Exit status 1 when there is one.\n"},
    {"explain", cmd_explain, "FILE METHOD URL [-H 'NAME: VALUE']... [--from IP]",
     "show which route a request takes and why",
     "  -H 'NAME: VALUE' a header field of the request; may be given several times\n"
     "  --from IP        the client's address; default 127.0.0.1\n"
     "  --alpn PROTOCOLS in place of a request, of a connection: weir explain FILE tls://NAME\n"
     "                   shows which passthrough route takes one that asks for NAME and offers\n"
     "                   these, like h2,http/1.1\n"
     "\n"
     "Nothing is sent: it shows the rules that were passed over, the route, and the head that\n"
     "would go upstream.\n"},
    {"schema", cmd_schema, "[--format FORMAT]", "print what a configuration may say",
     "  --format FORMAT  json (JSON Schema, the default), markdown, example, faults, steps,\n"
     "                   hooks\n"},
    {"status", cmd_status, "", "show what a running Weir does", ADMIN_HELP},
    {"route", cmd_route, "ls | add JSON | set NAME JSON | rm NAME [--within ROUTE]",
     "show and change routes of a running Weir",
     "JSON is a route as in the file; - reads it from stdin.\n\n"
     "  --within ROUTE    add it among the routes of that one\n" ADMIN_HELP},
    {"endpoint", cmd_endpoint,
     "ls [UPSTREAM] | add|rm|drain|undrain UPSTREAM ADDRESS | weight UPSTREAM ADDRESS=N...",
     "show and change endpoints of a running Weir",
     "  --weight N        of an endpoint that is added\n" ADMIN_HELP},
    {"upstream", cmd_upstream, "ls", "show upstreams of a running Weir", ADMIN_HELP},
    {"breaker", cmd_breaker, "UPSTREAM open|close|auto", "hold a circuit breaker, or let it go",
     ADMIN_HELP},
    {"events", cmd_events, "", "print what happens in a running Weir as it happens",
     "It ends when it is ended, or Weir ends; then its exit status is 1.\n\n" ADMIN_HELP},
    {"top", cmd_top, "[--once]", "watch rates, times and the longest exchanges of a running Weir",
     "  --once            look for a second, print, end\n" ADMIN_HELP},
    {"diff", cmd_diff, "", "show what was changed on top of the file", ADMIN_HELP},
    {"reload", cmd_reload, "[--keep | --discard]", "load the file again and print what changed",
     "  --keep            changes made at run time stay in force\n"
     "  --discard         those that the file says other things about are dropped\n" ADMIN_HELP},
    {"plan", cmd_plan, "[OLD] FILE", "print what loading a file would change",
     "Compares with OLD, else with what runs, and changes nothing. Of what runs it also says "
     "which\n"
     "changes made at run time would stay, and which the file says otherwise.\n\n" ADMIN_HELP},
    {"history", cmd_history, "", "list the configurations that are kept", ADMIN_HELP},
    {"rollback", cmd_rollback, "[N]", "go back to an earlier configuration",
     "N is how many to go back; default 1. The file stays as it is.\n\n" ADMIN_HELP},
    {"upgrade", cmd_upgrade,
     "[--binary PATH] [--within SECONDS] [--pid-file FILE | --pid PID] [--json]",
     "put a new program in place of the running one",
     "Waits, and prints what came of it; without one that is ready in time, the old one serves "
     "on.\n"
     "\n"
     "  --binary PATH     the new program; default: what is at the path of the old one by now\n"
     "  --within SECONDS  the time it may take until it is ready; default 60\n"
     "  --pid-file FILE, --pid PID  which Weir; else the one of the admin API, which says\n"
     "  --json            print what came of it as JSON\n"
     "  --admin ADDRESS, --config FILE, --token-file FILE: as for weir status\n"
     "\n"
     "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n"},
    {"version", cmd_version, "", "print the version", ""},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *to)
{
    fputs("Weir forwards HTTP requests to upstream servers.\n\nUsage: weir COMMAND ...\n\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].purpose);
    fputs("\n'weir COMMAND --help' says more.\n", to);
}

static const struct command *find(struct str name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (str_eq(str_c(commands[i].name), name))
            return &commands[i];
    }
    return NULL;
}

static int print_help(const struct command *c)
{
    printf("Usage: weir %s%s%s\n\n%c%s.\n%s%s", c->name, c->usage[0] ? " " : "", c->usage,
           c->purpose[0] & ~0x20, c->purpose + 1, c->help[0] ? "\n" : "", c->help);
    return 0;
}

/* --help anywhere before "--". */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return true;
    }
    return false;
}

static int no_such_command(const char *name)
{
    const char *near = NULL;
    unsigned least = 2;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        unsigned d = str_distance(str_c(name), str_c(commands[i].name), least);
        /* Two letters of a short name are half of it: then at least it begins the same. */
        if (d > least || (d == 2 && name[0] != commands[i].name[0]))
            continue;
        near = commands[i].name;
        least = d;
    }
    fprintf(stderr, "weir: no command '%s'", name);
    if (near)
        fprintf(stderr, "; did you mean '%s'?", near);
    fputs("\n\n", stderr);
    print_usage(stderr);
    return 2;
}

/* Started without standard input, output or error, the next sockets would take their places, and
 * what is printed or logged would go to whoever is at their other end. */
static void fill_standard_places(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* What was printed must have arrived: a script reads it. */
static int end(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fputs("weir: standard output: not all could be written; is its disk full?\n", stderr);
    return status ? status : 1;
}

static int run(int argc, char **argv)
{
    struct str name = str_c(argc > 1 ? argv[1] : "");
    if (name.n == 0) {
        print_usage(stderr);
        return 2;
    }
    if (str_eq(name, STR("--version")) || str_eq(name, STR("-V")))
        return cmd_version(1, argv + 1);
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")) || str_eq(name, STR("help"))) {
        const struct command *about = argc > 2 ? find(str_c(argv[2])) : NULL;
        if (about)
            return print_help(about);
        if (argc > 2 && argv[2][0] != '-')
            return no_such_command(argv[2]);
        print_usage(stdout);
        return 0;
    }
    const struct command *c = find(name);
    if (!c)
        return no_such_command(argv[1]);
    if (wants_help(argc - 1, argv + 1))
        return print_help(c);
    char called[32]; /* what getopt's messages begin with */
    snprintf(called, sizeof called, "weir %s", c->name);
    argv[1] = called;
    int status = c->run(argc - 1, argv + 1);
    if (status == 2)
        fprintf(stderr, "'weir %s --help' says more.\n", c->name);
    return status;
}

int main(int argc, char **argv)
{
    fill_standard_places();
    (void) signal(SIGCHLD, SIG_DFL); /* ignored, as some parents leave it, no child's end is seen */
    tls_use_base_memory();
    return end(run(argc, argv));
}
