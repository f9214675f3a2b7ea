/* SPDX-License-Identifier: Apache-2.0 */
/* date: IMF-fixdate (RFC 9110 5.6.7), cached by the second. One cache a worker, owned by it and
 * used on its thread only. Never asks a clock, never allocates. */
#ifndef WEIR_HTTP_DATE_H
#define WEIR_HTTP_DATE_H

#include <stdint.h>

#include "base/str.h"

struct date_cache {
    int64_t second; /* the text's second since 1970; -1 at first */
    char text[32];
};

/* "Sun, 06 Nov 1994 08:49:37 GMT" for wall_us; a view into c, valid until the second changes. */
struct str date_text(struct date_cache *c, int64_t wall_us);
/* Seconds since 1970 of a date in that form; false: text is none. */
bool date_read(struct str text, int64_t *second);

#endif
