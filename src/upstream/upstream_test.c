/* SPDX-License-Identifier: Apache-2.0 */
/* The registry over reloads, health, and the configuration rows. */
#include "upstream/kit.h"

static int count;

static void count_one(void *arg, struct endpoint *e)
{
    if (!arg || e == arg)
        count++;
}

static int count_all(struct upstream_registry *r)
{
    count = 0;
    upstream_registry_each(r, count_one, NULL);
    return count;
}

static struct upstream *make(struct upstream_registry *r, const char *name, const char *addresses)
{
    struct endpoint_conf e[4];
    struct upstream_conf conf = {0};
    struct str list = str_c(addresses), item;
    size_t n = 0;
    schema_defaults(&upstream_schema, &conf);
    while (str_next_item(&list, &item)) {
        e[n] = (struct endpoint_conf){0};
        schema_defaults(&endpoint_schema, &e[n]);
        e[n++].address = item;
    }
    conf.endpoints = (struct schema_list){e, n};
    return upstream_new(r, str_c(name), &conf);
}

static void endpoints_outlive_configurations(void **state)
{
    (void) state;
    struct upstream_registry *r = upstream_registry_new(2);
    struct upstream *old = make(r, "u", "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:1");
    assert_int_equal(old->n_endpoints, 2); /* said twice, counted once */
    struct endpoint *kept = old->endpoints[1], *gone = endpoint_ref(old->endpoints[0]);
    endpoint_set_up(kept, false, "test");
    struct upstream *new = make(r, "u", "127.0.0.1:2, 127.0.0.1:3");
    assert_ptr_equal(new->endpoints[0], kept);
    assert_false(atomic_load(&kept->up));
    assert_int_equal(new->index, old->index);
    assert_int_not_equal(new->content, old->content);
    upstream_unref(old);
    assert_true(atomic_load(&gone->retired));
    assert_false(atomic_load(&kept->retired));
    assert_int_equal(count_all(r), 3);
    /* Named again while it is still held by someone: the same object comes back to life. */
    struct upstream *third = make(r, "u", "127.0.0.1:1");
    assert_ptr_equal(third->endpoints[0], gone);
    assert_false(atomic_load(&gone->retired));
    endpoint_unref(gone);
    upstream_unref(third);
    assert_int_equal(count_all(r), 2);
    upstream_unref(new);
    assert_int_equal(count_all(r), 0);
    upstream_registry_free(r);
}

static void names_have_dense_numbers(void **state)
{
    (void) state;
    struct upstream_registry *r = upstream_registry_new(1);
    struct upstream *a = make(r, "a", "127.0.0.1:1"), *b = make(r, "b", "127.0.0.1:1");
    assert_ptr_not_equal(a->endpoints[0], b->endpoints[0]);
    assert_int_equal(a->index, 0);
    assert_int_equal(b->index, 1);
    upstream_unref(a);
    struct upstream *c = make(r, "c", "127.0.0.1:1"), *d = make(r, "d", "127.0.0.1:1");
    assert_int_equal(c->index, 0);
    assert_int_equal(d->index, 2);
    assert_ptr_equal(upstream_ref(d), d);
    upstream_unref(d);
    upstream_unref(b);
    upstream_unref(c);
    upstream_unref(d);
    upstream_registry_free(r);
}

static void content_is_stable(void **state)
{
    (void) state;
    struct upstream_registry *r = upstream_registry_new(1);
    struct upstream *u[4] = {make(r, "a", "127.0.0.1:1"), make(r, "a", "127.0.0.1:1"),
                             make(r, "b", "127.0.0.1:1"), make(r, "a", "127.0.0.1:2")};
    assert_int_equal(u[0]->content, u[1]->content);
    assert_int_not_equal(u[0]->content, u[2]->content);
    assert_int_not_equal(u[0]->content, u[3]->content);
    for (int i = 0; i < 4; i++)
        upstream_unref(u[i]);
    upstream_registry_free(r);
}

static void every_form_of_address(void **state)
{
    (void) state;
    struct upstream_registry *r = upstream_registry_new(1);
    struct upstream *u = make(r, "u", "[::1]:80, unix:/tmp/weir-test.sock, name.test:80, nonsense");
    struct addr a;
    assert_true(endpoint_addr(u->endpoints[0], &a));
    assert_int_equal(addr_port(&a), 80);
    assert_true(endpoint_addr(u->endpoints[1], &a));
    assert_int_equal(a.ss.ss_family, AF_UNIX);
    assert_false(endpoint_addr(u->endpoints[2], &a));
    assert_true(endpoint_unresolved(u->endpoints[2]));
    assert_false(endpoint_addr(u->endpoints[3], &a));
    assert_false(endpoint_unresolved(u->endpoints[3]));
    struct ip ips[20];
    for (uint8_t i = 0; i < 20; i++) {
        assert_true(ip_parse(STR("10.0.0.1"), &ips[i]));
        ips[i].b[15] = i;
    }
    endpoint_set_ips(u->endpoints[2], ips, 20); /* more than are kept */
    for (uint8_t i = 0; i < 2 * ENDPOINT_ADDRS_MAX; i++) {
        struct ip ip;
        assert_true(endpoint_addr(u->endpoints[2], &a));
        assert_true(addr_ip(&a, &ip));
        assert_int_equal(ip.b[15], (i + 1) % ENDPOINT_ADDRS_MAX); /* one turn is spent above */
    }
    upstream_unref(u);
    upstream_registry_free(r);
}

/* ---- configuration ------------------------------------------------------------------------- */

static void defaults(void **state)
{
    (void) state;
    struct upstream_conf u = {0};
    schema_defaults(&upstream_schema, &u);
    assert_int_equal(u.pool.max_idle, 100);
    assert_int_equal(u.pool.min_idle, 0);
    assert_int_equal(u.pool.max_connections, 0);
    assert_int_equal(u.pool.max_waiting, 1024);
    assert_int_equal(u.pool.idle_timeout, 30 * USEC_PER_SEC);
    assert_int_equal(u.pool.max_lifetime, 3600 * USEC_PER_SEC);
    assert_int_equal(u.pool.connect_timeout, 5 * USEC_PER_SEC);
    assert_true(u.pool.keepalive);
    assert_int_equal(u.pool.probe, PROBE_NONE);
    assert_true(str_eq(u.pool.probe_path, STR("/")));
    assert_int_equal(u.balance.policy, 0);
}

static void an_endpoint_says_what_differs(void **state)
{
    (void) state;
    struct pool_conf up = {.max_idle = 7, .max_requests = 9}, own = {.max_idle = 1};
    assert_int_equal(pool_conf_merge(&up, &own).max_idle, 7);
    for (size_t i = 0; i < POOL_FIELDS; i++) {
        /* Each row's flag governs that row's value and no other. */
        struct pool_conf a = {0}, b, merged;
        const struct schema_field *f = &pool_schema.fields[i];
        memset(&b, 1, sizeof b);
        memset(b.given, 0, sizeof b.given);
        *(bool *) ((char *) &b + f->given) = true;
        merged = pool_conf_merge(&a, &b);
        for (size_t j = 0; j < POOL_FIELDS; j++) {
            bool same = ((char *) &merged)[pool_schema.fields[j].offset] == 1;
            assert_int_equal(same, i == j);
        }
    }
}

static char said[256];

static void say(void *arg, const char *field, const char *text)
{
    (void) arg;
    snprintf(said, sizeof said, "%s: %s", field, text);
}

static void contradictions_are_found(void **state)
{
    (void) state;
    struct endpoint_conf e[2] = {0};
    struct upstream_conf u = {0};
    for (int i = 0; i < 2; i++)
        schema_defaults(&endpoint_schema, &e[i]);
    schema_defaults(&upstream_schema, &u);
    e[0].address = STR("a:1");
    e[1].address = STR("b:1");
    u.endpoints = (struct schema_list){e, 2};
    said[0] = '\0';
    upstream_schema.check(&u, say, NULL);
    assert_string_equal(said, "");
    u.pool.min_idle = 101;
    upstream_schema.check(&u, say, NULL);
    assert_non_null(strstr(said, "pool: pool: min_idle is above max_idle"));
    u.pool.min_idle = 0;
    e[1].pool.min_idle = 200;
    e[1].pool.given[1] = true;
    upstream_schema.check(&u, say, NULL);
    assert_non_null(strstr(said, "endpoints: endpoint b:1: pool: min_idle"));
    e[1].pool.given[1] = false;
    e[1].address = e[0].address;
    upstream_schema.check(&u, say, NULL);
    assert_non_null(strstr(said, "given twice"));
    e[1].address = STR("b:1");
    u.pool.probe_path = STR("/x y");
    upstream_schema.check(&u, say, NULL);
    assert_non_null(strstr(said, "probe_path"));
}

static void every_reason_has_a_name(void **state)
{
    (void) state;
    for (enum evict_reason r = 0; r < EVICT_REASONS; r++)
        assert_true(strlen(evict_reason_name(r)) > 0);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_outlive_configurations),
        cmocka_unit_test(names_have_dense_numbers),
        cmocka_unit_test(content_is_stable),
        cmocka_unit_test(every_form_of_address),
        cmocka_unit_test(defaults),
        cmocka_unit_test(an_endpoint_says_what_differs),
        cmocka_unit_test(contradictions_are_found),
        cmocka_unit_test(every_reason_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
