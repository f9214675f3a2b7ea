/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_accept --listen ADDR --cert FILE --key FILE
 *
 * The floor of TLS: nothing but OpenSSL. One thread accepts, shakes hands, answers each GET with
 * the same few bytes and closes when the client does. What a handshake or an idle connection costs
 * here is OpenSSL's own share. Sessions are resumed by tickets; buffers are released while idle.
 *
 * Invariants:
 * 1. Every fd is registered once, edge-triggered; an event runs OpenSSL until it wants more.
 * 2. An end is freed by the event that closed it: each has one fd, so one event a batch.
 */
#include "common.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 256

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

struct end {
    int fd;
    SSL *ssl;  /* NULL: the listener */
    bool done; /* the handshake */
};

static SSL_CTX *context(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        bench_die("cannot use %s and %s", cert, key);
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    return ctx;
}

static void end_close(struct end *end)
{
    SSL_free(end->ssl);
    close(end->fd);
    free(end);
}

/* Reads requests and answers them; false: the connection has ended. */
static bool end_run(struct end *end)
{
    char bytes[4096];

    if (!end->done) {
        int r = SSL_accept(end->ssl);

        if (r != 1) {
            return SSL_get_error(end->ssl, r) == SSL_ERROR_WANT_READ;
        }
        end->done = true;
    }
    for (;;) {
        int n = SSL_read(end->ssl, bytes, sizeof(bytes));

        if (n <= 0) {
            return SSL_get_error(end->ssl, n) == SSL_ERROR_WANT_READ;
        }
        if (n >= 4 && memcmp(bytes + n - 4, "\r\n\r\n", 4) == 0 &&
            SSL_write(end->ssl, answer, sizeof(answer) - 1) <= 0) {
            return false;
        }
    }
}

static void accept_all(int epoll, int listener, SSL_CTX *ctx)
{
    int fd;

    while ((fd = bench_accept(listener)) >= 0) {
        struct end *end = bench_zalloc(sizeof(*end));

        end->fd = fd;
        end->ssl = SSL_new(ctx);
        if (end->ssl == NULL || SSL_set_fd(end->ssl, fd) != 1) {
            bench_die("SSL_new");
        }
        bench_watch(epoll, fd, end);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[BATCH];
    struct end listener = {.ssl = NULL};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    SSL_CTX *ctx = context(bench_option(argc, argv, "--cert", "cert.pem"),
                           bench_option(argc, argv, "--key", "key.pem"));

    bench_prepare();
    listener.fd = bench_listen(bench_option(argc, argv, "--listen", "127.0.0.1:8443"));
    bench_watch(epoll, listener.fd, &listener);
    for (;;) {
        int n = bench_wait(epoll, events, BATCH, UINT64_MAX, false);

        for (int i = 0; i < n; i++) {
            struct end *end = events[i].data.ptr;

            ERR_clear_error();
            if (end->ssl == NULL) {
                accept_all(epoll, listener.fd, ctx);
            } else if (!end_run(end)) {
                end_close(end);
            }
        }
    }
}
