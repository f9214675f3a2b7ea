/* SPDX-License-Identifier: Apache-2.0 */
/* health_script: checks by a program. Invariants:
 * 1. At most SCRIPTS_AT_ONCE run, those that were killed included until the kernel says that they
 *    are gone; the other checks are in health_checks.waiting, each once, and not for ever.
 * 2. A script belongs to its check until it ended or the check let it go; one that was let go is
 *    killed, and frees itself when the kernel says that it is gone.
 * 3. A script sees what script_environment writes and nothing of Weir's own environment. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/health_inside.h"
#include "net/child.h"

#define PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define VARIABLES 12u /* at most, beside the configured ones */

struct script {
    struct list_node node; /* in health_checks.scripts */
    struct health_checks *all;
    struct check *check; /* NULL: let go */
    struct child child;
};

/* ---- what it is given ----------------------------------------------------------------------- */

struct strings {
    char **v; /* NULL behind the last */
    uint32_t n;
};

static void add_string(struct strings *s, char *text)
{
    s->v[s->n++] = text;
}

static void free_strings(struct strings *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        mem_free(s->v[i]);
    mem_free(s->v);
}

static struct strings script_arguments(const struct health_conf *c)
{
    const struct str *v = c->command.items;
    struct strings s = {.v = mem_new((c->command.n + 1) * sizeof(char *))};
    for (size_t i = 0; i < c->command.n; i++)
        add_string(&s, mem_strdup(v[i]));
    return s;
}

static struct strings script_environment(const struct check *c)
{
    const struct endpoint *e = c->endpoint;
    const struct endpoint_checked *k = &e->checked;
    const struct schema_map *m = &c->conf->environment;
    const struct str *values = m->items;
    struct strings s = {.v = mem_new((m->n + VARIABLES + 1) * sizeof(char *))};
    struct str host = e->text.form == ADDR_UNIX ? STR("") : e->text.host;
    add_string(&s, mem_strdup(STR(PATH)));
    for (size_t i = 0; i < m->n; i++) {
        if (str_eq(m->names[i], STR("PATH"))) {
            mem_free(s.v[0]);
            s.v[0] = mem_printf("PATH=%.*s", STR_ARG(values[i]));
            continue;
        }
        add_string(&s, mem_printf("%.*s=%.*s", STR_ARG(m->names[i]), STR_ARG(values[i])));
    }
    add_string(&s, mem_printf("WEIR_UPSTREAM=%.*s", STR_ARG(e->upstream_name)));
    add_string(&s, mem_printf("WEIR_ENDPOINT=%.*s", STR_ARG(e->address)));
    add_string(&s, mem_printf("WEIR_HOST=%.*s", STR_ARG(host)));
    if (e->text.form != ADDR_UNIX)
        add_string(&s, mem_printf("WEIR_PORT=%u", (unsigned) e->text.port));
    add_string(&s, mem_printf("WEIR_STATE=%s", c->state.up ? "up" : "down"));
    add_string(&s, mem_printf("WEIR_FAILED=%" PRIu32, atomic_load(&k->results[0])));
    add_string(&s, mem_printf("WEIR_PASSED=%" PRIu32, atomic_load(&k->results[1])));
    add_string(&s, mem_printf("WEIR_IN_ROW=%" PRIu32, c->state.row));
    add_string(&s, mem_printf("WEIR_TIMEOUT_MS=%llu",
                              (unsigned long long) (c->conf->timeout / USEC_PER_MS)));
    return s;
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void script_begin(struct check *c);

static void script_free(void *p)
{
    mem_free(p);
}

static void give_turn(struct health_checks *h)
{
    while (h->running < SCRIPTS_AT_ONCE && !list_empty(&h->waiting)) {
        struct check *c = list_entry(h->waiting.root.next, struct check, turn);
        list_remove(&c->turn);
        script_begin(c);
    }
}

/* Takes the script from its check. */
static struct check *let_go(struct script *s)
{
    struct check *c = s->check;
    s->check = NULL;
    if (c)
        c->script = NULL;
    return c;
}

static void script_ended(struct child *child)
{
    struct script *s = list_entry(child, struct script, child);
    struct health_checks *h = s->all;
    struct check *c = let_go(s);
    char evidence[256];
    struct str output = str_of(child->output, child->n);
    list_remove(&s->node);
    h->running--;
    if (c) {
        atomic_fetch_add(&c->endpoint->checked.cpu_us, child->cpu);
        struct str name = *(const struct str *) c->conf->command.items;
        name = str_sub(name, 0, 100);
        if (child->signal)
            snprintf(evidence, sizeof evidence, "check: %.*s was ended by signal %d", STR_ARG(name),
                     child->signal);
        else
            snprintf(evidence, sizeof evidence, "check: %.*s exited with status %d", STR_ARG(name),
                     child->exit_status);
        check_ended(c, child->exit_status == 0, evidence, output);
    }
    loop_defer_free(h->worker->loop, script_free, s);
    give_turn(h);
}

static void script_begin(struct check *c)
{
    struct health_checks *h = c->all;
    struct loop *loop = h->worker->loop;
    struct script *s = mem_new(sizeof *s);
    struct strings argv = script_arguments(c->conf), env = script_environment(c);
    child_init(&s->child, loop, script_ended);
    c->began = clock_now(); /* its turn */
    const char *why = child_start(&s->child, argv.v, env.v);
    if (why) {
        mem_free(s);
        log_error("health.script",
                  "upstream %.*s: the check of endpoint %.*s cannot be made: %s: %s; the endpoint "
                  "keeps its state until health.expires is over",
                  STR_ARG(c->endpoint->upstream_name), STR_ARG(c->endpoint->address), argv.v[0],
                  why);
        check_unmade(c, why);
    } else {
        s->all = h;
        s->check = c;
        c->script = s;
        list_push_back(&h->scripts, &s->node);
        h->running++;
        timer_set(loop, &c->timer, c->began + c->conf->timeout);
    }
    free_strings(&argv);
    free_strings(&env);
}

void check_run_script(struct check *c)
{
    struct loop *loop = c->worker->loop;
    timer_set(loop, &c->timer, loop_now(loop) + c->conf->expires);
    list_push_back(&c->all->waiting, &c->turn);
    give_turn(c->all);
}

void check_no_turn(struct check *c)
{
    list_remove(&c->turn);
    check_unmade(c, "other scripts were running all the while");
}

void check_script_late(struct check *c)
{
    char evidence[256];
    struct script *s = c->script;
    struct str name = str_sub(*(const struct str *) c->conf->command.items, 0, 100);
    snprintf(evidence, sizeof evidence, "check: %.*s was killed after %llu ms, its timeout",
             STR_ARG(name), (unsigned long long) (c->conf->timeout / USEC_PER_MS));
    child_kill(&s->child);
    let_go(s);
    check_ended(c, false, evidence, str_of(s->child.output, s->child.n));
}

void check_drop_script(struct check *c)
{
    if (list_linked(&c->turn))
        list_remove(&c->turn);
    if (!c->script)
        return;
    child_kill(&c->script->child);
    let_go(c->script);
}

void scripts_finish(struct health_checks *h)
{
    list_each_safe(node, &h->scripts) {
        struct script *s = list_entry(node, struct script, node);
        child_finish(&s->child);
        list_remove(&s->node);
        loop_defer_free(h->worker->loop, script_free, s);
    }
}
