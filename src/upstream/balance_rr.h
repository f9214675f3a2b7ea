/* SPDX-License-Identifier: Apache-2.0 */
/* balance_rr: smooth weighted round robin. State belongs to the upstream, one part a worker that
 * only this worker writes: a pick touches no line that another worker writes. Never allocates after
 * create. */
#ifndef WEIR_UPSTREAM_BALANCE_RR_H
#define WEIR_UPSTREAM_BALANCE_RR_H

#include "upstream/balance.h"

extern const struct balance_ops balance_round_robin;

#endif
