/* SPDX-License-Identifier: Apache-2.0 */
/* balance_hash: hash: requests of one key go to one endpoint, by a ring or a maglev table; when an
 * endpoint leaves, only its keys move. By choice no endpoint gets far more than its share. State
 * belongs to the upstream; never allocates after create. */
#ifndef WEIR_UPSTREAM_BALANCE_HASH_H
#define WEIR_UPSTREAM_BALANCE_HASH_H

#include "upstream/balance.h"

extern const struct balance_ops balance_hash;

#endif
