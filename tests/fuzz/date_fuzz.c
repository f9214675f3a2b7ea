/* SPDX-License-Identifier: Apache-2.0 */
/* Dates that peers send (RFC 9110 5.6.7). Property: what is accepted is what would be written. */
#include "base/clock.h"
#include "base/panic.h"
#include "http/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of((const char *) data, size);
    struct date_cache c = {.second = -1};
    int64_t second;
    if (date_read(text, &second))
        must(str_eq(date_text(&c, second * (int64_t) USEC_PER_SEC), text));
    return 0;
}
