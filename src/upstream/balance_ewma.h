/* SPDX-License-Identifier: Apache-2.0 */
/* balance_ewma: peak-EWMA: of two endpoints drawn by weight, the one with the smaller product of
 * its response time and its attempts in progress. A slower answer counts at once, a faster one
 * within ten seconds. State belongs to the upstream; never allocates after create. */
#ifndef WEIR_UPSTREAM_BALANCE_EWMA_H
#define WEIR_UPSTREAM_BALANCE_EWMA_H

#include "upstream/balance.h"

extern const struct balance_ops balance_ewma;

#endif
