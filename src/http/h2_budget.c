/* SPDX-License-Identifier: Apache-2.0 */
/* h2_budget: see h2_budget.h. A bucket is one point in time: each event moves it on by the time
 * that its rate needs for one, and it may be ahead of now by burst of these. */
#include "http/h2_budget.h"

struct row {
    uint32_t burst;
    uint32_t rate; /* a second */
    enum fault fault;
};

static const struct row rows[H2_EVENTS] = {
    [H2_RESET] = {200, 20, FAULT_H2_RAPID_RESET},
    [H2_RESET_CAUSED] = {200, 20, FAULT_H2_MADE_RESET},
    [H2_CONTINUATION] = {64, 4, FAULT_H2_CONTINUATION_FLOOD},
    [H2_SETTINGS] = {50, 1, FAULT_H2_SETTINGS_FLOOD},
    [H2_PING] = {500, 50, FAULT_H2_PING_FLOOD},
    [H2_EMPTY_DATA] = {50, 2, FAULT_H2_EMPTY_DATA_FLOOD},
    [H2_PRIORITY] = {500, 50, FAULT_H2_PRIORITY_FLOOD},
    [H2_WINDOW] = {1000, 100, FAULT_H2_WINDOW_FLOOD},
    [H2_OTHER] = {200, 10, FAULT_H2_UNKNOWN_FLOOD},
    [H2_REFUSED] = {4000, 100, FAULT_H2_STREAM_FLOOD},
    [H2_STALL] = {8, 1, FAULT_H2_WINDOW_STALL},
};

#define WINDOWS_PAID 65536u /* most that are kept: a sender is not that far ahead of its reader */

static usec_t span(const struct row *r, uint32_t n)
{
    return n * USEC_PER_SEC / r->rate;
}

enum fault h2_budget_take(struct h2_budget *b, enum h2_event e, usec_t now)
{
    const struct row *r = &rows[e];
    if (e == H2_WINDOW && b->windows) {
        b->windows--;
        return FAULT_OK;
    }
    usec_t *until = &b->until[e == H2_RESET_CAUSED ? H2_RESET : e];
    if (*until < now)
        *until = now;
    *until += span(r, 1);
    return *until - now > span(r, r->burst) ? r->fault : FAULT_OK;
}

void h2_budget_repay(struct h2_budget *b, enum h2_event e, uint32_t n)
{
    usec_t back = span(&rows[e], n);
    b->until[e] = b->until[e] > back ? b->until[e] - back : 0;
}

void h2_budget_sent(struct h2_budget *b, uint32_t n)
{
    b->windows = n < WINDOWS_PAID - b->windows ? b->windows + n : WINDOWS_PAID;
}
