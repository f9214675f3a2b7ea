/* SPDX-License-Identifier: Apache-2.0 */
/* fault.c: the rows of fault_table.h as an array. Constant. */
#include "base/fault.h"

#include "base/panic.h"

static const struct fault_row rows[FAULT_COUNT] = {
#define FAULT(id, name, side, status, retry, proxy_status, text)                                   \
    {name, sizeof(name) - 1, FAULT_SIDE_##side, status, FAULT_RETRY_##retry, proxy_status, text},
#include "base/fault_table.h"
#undef FAULT
};

const struct fault_row *fault_row(enum fault f)
{
    must((unsigned) f < FAULT_COUNT);
    return &rows[f];
}
