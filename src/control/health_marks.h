/* SPDX-License-Identifier: Apache-2.0 */
/* health_marks: what a process knows of its endpoints' health, as JSON for the process that follows
 * it on the same machine: what checks found, who is left out for its answers, how long answers take
 * and which breakers are open, each with its time (the monotonic clock, which both share). Main
 * thread; the workers' part by atomics and the registry's lock. A mark never outlives its evidence.
 */
#ifndef WEIR_CONTROL_HEALTH_MARKS_H
#define WEIR_CONTROL_HEALTH_MARKS_H

#include <jansson.h>

#include "control/health_check.h"

/* Appends the marks of all endpoints that have any to list. */
void health_marks_write(struct health_checks *h, json_t *list);
/* Sets those marks of list (NULL: none) that still hold and are newer than what h knows. */
void health_marks_take(struct health_checks *h, const json_t *list);

#endif
