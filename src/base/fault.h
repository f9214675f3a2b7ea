/* SPDX-License-Identifier: Apache-2.0 */
/* fault: why something failed, as a value. The table in fault_table.h is the one source;
 * a row's name is the reason code that users see. Any thread; constant. */
#ifndef WEIR_BASE_FAULT_H
#define WEIR_BASE_FAULT_H

#include <stdbool.h>

enum fault {
#define FAULT(id, name, side, status, retry, proxy_status, text) FAULT_##id,
#include "base/fault_table.h"
#undef FAULT
    FAULT_COUNT
};

/* Whose doing it was. */
enum fault_side { FAULT_SIDE_CLIENT, FAULT_SIDE_UPSTREAM, FAULT_SIDE_SELF };

/* When another attempt is allowed. */
enum fault_retry {
    FAULT_RETRY_NEVER,  /* no */
    FAULT_RETRY_UNSENT, /* no byte of the request left: any method */
    FAULT_RETRY_REUSED, /* reused link, before any response byte: idempotent, or nothing sent */
    FAULT_RETRY_UNPROCESSED, /* the peer said that it did not process it (h2) */
};

struct fault_row {
    const char *name; /* reason code: stable, snake_case */
    unsigned name_n;  /* its bytes */
    enum fault_side side;
    int status; /* answer to the client while nothing was sent; 0: none */
    enum fault_retry retry;
    const char *proxy_status; /* RFC 9209 error type, "" for none */
    const char *text;         /* what happened and what to do */
};

/* The row of f; panics outside the table. */
const struct fault_row *fault_row(enum fault f);
/* The reason code of f. */
static inline const char *fault_name(enum fault f)
{
    return fault_row(f)->name;
}

/* Marks functions whose fault must not be ignored. */
#define FAULT_CHECKED __attribute__((warn_unused_result))

#endif
