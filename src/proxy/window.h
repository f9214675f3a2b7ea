/* SPDX-License-Identifier: Apache-2.0 */
/* window: how many bytes of a body a pump may hold, by the route's buffer strategy: none (each read
 * is passed on before the next), fixed, or adaptive. A value inside of its pump; worker thread. It
 * knows neither legs nor clocks: it is told. */
#ifndef WEIR_PROXY_WINDOW_H
#define WEIR_PROXY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "proxy/conf.h"

#define WINDOW_START                                                                               \
    ((size_t) 16 * 1024)                 /* bytes that adaptive begins with and does not go below */
#define WINDOW_SHRINK (5 * USEC_PER_SEC) /* below a quarter for so long: half of it */

struct window {
    size_t size;      /* reading stops at so many bytes held and queued */
    usec_t low_since; /* below a quarter since then; 0: not */
    bool filled;      /* reading has stopped at size since the last growth */
};

/* What b begins with: one byte (none), b->size (fixed), WINDOW_START at most (adaptive). */
void window_init(struct window *w, const struct buffer_conf *b);
/* adaptive: looks at the bytes that wait now. Doubles up to b->size when half of what stopped the
 * reading has drained, halves after WINDOW_SHRINK below a quarter. */
void window_adapt(struct window *w, const struct buffer_conf *b, size_t waiting, usec_t now);

#endif
