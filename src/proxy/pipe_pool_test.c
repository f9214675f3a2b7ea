/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes for splice: who gets a large one, how many there are, and that each is paid for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <unistd.h>

#include "proxy/pipe_pool.h"

struct bench {
    struct mem_limit limit;
    struct mem_account account;
    struct pipe_pool pool;
};

static void bench_open(struct bench *b, size_t limit)
{
    *b = (struct bench){.limit = {.max = limit}};
    b->account.limit = &b->limit;
    b->pool.account = &b->account;
}

/* Closes all; nothing is left charged. */
static void bench_close(struct bench *b)
{
    pipe_pool_fini(&b->pool);
    assert_int_equal(b->account.used, 0);
    assert_int_equal(b->pool.n_large, 0);
    mem_account_fini(&b->account);
}

/* Puts n bytes into p. */
static void fill(struct pipe_pair *p, size_t n)
{
    char bytes[16384] = {0};
    for (size_t part; n > 0; n -= part, p->bytes += part) {
        part = n < sizeof bytes ? n : sizeof bytes;
        assert_int_equal(write(p->wr, bytes, part), (ssize_t) part);
    }
}

static void an_empty_pipe_is_used_again(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 64 * PIPE_LARGE);
    struct pipe_pair *small = pipe_take(&b.pool, false), *large = pipe_take(&b.pool, true);
    assert_int_equal(small->cap, PIPE_SMALL);
    assert_int_equal(large->cap, PIPE_LARGE);
    assert_int_equal(b.account.used, PIPE_SMALL + PIPE_LARGE);
    pipe_park(&b.pool, small);
    pipe_park(&b.pool, large);
    assert_ptr_equal(pipe_take(&b.pool, true), large);
    assert_ptr_equal(pipe_take(&b.pool, false), small);
    fill(small, 1);
    pipe_park(&b.pool, small); /* closed: it is not empty */
    pipe_park(&b.pool, large);
    assert_int_equal(b.account.used, PIPE_LARGE);
    bench_close(&b);
}

static void large_ones_are_few(void **state)
{
    (void) state;
    struct bench b;
    struct pipe_pair *p[PIPES_LARGE + 1];
    bench_open(&b, 64 * PIPE_LARGE);
    for (unsigned i = 0; i <= PIPES_LARGE; i++)
        p[i] = pipe_take(&b.pool, true);
    assert_int_equal(p[PIPES_LARGE - 1]->cap, PIPE_LARGE);
    assert_int_equal(p[PIPES_LARGE]->cap, PIPE_SMALL);
    for (unsigned i = 0; i <= PIPES_LARGE; i++)
        pipe_park(&b.pool, p[i]);
    assert_int_equal(b.account.used, PIPE_LARGE + PIPE_SMALL); /* one large one waits */
    bench_close(&b);
}

static void a_slow_reader_gives_its_large_one_up(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 64 * PIPE_LARGE);
    struct pipe_pair *p = pipe_take(&b.pool, true);
    fill(p, PIPE_SMALL + 1);
    pipe_shrink(&b.pool, p); /* a byte more than a small one has */
    assert_int_equal(p->cap, 2 * PIPE_SMALL);
    assert_int_equal(b.account.used, 2 * PIPE_SMALL);
    assert_int_equal(b.pool.n_large, 1);
    char byte;
    assert_int_equal(read(p->rd, &byte, 1), 1);
    p->bytes--;
    for (size_t page = 4096; page > 1; page--, p->bytes--) /* a page that is begun takes its slot */
        assert_int_equal(read(p->rd, &byte, 1), 1);
    pipe_shrink(&b.pool, p);
    assert_int_equal(p->cap, PIPE_SMALL);
    assert_int_equal(b.pool.n_large, 0);
    assert_int_equal(b.account.used, PIPE_SMALL);
    pipe_park(&b.pool, p);
    bench_close(&b);
}

static void no_memory_for_a_large_one_is_a_small_one(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 4 * PIPE_SMALL);
    struct pipe_pair *p = pipe_take(&b.pool, true);
    assert_non_null(p);
    assert_int_equal(p->cap, PIPE_SMALL);
    pipe_park(&b.pool, p);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_pipe_is_used_again),
        cmocka_unit_test(large_ones_are_few),
        cmocka_unit_test(a_slow_reader_gives_its_large_one_up),
        cmocka_unit_test(no_memory_for_a_large_one_is_a_small_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
