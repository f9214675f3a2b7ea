/* SPDX-License-Identifier: Apache-2.0 */
#include "hist.h"

/* Values below 2^6 have a slot each; above, each power of two has 64 slots. */
static unsigned slot_of(uint64_t value)
{
    if (value < (1u << HIST_SUB_BITS)) {
        return (unsigned) value;
    }
    unsigned shift = 63u - (unsigned) __builtin_clzll(value) - HIST_SUB_BITS;
    unsigned slot = ((shift + 1) << HIST_SUB_BITS) +
                    (unsigned) ((value >> shift) & ((1u << HIST_SUB_BITS) - 1));
    return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

/* The largest value that belongs to the slot. */
static uint64_t slot_top(unsigned slot)
{
    unsigned row = slot >> HIST_SUB_BITS;
    uint64_t low = slot & ((1u << HIST_SUB_BITS) - 1);

    if (row == 0) {
        return low;
    }
    return ((((uint64_t) 1 << HIST_SUB_BITS) + low + 1) << (row - 1)) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
    h->slots[slot_of(value)]++;
    h->count++;
    if (value > h->max) {
        h->max = value;
    }
}

uint64_t hist_at(const struct hist *h, double percent)
{
    double wanted = (double) h->count * percent / 100.0;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        seen += h->slots[i];
        if (seen > 0 && (double) seen >= wanted) {
            uint64_t top = slot_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return 0;
}
