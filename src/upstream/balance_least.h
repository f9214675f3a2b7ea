/* SPDX-License-Identifier: Apache-2.0 */
/* balance_least: least_active: of two endpoints drawn by weight, the one with fewer attempts in
 * progress for its weight. State belongs to the upstream; never allocates after create. */
#ifndef WEIR_UPSTREAM_BALANCE_LEAST_H
#define WEIR_UPSTREAM_BALANCE_LEAST_H

#include "upstream/balance.h"

extern const struct balance_ops balance_least_active;

#endif
