/* SPDX-License-Identifier: Apache-2.0 */
/* window: see window.h. Invariant: an adaptive size stays between WINDOW_START and b->size; where
 * b->size is less than WINDOW_START, it is b->size. */
#include "proxy/window.h"

void window_init(struct window *w, const struct buffer_conf *b)
{
    *w = (struct window){.size = (size_t) b->size};
    if (b->strategy == BUFFER_NONE)
        w->size = 1;
    else if (b->strategy == BUFFER_ADAPTIVE && b->size > WINDOW_START)
        w->size = WINDOW_START;
}

static void grow(struct window *w, size_t most)
{
    w->filled = false;
    w->low_since = 0;
    w->size = w->size > most / 2 ? most : w->size * 2;
}

static void shrink(struct window *w, usec_t now)
{
    if (w->size <= WINDOW_START)
        return;
    w->size = w->size / 2 < WINDOW_START ? WINDOW_START : w->size / 2;
    w->low_since = now;
}

void window_adapt(struct window *w, const struct buffer_conf *b, size_t waiting, usec_t now)
{
    if (b->strategy != BUFFER_ADAPTIVE)
        return;
    if (w->filled && waiting <= w->size / 2)
        grow(w, (size_t) b->size);
    else if (waiting >= w->size / 4)
        w->low_since = 0;
    else if (!w->low_since)
        w->low_since = now;
    else if (now - w->low_since > WINDOW_SHRINK)
        shrink(w, now);
}
