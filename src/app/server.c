/* SPDX-License-Identifier: Apache-2.0 */
/* server.c: see server.h.
 * Invariants:
 * 1. listening names exactly the addresses that the supervisor holds sockets of for this
 *    configuration; their descriptors have been handed to workers (-1 here).
 * 2. A reload either changes everything it says or nothing: sockets are had, and the snapshot is
 *    built, before anything is put to use.
 * 3. The channel is read by the main loop, but while a reload waits for sockets. */
#include "app/server.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app/server_inside.h"
#include "base/file_io.h"
#include "base/log.h"
#include "features/access_log.h"
#include "features/registry.h"

/* ---- the process --------------------------------------------------------------------------- */

/* The server gives up root for good. */
static bool become(const char *user)
{
    /* What it starts (health checks by script) gets no port below 1024 from a service manager. */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (!user)
        return true;
    const struct passwd *p = getpwnam(user);
    if (!p) {
        log_error("server.user",
                  "there is no user %s; make it, or name another (--user, or the key user)", user);
        return false;
    }
    if (geteuid() != 0) {
        if (geteuid() != p->pw_uid)
            log_warn("server.user", "not started as root, so the server does not become %s", user);
        return true;
    }
    if (initgroups(user, p->pw_gid) < 0 || setgid(p->pw_gid) < 0 || setuid(p->pw_uid) < 0 ||
        (p->pw_uid != 0 && setuid(0) == 0)) {
        log_error("server.user", "cannot become %s: %s", user, strerrordesc_np(errno));
        return false;
    }
    /* The kernel forgets this with the identity. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    return true;
}

/* ---- the admin page ------------------------------------------------------------------------ */

static void fill_figures(struct server *s)
{
    const struct engine *e = s->engine;
    s->figures = mem_new((e->n_workers + 1) * sizeof *s->figures);
    for (uint32_t i = 0; i <= e->n_workers; i++)
        s->figures[i] = (struct figures_worker){e->workers[i].stats, e->workers[i].loop};
    s->page.figures = (struct figures){.workers = s->figures,
                                       .n_workers = e->n_workers + 1,
                                       .registry = e->registry,
                                       .memory = &e->limit,
                                       .tls = e->tls,
                                       .events = e->main->worker->feature_state[FEATURE_METRICS],
                                       .started_wall = clock_wall()};
    s->workers = mem_new((e->n_workers + 1) * sizeof *s->workers);
    for (uint32_t i = 0; i < e->n_workers; i++)
        s->workers[i] = e->workers[i].worker;
    s->page.workers = s->workers;
    s->page.n_workers = e->n_workers;
    s->page.live = &s->live;
    s->page.events = e->events;
}

/* The main worker serves it, with a snapshot of its own. */
static bool start_page(struct server *s, char **why)
{
    struct snapshot_inputs in = engine_inputs(s->engine, NULL);
    struct snapshot *page = admin_snapshot(&s->page, s->admin, &in, why);
    if (!page)
        return false;
    engine_use_main(s->engine, page);
    return true;
}

/* ---- orders -------------------------------------------------------------------------------- */

static void reload(struct server *s)
{
    struct change_result r = {0};
    (void) server_reload(s, LIVE_KEEP, ORIGIN_SIGNAL, NULL, &r); /* it says what comes of it */
    change_result_fini(&r);
}

static void all_drained(void *arg)
{
    struct server *s = arg;
    loop_stop(s->engine->loop);
}

void server_drain(struct server *s, usec_t limit)
{
    s->stopping = true;
    server_watch_file(s);
    s->page.figures.draining = true;
    s->engine->orphaned |= getppid() != s->page.supervisor;
    engine_drain(s->engine, limit, all_drained, s);
}

static void stop(struct server *s)
{
    if (s->stopping) {
        engine_drain_sooner(s->engine, s->drain);
        return;
    }
    if (!s->serving) { /* it follows another that serves still */
        loop_stop(s->engine->loop);
        return;
    }
    server_drain(s, s->drain);
}

static void obey(struct server *s)
{
    while (s->reload_due && !s->stopping && !s->stop_due && !live_busy(&s->live)) {
        s->reload_due = false;
        reload(s);
    }
    if (s->freeze_due && !live_busy(&s->live) && s->history.writing == 0) {
        s->freeze_due = false;
        server_freeze(s);
    }
    if (s->reopen_due) {
        s->reopen_due = false;
        access_log_reopen(s->engine->features.state[FEATURE_ACCESS_LOG]);
    }
    if (s->stop_due)
        stop(s);
    s->stop_due = false;
}

static void obey_due(struct task *t)
{
    obey(list_entry(t, struct server, due));
}

void server_obey_later(struct server *s)
{
    if (!s->ending)
        loop_queue_late(s->engine->loop, &s->due);
}

void server_note_order(struct server *s, const struct channel_message *m)
{
    s->reload_due |= m->kind == CHANNEL_RELOAD;
    s->reopen_due |= m->kind == CHANNEL_REOPEN;
    s->stop_due |= m->kind == CHANNEL_STOP;
    s->freeze_due |= m->kind == CHANNEL_FREEZE;
    s->page.frozen |= s->freeze_due;
}

static void on_channel(struct watch *w, unsigned events)
{
    (void) events;
    struct server *s = list_entry(w, struct server, channel);
    struct channel_message m;
    int fd;
    enum io io;
    while ((io = channel_receive(s->start->channel, &m, &fd, 0)) == IO_OK) {
        server_note_order(s, &m);
        server_obey_upgrade(s, &m, fd);
        if (fd >= 0)
            close(fd);
    }
    if (io != IO_AGAIN && s->channel.fd >= 0) {
        loop_remove(s->engine->loop, &s->channel);
        s->stop_due = s->engine->orphaned = true; /* the supervisor is gone */
    }
    obey(s);
}

static void on_signal(struct watch *w, unsigned events)
{
    (void) events;
    struct server *s = list_entry(w, struct server, signals);
    struct signalfd_siginfo info;
    while (read(w->fd, &info, sizeof info) == (ssize_t) sizeof info)
        s->stop_due = true;
    obey(s);
}

/* ---- life ---------------------------------------------------------------------------------- */

static bool watch_orders(struct server *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->signals = (struct watch){.fd = -1, .on_event = on_signal};
    s->channel = (struct watch){.fd = -1, .on_event = on_channel};
    return fd >= 0 && loop_add(s->engine->loop, &s->signals, fd) &&
           loop_add(s->engine->loop, &s->channel, s->start->channel);
}

static void say_started(const struct server *s)
{
    char text[512] = "";
    size_t n = 0;
    list_each(node, &s->listening.rows) {
        const struct socket_row *row = list_entry(node, struct socket_row, node);
        char *address = sockets_text(row);
        if (n + strlen(address) + 3 < sizeof text)
            n += (size_t) snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", address);
        mem_free(address);
    }
    log_info("server.started", "serving on %s with %u worker%s", text, s->plan->n_workers,
             s->plan->n_workers == 1 ? "" : "s");
}

static bool begin(struct server *s, char **why)
{
    struct config c;
    if (!config_read_fd(&c, &s->plan->source, s->start->config, why))
        return false;
    struct engine_plan plan = {
        .n_workers = s->plan->n_workers,
        .pin = s->plan->pin,
        .memory_limit = c.loaded->file->proxy.memory_limit,
        .features = &feature_registry,
        .feature_conf = (const void *const *) c.loaded->file->proxy.features,
    };
    s->engine = engine_new(&plan, why);
    if (!s->engine) {
        config_fini(&c);
        return false;
    }
    s->due.run = obey_due;
    s->page.ops = &server_admin_ops;
    s->page.ops_arg = s;
    s->page.frozen = s->start->follows;
    s->page.supervisor = getppid();
    server_file_read(s);
    fill_figures(s);
    s->admin = mem_str(c.loaded->file->admin.address);
    if (!server_begin_config(s, &c, why))
        return false;
    if (!start_page(s, why))
        return false;
    if (!watch_orders(s)) {
        *why = mem_printf("the main loop could not watch its orders");
        return false;
    }
    /* First the word, then the first answer: who is killed after that is started anew. */
    struct channel_message m = channel_make(CHANNEL_READY, 0, STR(WEIR_VERSION));
    (void) channel_send(s->start->channel, &m, -1); /* no supervisor: seen by on_channel */
    engine_look_at_states(s->engine);
    if (!s->start->follows)
        server_serve(s);
    return true;
}

void server_serve(struct server *s)
{
    s->serving = true;
    server_take_inherited(s);
    server_listen_admin(s);
    /* A crash in the middle of a reload may have left some that nobody names. */
    server_forget_unnamed(s, s->config.loaded->file);
    say_started(s);
}

void server_cannot(const struct server_start *start, const char *why)
{
    int text = channel_memfd(str_c(why));
    struct channel_message m = channel_make(CHANNEL_FAILED, 0, STR(""));
    (void) channel_send(start->channel, &m, text);
    if (text >= 0)
        close(text);
}

static void end(struct server *s)
{
    if (s->engine) {
        timer_stop(&s->watch);
        if (s->signals.fd >= 0) {
            int fd = s->signals.fd;
            loop_remove(s->engine->loop, &s->signals);
            close(fd);
        }
        if (s->channel.fd >= 0)
            loop_remove(s->engine->loop, &s->channel);
        live_settle(&s->live);
        s->ending = true;
        loop_unqueue(&s->due);
        file_jobs_free(s->jobs);
        if (s->snapshot)
            snapshot_drop(s->snapshot);
        engine_free(s->engine);
    }
    admin_fini(&s->page);
    live_fini(&s->live);
    mem_free(s->workers);
    history_close(&s->history);
    mem_free(s->figures);
    sockets_fini(&s->listening, false);
    config_fini(&s->config);
    conf_loaded_free(s->began);
    mem_free((void *) (uintptr_t) s->admin.p);
    close(s->start->channel);
    log_flush();
}

/* Signals that a terminal sends to the whole group are the supervisor's business. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
}

int server_run(const struct server_start *start, void *arg)
{
    ignore_signals();
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* as become() has it; a supervisor that is gone shows */
    struct server s = {.start = start, .plan = arg, .channel.fd = -1, .signals.fd = -1};
    char *why = NULL;
    sockets_init(&s.listening);
    bool good = become(s.plan->user) && begin(&s, &why);
    if (good) {
        loop_run(s.engine->loop);
    } else {
        if (why)
            log_error("server.failed", "the server cannot start: %s", why);
        if (start->follows)
            server_cannot(start, why ? why : "what is wrong is in the log");
    }
    mem_free(why);
    end(&s);
    return good ? 0 : 1;
}
