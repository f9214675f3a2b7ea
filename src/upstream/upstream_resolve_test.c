/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints with names, by the real resolver: localhost from the hosts file, and a name server that
 * never knows anything. */
#include "net/resolve.h"
#include "upstream/kit.h"
#include "upstream/pool_inside.h"

static void named(struct kit *k, const char *name)
{
    kit_open(k);
    snprintf(k->address, sizeof k->address, "%s:%u", name, (unsigned) k->port);
    k->endpoint.address = str_c(k->address);
    kit_start(k, 1);
}

/* The request that came before the address is served when it is there. */
static void a_name_resolves(void **state)
{
    (void) state;
    struct kit k;
    struct ask a = {0};
    const char *why = NULL;
    named(&k, "localhost");
    struct resolver *resolver = resolver_new(k.loop, NULL, &why);
    assert_non_null(resolver);
    kit_ask(&k, &a);
    upstream_registry_resolve(k.registry, resolver);
    upstream_registry_resolve(k.registry, resolver); /* each load says so again */
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    pool_release(a.link);
    upstream_unref(k.up); /* a load that no longer names it */
    k.up = NULL;
    upstream_registry_resolve(k.registry, resolver);
    upstream_registry_resolve(k.registry, NULL);
    resolver_free(resolver);
    kit_close(&k);
}

/* The name means these addresses from now on. */
static void moves(struct kit *k, const char *first, const char *second)
{
    struct ip ips[2];
    assert_true(ip_parse(str_c(first), &ips[0]));
    if (second)
        assert_true(ip_parse(str_c(second), &ips[1]));
    endpoint_set_ips(k->e, ips, second ? 2 : 1);
    loop_turn(k->loop, 0);
}

/* Connections to an address that the name has lost end: idle ones at once, those in use when they
 * come back. An address more ends none, and neither do addresses that stay. */
static void a_name_moves(void **state)
{
    (void) state;
    struct kit k;
    named(&k, "moves.example");
    moves(&k, "127.0.0.1", NULL);
    struct link *used = kit_link(&k), *idle = kit_link(&k);
    pool_release(idle);
    moves(&k, "127.0.0.1", "127.0.0.2");
    assert_int_equal(kit_evicted(&k, EVICT_MOVED), 0);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 1);
    moves(&k, "127.0.0.3", NULL);
    assert_int_equal(kit_evicted(&k, EVICT_MOVED), 1);
    assert_int_equal(used->state, LINK_LENT);
    moves(&k, "127.0.0.1", NULL); /* that it is back is no help: it was said to leave */
    pool_release(used);
    assert_int_equal(kit_evicted(&k, EVICT_MOVED), 2);
    struct link *kept = kit_link(&k);
    pool_release(kept);
    assert_int_equal(kit_evicted(&k, EVICT_MOVED), 2);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 1);
    kit_close(&k);
}

/* One that was being opened meanwhile serves who waits for it, and ends. */
static void a_name_moves_meanwhile(void **state)
{
    (void) state;
    struct kit k;
    struct ask a = {0};
    named(&k, "moves.example");
    moves(&k, "127.0.0.1", NULL);
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    const struct ip gone = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 3}};
    endpoint_set_ips(k.e, &gone, 1);
    KIT_UNTIL(&k, a.done);
    assert_int_equal(a.fault, FAULT_OK);
    pool_release(a.link);
    assert_int_equal(kit_evicted(&k, EVICT_MOVED), 1);
    kit_close(&k);
}

/* A spare one that was being opened is not kept, though others wait for one of another kind. */
static void a_name_moves_under_a_spare_one(void **state)
{
    (void) state;
    struct kit k;
    struct ask a = {.wait.announce = STR("PROXY A\r\n")};
    kit_open(&k);
    snprintf(k.address, sizeof k.address, "moves.example:%u", (unsigned) k.port);
    k.endpoint.address = str_c(k.address);
    k.conf.pool.min_idle = 1;
    kit_start(&k, 1);
    const struct ip was = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};
    const struct ip gone = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 3}};
    endpoint_set_ips(k.e, &was, 1);
    KIT_UNTIL(&k, k.e->pools[0] && k.e->pools[0]->n_opening == 1);
    assert_int_equal(kit_ask(&k, &a), ACQUIRE_PENDING);
    endpoint_set_ips(k.e, &gone, 1);
    KIT_UNTIL(&k, a.done && kit_evicted(&k, EVICT_MOVED) == 1);
    assert_int_equal(counter_get(&k.e->stats[0].idle_now), 0);
    assert_int_equal(a.fault, FAULT_OK);
    pool_release(a.link);
    kit_close(&k);
}

/* A name server that says NXDOMAIN to everything. */
static void answer_no(int fd)
{
    uint8_t b[512];
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    ssize_t n = recvfrom(fd, b, sizeof b, MSG_DONTWAIT, (struct sockaddr *) &from, &len);
    if (n < 12)
        return;
    b[2] = 0x81; /* a response, recursion desired */
    b[3] = 0x83; /* recursion available, NXDOMAIN */
    assert_int_equal(sendto(fd, b, (size_t) n, 0, (struct sockaddr *) &from, len), n);
}

static void a_name_that_nobody_knows(void **state)
{
    (void) state;
    struct kit k;
    struct ask a = {0};
    const char *why = NULL;
    char server[32];
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *) &in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &in, &len), 0);
    snprintf(server, sizeof server, "127.0.0.1:%u", (unsigned) ntohs(in.sin_port));
    log_set_level(LOG_ERROR);
    named(&k, "nobody.example");
    struct resolver *resolver = resolver_new(k.loop, server, &why);
    assert_non_null(resolver);
    kit_ask(&k, &a);
    upstream_registry_resolve(k.registry, resolver);
    KIT_UNTIL(&k, (answer_no(fd), a.done));
    assert_int_equal(a.fault, FAULT_RESOLVE);
    assert_false(endpoint_usable(k.e));
    upstream_registry_resolve(k.registry, NULL);
    resolver_free(resolver);
    kit_close(&k);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_resolves),
        cmocka_unit_test(a_name_moves),
        cmocka_unit_test(a_name_moves_meanwhile),
        cmocka_unit_test(a_name_moves_under_a_spare_one),
        cmocka_unit_test(a_name_that_nobody_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
