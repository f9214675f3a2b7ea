/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: alignment, bounds, text, clean-ups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

struct fixture {
    struct mem_limit limit;
    struct mem_account account;
    struct pool chunks;
    struct arena arena;
};

static void open_fixture(struct fixture *f, size_t limit, size_t max)
{
    *f = (struct fixture){.limit = {.max = limit}};
    f->account.limit = &f->limit;
    pool_init(&f->chunks, ARENA_CHUNK, 4, &f->account);
    arena_init(&f->arena, &f->chunks, max);
}

static void close_fixture(struct fixture *f)
{
    arena_fini(&f->arena);
    assert_int_equal(f->account.used, 0);
    pool_fini(&f->chunks);
    mem_account_fini(&f->account);
}

static void begins_in_the_callers_room(void **state)
{
    (void) state;
    struct fixture f;
    char room[64] __attribute__((aligned(16)));
    open_fixture(&f, 0, 65536);
    arena_init_in(&f.arena, &f.chunks, 65536, room, sizeof(room));
    char *first = arena_alloc(&f.arena, 40), *second = arena_alloc(&f.arena, 40);
    assert_non_null(first);
    assert_non_null(second);
    if (!MEM_WATCHED) {
        assert_ptr_equal(first, room);
        assert_int_equal(f.chunks.n_used, 1); /* the second did not fit */
    }
    arena_fini(&f.arena);
    arena_init_in(&f.arena, &f.chunks, sizeof(room), room, sizeof(room));
    assert_null(arena_alloc(&f.arena, 65)); /* the room counts as used */
    close_fixture(&f);
}

static void takes_nothing_until_used(void **state)
{
    (void) state;
    struct fixture f;
    open_fixture(&f, 0, 65536);
    assert_int_equal(f.chunks.n_used, 0);
    char *a = arena_alloc(&f.arena, 1), *b = arena_alloc(&f.arena, 0);
    assert_true((uintptr_t) a % 16 == 0 && (uintptr_t) b % 16 == 0 && a != b);
    assert_int_equal(f.chunks.n_used, MEM_WATCHED ? 0 : 1);
    close_fixture(&f);
}

static void keeps_objects_apart(void **state)
{
    (void) state;
    struct fixture f;
    open_fixture(&f, 0, 1024 * 1024);
    unsigned char *objects[200];
    size_t sizes[200];
    for (size_t i = 0; i < 200; i++) {
        sizes[i] = i % 50 == 49 ? 9000 : i * 7 % 600;
        objects[i] = arena_alloc(&f.arena, sizes[i]);
        assert_non_null(objects[i]);
        memset(objects[i], (int) i, sizes[i]);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(objects[i][j], i);
    close_fixture(&f);
}

static void is_bounded(void **state)
{
    (void) state;
    struct fixture f;
    open_fixture(&f, 0, 5000);
    size_t got = 0;
    while (arena_alloc(&f.arena, 100))
        got += 112;
    assert_in_range(got, 4500, 5000);
    assert_null(arena_alloc(&f.arena, 6000));
    assert_null(arena_alloc(&f.arena, SIZE_MAX - 3));
    char text[200] = {0};
    struct str refused = arena_str(&f.arena, str_of(text, sizeof text));
    assert_null(refused.p);
    assert_int_equal(refused.n, 0);
    close_fixture(&f);
    /* It serves again after arena_fini. */
    open_fixture(&f, 0, 5000);
    assert_non_null(arena_zalloc(&f.arena, 4500));
    arena_fini(&f.arena);
    assert_non_null(arena_zalloc(&f.arena, 4500));
    close_fixture(&f);
}

static void is_refused_by_the_account(void **state)
{
    (void) state;
    struct fixture f;
    open_fixture(&f, ARENA_CHUNK + 100, 1024 * 1024);
    assert_non_null(arena_alloc(&f.arena, 4000));
    assert_null(arena_alloc(&f.arena, 1000));
    assert_null(arena_alloc(&f.arena, 8000));
    assert_null(arena_printf(&f.arena, "%200d", 1).p);
    unsigned registered = 0;
    while (registered < 100 && arena_on_free(&f.arena, NULL, NULL))
        registered++;
    assert_in_range(registered, 1, 99);
    f.arena.cleanups = NULL;
    close_fixture(&f);
}

static void makes_text(void **state)
{
    (void) state;
    struct arena a;
    arena_init(&a, NULL, 65536);
    assert_string_equal(arena_str(&a, str_of("abcdef", 3)).p, "abc");
    struct str parts[] = {STR("a"), STR(""), STR("bc")};
    assert_string_equal(arena_join(&a, parts, 3).p, "abc");
    struct str s = arena_printf(&a, "%s:%d", "host", 80);
    assert_string_equal(s.p, "host:80");
    assert_int_equal(s.n, 7);
    assert_non_null(arena_str(&a, str_of(NULL, 0)).p);
    arena_fini(&a);
}

static char order[8];

static void note(void *arg)
{
    size_t n = strlen(order);
    order[n] = *(const char *) arg;
    order[n + 1] = '\0';
}

static void cleans_up_newest_first(void **state)
{
    (void) state;
    struct arena a;
    arena_init(&a, NULL, 65536);
    assert_true(arena_on_free(&a, note, (void *) (uintptr_t) "1"));
    assert_true(arena_on_free(&a, note, (void *) (uintptr_t) "2"));
    assert_true(arena_on_free(&a, note, (void *) (uintptr_t) "3"));
    arena_fini(&a);
    assert_string_equal(order, "321");
    arena_fini(&a);
    assert_string_equal(order, "321");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_nothing_until_used),  cmocka_unit_test(begins_in_the_callers_room),
        cmocka_unit_test(keeps_objects_apart),       cmocka_unit_test(is_bounded),
        cmocka_unit_test(is_refused_by_the_account), cmocka_unit_test(makes_text),
        cmocka_unit_test(cleans_up_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
