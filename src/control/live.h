/* SPDX-License-Identifier: Apache-2.0 */
/* live: the configuration that is in use as a tree: that of the file, the changes made at run time
 * on top of it, and how a further change is judged, kept on disk and put to use, all or nothing.
 * Owned by app/, the main thread's. It builds no snapshot: who owns the engine does, by way of
 * live_ops. */
#ifndef WEIR_CONTROL_LIVE_H
#define WEIR_CONTROL_LIVE_H

#include "base/file_io.h"
#include "base/list.h"
#include "base/text.h"
#include "control/changes.h"
#include "control/conf_load.h"

/* One route of the top level that is another: the whole of most changes. */
struct live_route {
    struct str name;
    const struct conf_node *was; /* in use; NULL: nothing */
    const struct conf_node *now; /* NULL: it goes */
    struct conf_errors *errors;  /* of now by itself: then no other way would make it good */
};

/* What became of a change. */
enum live_result {
    LIVE_DONE,
    LIVE_INVALID, /* errors has what is wrong */
    LIVE_REFUSED, /* the engine's owner; why */
    LIVE_DISK,    /* it cannot be kept, and is not made; why */
    LIVE_UNSURE,  /* it is made, and may be lost by a power failure; why */
    LIVE_WAITS,   /* it is being kept: the waiter is told what becomes of it */
};

/* Who waits for its turn to change something, or for its own change; forgotten before it goes. */
struct live_waiter {
    struct list_node node;
    void (*wake)(struct live_waiter *w); /* it is its turn, or its change is over */
    bool over;
    enum live_result result; /* of the change that is over */
    char *why;               /* of that; mem_free */
    struct text json;        /* of a load: what it changed; text_fini */
};

/* What the owner of the engine does with a configuration. */
struct live_ops {
    /* Builds what is to run of l, which it takes; nothing changes yet. NULL: *why, l is freed. */
    void *(*prepare)(void *arg, struct conf_loaded *l, char **why);
    /* The same of what is in use but for one route, at a cost that their number has no part in.
     * NULL: change->errors say why not, or else it is none of those that this can do: prepare
     * knows. */
    void *(*derive)(void *arg, const struct live_route *change);
    /* Puts it to use, or drops it. words: what changes, one a line. */
    void (*use)(void *arg, void *prepared, const char *words);
    void (*drop)(void *arg, void *prepared);
    /* Makes bytes (taken when it returns true) what the state file in dir holds, on another thread,
     * then calls live_written. False: it cannot; NULL: neither. */
    bool (*write)(void *arg, struct str dir, struct text *bytes);
    /* Waits until that is over: live_written was called. */
    void (*settle)(void *arg);
    /* What live_store began is over (why: taken); waiter as it was given there, NULL: it left. */
    void (*stored)(void *arg, enum live_result result, char *why, struct live_waiter *waiter);
    /* Holds the breaker of an upstream open or closed, or lets it go. False: there is none. */
    bool (*hold)(void *arg, struct str upstream, struct str state);
};

struct live_pending;

struct live {
    const struct feature_set *features;
    const struct live_ops *ops;
    void *ops_arg;
    char *name;               /* of the file; owned */
    struct str text;          /* of the file; owned, by sparse if there is one */
    struct str dir;           /* state_dir, owned; empty: changes last as long as the process */
    struct conf_tree *sparse; /* of the file, from its load; NULL: only a whole tree will do */
    struct conf_tree *base;   /* made when it is first asked for; sparse where that will do */
    struct conf_tree *now;
    json_t *list;                 /* changes */
    uint64_t number;              /* grows with each change and load, and from process to process */
    size_t edits;                 /* made in now since it was made */
    struct live_pending *pending; /* a change that is being kept; NULL: none */
    bool storing;                 /* the changes of a load are being kept */
    struct live_waiter *loader;   /* who waits for that; NULL: nobody */
    struct list turn;             /* waiters for their turn */
};

struct live_report {
    struct conf_loaded *loaded;      /* of LIVE_INVALID: its errors */
    struct conf_tree *tree;          /* of LIVE_INVALID: what the errors' JSON lines point into;
                                      * NULL: they all point into subject */
    const struct conf_node *subject; /* what was sent: in tree, the caller's; without a tree in
                                      * loaded; NULL: nothing was */
    char *why;                       /* of the others; mem_free */
};

/* Nothing yet; features and ops are kept. */
void live_init(struct live *l, const struct feature_set *features, const struct live_ops *ops,
               void *arg);
/* Frees it. */
void live_fini(struct live *l);
/* The configuration as it is in use; NULL: it came from no text. Borrowed. */
struct conf_tree *live_now(struct live *l);
/* What the file says. */
struct conf_tree *live_base(struct live *l);
/* The same as live_now in a tree that is whole, made for this unless there is one; for
 * conf_tree_unref. */
struct conf_tree *live_whole(struct live *l);
/* Forgets routes that were read one by one, if they are many: no node may be in use. */
void live_forget_read(struct live *l);
/* A change or a load is being kept: no other one may be made until that is over. */
static inline bool live_busy(const struct live *l)
{
    return l->pending != NULL || l->storing;
}
/* w is woken when it is its turn to change something: while l is busy. */
void live_wait(struct live *l, struct live_waiter *w);
/* Nobody waits there any more; a change that was begun goes on. */
void live_forget(struct live *l, struct live_waiter *w);
/* Waits, if l is busy, until it is not: blocks. */
void live_settle(struct live *l);
/* What was being kept is on the disk, or not (why, taken). */
void live_written(struct live *l, enum file_end end, char *why);
/* What is to be: list (taken) in force. words: what that does, for the log and events. waiter: who
 * waits if keeping it takes time; NULL: nobody, it blocks. */
struct live_order {
    json_t *list;
    const char *words;
    struct live_waiter *waiter;
};

/* Makes the list of the order the changes in force; l is not busy. */
enum live_result live_change(struct live *l, const struct live_order *order,
                             struct live_report *report);
/* The same where it says that one route is another (route NULL: it goes) and nothing else: among
 * many routes it is as quick as among few, where the route and its place are simple. */
enum live_result live_change_route(struct live *l, const struct live_order *order, struct str name,
                                   const json_t *route, struct live_report *report);
/* What becomes of the changes when the file says other things than it did when they were made. */
enum live_mode {
    LIVE_ASK,     /* the load is refused, and says what the file would override */
    LIVE_KEEP,    /* they stay in force */
    LIVE_DISCARD, /* those that the file says other things about are dropped */
    LIVE_START,   /* they stay; when nothing can come of them, they are moved aside */
};

/* A file's text with the changes on top, judged and not yet in use. */
struct live_next {
    struct str text; /* owned, by sparse if there is one */
    char *name;
    struct conf_tree *sparse;
    struct conf_tree *base, *now;
    json_t *list;
    char *overridden; /* changes that the file says other things about, one a line; NULL: none */
    bool discarded;   /* those are not in list any more */
};

/* Reads the changes that were kept in dir (copied; empty: nothing is kept), once, at the start;
 * left (taken; NULL: nothing) is what another process has in force that this one follows, and
 * stands for them. */
void live_open(struct live *l, struct str dir, json_t *left);
/* Puts the changes on top of *loaded, which is what next->text says (text and name are the caller's
 * to set, owned): *loaded is replaced when there are any. False: *why (mem_free), *loaded is as it
 * was and next is empty. */
bool live_load(struct live *l, struct live_next *next, enum live_mode mode,
               struct conf_loaded **loaded, char **why);
/* Keeps the changes of next: the last thing that may fail before it is used, for a load that is
 * refused leaves those in force as they were. l is not busy. LIVE_DONE and LIVE_UNSURE (*why,
 * mem_free): next is to be used; LIVE_DISK: it is not, *why; LIVE_WAITS: ops.stored will say. */
enum live_result live_store(struct live *l, const struct live_next *next,
                            struct live_waiter *waiter, char **why);
/* What live_load made is in use now; next is taken. */
void live_adopt(struct live *l, struct live_next *next);
/* What live_load made is not to be used. */
void live_next_fini(struct live_next *next);
/* Frees what a report holds. */
void live_report_fini(struct live_report *r);

#endif
