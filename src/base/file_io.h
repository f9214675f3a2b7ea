/* SPDX-License-Identifier: Apache-2.0 */
/* file_io: the small thread pool that alone reads and writes regular files, so that a slow
 * disk never stops a loop. Any thread submits; a job says its result by loop_post or the like. */
#ifndef WEIR_BASE_FILE_IO_H
#define WEIR_BASE_FILE_IO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Reads a whole regular file of at most max bytes into fresh memory (mem_free). Blocks: for the
 * main thread at load and for jobs, never for a worker. NULL: *why says what failed (mem_free). */
char *file_read(const char *path, size_t max, size_t *n, char **why);
/* The same of its first max bytes, however many there are. */
char *file_read_start(const char *path, size_t max, size_t *n, char **why);

/* What became of a file that was to be replaced. */
enum file_end {
    FILE_KEPT,   /* it is the new one, after a power failure, too */
    FILE_UNSURE, /* it is the new one for who reads it; after a power failure either of the two */
    FILE_AS_WAS, /* it is the old one */
};

/* Makes n bytes what the file of that name in the directory holds, for readers and after a crash at
 * any moment alike: a new file is written, synced, given the name, and the directory synced.
 * Blocks. Unless it is kept, *why says what failed (mem_free). */
enum file_end file_replace(const char *dir, const char *name, struct str bytes, char **why)
    __attribute__((warn_unused_result));
/* Gives a file in the directory another name. False: it has not got it. */
bool file_rename(const char *dir, const char *from, const char *to);
/* The file cannot be there: nothing has that name. */
bool file_missing(const char *path);

struct file_jobs;
/* Starts n_threads threads (1 or 2). NULL on failure. */
struct file_jobs *file_jobs_new(unsigned n_threads);
/* Runs work(arg) on a pool thread. False when the queue (1,024 jobs) is full: drop and count. */
bool file_jobs_submit(struct file_jobs *jobs, void (*work)(void *), void *arg)
    __attribute__((warn_unused_result));
/* Finishes queued jobs, joins threads, frees. */
void file_jobs_free(struct file_jobs *jobs);

#endif
