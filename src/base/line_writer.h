/* SPDX-License-Identifier: Apache-2.0 */
/* line_writer: one thread that empties line rings into a file or the standard output, looking every
 * 50 ms. Owned by whoever made it (main thread). It never loses or tears a line by itself: while
 * the disk is full or the reader slow, lines stay in their rings, and the rings refuse new ones. */
#ifndef WEIR_BASE_LINE_WRITER_H
#define WEIR_BASE_LINE_WRITER_H

#include "base/line_ring.h"

struct line_writer;

/* Opens path (created with mode 0640, appended to; empty: the standard output), makes n rings of
 * cap bytes for lines of at most line_max bytes, starts the thread. NULL: *why (mem_free). */
struct line_writer *line_writer_new(struct str path, unsigned n, size_t cap, size_t line_max,
                                    char **why);
/* Ring number i; its producer is one thread of the caller's choice. */
struct line_ring *line_writer_ring(struct line_writer *w, unsigned i);
/* Any thread: opens path anew within 50 ms (log rotation); what is open stays when that fails. */
void line_writer_reopen(struct line_writer *w);
/* After the producers ended: writes what is left (for a pipe or terminal: at most 2 s), says how
 * many lines it could not, ends the thread, frees. */
void line_writer_free(struct line_writer *w);

#endif
