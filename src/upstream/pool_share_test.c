/* SPDX-License-Identifier: Apache-2.0 */
/* Links that carry several requests: who shares, who waits for whom, what ends them. The one who
 * speaks HTTP/2 is played by the test. */
#include "upstream/kit.h"

#define FEW 3u

struct played {
    struct link *link; /* the newest */
    uint32_t begun, ended;
};

static struct played played;

static bool begin(struct link *l)
{
    l->shared = &played;
    played.link = l;
    played.begun++;
    return true;
}

static void event(struct link *l, unsigned events)
{
    (void) l;
    (void) events;
}

static void on_timer(struct link *l)
{
    (void) l;
}

static void end(struct link *l)
{
    (void) l;
    played.ended++;
}

static const struct link_sharing sharing = {begin, event, on_timer, end};

static void open_h2(struct kit *k)
{
    played = (struct played){0};
    kit_open(k);
    k->conf.protocol = PROTOCOL_H2;
    k->conf.http2.max_streams = FEW;
}

static void start_h2(struct kit *k)
{
    kit_start(k, 1);
    k->worker.sharing = &sharing;
}

/* Asks n times; the links have come when the peer has shown its settings. */
static void ask_all(struct kit *k, struct ask *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(kit_ask(k, &a[i]), ACQUIRE_PENDING);
}

static void test_shared(void **state)
{
    struct kit k;
    struct ask a[FEW] = {0}, more = {0};
    (void) state;
    open_h2(&k);
    start_h2(&k);
    ask_all(&k, a, FEW); /* all wait for one connection */
    KIT_UNTIL(&k, played.begun == 1);
    pool_share_opened(played.link, 100);
    KIT_UNTIL(&k, a[0].done && a[1].done && a[2].done);
    for (size_t i = 0; i < FEW; i++)
        assert_ptr_equal(a[i].link, played.link);
    assert_int_equal(played.link->in_use, FEW);
    assert_int_equal(kit_ask(&k, &more), ACQUIRE_PENDING); /* full: another one */
    pool_release(a[0].link);
    KIT_UNTIL(&k, more.done); /* but what comes free first will do */
    assert_ptr_equal(more.link, a[1].link);
    pool_release(a[1].link);
    pool_release(a[2].link);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 0);
    pool_release(more.link);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 1);
    kit_close(&k);
    assert_int_equal(played.begun, played.ended);
}

static void test_leaving(void **state)
{
    struct kit k;
    struct ask a = {0}, b = {0};
    (void) state;
    open_h2(&k);
    start_h2(&k);
    ask_all(&k, &a, 1);
    KIT_UNTIL(&k, played.begun == 1);
    struct link *first = played.link;
    pool_share_opened(first, 100);
    KIT_UNTIL(&k, a.done);
    pool_share_stop(first, EVICT_GOAWAY);
    assert_int_equal(kit_ask(&k, &b), ACQUIRE_PENDING); /* not lent any more */
    KIT_UNTIL(&k, played.begun == 2);
    pool_share_opened(played.link, 100);
    KIT_UNTIL(&k, b.done);
    assert_ptr_not_equal(b.link, first);
    assert_int_equal(played.ended, 0); /* its request may finish */
    pool_release(a.link);
    assert_int_equal(played.ended, 1);
    assert_int_equal(kit_evicted(&k, EVICT_GOAWAY), 1);
    pool_release(b.link); /* idle */
    pool_share_stop(b.link, EVICT_CLOSED);
    pool_share_settled(b.link);
    assert_int_equal(kit_evicted(&k, EVICT_CLOSED), 1);
    kit_close(&k);
}

static void test_fails_to_begin(void **state)
{
    struct kit k;
    struct ask a[2] = {0};
    (void) state;
    open_h2(&k);
    start_h2(&k);
    ask_all(&k, a, 2);
    KIT_UNTIL(&k, played.begun == 1);
    pool_share_failed(played.link, FAULT_UP_H2_PROTOCOL);
    KIT_UNTIL(&k, a[0].done && a[1].done);
    assert_int_equal(a[0].fault, FAULT_UP_H2_PROTOCOL);
    assert_int_equal(a[1].fault, FAULT_UP_H2_PROTOCOL);
    kit_close(&k);
}

/* Fewer fit than were expected: the others get connections of their own. */
static void test_fewer_than_expected(void **state)
{
    struct kit k;
    struct ask a[2] = {0};
    (void) state;
    open_h2(&k);
    start_h2(&k);
    ask_all(&k, a, 2);
    KIT_UNTIL(&k, played.begun == 1);
    pool_share_opened(played.link, 1);
    KIT_UNTIL(&k, played.begun == 2);
    pool_share_opened(played.link, 1);
    KIT_UNTIL(&k, a[0].done && a[1].done);
    assert_ptr_not_equal(a[0].link, a[1].link);
    pool_release(a[0].link);
    pool_release(a[1].link);
    kit_close(&k);
}

static void test_limit(void **state)
{
    struct kit k;
    struct ask a[FEW + 1] = {0};
    (void) state;
    open_h2(&k);
    k.conf.pool.max_connections = 1;
    start_h2(&k);
    ask_all(&k, a, FEW + 1);
    KIT_UNTIL(&k, played.begun == 1);
    pool_share_opened(played.link, 100);
    KIT_UNTIL(&k, a[0].done && a[1].done && a[2].done);
    assert_false(a[3].done);
    pool_release(a[1].link);
    KIT_UNTIL(&k, a[3].done);
    assert_ptr_equal(a[3].link, played.link);
    assert_int_equal(played.begun, 1);
    pool_release(a[0].link);
    pool_release(a[2].link);
    pool_release(a[3].link);
    kit_close(&k);
}

/* A wait that is given up when its link was already delivered gives the loan back. */
static void test_given_up(void **state)
{
    struct kit k;
    struct ask a[2] = {0};
    (void) state;
    open_h2(&k);
    start_h2(&k);
    ask_all(&k, a, 2);
    KIT_UNTIL(&k, played.begun == 1);
    pool_share_opened(played.link, 100);
    pool_cancel(&a[0].wait);
    KIT_UNTIL(&k, a[1].done);
    assert_false(a[0].done);
    assert_int_equal(played.link->in_use, 1);
    pool_release(a[1].link);
    kit_close(&k);
}

/* Nobody has to look whether a shared one is quiet: the hottest serves, so that others may end. */
static void test_hottest(void **state)
{
    struct kit k;
    struct ask a[2] = {0}, more = {0};
    (void) state;
    open_h2(&k);
    k.conf.http2.max_streams = 1;
    start_h2(&k);
    for (uint32_t i = 0; i < 2; i++) {
        ask_all(&k, &a[i], 1);
        KIT_UNTIL(&k, played.begun == i + 1);
        pool_share_opened(played.link, 100);
        KIT_UNTIL(&k, a[i].done);
        a[i].link->conn.last_short = true; /* as who speaks HTTP/2 would have read it */
    }
    pool_release(a[0].link);
    loop_turn(k.loop, 0);
    pool_release(a[1].link);
    assert_int_equal(kit_ask(&k, &more), ACQUIRE_READY);
    assert_ptr_equal(more.link, a[1].link);
    pool_release(more.link);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),         cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_fails_to_begin), cmocka_unit_test(test_fewer_than_expected),
        cmocka_unit_test(test_limit),          cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_hottest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
