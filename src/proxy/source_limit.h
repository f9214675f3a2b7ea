/* SPDX-License-Identifier: Apache-2.0 */
/* source_limit: how many of a thing each address has at a time, over all workers, exact: handshakes
 * in progress. One a process or library instance; any thread: it hides its lock. Holds an entry
 * only for addresses that have something now. An IPv6 source is its /64. */
#ifndef WEIR_PROXY_SOURCE_LIMIT_H
#define WEIR_PROXY_SOURCE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct source_limit;

/* An empty one. */
struct source_limit *source_limit_new(void);
/* Frees; nothing may be held. */
void source_limit_free(struct source_limit *s);
/* Counts one more for ip; false, and nothing is counted, when it has max of them. */
bool source_limit_take(struct source_limit *s, struct ip ip, uint64_t max);
/* One less. */
void source_limit_put(struct source_limit *s, struct ip ip);

#endif
