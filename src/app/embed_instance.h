/* SPDX-License-Identifier: Apache-2.0 */
/* embed_instance: struct weir, for the files of the library. Its fields belong to the engine's
 * main thread, but those that say otherwise. Never seen by the programs that link Weir. */
#ifndef WEIR_APP_EMBED_INSTANCE_H
#define WEIR_APP_EMBED_INSTANCE_H

#include "app/embed.h"
#include "app/engine.h"
#include "app/sockets.h"

/* A configuration made of a mux and addresses. */
struct served {
    struct arena arena;
    struct conf_file *file; /* lies there; its texts are the mux's and the addresses' */
};

/* Where fetches of a proxy went, so that not all routes are looked at for the next one. */
struct remembered {
    int64_t id; /* of the handler */
    char *name; /* of one of its routes, for mem_free; NULL: none */
};

#define REMEMBERED 64 /* a worker, by id */

struct weir {
    struct engine *engine;
    struct snapshot *snapshot; /* in use; one holder */
    struct served *served;     /* what it was built from; NULL: nothing yet, or nobody hears */
    struct weir_mux *mux;      /* what is served */
    struct sockets listening;  /* addresses; their descriptors have been handed to workers */
    struct feature_set features;
    const struct feature *feature_list[FEATURE_MAX];
    weir_options options;
    char *error; /* the caller's thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started;                 /* under lock: the thread has an engine, or failed to make one */
    bool stopping;                /* the caller's thread */
    bool drained;                 /* under lock */
    _Atomic uint32_t next_worker; /* for fetches; any thread */
    struct remembered *fetched;   /* REMEMBERED each worker, whose thread alone touches them */
};

/* Sets what weir_error says. why: taken; NULL clears. */
void instance_set_error(struct weir *w, char *why);
/* Runs fn on the engine's main thread and waits for its end. */
void instance_run_on_main(struct weir *w, void (*fn)(struct weir *w, void *arg), void *arg);
/* Frees it; NULL is nothing. */
void served_free(struct served *s);

#endif
