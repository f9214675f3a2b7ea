/* SPDX-License-Identifier: Apache-2.0 */
/* TLS over a socket pair, both sides in one thread: the flags that edge-triggered loops live by,
 * records that leave in pieces, ends of connections, sessions, and the moved struct conn. */
#include "net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "net/sock.h"

#define TURNS 2000

struct side {
    struct conn conn; /* first */
};

static struct {
    char cert[64], key[64]; /* paths */
    struct loop *loop;
    struct tls_server_conf server_conf;
    struct tls_cert_conf cert_conf;
    struct tls_client_conf client_conf;
    struct tls_server *server;
    struct tls_client *client;
    struct side a, b; /* client's and server's */
} k;

static void on_event(struct watch *w, unsigned events)
{
    (void) w, (void) events;
}

static void say(void *arg, struct str at, const char *text)
{
    (void) arg;
    fail_msg("%.*s: %s", STR_ARG(at), text);
}

/* A certificate for a.example that signed itself. */
static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX ctx;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *) "a.example", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, "DNS:a.example,DNS:*.b.example");
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(k.cert, sizeof k.cert, "/tmp/weir-tls-test-XXXXXX");
    snprintf(k.key, sizeof k.key, "/tmp/weir-tls-test-XXXXXX");
    FILE *f = fdopen(mkstemp(k.cert), "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fdopen(mkstemp(k.key), "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static int begin(void **state)
{
    (void) state;
    struct tls_errors e = {.say = say};
    int error;
    make_certificate();
    k.loop = loop_new(&error);
    schema_defaults(&tls_cert_schema, &k.cert_conf);
    schema_defaults(&tls_server_schema, &k.server_conf);
    schema_defaults(&tls_client_schema, &k.client_conf);
    k.cert_conf.cert = str_c(k.cert);
    k.cert_conf.key = str_c(k.key);
    k.server_conf.certificates = (struct schema_list){&k.cert_conf, 1};
    k.client_conf.ca = str_c(k.cert);
    k.server = tls_server_new(NULL, &k.server_conf, &e);
    k.client = tls_client_new(NULL, &k.client_conf, &e);
    return k.server && k.client ? 0 : -1;
}

static int end(void **state)
{
    (void) state;
    tls_server_unref(k.server);
    tls_client_unref(k.client);
    loop_free(k.loop);
    unlink(k.cert);
    unlink(k.key);
    return 0;
}

/* Both ends of a new pair, whose buffers are small. */
static void connect_pair(struct str host)
{
    int fds[2], small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    k.a = k.b = (struct side){0};
    k.a.conn.transport = tls_connect(k.client, host, false);
    k.b.conn.transport = tls_accept(k.server);
    assert_non_null(k.a.conn.transport);
    assert_true(conn_init(&k.a.conn, k.loop, fds[0], &conn_tls, on_event));
    assert_true(conn_init(&k.b.conn, k.loop, fds[1], &conn_tls, on_event));
}

/* Steps of both handshakes until both ended; what each said. */
static void shake(enum io *a, enum io *b, enum fault *fa, enum fault *fb)
{
    *a = *b = IO_AGAIN;
    for (int i = 0; i < TURNS && (*a == IO_AGAIN || *b == IO_AGAIN); i++) {
        loop_turn(k.loop, 0);
        if (*a == IO_AGAIN)
            *a = conn_handshake(&k.a.conn, fa);
        if (*b == IO_AGAIN)
            *b = conn_handshake(&k.b.conn, fb);
        if (*a == IO_ERR && *b == IO_AGAIN)
            conn_close(&k.a.conn);
    }
}

static void shake_good(struct str host)
{
    enum io a, b;
    enum fault fa = FAULT_OK, fb = FAULT_OK;
    connect_pair(host);
    shake(&a, &b, &fa, &fb);
    assert_int_equal(a, IO_OK);
    assert_int_equal(b, IO_OK);
}

static void close_pair(void)
{
    conn_close(&k.a.conn);
    conn_close(&k.b.conn);
    loop_turn(k.loop, 0);
}

/* Reads at `from` until n bytes came; they must be text. */
static void expect(struct side *from, const char *text, size_t n)
{
    char got[256];
    size_t sum = 0;
    for (int i = 0; i < TURNS && sum < n; i++) {
        size_t part = 0;
        enum io io = conn_read(&from->conn, got + sum, sizeof got - sum, &part);
        assert_true(io == IO_OK || io == IO_AGAIN);
        sum += part;
        if (io == IO_AGAIN)
            loop_turn(k.loop, 0);
    }
    assert_int_equal(sum, n);
    assert_memory_equal(got, text, n);
}

static void say_pieces(struct side *from)
{
    struct iovec iov[] = {{"head ", 5}, {"and ", 4}, {"body", 4}};
    size_t n;
    assert_int_equal(conn_writev(&from->conn, iov, 3, &n), IO_OK);
    assert_int_equal(n, 13);
}

static void talks(void **state)
{
    (void) state;
    struct tls_info info;
    char byte;
    size_t n;
    shake_good(STR("A.b.example"));
    assert_true(conn_tls_info(&k.b.conn, &info));
    assert_true(str_ieq(info.sni, STR("a.b.example")));
    assert_true(str_eq(info.version, STR("TLSv1.3")));
    assert_false(info.resumed || info.verified);
    say_pieces(&k.a);
    expect(&k.b, "head and body", 13);
    assert_true(k.b.conn.last_short);
    assert_false(conn_readable(&k.b.conn));
    assert_int_equal(conn_read(&k.b.conn, &byte, 1, &n), IO_AGAIN);
    close_pair();
}

/* Bytes that OpenSSL has, and the socket has not any more, are readable. */
static void pending_is_readable(void **state)
{
    (void) state;
    char byte;
    size_t n;
    shake_good(STR("a.example"));
    say_pieces(&k.a);
    loop_turn(k.loop, 0);
    assert_int_equal(conn_read(&k.b.conn, &byte, 1, &n), IO_OK);
    assert_false(k.b.conn.may_read);
    assert_true(conn_readable(&k.b.conn));
    assert_false(conn_is_quiet(&k.b.conn));
    expect(&k.b, "ead and body", 12);
    assert_false(conn_readable(&k.b.conn));
    close_pair();
}

/* Very many small pieces to a slow reader: joined while they are few, then more than a call has. */
static void a_record_is_not_tried_again_with_less(void **state)
{
    (void) state;
    enum { ALL = 20000 };
    static char text[2 * ALL], in[1000];
    struct buf_pool bp;
    struct chain out = {0};
    size_t added = 0, got = 0, n;
    buf_pool_init(&bp, NULL);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char) (i * 7 + i / 251);
    shake_good(STR("a.example"));
    for (int i = 0; i < TURNS * 50 && got < ALL; i++) {
        for (int j = 0; j < 500 && added < ALL; j++, added++)
            assert_true(chain_add_static(&out, &bp, str_of(text + 2 * added, 1)));
        if (out.bytes)
            assert_int_not_equal(conn_send(&k.a.conn, &out, &bp), IO_ERR);
        loop_turn(k.loop, 0);
        if (added < ALL && i % 4 != 3)
            continue;
        assert_int_not_equal(conn_read(&k.b.conn, in, sizeof in, &n), IO_ERR);
        for (size_t j = 0; j < n; j++, got++)
            assert_int_equal(in[j], text[2 * got]);
    }
    assert_int_equal(got, ALL);
    close_pair();
    buf_pool_fini(&bp);
}

/* More than the socket takes: what was not counted is offered again, with more behind it. */
static void records_leave_in_pieces(void **state)
{
    (void) state;
    static char out[200000], in[200000];
    size_t sent = 0, got = 0, n;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char) (i * 7 + i / 251);
    shake_good(STR("a.example"));
    for (int i = 0; i < TURNS * 50 && got < sizeof out; i++) {
        size_t offer = sizeof out - sent < 30000 ? sizeof out - sent : 30000;
        struct iovec iov[] = {{out + sent, offer / 3}, {out + sent + offer / 3, offer - offer / 3}};
        if (offer > 2) {
            enum io io = conn_writev(&k.a.conn, iov, 2, &n);
            assert_true(io == IO_OK || io == IO_AGAIN);
            sent += n;
        } else if (offer > 0) {
            iov[0].iov_len = offer;
            if (conn_writev(&k.a.conn, iov, 1, &n) == IO_OK)
                sent += n;
        }
        loop_turn(k.loop, 0);
        enum io io = conn_read(&k.b.conn, in + got, sizeof in - got, &n);
        assert_true(io == IO_OK || io == IO_AGAIN || got == sizeof out);
        got += n;
    }
    assert_int_equal(got, sizeof out);
    assert_memory_equal(in, out, sizeof out);
    close_pair();
}

/* Tickets wait behind the handshake: the client's side is quiet; a byte for its owner is not. */
static void tickets_are_quiet(void **state)
{
    (void) state;
    shake_good(STR("a.example"));
    loop_turn(k.loop, 0);
    assert_true(k.a.conn.may_read);
    assert_true(conn_is_quiet(&k.a.conn));
    assert_false(k.a.conn.may_read);
    say_pieces(&k.b);
    assert_false(conn_is_quiet(&k.a.conn));
    expect(&k.a, "head and body", 13);
    assert_true(conn_is_quiet(&k.a.conn));
    conn_close(&k.b.conn);
    assert_false(conn_is_quiet(&k.a.conn));
    close_pair();
}

static enum io last_read(struct side *from)
{
    char byte;
    size_t n;
    enum io io = IO_AGAIN;
    for (int i = 0; i < TURNS && io == IO_AGAIN; i++) {
        loop_turn(k.loop, 0);
        io = conn_read(&from->conn, &byte, 1, &n);
    }
    return io;
}

static void ends(void **state)
{
    (void) state;
    shake_good(STR("a.example"));
    conn_close(&k.b.conn); /* with close_notify */
    assert_int_equal(last_read(&k.a), IO_EOF);
    close_pair();
    shake_good(STR("a.example"));
    conn_shutdown_write(&k.b.conn);
    assert_int_equal(last_read(&k.a), IO_EOF);
    say_pieces(&k.a); /* the other direction goes on */
    expect(&k.b, "head and body", 13);
    close_pair();
    shake_good(STR("a.example"));
    shutdown(conn_fd(&k.b.conn), SHUT_WR); /* without */
    assert_int_equal(last_read(&k.a), IO_ERR);
    assert_string_equal(conn_tls_why(&k.a.conn), "the connection ended without close_notify");
    close_pair();
}

static void resumes(void **state)
{
    (void) state;
    struct tls_info info;
    for (int i = 0; i < 2; i++) {
        shake_good(STR("resumed.b.example"));
        assert_true(conn_tls_info(&k.a.conn, &info));
        assert_int_equal(info.resumed, i);
        loop_turn(k.loop, 0);
        assert_true(conn_is_quiet(&k.a.conn)); /* takes the tickets */
        close_pair();
    }
}

static void refuses_another_name(void **state)
{
    (void) state;
    enum io a, b;
    enum fault fa = FAULT_OK, fb = FAULT_OK;
    connect_pair(STR("c.example"));
    shake(&a, &b, &fa, &fb);
    assert_int_equal(a, IO_ERR);
    assert_int_equal(fa, FAULT_UP_CERT_NAME);
    assert_int_equal(b, IO_ERR);
    close_pair();
}

/* Links move between workers: the struct conn is another one then. */
static void moves(void **state)
{
    (void) state;
    shake_good(STR("a.example"));
    conn_detach(&k.a.conn);
    struct side moved = k.a;
    memset(&k.a, 0xee, sizeof k.a);
    assert_true(conn_attach(&moved.conn, k.loop));
    say_pieces(&moved);
    expect(&k.b, "head and body", 13);
    k.a.conn.watch.fd = -1;
    conn_close(&moved.conn);
    conn_close(&k.b.conn);
    loop_turn(k.loop, 0);
}

static void plain_after_failure(void **state)
{
    (void) state;
    enum fault f = FAULT_OK;
    enum io io = IO_AGAIN;
    connect_pair(STR("a.example"));
    assert_int_equal(write(conn_fd(&k.a.conn), "GET / HTTP/1.1\r\n\r\n", 18), 18);
    for (int i = 0; i < TURNS && io == IO_AGAIN; i++) {
        loop_turn(k.loop, 0);
        io = conn_handshake(&k.b.conn, &f);
    }
    assert_int_equal(f, FAULT_TLS_PLAIN_HTTP);
    conn_tls_strip(&k.b.conn);
    say_pieces(&k.b);
    close_pair();
}

/* ---- keys that another process takes over ---------------------------------------------------- */

struct taken {
    struct tls_made_keys v[4];
    size_t n;
};

static void take_keys(void *arg, struct tls_made_keys *one)
{
    struct taken *t = arg;
    t->v[t->n++] = *one;
}

/* What a process with those servers leaves; given: what it took before. */
static struct taken keys_after(const struct tls_server_conf *conf, size_t n,
                               const struct taken *given)
{
    struct tls_errors e = {.say = say};
    struct tls_store *s = tls_store_new();
    struct tls_server *servers[4];
    struct taken out = {.n = 0};
    for (size_t i = 0; i < n; i++)
        servers[i] = tls_server_new(s, &conf[i], &e);
    if (given)
        tls_store_take_keys(s, given->v, given->n);
    tls_store_each_keys(s, take_keys, &out);
    for (size_t i = 0; i < n; i++)
        tls_server_unref(servers[i]);
    tls_store_free(s);
    return out;
}

static void assert_same_keys(const struct tls_made_keys *a, const struct tls_made_keys *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->next, b->next);
    assert_memory_equal(a->bytes, b->bytes, a->n * (size_t) TLS_KEY_BYTES);
}

static void keys_are_handed_over(void **state)
{
    (void) state;
    struct str h1 = STR("http/1.1");
    struct tls_server_conf two[2] = {k.server_conf, k.server_conf};
    two[1].alpn = (struct schema_list){&h1, 1};
    struct taken first = keys_after(two, 2, NULL);
    assert_int_equal(first.n, 2);
    assert_int_equal(first.v[0].n, 1);
    assert_memory_not_equal(first.v[0].bytes, first.v[1].bytes, TLS_KEY_BYTES);
    /* The same settings: each its own. */
    struct taken same = keys_after(two, 2, &first);
    assert_same_keys(&same.v[0], &first.v[0]);
    assert_same_keys(&same.v[1], &first.v[1]);
    /* Other settings of the same certificates, as another version has them. */
    struct tls_server_conf other = k.server_conf;
    other.session_tickets.lifetime += 1000000;
    struct taken moved = keys_after(&other, 1, &first);
    assert_same_keys(&moved.v[0], &first.v[0]);
    /* What makes none of its own leaves none. */
    other.session_tickets.enabled = false;
    assert_int_equal(keys_after(&other, 1, &first).n, 0);
    /* Others' certificates, and what is not whole, are nobody's. */
    first.v[0].content = first.v[0].certs = first.v[1].content = first.v[1].certs = 1;
    same = keys_after(two, 1, &first);
    assert_memory_not_equal(same.v[0].bytes, first.v[0].bytes, TLS_KEY_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks),
        cmocka_unit_test(pending_is_readable),
        cmocka_unit_test(a_record_is_not_tried_again_with_less),
        cmocka_unit_test(records_leave_in_pieces),
        cmocka_unit_test(tickets_are_quiet),
        cmocka_unit_test(ends),
        cmocka_unit_test(resumes),
        cmocka_unit_test(refuses_another_name),
        cmocka_unit_test(moves),
        cmocka_unit_test(plain_after_failure),
        cmocka_unit_test(keys_are_handed_over),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
