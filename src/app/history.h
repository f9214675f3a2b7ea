/* SPDX-License-Identifier: Apache-2.0 */
/* history: the last configurations that were in use, with their time and origin, for rollback. In a
 * directory they survive restarts, each a file of its own, which a thread of file_io writes;
 * without one the newest are kept in memory. Owned by the server, its main thread. */
#ifndef WEIR_APP_HISTORY_H
#define WEIR_APP_HISTORY_H

#include "base/file_io.h"
#include "base/text.h"
#include "net/loop.h"

#define HISTORY_KEPT 20u
#define HISTORY_MEMORY (8u << 20) /* bytes of text kept where there is no directory */

struct history_entry {
    uint64_t number; /* 1, 2, ... over restarts, where there is a directory */
    int64_t wall_us;
    char origin[16]; /* origin_name */
    char who[64];
    uint64_t hash;   /* of the text */
    struct str text; /* owned, or writing's; p is NULL: in the directory, or no longer held */
    struct history_job *writing; /* puts it into the directory; NULL: that is over */
    /* Without a directory: text is only what differs from the next newer one, which it has so many
     * bytes in common with at its beginning and its end. */
    size_t before, behind;
};

/* Who writes, and who hears that it is done. */
struct history_pen {
    struct file_jobs *jobs; /* NULL: the caller, who is blocked */
    struct loop *loop;
    void (*idle)(void *arg); /* on that loop: nothing is being written any more */
    void *arg;
};

struct history {
    char *dir;                            /* owned; NULL: memory only */
    struct history_entry v[HISTORY_KEPT]; /* the oldest first */
    uint32_t n;
    struct history_pen pen;
    uint32_t writing; /* files under way */
};

/* What the directory (empty: none) holds. A directory that cannot be read or written is said in
 * the log, and memory serves instead. */
void history_open(struct history *h, struct str dir, struct history_pen pen);
/* Frees what is in memory; nothing is being written. */
void history_close(struct history *h);
/* Text is in use now; nothing is added when it is what the newest entry holds. */
void history_add(struct history *h, struct str text, const char *origin, const char *who);
/* The text of the entry that is `back` steps before the newest, for mem_free; NULL: *why
 * (mem_free). */
char *history_text(const struct history *h, uint32_t back, size_t *n, char **why);
/* All, the newest first, as JSON. */
void history_json(const struct history *h, struct text *out);

#endif
