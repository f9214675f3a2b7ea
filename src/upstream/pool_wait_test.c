/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting, on one worker: the limit and its FIFO, links in the making, addresses that come late,
 * reloads, stop. */
#include "upstream/kit.h"

static uint32_t open_now(const struct kit *k)
{
    return (uint32_t) counter_get(&k->e->stats[0].open_now);
}

/* ---- the limit ----------------------------------------------------------------------------- */

static void limit_is_a_fifo(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a[3] = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_ask(&k, &a[i]), ACQUIRE_PENDING);
    assert_int_equal(atomic_load(&k.e->waiting), 3);
    assert_int_equal(counter_get(&k.e->stats[0].waiting_now), 3);
    for (int i = 0; i < 3; i++) {
        pool_release(l);
        loop_turn(k.loop, 0);
        assert_true(a[i].done);
        assert_ptr_equal(a[i].link, l);
        assert_true(i == 2 || !a[i + 1].done);
    }
    assert_int_equal(open_now(&k), 1);
    assert_int_equal(atomic_load(&k.e->open), 1);
    assert_int_equal(counter_get(&k.e->stats[0].waits), 3);
    pool_release(l);
    assert_int_equal(atomic_load(&k.e->waiting), 0);
    kit_close(&k);
}

static void a_closed_link_wakes_the_oldest(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a = {0}, b = {0};
    kit_ask(&k, &a);
    kit_ask(&k, &b);
    pool_evict(l, EVICT_ERROR, true);
    KIT_UNTIL(&k, a.done);
    assert_true(a.link->fresh);
    assert_false(b.done);
    assert_int_equal(atomic_load(&k.e->open), 1);
    pool_evict(a.link, EVICT_ERROR, true);
    KIT_UNTIL(&k, b.done);
    pool_release(b.link);
    kit_close(&k);
}

/* A link that closes while it idles at the limit wakes nobody; one that closes while lent and is
 * then released does. */
static void a_link_that_died_wakes_the_oldest(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    int server = kit_accept(&k);
    struct ask a = {0};
    kit_ask(&k, &a);
    close(server);
    KIT_UNTIL(&k, l->conn.hup);
    pool_release(l);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    assert_true(a.link->fresh);
    pool_release(a.link);
    kit_close(&k);
}

static void queue_is_bounded(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    k.conf.pool.max_waiting = 2;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a[3] = {0};
    assert_int_equal(kit_ask(&k, &a[0]), ACQUIRE_PENDING);
    assert_int_equal(kit_ask(&k, &a[1]), ACQUIRE_PENDING);
    assert_int_equal(kit_ask(&k, &a[2]), ACQUIRE_FAULT);
    assert_int_equal(a[2].fault, FAULT_POOL_FULL);
    pool_cancel(&a[0].wait);
    pool_cancel(&a[0].wait); /* harmless */
    assert_int_equal(kit_ask(&k, &a[2]), ACQUIRE_PENDING);
    pool_release(l);
    KIT_UNTIL(&k, a[1].done);
    assert_false(a[0].done);
    assert_false(a[2].done);
    pool_release(a[1].link);
    KIT_UNTIL(&k, a[2].done);
    pool_release(a[2].link);
    kit_close(&k);
}

/* Cancelled between the grant and ready(): the link goes to the next in line. */
static void cancel_after_the_grant(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a = {0}, b = {0};
    kit_ask(&k, &a);
    kit_ask(&k, &b);
    pool_release(l);
    assert_false(a.done);
    pool_cancel(&a.wait);
    KIT_UNTIL(&k, b.done);
    assert_false(a.done);
    assert_ptr_equal(b.link, l);
    assert_int_equal(l->requests, 2);
    pool_release(l);
    kit_close(&k);
}

/* A retry after a stale link wants a new one; at the limit an idle one makes room. */
static void fresh_at_the_limit(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    pool_release(l);
    loop_turn(k.loop, 0);
    struct ask a = {.wait = {.want_fresh = true}}, b = {.wait = {.want_fresh = true}};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    KIT_UNTIL(&k, a.done);
    assert_true(a.link->fresh);
    kit_ask(&k, &b); /* the same from the queue */
    pool_release(a.link);
    KIT_UNTIL(&k, b.done);
    assert_true(b.link->fresh);
    assert_int_equal(atomic_load(&k.e->open), 1);
    pool_release(b.link);
    kit_close(&k);
}

static void reload_moves_the_limit(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a = {0}, b = {0}, c = {0};
    kit_ask(&k, &a);
    kit_ask(&k, &b);
    k.conf.pool.max_connections = 2;
    kit_reload(&k);
    KIT_UNTIL(&k, a.done);
    assert_false(b.done);
    k.conf.pool.max_connections = 0;
    kit_reload(&k);
    KIT_UNTIL(&k, b.done);
    assert_int_equal(atomic_load(&k.e->open), 0); /* not counted without a limit */
    k.conf.pool.max_connections = 2;
    kit_reload(&k);
    assert_int_equal(atomic_load(&k.e->open), 3);
    assert_int_equal(kit_ask(&k, &c), ACQUIRE_PENDING);
    pool_evict(l, EVICT_ERROR, false);
    loop_turn(k.loop, 0);
    assert_int_equal(atomic_load(&k.e->open), 2);
    pool_evict(a.link, EVICT_ERROR, false);
    KIT_UNTIL(&k, c.done);
    pool_release(b.link);
    pool_release(c.link);
    kit_close(&k);
}

/* ---- links in the making ------------------------------------------------------------------- */

static void a_released_link_serves_who_still_connects(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    pool_release(l);
    KIT_UNTIL(&k, a.done);
    assert_ptr_equal(a.link, l);
    KIT_UNTIL(&k, counter_get(&k.e->stats[0].idle_now) == 1);
    pool_release(l);
    kit_close(&k);
}

static void cancel_stops_the_connect(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    assert_int_equal(open_now(&k), 1);
    pool_cancel(&a.wait);
    assert_int_equal(open_now(&k), 0);
    loop_turn(k.loop, 0);
    assert_false(a.done);
    kit_close(&k);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_c(text), &ip));
    return ip;
}

static void named(struct kit *k)
{
    kit_open(k);
    snprintf(k->address, sizeof k->address, "origin.test:%u", (unsigned) k->port);
    k->endpoint.address = str_c(k->address);
}

static void waits_for_the_first_addresses(void **state)
{
    (void) state;
    struct kit k;
    named(&k);
    kit_start(&k, 1);
    assert_false(endpoint_usable(k.e));
    assert_true(endpoint_unresolved(k.e));
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    struct ip ips[2] = {ip_of("127.0.0.9"), ip_of("127.0.0.1")};
    endpoint_set_ips(k.e, ips, 2);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    assert_true(endpoint_usable(k.e));
    endpoint_set_ips(k.e, NULL, 0); /* the last good ones are kept */
    assert_true(endpoint_usable(k.e));
    pool_release(a.link);
    kit_close(&k);
}

/* Nobody listens on the first address: the second serves, whichever is first in turn. */
static void tries_every_address_once(void **state)
{
    (void) state;
    struct kit k;
    named(&k);
    kit_start(&k, 1);
    struct ip ips[2] = {ip_of("127.0.0.9"), ip_of("127.0.0.1")};
    endpoint_set_ips(k.e, ips, 2);
    loop_turn(k.loop, 0);
    struct link *one = kit_link(&k), *two = kit_link(&k);
    assert_int_equal(counter_get(&k.e->stats[0].open_failures), 1);
    assert_int_equal(counter_get(&k.e->stats[0].opens), 2);
    pool_release(one);
    pool_release(two);
    endpoint_set_ips(k.e, ips, 1);
    struct ask a = {.wait = {.want_fresh = true}};
    kit_ask(&k, &a);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_CONNECT_REFUSED);
    kit_close(&k);
}

static void unresolvable(void **state)
{
    (void) state;
    struct kit k;
    named(&k);
    k.conf.pool.connect_timeout = 50 * USEC_PER_MS;
    kit_start(&k, 1);
    struct ask a = {0}, b = {0};
    kit_ask(&k, &a); /* nobody answers */
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_RESOLVE);
    kit_ask(&k, &a); /* the answer is no */
    endpoint_set_ips(k.e, NULL, 0);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_RESOLVE);
    assert_int_equal(kit_ask(&k, &b), ACQUIRE_FAULT);
    assert_int_equal(b.fault, FAULT_RESOLVE);
    assert_false(endpoint_unresolved(k.e));
    kit_ask(&k, &a);
    kit_close(&k);
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void stop_ends_every_wait(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.max_connections = 2;
    kit_start(&k, 1);
    struct link *l = kit_link(&k);
    struct ask a = {0}, b = {0}, c = {0};
    kit_ask(&k, &a);
    kit_ask(&k, &b);
    pool_worker_stop(&k.worker);
    loop_turn(k.loop, 0);
    assert_int_equal(a.fault, FAULT_SHUTDOWN);
    assert_int_equal(b.fault, FAULT_SHUTDOWN);
    assert_int_equal(kit_ask(&k, &c), ACQUIRE_FAULT);
    assert_int_equal(c.fault, FAULT_SHUTDOWN);
    pool_release(l);
    assert_int_equal(kit_evicted(&k, EVICT_RETIRED), 1);
    assert_int_equal(open_now(&k), 0);
    kit_close(&k);
}

static void count_endpoint(void *arg, struct endpoint *e)
{
    (void) e;
    ++*(int *) arg;
}

static void retired_endpoint_closes_its_links(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *idle = kit_link(&k), *lent = kit_link(&k);
    struct endpoint *e = endpoint_ref(k.e);
    pool_release(idle);
    upstream_unref(k.up);
    k.up = NULL;
    KIT_UNTIL(&k, kit_evicted(&k, EVICT_RETIRED) == 1);
    pool_release(lent);
    assert_int_equal(kit_evicted(&k, EVICT_RETIRED), 2);
    loop_turn(k.loop, 0);
    int n = 0;
    endpoint_unref(e);
    upstream_registry_each(k.registry, count_endpoint, &n);
    assert_int_equal(n, 0);
    kit_close(&k);
}

/* The end of a worker whose exchanges gave nothing back. */
static void fini_closes_what_is_lent(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    kit_start(&k, 1);
    kit_link(&k);
    kit_link(&k);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_is_a_fifo),
        cmocka_unit_test(a_closed_link_wakes_the_oldest),
        cmocka_unit_test(a_link_that_died_wakes_the_oldest),
        cmocka_unit_test(queue_is_bounded),
        cmocka_unit_test(cancel_after_the_grant),
        cmocka_unit_test(fresh_at_the_limit),
        cmocka_unit_test(reload_moves_the_limit),
        cmocka_unit_test(a_released_link_serves_who_still_connects),
        cmocka_unit_test(cancel_stops_the_connect),
        cmocka_unit_test(waits_for_the_first_addresses),
        cmocka_unit_test(tries_every_address_once),
        cmocka_unit_test(unresolvable),
        cmocka_unit_test(stop_ends_every_wait),
        cmocka_unit_test(retired_endpoint_closes_its_links),
        cmocka_unit_test(fini_closes_what_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
