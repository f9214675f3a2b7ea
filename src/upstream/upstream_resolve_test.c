/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints with names, by the real resolver: localhost from the hosts file, and a name server that
 * never knows anything. */
#include "net/resolve.h"
#include "upstream/kit.h"

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
        cmocka_unit_test(a_name_that_nobody_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
