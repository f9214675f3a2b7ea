/* SPDX-License-Identifier: Apache-2.0 */
/* change_config.c: see change_config.h.
 * Invariants:
 * 1. A change either does everything it says or nothing: sockets are had, and the snapshot is
 *    built, before anything is put to use.
 * 2. Events are told after the swap, in the order of the changes.
 * 3. loading is set while live keeps the changes of a load (live.storing), and then alone. */
#include <inttypes.h>
#include <unistd.h>

#include "app/server_inside.h"
#include "base/file_io.h"
#include "base/log.h"
#include "features/registry.h"

#define TOKEN_LEAST 16u  /* characters */
#define LINES_LOGGED 20u /* changes that the log tells one by one */

/* ---- snapshots ----------------------------------------------------------------------------- */

static void apply_log(const struct log_conf *c)
{
    log_set_level((enum log_level) c->level);
    static const enum log_form forms[] = {
        [LOG_FORMAT_AUTO] = LOG_AUTO, [LOG_FORMAT_HUMAN] = LOG_HUMAN, [LOG_FORMAT_JSON] = LOG_JSON};
    log_set_form(forms[c->format]);
}

static struct snapshot *build(struct server *s, struct config *c, char **why)
{
    struct snapshot_inputs in = engine_inputs(s->engine, s->snapshot);
    return conf_loaded_snapshot(c->loaded, &in, why);
}

/* The token that requests by TCP need is read anew with each load: that is how it is changed. */
static void take_admin_conf(struct server *s, const struct admin_conf *c)
{
    size_t n = 0;
    char *why = NULL, *text = NULL;
    s->page.open_pages = admin_open_pages(c);
    s->page.token_wanted = c->token_file.n > 0;
    mem_free((void *) (uintptr_t) s->page.token.p);
    s->page.token = (struct str){NULL, 0};
    if (c->token_file.n == 0)
        return;
    text = file_read(c->token_file.p, 4096, &n, &why);
    struct str token = text ? str_trim(str_of(text, strcspn(text, "\r\n"))) : STR("");
    if (token.n >= TOKEN_LEAST)
        s->page.token = mem_str(token);
    else
        log_error("admin.token", "no request by TCP is let in: %s",
                  why ? why : "the token in admin.token_file has fewer than 16 characters");
    mem_free(text);
    mem_free(why);
}

void server_swap_snapshot(struct server *s, struct snapshot *made)
{
    if (s->snapshot) /* the page is asked on this thread, so never between */
        snapshot_drop(s->snapshot);
    s->snapshot = made;
    s->page.snapshot = made;
    s->page.figures.generation = made->generation;
    s->page.figures.loaded_wall = clock_wall();
}

/* What was logged, for mem_free; NULL: nothing. */
static char *log_warnings(struct conf_errors *e)
{
    char *lines = conf_warnings_print(e, LINES_LOGGED);
    if (lines)
        log_write_lines(LOG_WARN, "config.warning", lines);
    return lines;
}

/* The new configuration replaces the old one in one go. Its warnings, for mem_free; NULL: none. */
static char *put_to_use(struct server *s, struct config *c, struct snapshot *made)
{
    apply_log(&c->loaded->file->log);
    s->drain = c->loaded->file->proxy.drain;
    s->upgrade_drain = c->loaded->file->proxy.upgrade_drain_given
                           ? c->loaded->file->proxy.upgrade_drain
                           : s->drain;
    take_admin_conf(s, &c->loaded->file->admin);
    engine_use(s->engine, made);
    server_swap_snapshot(s, made);
    config_fini(&s->config);
    s->config = *c;
    char *warnings = log_warnings(&s->config.loaded->errors);
    conf_errors_fini(&s->config.loaded->errors); /* nothing is said of its places any more */
    s->stale = false;
    *c = (struct config){0};
    server_watch_file(s);
    return warnings;
}

static void record(struct server *s, enum origin o, const char *who)
{
    if (s->config.text.p)
        history_add(&s->history, s->config.text, origin_name(o), who);
}

/* ---- results ------------------------------------------------------------------------------- */

const char *origin_name(enum origin o)
{
    static const char *const names[ORIGINS] = {
        [ORIGIN_START] = "start",     [ORIGIN_SIGNAL] = "signal", [ORIGIN_WATCH] = "watch",
        [ORIGIN_COMMAND] = "command", [ORIGIN_API] = "api",       [ORIGIN_ROLLBACK] = "rollback",
    };
    return names[o];
}

void change_result_fini(struct change_result *r)
{
    text_fini(&r->words);
    text_fini(&r->json);
    mem_free(r->why);
    mem_free(r->warnings);
    *r = (struct change_result){0};
}

/* Routes that were changed one by one come into c, which was in use with them: what follows is
 * compared with it. */
static void catch_up(struct server *s, struct config *c)
{
    struct conf_tree *now = live_whole(&s->live);
    struct conf_loaded *l =
        now ? conf_load_tree(now->root, s->plan->source.path, &feature_registry) : NULL;
    conf_tree_unref(now);
    if (l && l->file) {
        conf_loaded_free(c->loaded);
        c->loaded = l;
    } else {
        conf_loaded_free(l);
    }
}

/* What is another in now than in old, into l, which lies in a (both are begun here), and in words
 * into out. */
static void compare(const struct config *old, const struct config *now, struct arena *a,
                    struct change_list *l, struct change_result *out)
{
    arena_init(a, NULL, SIZE_MAX);
    change_list_init(l, a);
    conf_diff(old->loaded->file, now->loaded->file, &feature_registry, l);
    out->n_changes = l->n;
    change_list_text(l, 0, &out->words);
    change_list_json(l, &out->json);
}

void server_compare(struct server *s, const struct config *c, struct change_result *out)
{
    struct arena a;
    struct change_list l;
    if (s->stale)
        catch_up(s, &s->config);
    s->stale = false;
    compare(&s->config, c, &a, &l, out);
    out->good = true;
    out->generation = s->snapshot->generation;
    arena_fini(&a);
}

/* ---- telling ------------------------------------------------------------------------------- */

/* One event of the whole: what came of it, and who asked. */
static void tell_config(struct server *s, enum origin o, const char *who,
                        const struct change_result *r)
{
    struct text words = {0}, json = {0};
    text_addf(&words, "configuration %s (%s%s%s), generation %" PRIu64 ", %zu change%s",
              r->good ? "loaded" : "refused", origin_name(o), who[0] ? ": " : "", who,
              r->generation, r->n_changes, r->n_changes == 1 ? "" : "s");
    text_addf(&json,
              "{\"what\":\"%s\",\"origin\":\"%s\",\"generation\":%" PRIu64
              ",\"changes\":%zu,\"who\":",
              r->good ? "loaded" : "refused", origin_name(o), r->generation, r->n_changes);
    text_add_json(&json, str_c(who));
    if (r->why) {
        text_add(&json, STR(",\"why\":"));
        text_add_json(&json, str_c(r->why));
    }
    text_add(&json, STR("}"));
    events_add(s->engine->events, EVENT_CONFIG, text_str(&words), text_str(&json));
    text_fini(&words);
    text_fini(&json);
}

/* What the new configuration says in vain, this time or since an earlier load. What C code made has
 * no text: then old alone is known. */
static void warn_restart(struct server *s, const struct config *old)
{
    size_t n;
    char *text =
        s->began || !old->text.p ? NULL : channel_memfd_text(s->start->began, SIZE_MAX, &n);
    if (text)
        s->began = conf_load_settings(str_of(text, n), s->plan->source.path, &feature_registry);
    mem_free(text);
    const struct conf_file *began = s->began ? s->began->file : old->loaded->file;
    char *fields = conf_restart_needed(began, s->config.loaded->file, &feature_registry);
    if (fields)
        log_warn("config.restart_needed",
                 "a reload cannot change %s: the values of the start stay in use until a restart",
                 fields);
    mem_free(fields);
}

/* The supervisor has the text before any client can see its effect: a crash right after does not
 * bring the old one back. */
static void hand_over_text(struct server *s, const struct config *c, bool loaded)
{
    uint32_t what = CHANNEL_GOOD | (loaded ? CHANNEL_LOADED : 0);
    struct channel_message m = channel_make(CHANNEL_RELOADED, what, STR(""));
    int text = config_text_fd(c);
    m.drain = (uint32_t) (c->loaded->file->proxy.drain / USEC_PER_MS) + 1;
    (void) channel_send(s->start->channel, &m, text);
    if (text >= 0)
        close(text);
}

/* An order is answered when the new configuration is in use, or refused: whoever is told that Weir
 * is ready again finds it so. */
static void answer_order(struct server *s, enum origin o)
{
    struct channel_message m = channel_make(CHANNEL_RELOADED, CHANNEL_ORDERED, STR(""));
    if (o == ORIGIN_SIGNAL)
        (void) channel_send(s->start->channel, &m, -1);
}

static void say(const struct server *s, enum origin o, const struct change_list *l,
                const struct change_result *r)
{
    const char *name = s->plan->source.path ? s->plan->source.path : "the command line";
    struct text words = {0};
    if (r->good) {
        log_info("config.loaded", "%s is in use (generation %" PRIu64 ", %s, %zu change%s)", name,
                 r->generation, origin_name(o), r->n_changes, r->n_changes == 1 ? "" : "s");
        change_list_text(l, LINES_LOGGED, &words);
        text_add(&words, str_of("", 1));
        if (r->n_changes)
            log_write_lines(LOG_INFO, "config.changed", words.p);
    } else {
        text_addf(&words, "%s is refused, the old configuration stays:\n%s%c", name, r->why, 0);
        log_write_lines(LOG_ERROR, "config.refused", words.p);
    }
    text_fini(&words);
}

void server_tell(struct server *s, enum origin o, const char *who, const struct change_list *l,
                 const struct change_result *r)
{
    say(s, o, l, r);
    tell_config(s, o, who, r);
    engine_tell_changes(s->engine, l);
}

/* Puts what was changed at run time on top of a file; what C code made has no changes. */
static bool load_changes(struct server *s, struct config *c, enum live_mode mode,
                         struct live_next *next, char **why)
{
    *next = (struct live_next){0};
    if (!c->text.p)
        return true;
    next->text = mem_str(c->text);
    next->name = mem_strdup(str_c(s->plan->source.path));
    return live_load(&s->live, next, mode, &c->loaded, why);
}

/* ---- changing ------------------------------------------------------------------------------ */

/* Everything that can fail but the disk. NULL: nothing is kept of what was begun. */
static struct snapshot *prepare(struct server *s, struct config *c, char **why)
{
    struct snapshot *made = NULL;
    if (server_listen_to_new(s, c->loaded->file, why))
        made = build(s, c, why);
    if (!made)
        server_forget_unnamed(s, s->config.loaded->file);
    return made;
}

static void refuse(struct server *s, enum origin o, const char *who, struct change_result *out)
{
    s->page.figures.refused++;
    out->generation = s->snapshot->generation;
    answer_order(s, o);
    say(s, o, NULL, out);
    tell_config(s, o, who, out);
}

/* c is in use from here on; made is its snapshot. What differs is looked for when requests are
 * answered by it already. */
static void swap(struct server *s, struct config *c, struct snapshot *made, enum origin o,
                 const char *who, struct change_result *out)
{
    struct arena a;
    struct change_list l;
    struct config old = s->config;
    bool stale = s->stale, loaded = !who[0]; /* else it is one change */
    s->config = (struct config){0};
    hand_over_text(s, c, loaded);
    out->warnings = put_to_use(s, c, made);
    server_hand_on_new(s);
    answer_order(s, o);
    server_forget_unnamed(s, s->config.loaded->file);
    if (stale)
        catch_up(s, &old);
    compare(&old, &s->config, &a, &l, out); /* names in l lie in both */
    if (loaded) /* single changes are of nothing that the start decides */
        warn_restart(s, &old);
    s->page.figures.reloads += loaded;
    out->good = true;
    out->generation = made->generation;
    record(s, o, who);
    server_tell(s, o, who, &l, out);
    engine_look_at_states(s->engine);
    config_fini(&old);
    arena_fini(&a);
}

/* A configuration that is good, and is used once its changes are kept. */
struct load {
    struct config config;
    struct live_next next;
    struct snapshot *made; /* NULL: it is refused */
    enum origin origin;
};

/* l (taken) is used or refused: its changes are kept (LIVE_DONE, LIVE_UNSURE) or not. */
static enum live_result load_end(struct server *s, struct load *l, enum live_result kept,
                                 struct change_result *out)
{
    if (l->made && (kept == LIVE_DONE || kept == LIVE_UNSURE)) {
        swap(s, &l->config, l->made, l->origin, "", out);
        live_adopt(&s->live, &l->next);
    } else {
        if (l->made)
            server_forget_unnamed(s, s->config.loaded->file);
        snapshot_free(l->made);
        live_next_fini(&l->next);
        config_fini(&l->config);
        refuse(s, l->origin, "", out);
        kept = kept == LIVE_DISK ? LIVE_DISK : LIVE_REFUSED;
    }
    mem_free(l);
    return kept;
}

/* c is taken. mode: what becomes of the changes made at run time. */
static enum live_result change(struct server *s, struct config *c, enum live_mode mode,
                               enum origin o, struct live_waiter *waiter, struct change_result *out)
{
    struct load *l = mem_new(sizeof *l);
    enum live_result kept = LIVE_DONE;
    *l = (struct load){.config = *c, .origin = o};
    if (load_changes(s, &l->config, mode, &l->next, &out->why))
        l->made = prepare(s, &l->config, &out->why);
    if (l->made && l->config.text.p)
        kept = live_store(&s->live, &l->next, waiter, &out->why);
    if (kept != LIVE_WAITS)
        return load_end(s, l, kept, out);
    s->loading = l;
    return LIVE_WAITS;
}

void server_stored(void *arg, enum live_result result, char *why, struct live_waiter *waiter)
{
    struct server *s = arg;
    struct load *l = s->loading;
    struct change_result r = {.why = why};
    s->loading = NULL;
    if (s->stopping) { /* new sockets would be opened again */
        result = LIVE_REFUSED;
        mem_free(r.why);
        r.why = mem_strdup(STR("Weir is being stopped"));
    }
    result = load_end(s, l, result, &r);
    if (waiter) {
        server_answer(&r, &waiter->json, &waiter->why);
        waiter->result = result;
        waiter->over = true;
        waiter->wake(waiter);
    }
    change_result_fini(&r);
}

/* An editor that saved the same text again has changed nothing. */
static bool is_news(const struct server *s, const struct config *c, enum origin o)
{
    return o != ORIGIN_WATCH || !str_eq(c->text, s->config.text);
}

enum live_result server_reload(struct server *s, enum live_mode mode, enum origin o,
                               struct live_waiter *waiter, struct change_result *out)
{
    struct config c;
    server_file_read(s);
    if (!config_read(&c, &s->plan->source, &out->why)) {
        refuse(s, o, "", out);
        return LIVE_REFUSED;
    }
    if (is_news(s, &c, o))
        return change(s, &c, mode, o, waiter, out);
    config_fini(&c);
    out->generation = s->snapshot->generation;
    out->good = true;
    return LIVE_DONE;
}

enum live_result server_rollback(struct server *s, uint32_t back, struct live_waiter *waiter,
                                 struct change_result *out)
{
    struct config c;
    size_t n;
    char *text = history_text(&s->history, back, &n, &out->why);
    if (text && config_take_text(&c, &s->plan->source, str_of(text, n), &out->why))
        return change(s, &c, LIVE_KEEP, ORIGIN_ROLLBACK, waiter, out);
    refuse(s, ORIGIN_ROLLBACK, "", out);
    return LIVE_REFUSED;
}

/* ---- the admin API's changes --------------------------------------------------------------- */

/* A configuration that waits to be used: the whole, or one route of it. */
struct waiting {
    struct conf_loaded *loaded;
    struct snapshot *snapshot;
    struct derived *derived;
};

static void *live_prepare(void *arg, struct conf_loaded *l, char **why)
{
    struct server *s = arg;
    struct config c = {.loaded = l};
    struct snapshot *made = build(s, &c, why);
    if (!made) {
        conf_loaded_free(l);
        return NULL;
    }
    struct waiting *w = mem_new(sizeof *w);
    *w = (struct waiting){l, made, NULL};
    return w;
}

static void *live_derive(void *arg, const struct live_route *change)
{
    struct derived *d = server_derive(arg, change);
    if (!d)
        return NULL;
    struct waiting *w = mem_new(sizeof *w);
    w->derived = d;
    return w;
}

static void live_use(void *arg, void *waiting, const char *words)
{
    struct server *s = arg;
    struct waiting *w = waiting;
    struct change_result r = {0};
    if (w->derived) {
        server_use_derived(s, w->derived, words);
    } else {
        struct config c = {.loaded = w->loaded, .text = mem_str(s->config.text)};
        conf_errors_fini(&c.loaded->errors); /* what the file has to be warned of was said */
        swap(s, &c, w->snapshot, ORIGIN_API, words, &r);
        change_result_fini(&r);
    }
    mem_free(w);
}

static void live_drop(void *arg, void *waiting)
{
    (void) arg;
    struct waiting *w = waiting;
    if (w->derived)
        server_drop_derived(w->derived);
    snapshot_free(w->snapshot);
    conf_loaded_free(w->loaded);
    mem_free(w);
}

static bool live_hold(void *arg, struct str upstream, struct str state)
{
    const struct server *s = arg;
    enum breaker_force force = str_eq(state, STR("open"))     ? BREAKER_FORCE_OPEN
                               : str_eq(state, STR("closed")) ? BREAKER_FORCE_CLOSED
                                                              : BREAKER_AUTO;
    return upstream_breaker_hold(s->engine->registry, upstream, force);
}

bool server_begin_config(struct server *s, struct config *c, char **why)
{
    static const struct live_ops ops = {.prepare = live_prepare,
                                        .derive = live_derive,
                                        .use = live_use,
                                        .drop = live_drop,
                                        .write = server_write_state,
                                        .settle = server_settle_state,
                                        .stored = server_stored,
                                        .hold = live_hold};
    struct live_next next;
    struct snapshot *made = NULL;
    live_init(&s->live, &feature_registry, &ops, s);
    bool follows = s->start->follows; /* then what cannot be had is no reason to lose anything */
    live_open(&s->live, c->loaded->file->state_dir, follows ? server_left_changes(s) : NULL);
    if (load_changes(s, c, follows ? LIVE_KEEP : LIVE_START, &next, why))
        made = build(s, c, why);
    /* There is no thread for it yet: it blocks. */
    if (made && !follows && c->text.p && live_store(&s->live, &next, NULL, why) == LIVE_DISK) {
        snapshot_free(made);
        made = NULL;
    }
    if (!made) {
        live_next_fini(&next);
        config_fini(c);
        return false;
    }
    mem_free(*why); /* it was said */
    *why = NULL;
    s->jobs = c->loaded->file->state_dir.n ? file_jobs_new(1) : NULL;
    mem_free(put_to_use(s, c, made));
    live_adopt(&s->live, &next);
    if (!follows)
        server_begin_history(s);
    return true;
}

static void history_idle(void *arg)
{
    server_obey_later(arg);
}

void server_begin_history(struct server *s)
{
    struct history_pen pen = {s->jobs, s->engine->loop, history_idle, s};
    history_open(&s->history, s->config.loaded->file->state_dir, pen);
    record(s, ORIGIN_START, "");
}
