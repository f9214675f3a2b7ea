/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request that the load generator sends, made once and sent a million times, and the reader of
 * the answer's head. Owned by the load generator, one thread. Never allocates after request_init.
 */
#ifndef BENCH_REQUEST_H
#define BENCH_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request_options {
    const char *path;   /* also with "%06u", replaced by a number below `numbers` */
    const char *head;   /* "host": Host alone; "browser": 14 fields, 800 bytes */
    uint64_t body_size; /* more than 0: a POST with so many bytes */
    uint64_t numbers;   /* how many different paths; 0: the path is fixed */
    bool wants_close;   /* adds Connection: close */
};

struct request {
    char *bytes;
    size_t len;
    char *digits; /* where the six digits of the path are, or NULL */
    uint64_t numbers, random;
};

struct response {
    unsigned status;
    uint64_t body_size; /* from Content-Length */
    bool closes;        /* Connection: close, or no usable framing */
};

/* Makes the request; exits on options that make no sense. */
void request_init(struct request *q, const struct request_options *options);

/* Puts the next random number into the path; nothing when the path is fixed. */
void request_vary(struct request *q);

/* Reads a response head of `len` bytes (RFC 9112 4); false when it is none. */
bool response_parse(const char *head, size_t len, struct response *out);

#endif
