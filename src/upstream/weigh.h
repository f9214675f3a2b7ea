/* SPDX-License-Identifier: Apache-2.0 */
/* weigh: how much each endpoint of an upstream counts at this moment: its weight and share, the
 * levels (primary, backup, zones) and the panic threshold taken together. Pure: reads the atomics
 * of the endpoints, changes nothing. Any thread. */
#ifndef WEIR_UPSTREAM_WEIGH_H
#define WEIR_UPSTREAM_WEIGH_H

#include "upstream/upstream.h"

/* Levels of an upstream: 10 priorities, each in and out of the own zone. */
#define LEVELS 20

/* Where the requests of an upstream go: a part of them, in thousandths, by level. */
struct level_plan {
    uint32_t load[LEVELS];
    bool panic[LEVELS]; /* too few of the level are usable: all of it is used */
};

/* Plans by how many of each level are usable of how many there are. A level takes what its usable
 * part times 1.4 allows (so 72 % of it carry all), the rest goes to the next; where all together
 * cannot carry everything, what they carry is scaled up, and a level with a smaller usable share
 * than panic percent is used whole. */
void level_plan(struct level_plan *plan, const uint32_t usable[LEVELS], const uint32_t all[LEVELS],
                uint32_t panic);
/* Fills out[] by endpoint of u, 0: not to be used. */
void weights_in_force(const struct upstream *u, uint32_t *out);
/* Some level of u is in panic: unusable endpoints are being asked. */
bool upstream_in_panic(const struct upstream *u);

#endif
