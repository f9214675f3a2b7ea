/* SPDX-License-Identifier: Apache-2.0 */
/* health_inside: one check of one endpoint, and the kinds of asking, for health_check.c and the
 * files beside it alone. Owned by struct health_checks; main thread. */
#ifndef WEIR_CONTROL_HEALTH_INSIDE_H
#define WEIR_CONTROL_HEALTH_INSIDE_H

#include "base/text.h"
#include "http/grpc_health.h"
#include "proxy/fetch.h"
#include "proxy/pattern.h"
#include "upstream/check_state.h"

#define SCRIPTS_AT_ONCE 8u /* that run; others wait for their turn */

/* A route of its own: no feature acts on checks. */
struct check_route {
    struct route route; /* first */
    struct plan plan;
    struct settings_conf settings;
    struct hook_list hooks[HOOK_KINDS];
    const void *feature_conf[FEATURE_MAX];
    uint32_t slots[FEATURE_MAX];
    struct pattern *body; /* of health.body; NULL: any */
};

struct script;

struct check {
    struct list_node node; /* in health_checks.list */
    struct health_checks *all;
    struct worker *worker;
    struct route *route; /* one reference; a struct check_route */
    struct endpoint *endpoint;
    const struct health_conf *conf; /* of the route's upstream */
    struct check_state state;
    struct check_watch watched;
    struct timer timer;    /* the next check; of tcp and script also the limit of this one */
    struct watch watch;    /* tcp: the connection; fd -1: none */
    struct fetch *fetch;   /* http, grpc */
    struct script *script; /* that runs */
    struct list_node turn; /* script: in health_checks.waiting */
    struct text body;      /* of the answer, its first bytes */
    uint16_t status;       /* of the answer; 0: none yet */
    int grpc_status;       /* of the answer; -1: none yet */
    bool drained;
    usec_t due, began;
};

struct health_checks {
    struct worker *worker;
    struct list list;    /* of struct check */
    struct list scripts; /* of struct script: those that run, and those that are being ended */
    struct list waiting; /* of struct check: first in, first out */
    uint32_t running;    /* scripts */
};

/* A check has ended; evidence: what was seen; output: what a script wrote, else empty. */
void check_ended(struct check *c, bool passed, const char *evidence, struct str output);
/* A check could not be made, which says nothing of the endpoint. */
void check_unmade(struct check *c, const char *why);
/* Asks by a request (http, grpc); its end comes by check_ended or check_unmade. */
void check_ask(struct check *c);
/* Runs the script, or queues it; its end comes the same way. */
void check_run_script(struct check *c);
/* The script took too long: it is killed, and the check has failed. */
void check_script_late(struct check *c);
/* It waited for its turn as long as a mark may hold. */
void check_no_turn(struct check *c);
/* c ends: its script is killed, its turn is given up. */
void check_drop_script(struct check *c);
/* Waits for the scripts that were killed. */
void scripts_finish(struct health_checks *h);

#endif
