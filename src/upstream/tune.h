/* SPDX-License-Identifier: Apache-2.0 */
/* tune: how much of its weight an endpoint has in force: slow start after a return, feedback from
 * response times, what it reports itself. Main thread, under the registry's lock; workers only
 * store what an endpoint said. Never changes the weight itself. */
#ifndef WEIR_UPSTREAM_TUNE_H
#define WEIR_UPSTREAM_TUNE_H

#include "upstream/registry.h"

/* e came back: its slow start begins. The registry is being changed. */
void tune_returned(struct endpoint *e, usec_t now);
/* Computes the shares of u's endpoints anew; the registry is locked; true: the number was made odd
 * because something changed. feedback: that is due as well. */
bool tune_upstream(struct upstream *u, usec_t now, bool feedback, bool changing);
/* Any thread: e's answer asked for this share ("75", "75%"); false: not a share. */
bool tune_reported(struct endpoint *e, struct str text);

#endif
