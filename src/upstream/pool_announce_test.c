/* SPDX-License-Identifier: Apache-2.0 */
/* Links that announce a client (PROXY protocol): who may have them, and who is told when one
 * fails. */
#include "upstream/kit.h"

/* Asks for a link that announces text ("": nothing). */
static void ask_as(struct kit *k, struct ask *a, const char *text)
{
    a->wait.announce = str_c(text);
    kit_ask(k, a);
}

/* The link, which must come. */
static struct link *link_as(struct kit *k, const char *text)
{
    struct ask a = {0};
    ask_as(k, &a, text);
    KIT_UNTIL(k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    return a.link;
}

/* A link that announces text, as new as can be, given back to idle; its server end. */
static struct link *idle_as(struct kit *k, const char *text, int *server)
{
    struct link *l = link_as(k, text);
    *server = kit_accept(k);
    kit_answer(k, l, *server, "x");
    pool_release(l);
    loop_turn(k->loop, 0);
    return l;
}

static void only_the_same_client(void **state)
{
    (void) state;
    struct kit k;
    char got[8] = {0};
    int s[3];
    kit_open(&k);
    kit_start(&k, 1);
    struct link *one = idle_as(&k, "one", &s[0]), *two = idle_as(&k, "two", &s[1]);
    struct link *plain = idle_as(&k, "", &s[2]);
    assert_ptr_equal(link_as(&k, "one"), one);
    assert_ptr_equal(link_as(&k, ""), plain);
    assert_ptr_equal(link_as(&k, "two"), two);
    struct link *other = link_as(&k, "three"), *more = link_as(&k, "one");
    assert_true(other->fresh && more->fresh);
    for (int i = 0; i < 2; i++)
        close(kit_accept(&k));
    assert_int_equal(read(s[0], got, 3), 3);
    assert_string_equal(got, "one");
    assert_int_equal(recv(s[2], got, 3, MSG_DONTWAIT), -1); /* nothing was announced */
    struct link *const all[] = {one, two, plain, other, more};
    for (size_t i = 0; i < 5; i++)
        pool_evict(all[i], EVICT_ERROR, true);
    for (int i = 0; i < 3; i++)
        close(s[i]);
    kit_close(&k);
}

static void makes_room_at_the_limit(void **state)
{
    (void) state;
    struct kit k;
    int s;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 1);
    idle_as(&k, "one", &s);
    struct link *two = link_as(&k, "two"); /* the idle one gave way */
    close(s);
    assert_int_equal(kit_evicted(&k, EVICT_SURPLUS), 1);
    assert_int_equal(atomic_load(&k.e->open), 1);
    /* In the line: what is given back is of no use to those who wait, but its place is. */
    struct ask a = {0}, b = {0};
    ask_as(&k, &a, "three");
    ask_as(&k, &b, "");
    s = kit_accept(&k);
    kit_answer(&k, two, s, "x");
    pool_release(two);
    KIT_UNTIL(&k, a.done);
    assert_true(a.link && a.link->fresh);
    pool_evict(a.link, EVICT_ERROR, true);
    KIT_UNTIL(&k, b.done);
    assert_true(b.link && b.link->fresh && !b.link->announced);
    pool_evict(b.link, EVICT_ERROR, true);
    close(s);
    kit_close(&k);
}

static void keeps_the_newest(void **state)
{
    (void) state;
    struct kit k;
    int s[3];
    kit_open(&k);
    k.conf.pool.max_idle = 2;
    kit_start(&k, 1);
    idle_as(&k, "one", &s[0]);
    struct link *two = idle_as(&k, "two", &s[1]), *three = idle_as(&k, "three", &s[2]);
    assert_int_equal(kit_evicted(&k, EVICT_SURPLUS), 1);
    assert_ptr_equal(link_as(&k, "two"), two);
    assert_ptr_equal(link_as(&k, "three"), three);
    pool_evict(two, EVICT_ERROR, true);
    pool_evict(three, EVICT_ERROR, true);
    for (int i = 0; i < 3; i++)
        close(s[i]);
    kit_close(&k);
}

/* Each of several that wait for a connection of their own hears of it when that one fails. */
static void each_hears_of_its_own(void **state)
{
    (void) state;
    static const char *const who[] = {"one", "two", "", "one"};
    struct kit k;
    struct ask a[4] = {0};
    kit_open(&k);
    kit_start(&k, 1);
    close(k.listen_fd);
    for (int i = 0; i < 4; i++)
        ask_as(&k, &a[i], who[i]);
    for (int i = 0; i < 4; i++) {
        KIT_UNTIL(&k, a[i].done);
        assert_int_equal(a[i].fault, FAULT_CONNECT_REFUSED);
        assert_null(a[i].link);
    }
    k.listen_fd = kit_listen(&k.port, 8);
    kit_close(&k);
}

/* Who gives up takes no connection from another client, and leaves none that nobody counts on. */
static void giving_up(void **state)
{
    (void) state;
    struct kit k;
    struct ask one = {0}, two = {0}, three = {0};
    kit_open(&k);
    kit_start(&k, 1);
    ask_as(&k, &one, "one");
    ask_as(&k, &two, "two");
    ask_as(&k, &three, "three");
    pool_cancel(&two.wait);
    KIT_UNTIL(&k, one.done && three.done);
    assert_int_equal(one.fault, FAULT_OK);
    assert_int_equal(three.fault, FAULT_OK);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 2);
    pool_evict(one.link, EVICT_ERROR, true);
    pool_evict(three.link, EVICT_ERROR, true);
    kit_close(&k);
}

/* Another got the connection: the wait whose own is still on its way is not forgotten. */
static void own_link_comes_late(void **state)
{
    (void) state;
    struct kit k;
    struct ask again = {0};
    int s;
    kit_open(&k);
    kit_start(&k, 1);
    struct link *busy = link_as(&k, "one");
    s = kit_accept(&k);
    ask_as(&k, &again, "one"); /* opens another */
    kit_answer(&k, busy, s, "x");
    if (!again.done)
        pool_release(busy); /* may serve `again`; then its own becomes idle */
    KIT_UNTIL(&k, again.done);
    assert_int_equal(again.fault, FAULT_OK);
    if (again.link != busy)
        pool_evict(again.link, EVICT_ERROR, true);
    else
        pool_evict(busy, EVICT_ERROR, true);
    close(s);
    kit_close(&k);
}

static void memory_refused(void **state)
{
    (void) state;
    struct kit k;
    struct ask a = {0};
    kit_open(&k);
    kit_start(&k, 1);
    a.wait.announce = STR("one");
    k.account.fail_after = 2; /* the link is had, its announcement is not */
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_FAULT);
    assert_int_equal(a.fault, FAULT_MEMORY);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same_client),
        cmocka_unit_test(makes_room_at_the_limit),
        cmocka_unit_test(keeps_the_newest),
        cmocka_unit_test(each_hears_of_its_own),
        cmocka_unit_test(giving_up),
        cmocka_unit_test(own_link_comes_late),
        cmocka_unit_test(memory_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
