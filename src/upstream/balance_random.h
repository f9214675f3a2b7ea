/* SPDX-License-Identifier: Apache-2.0 */
/* balance_random: weighted random: each draw is independent of all others, so many proxies in front
 * of the same endpoints never fall into step. State belongs to the upstream; never allocates after
 * create. */
#ifndef WEIR_UPSTREAM_BALANCE_RANDOM_H
#define WEIR_UPSTREAM_BALANCE_RANDOM_H

#include "upstream/balance.h"

extern const struct balance_ops balance_random;

#endif
