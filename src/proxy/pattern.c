/* SPDX-License-Identifier: Apache-2.0 */
/* pattern.c: PCRE2 with limits.
 * Invariants:
 * 1. A pattern is constant after pattern_new, but for the number of its holders, which no match
 *    reads; everything that a match writes is in its run.
 * 2. A run's small pieces lie in the arena; a large one (PCRE2's stack, taken only where the JIT
 *    compiler cannot be used) comes from the heap and goes back in pattern_run_end. */
#include "proxy/pattern.h"

#include <pcre2.h>

#include "base/mem.h"

#define HEAP_KIB 1024u    /* most that one match may take for its own stack */
#define ARENA_PIECE 1024u /* larger pieces come from the heap */

struct pattern {
    pcre2_code *code;
    uint32_t refs; /* who free it */
    uint32_t groups;
    bool anchored;
};

/* In front of each piece that a run hands to PCRE2. */
struct piece {
    _Alignas(16) bool heap;
};

static void *lasting_get(size_t n, void *unused)
{
    (void) unused;
    return mem_new(n);
}

static void lasting_put(void *p, void *unused)
{
    (void) unused;
    mem_free(p);
}

static void *run_get(size_t n, void *arena)
{
    bool heap = n > ARENA_PIECE;
    struct piece *p = heap ? mem_new(sizeof(*p) + n) : arena_alloc(arena, sizeof(*p) + n);
    if (!p)
        return NULL;
    p->heap = heap;
    return p + 1;
}

static void run_put(void *memory, void *arena)
{
    (void) arena;
    struct piece *p = memory;
    if (p && p[-1].heap)
        mem_free(p - 1);
}

/* The text of a PCRE2 error and where it is. */
static char *error_text(int error, size_t offset)
{
    char text[256];
    if (pcre2_get_error_message(error, (PCRE2_UCHAR *) text, sizeof(text)) < 0)
        return mem_printf("regex error %d at byte %zu", error, offset);
    return mem_printf("%s at byte %zu of the regex", text, offset);
}

struct pattern *pattern_new(struct str text, bool anchored, char **why)
{
    uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    if (anchored)
        options |= PCRE2_ANCHORED;
    pcre2_general_context *memory = pcre2_general_context_create(lasting_get, lasting_put, NULL);
    pcre2_compile_context *how = pcre2_compile_context_create(memory);
    int error = 0;
    size_t offset = 0;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) (text.p ? text.p : ""), text.n, options, &error, &offset, how);
    pcre2_compile_context_free(how);
    struct pattern *p = NULL;
    if (!code) {
        *why = error_text(error, offset);
    } else {
        /* Where executable memory is forbidden the interpreter does the same, slower. */
        (void) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
        p = mem_new(sizeof(*p));
        p->code = code;
        p->refs = 1;
        p->anchored = anchored;
        (void) pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &p->groups);
    }
    pcre2_general_context_free(memory);
    return p;
}

struct pattern *pattern_ref(struct pattern *p)
{
    p->refs++;
    return p;
}

void pattern_free(struct pattern *p)
{
    if (!p || --p->refs > 0)
        return;
    pcre2_code_free(p->code);
    mem_free(p);
}

uint32_t pattern_groups(const struct pattern *p)
{
    return p->groups;
}

/* First match of a run: where results go. */
static bool run_begin(struct pattern_run *run)
{
    if (!run->memory)
        run->memory = pcre2_general_context_create(run_get, run_put, run->arena);
    if (!run->memory)
        return false;
    run->limits = pcre2_match_context_create(run->memory);
    if (!run->limits)
        return false;
    pcre2_set_heap_limit(run->limits, HEAP_KIB);
    run->found = pcre2_match_data_create(PATTERN_GROUPS, run->memory);
    return run->found != NULL;
}

/* Steps that p may take from each place of a subject of n bytes. */
static uint32_t steps(const struct pattern *p, size_t n, uint32_t turn)
{
    size_t each = PATTERN_STEPS_ALL / (n + 1);
    if (p->anchored || each > PATTERN_STEPS)
        each = PATTERN_STEPS;
    each /= turn ? turn : 1;
    return each < PATTERN_STEPS_LEAST ? PATTERN_STEPS_LEAST : (uint32_t) each;
}

enum fault pattern_match(const struct pattern *p, struct str subject, struct pattern_run *run,
                         bool *yes)
{
    *yes = false;
    if (!run->found && !run_begin(run))
        return FAULT_MEMORY;
    pcre2_set_match_limit(run->limits, steps(p, subject.n, run->turn));
    PCRE2_SPTR at = (PCRE2_SPTR) (subject.p ? subject.p : "");
    int got = pcre2_match(p->code, at, subject.n, 0, 0, run->found, run->limits);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = pcre2_match(p->code, at, subject.n, 0, PCRE2_NO_JIT, run->found, run->limits);
    *yes = got >= 0; /* 0: more groups than there is room for */
    if (got == PCRE2_ERROR_MATCHLIMIT || got == PCRE2_ERROR_DEPTHLIMIT ||
        got == PCRE2_ERROR_HEAPLIMIT)
        return FAULT_MATCH_LIMIT;
    return got == PCRE2_ERROR_NOMEMORY ? FAULT_MEMORY : FAULT_OK;
}

struct str pattern_group(const struct pattern_run *run, struct str subject, uint32_t i)
{
    if (i >= pcre2_get_ovector_count(run->found))
        return str_of(subject.p, 0);
    const size_t *v = pcre2_get_ovector_pointer(run->found);
    if (v[2 * i] == PCRE2_UNSET || v[2 * i] > v[2 * i + 1])
        return str_of(subject.p, 0);
    return str_of(subject.p + v[2 * i], v[2 * i + 1] - v[2 * i]);
}

void pattern_run_end(struct pattern_run *run)
{
    pcre2_match_data_free(run->found);
    pcre2_match_context_free(run->limits);
    pcre2_general_context_free(run->memory);
    run->found = run->limits = run->memory = NULL;
}
