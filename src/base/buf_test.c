/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, slices and chains: counting, splitting, sharing, copying, refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

struct fixture {
    struct mem_limit limit;
    struct mem_account account;
    struct buf_pool bp;
};

static int open_fixture(void **state)
{
    static struct fixture f;
    f = (struct fixture){.limit = {.max = 64 * 1024 * 1024}};
    f.account.limit = &f.limit;
    buf_pool_init(&f.bp, &f.account);
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->bp.blocks.n_used, 0);
    assert_int_equal(f->bp.slices.n_used, 0);
    buf_pool_fini(&f->bp);
    mem_account_fini(&f->account);
    return 0;
}

static void assert_chain(const struct chain *c, const char *expected)
{
    char text[64] = {0};
    size_t n = 0;
    uint32_t slices = 0;
    for (const struct slice *s = c->head; s; s = s->next) {
        assert_true(s->n > 0);
        n += s->n;
        slices++;
        assert_true(s->next || s == c->tail);
    }
    assert_int_equal(c->bytes, n);
    assert_int_equal(c->slices, slices);
    assert_int_equal(chain_peek(c, text, sizeof text - 1), n);
    assert_string_equal(text, expected);
}

/* A block filled with text, one reference. */
static struct block *filled(struct buf_pool *bp, const char *text)
{
    struct block *b = block_new(bp);
    assert_non_null(b);
    b->fill = (uint32_t) strlen(text);
    memcpy(b->bytes, text, b->fill);
    return b;
}

static void joins_and_drops(void **state)
{
    struct fixture *f = *state;
    struct chain c = {0};
    struct block *b = filled(&f->bp, "abcdefgh");
    assert_true(chain_add(&c, &f->bp, b, b->bytes, 3));
    assert_true(chain_add(&c, &f->bp, b, b->bytes + 3, 2));
    assert_int_equal(c.slices, 1);
    assert_true(chain_add_static(&c, &f->bp, STR("--")));
    assert_true(chain_add(&c, &f->bp, b, b->bytes + 5, 3));
    assert_true(chain_add_static(&c, &f->bp, STR("")));
    assert_int_equal(b->refs, 3);
    block_unref(b);
    assert_chain(&c, "abcde--fgh");
    struct iovec iov[8];
    assert_int_equal(chain_iov(&c, iov, 8), 3);
    assert_int_equal(chain_iov(&c, iov, 2), 2);
    assert_int_equal(iov[1].iov_len, 2);
    chain_drop(&c, &f->bp, 6);
    assert_chain(&c, "-fgh");
    chain_drop(&c, &f->bp, 4);
    assert_null(c.head);
    chain_clear(&c, &f->bp);
}

/* Static bytes join with those that they stand behind, also when the first of them have left. */
static void static_bytes_join(void **state)
{
    struct fixture *f = *state;
    struct chain c = {0};
    static const char text[] = "headbody";
    assert_true(chain_add_static(&c, &f->bp, str_of(text, 4)));
    assert_true(chain_add_static(&c, &f->bp, str_of(text + 4, 2)));
    assert_int_equal(c.slices, 1);
    chain_drop(&c, &f->bp, 5);
    assert_true(chain_add_static(&c, &f->bp, str_of(text + 6, 2)));
    assert_int_equal(c.slices, 1);
    assert_chain(&c, "ody");
    assert_true(chain_add_static(&c, &f->bp, str_of(text, 4)));
    assert_int_equal(c.slices, 2);
    chain_clear(&c, &f->bp);
    assert_int_equal(f->bp.slices.n_used, 0);
    assert_null(c.tail);
}

static void moves_and_splits(void **state)
{
    struct fixture *f = *state;
    struct chain from = {0}, to = {0};
    struct block *b = filled(&f->bp, "0123456789");
    assert_true(chain_add(&from, &f->bp, b, b->bytes, 4));
    assert_true(chain_add(&from, &f->bp, b, b->bytes + 6, 4));
    block_unref(b);
    assert_int_equal(chain_move(&to, &from, 5, &f->bp), 5);
    assert_chain(&to, "01236");
    assert_chain(&from, "789");
    assert_int_equal(chain_move(&to, &from, 0, &f->bp), 0);
    assert_int_equal(chain_move(&to, &from, 2, &f->bp), 2);
    assert_int_equal(to.slices, 2); /* joined again */
    assert_int_equal(chain_move(&to, &from, 99, &f->bp), 1);
    assert_chain(&from, "");
    assert_chain(&to, "01236789");
    chain_clear(&to, &f->bp);
}

static void shares(void **state)
{
    struct fixture *f = *state;
    struct chain a = {0}, b = {0};
    assert_true(chain_copy(&a, &f->bp, STR("hello ")));
    assert_true(chain_add_static(&a, &f->bp, STR("world")));
    assert_true(chain_share(&b, &a, &f->bp));
    assert_ptr_equal(a.head->block, b.head->block);
    /* Both go on copying into the same block without seeing each other's bytes. */
    chain_drop(&a, &f->bp, 11);
    assert_true(chain_copy(&a, &f->bp, STR("one")));
    assert_true(chain_copy(&b, &f->bp, STR("!")));
    assert_true(chain_copy(&a, &f->bp, STR("two")));
    assert_chain(&a, "onetwo");
    assert_chain(&b, "hello world!");
    assert_int_equal(f->bp.blocks.n_used, 1);
    chain_clear(&a, &f->bp);
    chain_clear(&b, &f->bp);
}

/* A reader goes on filling its block behind what the chain holds. */
static void never_writes_into_a_block_being_filled(void **state)
{
    struct fixture *f = *state;
    struct chain c = {0};
    struct block *b = filled(&f->bp, "head");
    assert_true(chain_add(&c, &f->bp, b, b->bytes, 4));
    assert_true(chain_copy(&c, &f->bp, STR("tail")));
    assert_int_equal(b->fill, 4);
    assert_int_equal(c.slices, 2);
    block_unref(b);
    chain_clear(&c, &f->bp);
    /* The chain alone holds it: its room is used. */
    b = filled(&f->bp, "head");
    assert_true(chain_add(&c, &f->bp, b, b->bytes, 4));
    block_unref(b);
    assert_true(chain_copy(&c, &f->bp, STR("tail")));
    assert_int_equal(c.slices, 1);
    assert_chain(&c, "headtail");
    chain_clear(&c, &f->bp);
}

static void copies_over_several_blocks(void **state)
{
    struct fixture *f = *state;
    struct chain c = {0};
    size_t n = 3 * BLOCK_BYTES + 5;
    char *big = mem_new(n), *back = mem_new(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (char) (i * 31 / 7);
    assert_true(chain_copy(&c, &f->bp, str_of(big, n)));
    assert_int_equal(f->bp.blocks.n_used, 4);
    assert_int_equal(chain_peek(&c, back, n), n);
    assert_memory_equal(big, back, n);
    mem_free(big);
    mem_free(back);
    chain_clear(&c, &f->bp);
}

static void refusal_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct chain c = {0}, d = {0};
    assert_true(chain_copy(&c, &f->bp, STR("abc")));
    assert_true(chain_add_static(&c, &f->bp, STR("def")));
    size_t n = 2 * BLOCK_BYTES;
    char *big = mem_new(n);
    for (uint64_t door = 1; door <= 4; door++) {
        f->account.fail_after = door;
        assert_false(chain_copy(&c, &f->bp, str_of(big, n)));
        f->account.fail_after = 0;
        assert_chain(&c, "abcdef");
    }
    f->account.fail_after = 2;
    assert_false(chain_share(&d, &c, &f->bp));
    assert_chain(&d, "");
    f->account.fail_after = 1;
    assert_int_equal(chain_move(&d, &c, 1, &f->bp), 0);
    f->account.fail_after = 1;
    assert_null(block_new(&f->bp));
    f->account.fail_after = 1;
    assert_null(block_new_sized(&f->bp, 100000));
    f->account.fail_after = 1;
    assert_false(chain_add_static(&d, &f->bp, STR("x")));
    assert_chain(&c, "abcdef");
    chain_clear(&c, &f->bp);
    mem_free(big);
}

static void serves_large_blocks(void **state)
{
    struct fixture *f = *state;
    struct block *b = block_new_sized(&f->bp, 100000);
    assert_true(block_room(b) >= 100000);
    assert_true(f->bp.large_bytes > 100000);
    block_unref(block_ref(b));
    block_unref(b);
    assert_int_equal(f->bp.large_bytes, 0);
    b = block_new_sized(&f->bp, 10);
    assert_int_equal(b->cap, BLOCK_BYTES);
    block_unref(b);
    block_unref(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        T(joins_and_drops),
        T(static_bytes_join),
        T(moves_and_splits),
        T(shares),
        T(never_writes_into_a_block_being_filled),
        T(copies_over_several_blocks),
        T(refusal_changes_nothing),
        T(serves_large_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
