/* SPDX-License-Identifier: Apache-2.0 */
/* One worker: opening, reuse, the rules of lending, limits of age and number, faults. */
#include "upstream/kit.h"

static void opens_then_reuses(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    int server = kit_accept(&k);
    assert_true(l->fresh);
    kit_answer(&k, l, server, "hello");
    pool_release(l);
    loop_turn(k.loop, 0);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_READY);
    assert_ptr_equal(a.link, l);
    assert_false(l->fresh);
    assert_int_equal(counter_get(&k.e->stats[0].opens), 1);
    assert_int_equal(counter_get(&k.e->stats[0].reused), 1);
    assert_int_equal(l->requests, 2);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 0);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 1);
    pool_evict(l, EVICT_ERROR, true);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
    close(server);
    kit_close(&k);
}

static void lends_the_hottest(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *one = kit_link(&k), *two = kit_link(&k);
    int s1 = kit_accept(&k), s2 = kit_accept(&k);
    pool_release(one);
    pool_release(two);
    loop_turn(k.loop, 0);
    assert_ptr_equal(kit_link(&k), two);
    assert_ptr_equal(kit_link(&k), one);
    pool_release(two);
    pool_release(one);
    close(s1);
    close(s2);
    kit_close(&k);
}

/* Of one released just now nobody knows yet whether it is quiet: rather one that is known to be. */
static void lends_the_hottest_that_is_proven(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *one = kit_link(&k), *two = kit_link(&k);
    int s1 = kit_accept(&k), s2 = kit_accept(&k);
    kit_answer(&k, one, s1, "answer");
    kit_answer(&k, two, s2, "answer");
    pool_release(one);
    loop_turn(k.loop, 0);
    pool_release(two);
    assert_ptr_equal(kit_link(&k), one);
    assert_ptr_equal(kit_link(&k), two); /* there is no other: by a look */
    kit_answer(&k, one, s1, "answer");
    pool_release(one);
    loop_turn(k.loop, 0);
    pool_release(two);
    struct ask a = {.wait = {.must_peek = true}}; /* any is looked at */
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_READY);
    assert_ptr_equal(a.link, two);
    pool_release(two);
    close(s1);
    close(s2);
    kit_close(&k);
}

/* Where many were released in one turn, the way to one that is proven is longer than a look. */
static void goes_no_long_way_for_a_proven_one(void **state)
{
    (void) state;
    enum { MANY = 40 };
    struct kit k;
    struct link *l[MANY];
    int server[MANY];
    kit_open(&k);
    kit_start(&k, 1);
    for (unsigned i = 0; i < MANY; i++) {
        l[i] = kit_link(&k);
        server[i] = kit_accept(&k);
        kit_answer(&k, l[i], server[i], "answer");
    }
    pool_release(l[0]);
    loop_turn(k.loop, 0);
    for (unsigned i = 1; i < MANY; i++)
        pool_release(l[i]);
    struct link *lent = kit_link(&k);
    assert_ptr_equal(lent, l[MANY - 1]);
    pool_release(lent);
    for (unsigned i = 0; i < MANY; i++)
        close(server[i]);
    kit_close(&k);
}

/* What a peer does to an idle connection, and what becomes of it. */
static void idle_event(enum evict_reason want)
{
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    int server = kit_accept(&k);
    pool_release(l);
    loop_turn(k.loop, 0);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 1);
    if (want == EVICT_READABLE)
        assert_int_equal(write(server, "HTTP/1.1 200 OK\r\n", 17), 17);
    else
        close(server);
    KIT_UNTIL(&k, kit_evicted(&k, want) == 1);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 0);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    KIT_UNTIL(&k, a.done);
    assert_true(a.link->fresh);
    pool_evict(a.link, EVICT_ERROR, false);
    if (want == EVICT_READABLE)
        close(server);
    kit_close(&k);
}

static void drops_an_idle_link_that_closed(void **state)
{
    (void) state;
    idle_event(EVICT_CLOSED);
}

static void drops_an_idle_link_with_bytes(void **state)
{
    (void) state;
    idle_event(EVICT_READABLE);
}

/* Bytes that no event has announced yet: released and asked for within one turn. */
static void never_lends_unseen_bytes(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    int server = kit_accept(&k);
    kit_answer(&k, l, server, "answer");
    assert_int_equal(write(server, "poison", 6), 6);
    pool_release(l);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    KIT_UNTIL(&k, a.done);
    assert_true(a.link->fresh);
    assert_int_equal(kit_evicted(&k, EVICT_CLOSED) + kit_evicted(&k, EVICT_READABLE), 1);
    pool_evict(a.link, EVICT_ERROR, false);
    close(server);
    kit_close(&k);
}

/* After splice, and for requests that are not idempotent, only a look at the socket counts. The
 * loop does not turn after the bytes were sent, so that no event can tell. */
static void peeks_when_it_must(void **state)
{
    (void) state;
    for (int i = 0; i < 4; i++) {
        bool spliced = i & 1, poison = i & 2;
        struct kit k;
        kit_open(&k);
        kit_start(&k, 1);
        struct link *l = kit_link(&k);
        int server = kit_accept(&k);
        kit_answer(&k, l, server, "answer");
        l->spliced = spliced;
        pool_release(l);
        loop_turn(k.loop, 0);
        if (poison)
            assert_int_equal(write(server, "poison", 6), 6);
        struct ask a = {.wait = {.must_peek = !spliced}};
        assert_int_equal(kit_ask(&k, &a), poison ? ACQUIRE_PENDING : ACQUIRE_READY);
        KIT_UNTIL(&k, a.done);
        assert_int_equal(a.link->fresh, poison);
        assert_false(a.link->spliced);
        pool_evict(a.link, EVICT_ERROR, false);
        close(server);
        kit_close(&k);
    }
}

static void release_of_a_dead_link_evicts(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    close(kit_accept(&k));
    KIT_UNTIL(&k, l->conn.hup);
    pool_release(l);
    assert_int_equal(kit_evicted(&k, EVICT_CLOSED), 1);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 0);
    kit_close(&k);
}

static void age_and_number(void **state)
{
    (void) state;
    const enum evict_reason reasons[] = {EVICT_REQUESTS, EVICT_NOT_KEPT, EVICT_LIFETIME,
                                         EVICT_SURPLUS};
    for (int i = 0; i < 4; i++) {
        struct kit k;
        kit_open(&k);
        if (i == 0)
            k.conf.pool.max_requests = 1;
        if (i == 1)
            k.conf.pool.keepalive = false;
        if (i == 2)
            k.conf.pool.max_lifetime = 1;
        if (i == 3)
            k.conf.pool.max_idle = 0;
        kit_start(&k, 1);
        struct link *l = kit_link(&k);
        usec_t before = loop_now(k.loop);
        KIT_UNTIL(&k, loop_now(k.loop) > before);
        pool_release(l);
        assert_int_equal(kit_evicted(&k, reasons[i]), 1);
        kit_close(&k);
    }
}

/* What was said of a link is void when the settings change, be it idle or lent. */
static void settings_change_under_links(void **state)
{
    (void) state;
    const enum evict_reason reasons[] = {EVICT_NOT_KEPT, EVICT_LIFETIME};
    for (int i = 0; i < 2; i++) {
        struct kit k;
        kit_open(&k);
        k.conf.pool.max_lifetime = 0;
        kit_start(&k, 1);
        struct link *idle = kit_link(&k), *lent = kit_link(&k);
        pool_release(idle);
        pool_release(lent);
        struct ask a = {0};
        usec_t before = loop_now(k.loop);
        KIT_UNTIL(&k, loop_now(k.loop) > before);
        assert_int_equal(kit_ask(&k, &a), ACQUIRE_READY);
        if (i == 0)
            k.conf.pool.keepalive = false;
        else
            k.conf.pool.max_lifetime = 1;
        kit_reload(&k);
        pool_release(a.link);
        assert_int_equal(kit_evicted(&k, reasons[i]), 1);
        assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING); /* not the idle one */
        assert_int_equal(kit_evicted(&k, reasons[i]), 2);
        KIT_UNTIL(&k, a.done);
        pool_evict(a.link, EVICT_ERROR, false);
        kit_close(&k);
    }
}

static void max_idle_is_never_passed(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_idle = 3;
    kit_start(&k, 1);
    struct link *l[5];
    for (int i = 0; i < 5; i++)
        l[i] = kit_link(&k);
    for (int i = 0; i < 5; i++)
        pool_release(l[i]);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 3);
    assert_int_equal(kit_evicted(&k, EVICT_SURPLUS), 2);
    k.conf.pool.max_idle = 1; /* a reload */
    kit_reload(&k);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 1);
    assert_int_equal(atomic_load(&k.e->idle), 1);
    kit_close(&k);
}

static void idle_timeout(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.idle_timeout = 50 * USEC_PER_MS;
    kit_start(&k, 1);
    struct link *l[3];
    for (int i = 0; i < 3; i++)
        l[i] = kit_link(&k);
    for (int i = 0; i < 3; i++)
        pool_release(l[i]);
    KIT_UNTIL(&k, kit_evicted(&k, EVICT_IDLE) == 3);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
    assert_int_equal(atomic_load(&k.e->idle), 0);
    kit_close(&k);
}

/* A unix socket connects at once: the answer comes all the same by ready(), never from inside. */
static void unix_sockets(void **state)
{
    (void) state;
    struct kit k;
    struct addr_text text;
    struct addr a;
    const char *why;
    kit_open(&k);
    snprintf(k.address, sizeof k.address, "unix:@weir-pool-test-%d", (int) getpid());
    k.endpoint.address = str_c(k.address);
    assert_true(addr_split(k.endpoint.address, 0, &text, &why));
    assert_true(addr_from_text(&text, &a));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &a.ss, a.len), 0);
    assert_int_equal(listen(fd, 8), 0);
    kit_start(&k, 1);
    struct ask ask = {0};
    assert_int_equal(kit_ask(&k, &ask), ACQUIRE_PENDING);
    KIT_UNTIL(&k, ask.done);
    struct link *l = ask.link;
    pool_release(l);
    loop_turn(k.loop, 0);
    loop_turn(k.loop, 0);
    assert_ptr_equal(kit_link(&k), l);
    pool_release(l);
    close(fd);
    struct ask fresh = {.wait = {.want_fresh = true}};
    assert_int_equal(kit_ask(&k, &fresh), ACQUIRE_FAULT);
    assert_int_equal(fresh.fault, FAULT_CONNECT_REFUSED);
    kit_close(&k);
}

/* ---- faults -------------------------------------------------------------------------------- */

static enum fault outcome(struct kit *k)
{
    struct ask a = {0};
    kit_ask(k, &a);
    KIT_UNTIL(k, a.done);
    if (a.link)
        pool_evict(a.link, EVICT_ERROR, false);
    return a.fault;
}

static void refused(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    close(k.listen_fd);
    assert_int_equal(outcome(&k), FAULT_CONNECT_REFUSED);
    assert_int_equal(counter_get(&k.e->stats[0].open_failures), 1);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
    k.listen_fd = kit_listen(&k.port, 8);
    assert_int_equal(outcome(&k), FAULT_OK);
    kit_close(&k);
}

/* A backlog that is full drops SYNs: connecting takes for ever. */
static void connect_timeout(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    close(k.listen_fd);
    k.port = 0;
    k.listen_fd = kit_listen(&k.port, 0);
    snprintf(k.address, sizeof k.address, "127.0.0.1:%u", (unsigned) k.port);
    k.endpoint.address = str_c(k.address);
    k.conf.pool.connect_timeout = 100 * USEC_PER_MS;
    kit_start(&k, 1);
    enum fault fault = FAULT_OK;
    struct ask a[4] = {0};
    for (int i = 0; i < 4; i++)
        kit_ask(&k, &a[i]);
    KIT_UNTIL(&k, a[0].done && a[1].done && a[2].done && a[3].done);
    for (int i = 0; i < 4; i++) {
        fault = a[i].fault ? a[i].fault : fault;
        if (a[i].link)
            pool_evict(a[i].link, EVICT_ERROR, true);
    }
    assert_int_equal(fault, FAULT_CONNECT_TIMEOUT);
    kit_close(&k);
}

static void memory_refused(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.limit.max = 1;
    kit_start(&k, 1);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_FAULT);
    assert_int_equal(a.fault, FAULT_MEMORY);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
    kit_close(&k);
}

static void private_links_count_as_open(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    pool_keep_private(l);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    loop_turn(k.loop, 0);
    assert_false(a.done);
    pool_evict(l, EVICT_NOT_KEPT, false);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    pool_release(a.link);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_then_reuses),
        cmocka_unit_test(lends_the_hottest),
        cmocka_unit_test(lends_the_hottest_that_is_proven),
        cmocka_unit_test(goes_no_long_way_for_a_proven_one),
        cmocka_unit_test(drops_an_idle_link_that_closed),
        cmocka_unit_test(drops_an_idle_link_with_bytes),
        cmocka_unit_test(never_lends_unseen_bytes),
        cmocka_unit_test(peeks_when_it_must),
        cmocka_unit_test(release_of_a_dead_link_evicts),
        cmocka_unit_test(age_and_number),
        cmocka_unit_test(settings_change_under_links),
        cmocka_unit_test(max_idle_is_never_passed),
        cmocka_unit_test(idle_timeout),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(refused),
        cmocka_unit_test(connect_timeout),
        cmocka_unit_test(memory_refused),
        cmocka_unit_test(private_links_count_as_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
