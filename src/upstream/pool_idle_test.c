/* SPDX-License-Identifier: Apache-2.0 */
/* Warm links and HEAD probes. */
#include "upstream/kit.h"

static uint64_t idle_now(const struct kit *k)
{
    return counter_get(&k->e->stats[0].idle_now);
}

/* ---- warm links ---------------------------------------------------------------------------- */

static void opens_ahead_of_traffic(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 3;
    kit_start(&k, 1);
    KIT_UNTIL(&k, idle_now(&k) == 3);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_READY);
    assert_true(a.link->fresh);
    KIT_UNTIL(&k, idle_now(&k) == 3); /* the one that was lent is replaced */
    close(kit_accept(&k));
    KIT_UNTIL(&k, counter_get(&k.e->stats[0].opens) >= 5 && idle_now(&k) >= 3);
    pool_evict(a.link, EVICT_ERROR, false);
    k.conf.pool.min_idle = 5; /* a reload */
    kit_reload(&k);
    KIT_UNTIL(&k, idle_now(&k) == 5);
    kit_close(&k);
}

/* The worker's part: of 3 links for two workers the first keeps 2. */
static void workers_share_min_idle(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 3;
    kit_start(&k, 2);
    KIT_UNTIL(&k, idle_now(&k) == 2);
    for (int i = 0; i < 10; i++)
        loop_turn(k.loop, 0);
    assert_int_equal(counter_get(&k.e->stats[0].opens), 2);
    kit_close(&k);
}

/* A dead endpoint is not stormed: one failed connect, then a pause; traffic may go on trying. */
static void backs_off(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 4;
    close(k.listen_fd);
    kit_start(&k, 1);
    usec_t begin = clock_now();
    KIT_UNTIL(&k, counter_get(&k.e->stats[0].open_failures) > 0);
    struct ask a = {0};
    kit_ask(&k, &a);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_CONNECT_REFUSED);
    for (int i = 0; i < 200; i++)
        loop_turn(k.loop, 0);
    /* Rounds of at most 4, with pauses of 100 ms, 200 ms, ... between them. */
    uint64_t rounds = 1 + (clock_now() - begin) / (100 * USEC_PER_MS);
    assert_true(counter_get(&k.e->stats[0].open_failures) <= 4 * rounds + 1);
    k.listen_fd = kit_listen(&k.port, 64);
    KIT_UNTIL(&k, idle_now(&k) == 4);
    kit_close(&k);
}

/* One that grew too old is no warm one, however long it may idle. */
static void replaces_the_old(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 2;
    k.conf.pool.idle_timeout = 0;
    k.conf.pool.max_lifetime = 30 * USEC_PER_MS;
    kit_start(&k, 1);
    KIT_UNTIL(&k, kit_evicted(&k, EVICT_LIFETIME) >= 4 && idle_now(&k) == 2);
    k.conf.pool.max_lifetime = 0; /* a reload */
    kit_reload(&k);
    KIT_UNTIL(&k, idle_now(&k) == 2);
    kit_close(&k);
}

/* A link that the endpoint ended before it was seen to be open is not kept as a warm one. */
static void dead_on_arrival(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 1;
    kit_start(&k, 1);
    close(kit_accept(&k)); /* the end of it comes with the news that it is open */
    KIT_UNTIL(&k, counter_get(&k.e->stats[0].opens) == 2 && idle_now(&k) == 1);
    assert_int_equal(kit_evicted(&k, EVICT_CLOSED), 1);
    kit_close(&k);
}

/* Nor is an endpoint stormed that accepts, and ends every link that is not used. */
static void backs_off_from_who_hangs_up(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 1;
    kit_start(&k, 1);
    usec_t begin = clock_now();
    for (int i = 0; i < 300; i++) {
        int fd = accept(k.listen_fd, NULL, NULL);
        if (fd >= 0)
            close(fd);
        loop_turn(k.loop, 0);
    }
    uint64_t rounds = 1 + (clock_now() - begin) / (100 * USEC_PER_MS);
    assert_in_range(counter_get(&k.e->stats[0].opens), 1, rounds);
    kit_close(&k);
}

static void never_beyond_the_limits(void **state)
{
    (void) state;
    struct kit k;
    kit_open(&k);
    k.conf.pool.min_idle = 4; /* the library's callers may say so; the configuration refuses it */
    k.conf.pool.max_idle = 2;
    k.conf.pool.max_connections = 3;
    kit_start(&k, 1);
    KIT_UNTIL(&k, idle_now(&k) == 2);
    for (int i = 0; i < 50; i++)
        loop_turn(k.loop, 0);
    assert_int_equal(counter_get(&k.e->stats[0].opens), 2);
    assert_int_equal(kit_evicted(&k, EVICT_SURPLUS), 0);
    kit_close(&k);
}

/* ---- probes -------------------------------------------------------------------------------- */

/* One idle link that is probed at once; the server's end, with the request read off. */
static int probed(struct kit *k)
{
    char got[1024];
    ssize_t n = 0, r = 0;
    kit_open(k);
    k->conf.pool.probe = PROBE_HEAD;
    k->conf.pool.probe_after = 1;
    k->conf.pool.probe_path = STR("/alive");
    k->conf.pool.max_connections = 1;
    kit_start(k, 1);
    struct link *l = kit_link(k);
    int server = kit_accept(k);
    pool_release(l);
    usec_t until = clock_now() + KIT_DEADLINE;
    while (n < 4 || memcmp(got + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(clock_now() < until);
        loop_turn(k->loop, 20 * USEC_PER_MS);
        r = recv(server, got + n, sizeof got - 1 - (size_t) n, MSG_DONTWAIT);
        n += r > 0 ? r : 0;
    }
    got[n] = '\0';
    assert_memory_equal(got, "HEAD /alive HTTP/1.1\r\nHost: 127.0.0.1:", 38);
    return server;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
}

static void a_good_answer_keeps_the_link(void **state)
{
    (void) state;
    struct kit k;
    int server = probed(&k);
    struct ask a = {0};
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING); /* not lent while it is probed */
    send_text(server, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n");
    for (int i = 0; i < 5; i++)
        loop_turn(k.loop, 0);
    assert_false(a.done);
    send_text(server, "Content-Length: 9\r\n\r\n");
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    assert_false(a.link->fresh);
    assert_int_equal(counter_get(&k.e->stats[0].opens), 1);
    pool_release(a.link);
    close(server);
    kit_close(&k);
}

static void a_bad_answer_evicts(void **state)
{
    (void) state;
    const char *const answers[] = {
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "",
    };
    for (int i = 0; i < 4; i++) {
        struct kit k;
        int server = probed(&k);
        if (answers[i][0])
            send_text(server, answers[i]);
        else
            close(server);
        KIT_UNTIL(&k, kit_evicted(&k, EVICT_PROBE) == 1);
        assert_int_equal(counter_get(&k.e->stats[0].open_now), 0);
        if (answers[i][0])
            close(server);
        kit_close(&k);
    }
}

static void no_answer_evicts(void **state)
{
    (void) state;
    struct kit k;
    int server = probed(&k);
    k.conf.pool.connect_timeout = 50 * USEC_PER_MS; /* for the probes from now on */
    kit_reload(&k);
    send_text(server, "HTTP/1.1 200 OK\r\n\r\n");
    KIT_UNTIL(&k, kit_evicted(&k, EVICT_PROBE) == 1);
    close(server);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_ahead_of_traffic),
        cmocka_unit_test(workers_share_min_idle),
        cmocka_unit_test(replaces_the_old),
        cmocka_unit_test(dead_on_arrival),
        cmocka_unit_test(backs_off_from_who_hangs_up),
        cmocka_unit_test(backs_off),
        cmocka_unit_test(never_beyond_the_limits),
        cmocka_unit_test(a_good_answer_keeps_the_link),
        cmocka_unit_test(a_bad_answer_evicts),
        cmocka_unit_test(no_answer_evicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
