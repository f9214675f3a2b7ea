/* SPDX-License-Identifier: Apache-2.0 */
/* live.c: see live.h.
 * Invariants:
 * 1. now is base with list applied, where both are made; only one that nobody else holds, and that
 *    is not base, is edited.
 * 2. base and now are sparse as long as list is about single routes that have none within.
 * 3. What list says is on disk (where there is a dir) before it is in use: an acknowledged change
 *    outlives the process. What is in the file is in use, too, when nobody knows whether the disk
 *    has it: a restart finds what is in force.
 * 3. Not both pending and storing. */
#include "control/live.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/state_file.h"

#define READ_MOST 4096u /* routes that sparse trees keep since they were asked for */

void live_init(struct live *l, const struct feature_set *features, const struct live_ops *ops,
               void *arg)
{
    *l = (struct live){.features = features,
                       .ops = ops,
                       .ops_arg = arg,
                       .list = json_array(),
                       .number = (uint64_t) clock_wall()};
    list_init(&l->turn);
}

static void forget_trees(struct live *l)
{
    conf_tree_unref(l->base);
    conf_tree_unref(l->now);
    l->base = l->now = NULL;
}

/* Of a file and the tree that its load may have left. */
static void free_text(struct str text, struct conf_tree *sparse)
{
    if (sparse)
        conf_tree_unref(sparse);
    else
        mem_free((void *) (uintptr_t) text.p);
}

void live_fini(struct live *l)
{
    forget_trees(l);
    json_decref(l->list);
    mem_free(l->name);
    free_text(l->text, l->sparse);
    mem_free((void *) (uintptr_t) l->dir.p);
    *l = (struct live){0};
}

/* A sparse tree can hold what list says. */
static bool suits_sparse(const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_object_get(item, "within") ||
            json_object_get(json_object_get(item, "set"), "routes"))
            return false;
    }
    return true;
}

struct conf_tree *live_base(struct live *l)
{
    if (!l->base && l->sparse && suits_sparse(l->list))
        l->base = conf_tree_ref(l->sparse);
    else if (!l->base && l->text.p)
        l->base = conf_tree_new(l->text, l->name, l->features);
    return l->base;
}

/* base with list in force; what cannot be applied was said when it was judged. */
static struct conf_tree *with_list(const struct live *l, struct conf_tree *base)
{
    struct arena a;
    struct conf_errors e;
    unsigned line = 0;
    if (json_array_size(l->list) == 0)
        return conf_tree_ref(base);
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, l->name);
    struct conf_tree *now = changes_apply(l->list, base, &line, &e);
    conf_errors_fini(&e);
    arena_fini(&a);
    return now;
}

struct conf_tree *live_now(struct live *l)
{
    if (!l->now && live_base(l))
        l->now = with_list(l, l->base);
    return l->now;
}

/* What the file says, in a tree that is whole; for conf_tree_unref. */
static struct conf_tree *whole_base(struct live *l)
{
    struct conf_tree *base = live_base(l);
    if (base && base->pieces)
        return conf_tree_new(l->text, l->name, l->features);
    return base ? conf_tree_ref(base) : NULL;
}

struct conf_tree *live_whole(struct live *l)
{
    struct conf_tree *now = live_now(l), *base = now && now->pieces ? whole_base(l) : NULL;
    if (!base)
        return now ? conf_tree_ref(now) : NULL;
    now = with_list(l, base);
    conf_tree_unref(base);
    return now;
}

void live_forget_read(struct live *l)
{
    size_t n = (l->base ? l->base->n_read : 0) + (l->now ? l->now->n_read : 0);
    if (n > READ_MOST)
        forget_trees(l);
}

/* base with list on top, judged. NULL: report says why. */
static struct conf_loaded *judge(const struct live *l, const json_t *list, struct conf_tree *base,
                                 const char *name, struct live_report *report)
{
    unsigned line = 0;
    struct arena a;
    struct conf_errors e;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, name);
    report->tree = changes_apply(list, base, &line, &e);
    struct conf_loaded *made = conf_load_tree(report->tree->root, name, l->features);
    for (size_t i = 0; i < e.n; i++)
        conf_say(&made->errors, e.v[i].pos, "%.*s", STR_ARG(e.v[i].text));
    conf_errors_fini(&e);
    arena_fini(&a);
    if (made->file && made->errors.n == 0)
        return made;
    conf_errors_sort(&made->errors);
    report->loaded = made;
    return NULL;
}

/* ---- changes ------------------------------------------------------------------------------- */

static bool has_item(const json_t *list, const json_t *item)
{
    size_t i;
    const json_t *other;
    json_array_foreach(list, i, other)
    {
        if (json_equal(item, other))
            return true;
    }
    return false;
}

/* Each breaker of list that `but` does not hold in the same way is held: as list says, or not. */
static void hold_breakers(struct live *l, const json_t *list, const json_t *but, bool held)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *state = json_string_value(json_object_get(item, "breaker"));
        const char *upstream = json_string_value(json_object_get(item, "upstream"));
        if (state && upstream && !has_item(but, item))
            (void) l->ops->hold(l->ops_arg, str_c(upstream), str_c(held ? state : "auto"));
    }
}

/* now (taken) is in use; NULL: it is made when it is asked for. */
static void use_tree(struct live *l, struct conf_tree *now)
{
    conf_tree_unref(l->now);
    l->now = now;
    l->edits = 0;
}

/* A change that was judged and is not in use yet; owns what it has. */
struct live_pending {
    json_t *list;
    void *prepared;
    char *words;
    struct conf_tree *tree; /* NULL: one route changes */
    char *name;             /* of that */
    json_t *route;          /* NULL: it goes */
    struct live_waiter *waiter;
};

static void pending_free(struct live_pending *p)
{
    json_decref(p->list);
    json_decref(p->route);
    conf_tree_unref(p->tree);
    mem_free(p->words);
    mem_free(p->name);
    mem_free(p);
}

static void edit_tree(struct live *l, struct str name, const json_t *route);

/* The change is kept: it is in use from here on. */
static void put_to_use(struct live *l, struct live_pending *p)
{
    l->ops->use(l->ops_arg, p->prepared, p->words);
    hold_breakers(l, l->list, p->list, false);
    hold_breakers(l, p->list, l->list, true);
    json_decref(l->list);
    l->list = json_incref(p->list);
    l->number++;
    if (l->base && l->base->pieces && !suits_sparse(l->list))
        forget_trees(l);
    if (!p->tree)
        edit_tree(l, str_c(p->name), p->route);
    else if (l->base && !l->base->pieces)
        use_tree(l, conf_tree_ref(p->tree));
    else /* the whole one was for the change alone */
        use_tree(l, NULL);
    pending_free(p);
}

static void give_up(struct live *l, struct live_pending *p)
{
    l->ops->drop(l->ops_arg, p->prepared);
    pending_free(p);
}

/* why: of FILE_UNSURE. */
static enum live_result result_of(enum file_end end, const char *why)
{
    if (end == FILE_UNSURE)
        log_error("changes.unsure",
                  "what was changed at run time is in force, but a power failure may undo it: %s; "
                  "mend the disk and make any change: each writes the whole file",
                  why);
    return end == FILE_KEPT ? LIVE_DONE : end == FILE_UNSURE ? LIVE_UNSURE : LIVE_DISK;
}

/* The file has become that, or not: p (taken) is in force or given up. */
static enum live_result settle_pending(struct live *l, struct live_pending *p, enum file_end end,
                                       const char *why)
{
    if (end == FILE_AS_WAS)
        give_up(l, p);
    else
        put_to_use(l, p);
    return result_of(end, why);
}

/* Keeps p (taken) on the disk and puts it to use, now or when live_written says so. */
static enum live_result keep(struct live *l, struct live_pending *p, struct live_report *report)
{
    struct text bytes = {0};
    if (l->dir.n == 0) {
        put_to_use(l, p);
        return LIVE_DONE;
    }
    enum file_end end = FILE_AS_WAS;
    bool good = state_file_text(p->list, STATE_FILE_MAX, &bytes, &report->why);
    if (good && p->waiter && l->ops->write) {
        l->pending = p;
        if (l->ops->write(l->ops_arg, l->dir, &bytes))
            return LIVE_WAITS;
        l->pending = NULL;
    }
    if (good)
        end = state_file_put(l->dir, text_str(&bytes), &report->why);
    text_fini(&bytes);
    return settle_pending(l, p, end, report->why);
}

static void pending_written(struct live *l, enum file_end end, char *why)
{
    struct live_pending *p = l->pending;
    struct live_waiter *w = p->waiter;
    l->pending = NULL;
    enum live_result result = settle_pending(l, p, end, why);
    if (w) {
        w->over = true;
        w->result = result;
        w->why = why;
        w->wake(w);
    } else {
        mem_free(why);
    }
}

void live_written(struct live *l, enum file_end end, char *why)
{
    struct live_waiter *w = l->loader;
    if (l->storing) {
        l->storing = false;
        l->loader = NULL;
        l->ops->stored(l->ops_arg, result_of(end, why), why, w);
    } else {
        pending_written(l, end, why);
    }
    for (struct list_node *node; (node = list_pop_front(&l->turn));) {
        w = list_entry(node, struct live_waiter, node);
        w->wake(w);
    }
}

void live_wait(struct live *l, struct live_waiter *w)
{
    if (!list_linked(&w->node))
        list_push_back(&l->turn, &w->node);
}

void live_forget(struct live *l, struct live_waiter *w)
{
    list_remove(&w->node);
    if (l->pending && l->pending->waiter == w)
        l->pending->waiter = NULL;
    if (l->loader == w)
        l->loader = NULL;
}

void live_settle(struct live *l)
{
    if (live_busy(l))
        l->ops->settle(l->ops_arg);
}

static struct live_pending *pending_new(const struct live_order *o, void *prepared)
{
    struct live_pending *p = mem_new(sizeof *p);
    *p = (struct live_pending){.list = o->list,
                               .prepared = prepared,
                               .words = mem_strdup(str_c(o->words)),
                               .waiter = o->waiter};
    return p;
}

enum live_result live_change(struct live *l, const struct live_order *order,
                             struct live_report *report)
{
    *report = (struct live_report){0};
    struct conf_tree *base = whole_base(l);
    struct conf_loaded *made = judge(l, order->list, base, l->name, report);
    conf_tree_unref(base);
    void *prepared = made ? l->ops->prepare(l->ops_arg, made, &report->why) : NULL;
    if (!prepared) {
        json_decref(order->list);
        return made ? LIVE_REFUSED : LIVE_INVALID;
    }
    struct live_pending *p = pending_new(order, prepared);
    p->tree = report->tree;
    report->tree = NULL;
    return keep(l, p, report);
}

/* ---- one route ----------------------------------------------------------------------------- */

/* The change can be made to what is in use, and means the same as list, which is made from the
 * file: a route of the file that was removed would come back to its old place. */
static bool in_place(struct live *l, struct str name, const json_t *route, const json_t *list)
{
    struct conf_tree *now = live_now(l);
    const struct conf_node *was = conf_tree_route(now, name);
    bool plain = !(was && conf_member(was, "routes")) && !json_object_get(route, "routes") &&
                 !changes_within(list, name).n;
    if (!was)
        return plain && route && conf_member(now->root, "routes") &&
               !conf_tree_route(live_base(l), name);
    return plain && conf_tree_at_top(now, name);
}

/* What is derived for the route as JSON says it; NULL: report says why it is refused, or it has to
 * go the long way. */
static void *derive(struct live *l, struct str name, const json_t *route,
                    struct live_report *report)
{
    struct conf_loaded *read = mem_new(sizeof *read);
    unsigned line = 0;
    arena_init(&read->arena, NULL, SIZE_MAX);
    conf_errors_init(&read->errors, &read->arena, arena_str(&read->arena, str_c(l->name)).p);
    struct live_route change = {.name = name, .was = conf_tree_route(live_now(l), name)};
    change.now = route ? conf_node_of_json(route, &read->arena, &line, &read->errors) : NULL;
    change.errors = &read->errors;
    bool good = read->errors.n == 0 && (change.now || !route);
    void *prepared = good ? l->ops->derive(l->ops_arg, &change) : NULL;
    if (!prepared && change.now && read->errors.n) {
        conf_errors_sort(&read->errors);
        report->loaded = read;
        report->subject = change.now;
    } else {
        conf_loaded_free(read);
    }
    return prepared;
}

/* now says of the route what list says already. What was in its place stays in the tree's memory
 * until the tree is made anew. */
static void edit_tree(struct live *l, struct str name, const json_t *route)
{
    struct conf_errors e;
    unsigned line = CONF_JSON_LINE;
    if (!l->now)
        return;
    if (l->now == l->base || l->now->refs > 1 || l->edits > 1000 + l->now->routes.n) {
        use_tree(l, NULL);
        return;
    }
    l->edits++;
    if (!route) {
        (void) conf_tree_remove_route(l->now, name);
        return;
    }
    conf_errors_init(&e, &l->now->arena, l->name);
    struct conf_node *n = conf_node_of_json(route, &l->now->arena, &line, &e);
    if (n)
        (void) conf_tree_put_route(l->now, name, STR(""), n);
    conf_errors_fini(&e);
}

enum live_result live_change_route(struct live *l, const struct live_order *order, struct str name,
                                   const json_t *route, struct live_report *report)
{
    *report = (struct live_report){0};
    bool quick = l->ops->derive && in_place(l, name, route, order->list);
    void *prepared = quick ? derive(l, name, route, report) : NULL;
    if (report->loaded) {
        json_decref(order->list);
        return LIVE_INVALID;
    }
    if (!prepared)
        return live_change(l, order, report);
    struct live_pending *p = pending_new(order, prepared);
    p->name = mem_strdup(name);
    p->route = json_incref((json_t *) (uintptr_t) route);
    return keep(l, p, report);
}

void live_report_fini(struct live_report *r)
{
    conf_loaded_free(r->loaded);
    conf_tree_unref(r->tree);
    mem_free(r->why);
    *r = (struct live_report){0};
}

/* ---- loads --------------------------------------------------------------------------------- */

void live_open(struct live *l, struct str dir, json_t *left)
{
    char *why = NULL;
    if (dir.n)
        l->dir = mem_str(dir);
    json_t *list = left || dir.n == 0 ? left : state_file_read(dir, &why);
    if (list) {
        json_decref(l->list);
        l->list = list;
    }
    if (why)
        log_error("changes.unread", "what was changed at run time is not in force: %s", why);
    mem_free(why);
}

void live_next_fini(struct live_next *next)
{
    free_text(next->text, next->sparse);
    mem_free(next->name);
    conf_tree_unref(next->base);
    conf_tree_unref(next->now);
    json_decref(next->list);
    mem_free(next->overridden);
    *next = (struct live_next){0};
}

/* The changes about which base says other things than before, one a line; NULL: none. */
static char *overridden(const json_t *list, const struct conf_tree *base)
{
    struct text t = {0};
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (!changes_conflicts(item, base))
            continue;
        char *words = changes_words(item);
        text_addf(&t, "%s\n", words);
        mem_free(words);
    }
    char *lines = t.n ? mem_strdup(text_str(&t)) : NULL;
    text_fini(&t);
    return lines;
}

/* What is wrong, a line each: in a change with its JSON pointer into what would come of it. */
static void errors_print(const struct live_report *r, struct text *out)
{
    const struct conf_errors *e = &r->loaded->errors;
    for (size_t i = 0; i < e->n; i++) {
        const struct schema_pos *pos = &e->v[i].pos;
        if (pos->line < CONF_JSON_LINE)
            text_addf(out, "%s:%u:%u", pos->file ? pos->file : e->file, pos->line, pos->column);
        else
            (void) conf_node_pointer(r->tree->root, pos->line, out);
        text_addf(out, ": %.*s\n", STR_ARG(e->v[i].text));
    }
}

/* Judges next->list on top of next->base. False: *why. */
static bool put_on_top(struct live *l, struct live_next *next, struct conf_loaded **loaded,
                       char **why)
{
    struct live_report r = {0};
    if (json_array_size(next->list) == 0)
        return true;
    struct conf_loaded *made = judge(l, next->list, next->base, next->name, &r);
    if (made) {
        conf_loaded_free(*loaded);
        *loaded = made;
        next->now = r.tree;
        r.tree = NULL;
    } else {
        struct text t = {0};
        text_add(&t, STR("what was changed at run time does not fit to this file:\n"));
        errors_print(&r, &t);
        *why = mem_strdup(text_str(&t));
        text_fini(&t);
    }
    live_report_fini(&r);
    return made != NULL;
}

/* The file alone is served, loudly. */
static void move_aside(struct live *l, struct live_next *next, const char *why)
{
    char *to = NULL;
    bool moved = l->dir.n && state_file_move_aside(l->dir, &to);
    char *text = mem_printf("%sthe file alone is in force; the changes are in %s", why,
                            moved ? to : "nothing any more");
    log_write_lines(LOG_ERROR, "changes.refused", text);
    mem_free(text);
    mem_free(to);
    json_decref(next->list);
    next->list = json_array();
}

bool live_load(struct live *l, struct live_next *next, enum live_mode mode,
               struct conf_loaded **loaded, char **why)
{
    next->sparse = (*loaded)->sparse;
    (*loaded)->sparse = NULL;
    if (next->sparse)
        conf_tree_give(next->sparse, next->text);
    if (json_array_size(l->list) == 0) {
        next->list = json_array();
        return true;
    }
    next->base = conf_tree_new(next->text, next->name, l->features);
    next->overridden = next->base ? overridden(l->list, next->base) : NULL;
    next->discarded = mode == LIVE_DISCARD;
    if (mode == LIVE_ASK && next->overridden)
        *why = mem_printf("the file says other things than it did when these were changed at run "
                          "time:\n%skeep the changes (--keep) or let the file override them "
                          "(--discard)\n",
                          next->overridden);
    else if (!next->base)
        *why = mem_printf("%s: it cannot be read a second time\n", next->name);
    else
        next->list = changes_rebase(l->list, next->base, mode != LIVE_DISCARD);
    bool good = next->list && put_on_top(l, next, loaded, why);
    if (!good && mode == LIVE_START) {
        move_aside(l, next, *why);
        mem_free(*why);
        *why = NULL;
        return true;
    }
    if (!good)
        live_next_fini(next);
    return good;
}

enum live_result live_store(struct live *l, const struct live_next *next,
                            struct live_waiter *waiter, char **why)
{
    struct text bytes = {0};
    enum file_end end = FILE_AS_WAS;
    if (l->dir.n == 0 || json_equal(l->list, next->list))
        return LIVE_DONE;
    if (state_file_text(next->list, STATE_FILE_MAX, &bytes, why)) {
        l->storing = l->ops->write && l->ops->write(l->ops_arg, l->dir, &bytes);
        l->loader = l->storing ? waiter : NULL;
        if (l->storing)
            return LIVE_WAITS;
        end = state_file_put(l->dir, text_str(&bytes), why);
    }
    text_fini(&bytes);
    return result_of(end, *why);
}

void live_adopt(struct live *l, struct live_next *next)
{
    forget_trees(l);
    free_text(l->text, l->sparse);
    mem_free(l->name);
    hold_breakers(l, l->list, next->list, false);
    hold_breakers(l, next->list, NULL, true); /* an upstream may be a new one of its name */
    json_decref(l->list);
    l->text = next->text;
    l->name = next->name;
    l->sparse = next->sparse;
    l->base = next->base;
    l->now = next->now;
    l->edits = 0;
    l->list = next->list;
    if (l->sparse && suits_sparse(l->list))
        forget_trees(l); /* those were for the load alone */
    l->number++;
    if (next->overridden && next->discarded)
        log_write_lines(LOG_WARN, "changes.discarded", next->overridden);
    else if (next->overridden)
        log_write_lines(LOG_WARN, "changes.kept", next->overridden);
    mem_free(next->overridden);
    *next = (struct live_next){0};
}
