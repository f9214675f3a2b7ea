/* SPDX-License-Identifier: Apache-2.0 */
/* commands: the commands of weir(1), one file each. Called by main alone, on its thread, with the
 * arguments from the command's name on (argv[0]). main.c has their help texts and answers --help
 * itself. Each returns the exit status: 0 good, 1 failed, 2 wrong usage (then it has said why on
 * stderr). */
#ifndef WEIR_APP_COMMANDS_H
#define WEIR_APP_COMMANDS_H

/* weir run --config FILE [--pid-file FILE] */
int cmd_run(int argc, char **argv);
/* weir proxy --from ADDRESS --to URL [--host-rewrite] */
int cmd_proxy(int argc, char **argv);
/* weir demo [--port PORT] */
int cmd_demo(int argc, char **argv);
/* weir check FILE */
int cmd_check(int argc, char **argv);
/* weir explain FILE METHOD URL [-H FIELD]... [--from IP], or FILE tls://NAME [--alpn PROTOCOLS] */
int cmd_explain(int argc, char **argv);
/* weir schema [--format FORMAT] */
int cmd_schema(int argc, char **argv);
/* Over the admin API, see docs/admin-api.md: weir route ls|add|set|rm */
int cmd_route(int argc, char **argv);
/* weir endpoint ls|add|rm|drain|undrain|weight */
int cmd_endpoint(int argc, char **argv);
/* weir upstream ls */
int cmd_upstream(int argc, char **argv);
/* weir breaker UPSTREAM open|close|auto */
int cmd_breaker(int argc, char **argv);
/* weir status */
int cmd_status(int argc, char **argv);
/* weir top [--once] */
int cmd_top(int argc, char **argv);
/* weir diff */
int cmd_diff(int argc, char **argv);
/* weir events */
int cmd_events(int argc, char **argv);
/* weir reload [--keep | --discard] */
int cmd_reload(int argc, char **argv);
/* weir plan [OLD] FILE */
int cmd_plan(int argc, char **argv);
/* weir history */
int cmd_history(int argc, char **argv);
/* weir rollback [N] */
int cmd_rollback(int argc, char **argv);
/* weir upgrade [--pid PID | --pid-file FILE | --config FILE] [--binary PATH] [--within SECONDS]
 * [--json] */
int cmd_upgrade(int argc, char **argv);
/* weir version */
int cmd_version(int argc, char **argv);

#endif
