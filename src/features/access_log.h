/* SPDX-License-Identifier: Apache-2.0 */
/* access_log: one JSON line an exchange, written at its end into the worker's own ring: no lock, no
 * allocation, no wake-up. A thread of base/line_writer carries the lines to the file. A full ring
 * drops the line and counts it: a slow disk never slows traffic. */
#ifndef WEIR_FEATURES_ACCESS_LOG_H
#define WEIR_FEATURES_ACCESS_LOG_H

#include "proxy/phase.h"

enum access_log_format { ACCESS_LOG_JSON };

/* access_log, on the top level */
struct access_log_conf {
    struct str path; /* a file, "stdout" or "off"; default off */
    int format;      /* enum access_log_format */
    bool query;      /* the query too; default true */
};

extern const struct schema_table access_log_schema;
extern const struct feature feature_access_log;

#define ACCESS_LOG_RING (1024u * 1024) /* bytes a worker */
#define ACCESS_LOG_LINE (32u * 1024)   /* longest line; longer texts in it are cut */

struct access_log;

/* Opens the log for n_workers workers and starts its thread. *out stays NULL when conf is NULL or
 * says off. False: *why (mem_free). Main thread. */
bool access_log_start(const struct access_log_conf *conf, unsigned n_workers,
                      struct access_log **out, char **why);
/* Any thread: opens the file anew (SIGUSR1); NULL is allowed. */
void access_log_reopen(struct access_log *log);
/* After the workers ended: writes what is left, ends the thread, frees; NULL is allowed. */
void access_log_stop(struct access_log *log);
/* Writes the line of x, which is at its end, into line (ACCESS_LOG_LINE bytes); returns its length,
 * '\n' included. worker: what worker->feature_state holds. For the hook and tests. */
size_t access_log_line(char *line, const struct exchange *x, void *worker);

#endif
