/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_load --to ADDR [--seconds N | --requests N] [--resume] [--hold]
 *
 * The load of the TLS rows: one connection after the other, each with a handshake and one GET whose
 * answer is read. Prints one line of JSON like load does. With --resume every handshake but the
 * first resumes the session before it; a connection that was not resumed counts as failed. With
 * --hold the connections stay open until stdin ends.
 */
#include "common.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] = "GET /fixed HTTP/1.1\r\nHost: bench.example\r\n\r\n";

struct load {
    SSL_CTX *ctx;
    struct sockaddr_in to;
    SSL_SESSION *session; /* the newest, with --resume */
    bool resume, hold;
};

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct load *l = SSL_get_app_data(ssl);

    SSL_SESSION_free(l->session);
    l->session = session;
    return 1; /* ours now */
}

static int connect_to(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *) to, sizeof(*to)) != 0) {
        bench_die("connect");
    }
    return fd;
}

/* One answer with a short body; true when it says 200. */
static bool answered(SSL *ssl)
{
    char bytes[4096];
    size_t got = 0;

    while (got < sizeof(bytes) - 1) {
        int n = SSL_read(ssl, bytes + got, (int) (sizeof(bytes) - 1 - got));
        if (n <= 0) {
            return false;
        }
        got += (size_t) n;
        bytes[got] = '\0';
        if (strstr(bytes, "\r\n\r\n") != NULL) {
            return strncmp(bytes, "HTTP/1.1 200", 12) == 0;
        }
    }
    return false;
}

static bool one(struct load *l)
{
    SSL *ssl = SSL_new(l->ctx);
    int fd = connect_to(&l->to);
    bool again = l->resume && l->session != NULL;

    SSL_set_app_data(ssl, l);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "bench.example");
    if (again) {
        SSL_set_session(ssl, l->session);
    }
    bool good = SSL_connect(ssl) == 1 && (!again || SSL_session_reused(ssl)) &&
                SSL_write(ssl, request, sizeof(request) - 1) > 0 && answered(ssl);
    if (l->hold) {
        return good;
    }
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    return good;
}

int main(int argc, char **argv)
{
    struct load l = {.ctx = SSL_CTX_new(TLS_client_method()),
                     .to = bench_parse_addr(bench_option(argc, argv, "--to", "127.0.0.1:8443")),
                     .resume = bench_flag(argc, argv, "--resume"),
                     .hold = bench_flag(argc, argv, "--hold")};
    uint64_t limit = bench_parse_number(bench_option(argc, argv, "--requests", "0"));
    double seconds = strtod(bench_option(argc, argv, "--seconds", "5"), NULL);
    uint64_t done = 0, failed = 0, start = bench_now_ns(), now = start;

    bench_prepare();
    SSL_CTX_set_session_cache_mode(l.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (l.resume) {
        SSL_CTX_sess_set_new_cb(l.ctx, keep_session);
    }
    while (limit ? done + failed < limit : (double) (now - start) < seconds * 1e9) {
        *(one(&l) ? &done : &failed) += 1;
        now = bench_now_ns();
    }
    printf("{\"done\": %lu, \"requests\": %lu, \"errors\": %lu, \"failed\": %lu, "
           "\"seconds\": %.6f}\n",
           (unsigned long) done, (unsigned long) (done + failed), (unsigned long) failed,
           (unsigned long) failed, (double) (now - start) / 1e9);
    fflush(stdout);
    if (l.hold) {
        while (getchar() != EOF) {
        }
    }
    return 0;
}
