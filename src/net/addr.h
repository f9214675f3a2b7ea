/* SPDX-License-Identifier: Apache-2.0 */
/* addr: socket addresses as values: parse, print, compare, CIDR sets. Any thread. No DNS here. */
#ifndef WEIR_NET_ADDR_H
#define WEIR_NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

/* An IP address, 16 bytes; IPv4 is kept as v4-mapped (::ffff:a.b.c.d). */
struct ip {
    uint8_t b[16];
};

/* A connectable or bindable address. */
struct addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* What a configuration text names. */
enum addr_form { ADDR_IP, ADDR_NAME, ADDR_UNIX };

struct addr_text {
    enum addr_form form;
    struct str host; /* without brackets; the path for ADDR_UNIX */
    uint16_t port;
};

#define ADDR_TEXT_MAX 128 /* bytes that addr_print needs at most, NUL included */

/* Splits "host:port", "[v6]:port", ":port" (any address), "unix:/path". *why (static) says what
 * is wrong. default_port 0: a port is required. Port 0 (any free one) is accepted. */
bool addr_split(struct str text, uint16_t default_port, struct addr_text *out, const char **why);
/* host is a host name (RFC 1123 2.1, '_' and a final dot allowed) and no IP address. */
bool addr_is_name(struct str host);
/* Makes a socket address of ADDR_IP or ADDR_UNIX (a leading '@' is an abstract socket). */
bool addr_from_text(const struct addr_text *t, struct addr *out);
/* Makes a socket address of an IP and port. */
struct addr addr_from_ip(struct ip ip, uint16_t port);
/* "127.0.0.1:80", "[::1]:80", "unix:/path"; NUL-terminated; returns bytes. */
size_t addr_print(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* The IP of an inet address; false for unix sockets. */
bool addr_ip(const struct addr *a, struct ip *out);
/* Port in host order, 0 for unix. */
uint16_t addr_port(const struct addr *a);
/* Same family, address and port. */
bool addr_equal(const struct addr *a, const struct addr *b);

/* "1.2.3.4" or "2001:db8::1", NUL-terminated (46 bytes are enough); returns bytes. */
size_t ip_print(struct ip ip, char out[46]);
/* Parses an IPv4 or IPv6 literal, without brackets, zone or port. */
bool ip_parse(struct str text, struct ip *out);
/* An IPv4 address (v4-mapped). */
static inline bool ip_is_v4(struct ip ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(ip.b, mapped, 12) == 0;
}

struct cidr {
    struct ip ip;
    uint8_t bits; /* 0..128 on the 16-byte form */
};

/* "10.0.0.0/8", "::1", "unix" is not one. False when malformed or host bits are set. */
bool cidr_parse(struct str text, struct cidr *out);
/* ip lies in c. */
bool cidr_has(const struct cidr *c, struct ip ip);

#endif
