/* SPDX-License-Identifier: Apache-2.0 */
/* pattern: a compiled PCRE2 regex with limits, so that no request can make it run for long.
 * Owned by the router or rewrite that compiled it (main thread); constant afterwards and matched
 * by any thread. Matching takes small memory from the caller's arena and never keeps it. */
#ifndef WEIR_PROXY_PATTERN_H
#define WEIR_PROXY_PATTERN_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/str.h"

struct pattern;

/* Steps that a match may take from one place of the subject; beyond: FAULT_MATCH_LIMIT. An anchored
 * pattern ends so within 0.2 ms (7 ms where the JIT compiler cannot be used). */
#define PATTERN_STEPS 50000u
/* One that is not anchored begins at every byte: longer subjects get fewer steps from each place,
 * so that all together stay near this number (20 ms), but never fewer than PATTERN_STEPS_LEAST. */
#define PATTERN_STEPS_ALL 8000000u
#define PATTERN_STEPS_LEAST 2000u
/* Groups that can be asked for, number 0 (the whole match) included. */
#define PATTERN_GROUPS 10u

/* What a run of matches needs: zero-initialised but for arena, then pattern_run_end. Costs nothing
 * until the first match. */
struct pattern_run {
    struct arena *arena;
    void *memory; /* pcre2_general_context; NULL before the first match */
    void *found;  /* pcre2_match_data */
    void *limits; /* pcre2_match_context */
    /* The next subject is that one of several which one client sends for the same question: the
     * later, the fewer steps it gets (PATTERN_STEPS_LEAST at least). 0, 1: it is alone. */
    uint32_t turn;
};

/* Compiles text; anchored: must match from the subject's first byte (not to its last). A '$'
 * matches at the very end only. NULL: *why (mem_free) says what is wrong and at which byte. */
struct pattern *pattern_new(struct str text, bool anchored, char **why);
/* One holder more; main thread. */
struct pattern *pattern_ref(struct pattern *p);
/* One less; the last frees it; NULL is allowed. */
void pattern_free(struct pattern *p);
/* Highest group number of p. */
uint32_t pattern_groups(const struct pattern *p);
/* Matches subject: *yes. MATCH_LIMIT when it took too many steps, MEMORY when the arena refuses. */
enum fault pattern_match(const struct pattern *p, struct str subject, struct pattern_run *run,
                         bool *yes) FAULT_CHECKED;
/* What group number i matched in the last successful pattern_match of run (a view of its subject,
 * also when empty); empty when the group took no part. */
struct str pattern_group(const struct pattern_run *run, struct str subject, uint32_t i);
/* Ends a run: gives back what the arena does not own. */
void pattern_run_end(struct pattern_run *run);

#endif
