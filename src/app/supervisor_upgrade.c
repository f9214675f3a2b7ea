/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_upgrade.c: a new program in place of the running one. Its server starts beside the old
 * one, with the same listening sockets, and accepts nothing until the old one has let go; then this
 * process becomes the new program, too, under its pid (execve).
 * Invariants:
 * 1. Until the server has said RETIRED (or is gone) it serves, whatever becomes of the next one.
 * 2. From FREEZE to THAW or its end the server changes no configuration and no file: the state
 *    directory and the admin address have one owner at any moment.
 * 3. upgrade.next runs in STARTING and SWITCHING alone.
 * 4. Nothing here waits: what is not answered in time has failed. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/handover.h"
#include "app/notify.h"
#include "app/supervisor_inside.h"
#include "base/log.h"
#include "base/mem.h"

#define READY_WITHIN (60 * USEC_PER_SEC) /* where nobody says another time */
#define WITHIN_MOST (3600 * USEC_PER_SEC)
#define WHY_MAX 8000u

/* ---- the end of one -------------------------------------------------------------------------- */

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* p is to be gone at kill_at; until then it is looked after, and its channel is read. */
static void grow_old(struct supervisor *s, struct served *p, usec_t kill_at)
{
    if (p->pid > 0 && s->n_old < OLD_MOST + 1) {
        p->kill_at = kill_at;
        s->old[s->n_old++] = *p;
    } else {
        close_one(&p->channel);
    }
    *p = (struct served){.channel = -1};
}

/* It is over, either way. */
static void forget(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    mem_free(u->binary);
    mem_free(u->why);
    close_one(&u->asker);
    *u = (struct upgrade){.asker = -1, .next.channel = -1, .order = u->order};
    if (!s->stopping)
        notify_status("serving");
}

static void send_order(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    if (u->order && (s->server.pid == 0 || supervisor_order(&s->server, u->order, -1)))
        u->order = 0;
}

void upgrade_fail(struct supervisor *s, const char *format, ...)
{
    struct upgrade *u = &s->upgrade;
    char why[WHY_MAX];
    va_list args;
    if (u->phase == UPGRADE_NONE)
        return;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    char *text = mem_printf("%s is not used: %s\nthe old program serves on", u->binary, why);
    log_write_lines(LOG_ERROR, "upgrade.failed", text);
    u->order = CHANNEL_THAW;
    send_order(s); /* who was told that there is no upgrade may change things at once */
    door_tell(&u->asker, false, text);
    mem_free(text);
    if (u->next.pid > 0)
        kill(u->next.pid, SIGKILL); /* it has served nobody */
    u->next.failed = true;
    grow_old(s, &u->next, clock_now());
    u->phase = UPGRADE_NONE;
    forget(s);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* Why there can be no upgrade now; NULL: there can. */
static const char *refusal(const struct supervisor *s)
{
    if (s->stopping)
        return "Weir is being stopped";
    if (s->upgrade.phase != UPGRADE_NONE)
        return "another upgrade is under way";
    if (!s->ready || s->server.pid == 0)
        return "no server runs just now that could be followed; try again";
    if (s->n_old >= OLD_MOST)
        return "servers of earlier upgrades still finish what they had, as many as there may be; "
               "wait until one has ended, within the time that drain gives it";
    return NULL;
}

/* Why path cannot be run, as far as one can see; NULL: it may be one. */
static const char *not_a_program(const char *path)
{
    struct stat st;
    if (path[0] != '/')
        return "no absolute path";
    if (stat(path, &st) != 0)
        return strerrordesc_np(errno);
    if (!S_ISREG(st.st_mode))
        return "it is not a regular file";
    if (access(path, X_OK) != 0)
        return errno == EACCES ? "it may not be run: give it the mode of a program (chmod +x)"
                               : strerrordesc_np(errno);
    return NULL;
}

void upgrade_begin(struct supervisor *s, const char *binary, usec_t within, int asker)
{
    struct upgrade *u = &s->upgrade;
    const char *why = refusal(s);
    if (why) {
        char *text = mem_printf("no upgrade: %s", why);
        log_warn("upgrade.refused", "%s", text);
        door_tell(&asker, false, text);
        mem_free(text);
        return;
    }
    u->phase = UPGRADE_FREEZING;
    u->asker = asker;
    u->binary = mem_strdup(str_c(binary ? binary : s->path));
    u->within = within == 0 ? READY_WITHIN : within < WITHIN_MOST ? within : WITHIN_MOST;
    u->deadline = clock_now() + u->within;
    log_info("upgrade.begun", "%s is to take the place of what runs", u->binary);
    notify_status("starting a new program");
    why = not_a_program(u->binary);
    if (why)
        upgrade_fail(s, "%s", why);
    else
        u->order = CHANNEL_FREEZE;
}

/* In the child: becomes the new program, or says why not. */
static void become_next(struct supervisor *s, int channel, int state)
{
    json_t *facts = json_pack("{s:o, s:o, s:o, s:i, s:s?, s:o}", "channel", handover_fd(channel),
                              "config", handover_fd(s->config), "state", handover_fd(state),
                              "generation", (int) s->generation + 1, "user", s->plan->user,
                              "sockets", handover_sockets(&s->sockets));
    int error = handover_run(s->upgrade.binary, HANDOVER_SERVER, facts);
    int why = channel_memfd(str_c(strerrordesc_np(error)));
    struct channel_message m = channel_make(CHANNEL_FAILED, 0, STR(""));
    (void) channel_send(channel, &m, why);
    _exit(127);
}

static void start_next(struct supervisor *s, int state)
{
    struct upgrade *u = &s->upgrade;
    int ends[2];
    if (!channel_open(ends)) {
        upgrade_fail(s, "no socket pair: %s", strerrordesc_np(errno));
        return;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* until it is a server: it may be any program */
        if (getppid() == parent)
            become_next(s, ends[1], state);
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        upgrade_fail(s, "no process: %s", strerrordesc_np(errno));
        return;
    }
    u->next = (struct served){.pid = pid, .channel = ends[0]};
    u->phase = UPGRADE_STARTING;
}

/* ---- the switch ------------------------------------------------------------------------------ */

static void keep_on_exec(struct supervisor *s, bool keep)
{
    int all[] = {s->config,   s->door,           s->state_lock,
                 s->pid_lock, s->server.channel, s->upgrade.asker};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        handover_keep(all[i], keep);
    for (uint32_t i = 0; i < s->n_old; i++)
        handover_keep(s->old[i].channel, keep);
    list_each(node, &s->sockets.rows) {
        const struct socket_row *row = list_entry(node, struct socket_row, node);
        for (uint32_t i = 0; i < row->n; i++)
            handover_keep(row->fds[i], keep);
    }
}

static json_t *served_fact(const struct served *p)
{
    return json_pack("{s:I, s:i, s:I}", "pid", (json_int_t) p->pid, "channel", p->channel,
                     "kill_at", (json_int_t) p->kill_at);
}

/* This process becomes the new program. Returns only if it cannot: the error's number. */
static int become_new(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    json_t *old = json_array();
    for (uint32_t i = 0; i < s->n_old; i++)
        json_array_append_new(old, served_fact(&s->old[i]));
    json_t *facts =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o}",
                  "config", s->config, "door", s->door, "state_lock", s->state_lock, "pid_lock",
                  s->pid_lock, "asker", u->asker, "generation", (int) s->generation, "reload_due",
                  (int) s->reload_due, "path", u->binary, "from", WEIR_VERSION, "to", u->version,
                  "pid_file", s->plan->pid_file, "user", s->plan->user, "server",
                  served_fact(&s->server), "old", old, "sockets", handover_sockets(&s->sockets));
    keep_on_exec(s, true);
    int error = handover_run(u->binary, HANDOVER_SUPERVISOR, facts);
    keep_on_exec(s, false);
    return error;
}

static void say_done(struct supervisor *s, const char *from, const char *more)
{
    struct upgrade *u = &s->upgrade;
    char *text = mem_printf("Weir %s serves (pid %ld) in place of %s, which finishes what it had%s",
                            u->version, (long) s->server.pid, from, more);
    log_write_lines(LOG_INFO, "upgrade.done", text);
    door_tell(&u->asker, true, text);
    mem_free(text);
    u->phase = UPGRADE_NONE;
    forget(s);
    notify_ready("serving");
}

/* The next server serves from now on; marks (-1: none) are what the old one knew of its endpoints,
 * which has until then to finish. */
static void switch_over(struct supervisor *s, int marks, usec_t limit)
{
    struct upgrade *u = &s->upgrade;
    usec_t now = clock_now();
    grow_old(s, &s->server, now + limit + KILL_GRACE);
    s->server = u->next;
    u->next = (struct served){.channel = -1};
    u->order = 0;
    s->generation++;
    s->crashes = 0;
    s->started = now;
    /* Its channel is empty: it has been told nothing yet. */
    (void) supervisor_order(&s->server, CHANNEL_GO, marks);
    int error = become_new(s);
    char *more = mem_printf("\nbut the supervisor is still the old program: %s: %s; a server that "
                            "crashes would be followed by the old one: upgrade again",
                            u->binary, strerrordesc_np(error));
    say_done(s, WEIR_VERSION, more);
    mem_free(more);
}

static void next_says(struct supervisor *s, const struct channel_message *m, int *fd)
{
    struct upgrade *u = &s->upgrade;
    size_t n;
    if (m->kind == CHANNEL_READY && u->phase == UPGRADE_STARTING) {
        snprintf(u->version, sizeof u->version, "%.31s", m->text);
        log_info("upgrade.ready", "Weir %s (pid %ld) is ready: the old server lets go", u->version,
                 (long) u->next.pid);
        u->phase = UPGRADE_SWITCHING;
        u->order = CHANNEL_RETIRE;
        u->deadline = clock_now() + u->within;
    } else if (m->kind == CHANNEL_FAILED) {
        mem_free(u->why);
        u->why = channel_memfd_text(*fd, WHY_MAX, &n);
        upgrade_fail(s, "%s", u->why ? u->why : "it said that it cannot serve");
    }
}

bool upgrade_says(struct supervisor *s, bool next, const struct channel_message *m, int *fd)
{
    if (next) {
        next_says(s, m, fd);
        return true;
    }
    if (m->kind == CHANNEL_FROZEN && s->upgrade.phase == UPGRADE_FREEZING && *fd < 0)
        upgrade_fail(s, "the running server has no file descriptor or memory left to hand on what "
                        "was changed at run time");
    else if (m->kind == CHANNEL_FROZEN && s->upgrade.phase == UPGRADE_FREEZING)
        start_next(s, *fd);
    else if (m->kind == CHANNEL_RETIRED && s->upgrade.phase == UPGRADE_SWITCHING)
        switch_over(s, *fd, m->number * USEC_PER_MS);
    return m->kind == CHANNEL_FROZEN || m->kind == CHANNEL_RETIRED;
}

/* ---- time and ends --------------------------------------------------------------------------- */

bool upgrade_tick(struct supervisor *s, usec_t now)
{
    struct upgrade *u = &s->upgrade;
    unsigned long long seconds = u->within / USEC_PER_SEC;
    send_order(s);
    if (u->phase != UPGRADE_NONE && now >= u->deadline) {
        if (u->phase == UPGRADE_FREEZING)
            upgrade_fail(s, "the running server did not answer within %llu s", seconds);
        else if (u->phase == UPGRADE_STARTING)
            upgrade_fail(s, "its server (pid %ld) was not ready within %llu s", (long) u->next.pid,
                         seconds);
        else /* it does not answer, so it serves nobody as it should */
            switch_over(s, -1, 0);
    }
    return u->order != 0;
}

bool upgrade_server_ended(struct supervisor *s)
{
    if (s->upgrade.phase == UPGRADE_SWITCHING) {
        switch_over(s, -1, 0);
        return true;
    }
    upgrade_fail(s, "the running server ended meanwhile");
    return false;
}

void upgrade_next_ended(struct supervisor *s, int status)
{
    char end[64];
    supervisor_describe_end(status, end);
    s->upgrade.next.pid = 0;
    if (s->upgrade.phase != UPGRADE_SWITCHING || s->upgrade.order == CHANNEL_RETIRE) {
        upgrade_fail(s, "its server %s before it was ready; what it wrote is in the log", end);
        return;
    }
    /* The old one lets go already: another of the old program follows, as after a crash. */
    grow_old(s, &s->server, clock_now() + s->drain + KILL_GRACE);
    s->next_start = clock_now();
    s->generation++;
    upgrade_fail(s, "its server %s while it took over; a new one of the old program starts", end);
}

/* ---- the new program ------------------------------------------------------------------------- */

static struct served served_of(const json_t *fact)
{
    return (struct served){.pid = (pid_t) json_integer_value(json_object_get(fact, "pid")),
                           .channel = handover_fd_of(fact, "channel"),
                           .kill_at =
                               (usec_t) json_integer_value(json_object_get(fact, "kill_at"))};
}

bool upgrade_resume(struct supervisor *s, const void *facts)
{
    const char *from = NULL, *to = NULL, *path = NULL;
    json_t *v = (json_t *) (uintptr_t) facts, *server, *old, *list;
    int generation;
    size_t i;
    const json_t *one;
    if (json_unpack(v, "{s:s, s:s, s:s, s:i, s:b, s:o, s:o, s:o}", "from", &from, "to", &to, "path",
                    &path, "generation", &generation, "reload_due", &(int){0}, "server", &server,
                    "old", &old, "sockets", &list) != 0)
        return false;
    s->door = handover_fd_of(v, "door");
    s->state_lock = handover_fd_of(v, "state_lock");
    s->pid_lock = handover_fd_of(v, "pid_lock");
    s->upgrade.asker = handover_fd_of(v, "asker");
    s->reload_due = json_is_true(json_object_get(v, "reload_due"));
    s->generation = (uint32_t) generation;
    s->server = served_of(server);
    s->started = clock_now();
    s->ready = true;
    json_array_foreach(old, i, one)
    {
        if (s->n_old < OLD_MOST + 1)
            s->old[s->n_old++] = served_of(one);
    }
    handover_sockets_of(list, &s->sockets);
    supervisor_set_modes(s);
    mem_free(s->path);
    s->path = mem_strdup(str_c(path));
    snprintf(s->upgrade.version, sizeof s->upgrade.version, "%s", to);
    say_done(s, from, "");
    return true;
}
