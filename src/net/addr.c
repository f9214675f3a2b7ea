/* SPDX-License-Identifier: Apache-2.0 */
/* addr.c: socket addresses and CIDR sets as values. Holds no state. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#define IP_TEXT_MAX 46u

/* ---- IP addresses ---------------------------------------------------------------------------- */

/* A number below 256 in decimal, in the first of four bytes; the last one says in how many. */
#define NUMBER(v)                                                                                  \
    {                                                                                              \
        '0' + ((v) > 99  ? (v) / 100                                                               \
               : (v) > 9 ? (v) / 10                                                                \
                         : (v)),                                                                   \
            '0' + ((v) > 99 ? (v) / 10 % 10 : (v) % 10), '0' + (v) % 10,                           \
            1 + ((v) > 9) + ((v) > 99)                                                             \
    }
#define NUMBER4(v) NUMBER(v), NUMBER((v) + 1), NUMBER((v) + 2), NUMBER((v) + 3)
#define NUMBER16(v) NUMBER4(v), NUMBER4((v) + 4), NUMBER4((v) + 8), NUMBER4((v) + 12)
#define NUMBER64(v) NUMBER16(v), NUMBER16((v) + 16), NUMBER16((v) + 32), NUMBER16((v) + 48)

static const char numbers[256][4] = {NUMBER64(0), NUMBER64(64), NUMBER64(128), NUMBER64(192)};

size_t ip_print(struct ip ip, char out[46])
{
    if (!ip_is_v4(ip)) {
        out[0] = '\0';
        inet_ntop(AF_INET6, ip.b, out, IP_TEXT_MAX);
        return strlen(out);
    }
    /* By a table: X-Forwarded-For prints one for each request. */
    size_t n = 0;
    for (unsigned i = 12; i < 16; i++) {
        const char *number = numbers[ip.b[i]];
        memcpy(out + n, number, 4);
        n += (size_t) number[3];
        out[n++] = '.';
    }
    out[--n] = '\0';
    return n;
}

static struct ip ip_mapped(const void *four)
{
    struct ip ip = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
    memcpy(ip.b + 12, four, 4);
    return ip;
}

bool ip_parse(struct str text, struct ip *out)
{
    char z[IP_TEXT_MAX];
    if (text.n == 0 || text.n >= sizeof z || str_find(text, '\0') >= 0)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    uint8_t four[4];
    if (inet_pton(AF_INET, z, four) == 1) {
        *out = ip_mapped(four);
        return true;
    }
    return inet_pton(AF_INET6, z, out->b) == 1;
}

/* All of the 128 bits behind the first keep are zero. */
static bool rest_is_zero(const uint8_t *b, unsigned keep)
{
    for (unsigned i = keep; i < 128; i++)
        if (b[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

bool cidr_parse(struct str text, struct cidr *out)
{
    ptrdiff_t slash = str_find(text, '/');
    struct str ip = slash < 0 ? text : str_sub(text, 0, (size_t) slash);
    if (!ip_parse(ip, &out->ip))
        return false;
    bool v4 = ip_is_v4(out->ip) && str_find(ip, ':') < 0;
    uint64_t bits = v4 ? 32 : 128;
    if (slash >= 0) {
        struct str length = str_sub(text, (size_t) slash + 1, text.n);
        uint64_t most = bits;
        if (length.n > 3 || !str_to_u64(length, &bits) || bits > most)
            return false;
    }
    out->bits = (uint8_t) (bits + (v4 ? 96 : 0));
    return rest_is_zero(out->ip.b, out->bits);
}

bool cidr_has(const struct cidr *c, struct ip ip)
{
    unsigned whole = c->bits / 8, rest = c->bits % 8;
    if (memcmp(c->ip.b, ip.b, whole) != 0)
        return false;
    return rest == 0 || ((c->ip.b[whole] ^ ip.b[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static bool split_fail(const char **why, const char *text)
{
    *why = text;
    return false;
}

/* A host name as in RFC 1123 2.1, '_' allowed, a dot at the end too. */
static bool is_name(struct str host)
{
    size_t label = 0;
    if (host.n == 0 || host.n > 253)
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool word = (c >= '0' && c <= '9') || (str_lower(c) >= 'a' && str_lower(c) <= 'z');
        if (c == '.' && label == 0)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63 || !(word || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

bool addr_is_name(struct str host)
{
    struct ip ip;
    return is_name(host) && !ip_parse(host, &ip);
}

/* No name ends in a number (RFC 1123 2.1): 10.0.0.256 is an address with a slip. */
static bool ends_in_number(struct str host)
{
    uint64_t number;
    return str_to_u64(str_sub(host, (size_t) (str_rfind(host, '.') + 1), host.n), &number);
}

/* Cuts text into host and what follows it: nothing, or ':' and the port. */
static bool cut_host(struct str text, struct str *host, struct str *rest, const char **why)
{
    if (text.n && text.p[0] == '[') {
        ptrdiff_t end = str_find(text, ']');
        if (end < 0)
            return split_fail(why, "the bracket is not closed; write [::1]:8080");
        *host = str_sub(text, 1, (size_t) end);
        *rest = str_sub(text, (size_t) end + 1, text.n);
        return true;
    }
    ptrdiff_t colon = str_rfind(text, ':');
    if (str_find(text, ',') >= 0 || str_find(text, ' ') >= 0)
        return split_fail(why,
                          "it holds more than one address; write a list: [host:port, host:port]");
    if (colon >= 0 && str_find(text, ':') != colon)
        return split_fail(why, "an IPv6 address needs brackets; write [::1]:8080");
    *host = colon < 0 ? text : str_sub(text, 0, (size_t) colon);
    *rest = colon < 0 ? str_sub(text, 0, 0) : str_sub(text, (size_t) colon, text.n);
    return true;
}

static bool split_unix(struct str path, struct addr_text *out, const char **why)
{
    struct sockaddr_un un;
    if (path.n == 0)
        return split_fail(why, "the path is missing; write unix:/run/name.sock");
    if (path.p[0] != '/' && path.p[0] != '@')
        return split_fail(why, "the path of a unix socket begins with / (or @: abstract)");
    if (path.n >= sizeof un.sun_path || str_find(path, '\0') >= 0)
        return split_fail(why, "the path of a unix socket has at most 107 bytes");
    *out = (struct addr_text){ADDR_UNIX, path, 0};
    return true;
}

/* "http://x", what people write where host:port is wanted. */
static bool has_scheme(struct str text)
{
    ptrdiff_t colon = str_find(text, ':');
    return colon > 0 && str_starts(str_sub(text, (size_t) colon, text.n), STR("://"));
}

bool addr_split(struct str text, uint16_t default_port, struct addr_text *out, const char **why)
{
    struct str host, rest;
    struct ip ip;
    if (str_starts(text, STR("unix:")))
        return split_unix(str_sub(text, 5, text.n), out, why);
    if (text.n == 0)
        return split_fail(why, "it is empty; write host:port");
    if (has_scheme(text))
        return split_fail(why, "it is a URL; write host:port without http://");
    if (!cut_host(text, &host, &rest, why))
        return false;
    uint64_t port = default_port;
    if (rest.n) {
        if (rest.p[0] != ':' || rest.n > 6 || !str_to_u64(str_sub(rest, 1, rest.n), &port) ||
            port > 65535)
            return split_fail(why, "the port is not a number from 0 to 65535");
    } else if (port == 0) {
        uint64_t number;
        if (str_to_u64(text, &number))
            return split_fail(why, "a port alone needs its colon, as in :8080");
        return split_fail(why, "the port is missing; write host:port");
    }
    bool bracketed = text.p[0] == '[';
    bool is_ip = host.n == 0 || ip_parse(host, &ip);
    if (bracketed && (host.n == 0 || !is_ip || str_find(host, ':') < 0))
        return split_fail(why, "brackets are for IPv6 addresses");
    if (!is_ip && (!is_name(host) || ends_in_number(host)))
        return split_fail(why, "the host is neither an IP address nor a host name");
    *out = (struct addr_text){is_ip ? ADDR_IP : ADDR_NAME, host, (uint16_t) port};
    return true;
}

bool addr_from_text(const struct addr_text *t, struct addr *out)
{
    struct ip ip = {{0}};
    *out = (struct addr){.len = 0};
    if (t->form == ADDR_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *) &out->ss;
        if (t->host.n == 0 || t->host.n >= sizeof un->sun_path)
            return false;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, t->host.p, t->host.n);
        bool abstract = t->host.p[0] == '@';
        if (abstract)
            un->sun_path[0] = '\0';
        /* An abstract name is exactly as long as the address says; a path has its NUL. */
        out->len =
            (socklen_t) (offsetof(struct sockaddr_un, sun_path) + t->host.n + (abstract ? 0 : 1));
        return true;
    }
    if (t->form != ADDR_IP || (t->host.n && !ip_parse(t->host, &ip)))
        return false;
    *out = addr_from_ip(ip, t->port);
    return true;
}

struct addr addr_from_ip(struct ip ip, uint16_t port)
{
    struct addr a = {.len = 0};
    if (ip_is_v4(ip)) {
        struct sockaddr_in *in = (struct sockaddr_in *) &a.ss;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, ip.b + 12, 4);
        a.len = sizeof *in;
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) &a.ss;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, ip.b, 16);
        a.len = sizeof *in6;
    }
    return a;
}

static size_t print_unix(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    const struct sockaddr_un *un = (const struct sockaddr_un *) &a->ss;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = a->len > head ? a->len - head : 0;
    bool abstract = n && un->sun_path[0] == '\0';
    if (!abstract)
        n = strnlen(un->sun_path, n);
    memcpy(out, "unix:", 5);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char) un->sun_path[i];
        out[5 + i] = (char) (c ? c : '@');
    }
    out[5 + n] = '\0';
    return 5 + n;
}

size_t addr_print(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct ip ip;
    if (a->ss.ss_family == AF_UNIX)
        return print_unix(a, out);
    if (!addr_ip(a, &ip)) {
        memcpy(out, "?", 2);
        return 1;
    }
    char text[IP_TEXT_MAX];
    ip_print(ip, text);
    const char *format = ip_is_v4(ip) ? "%s:%u" : "[%s]:%u";
    return (size_t) snprintf(out, ADDR_TEXT_MAX, format, text, (unsigned) addr_port(a));
}

bool addr_ip(const struct addr *a, struct ip *out)
{
    if (a->ss.ss_family == AF_INET) {
        *out = ip_mapped(&((const struct sockaddr_in *) &a->ss)->sin_addr);
        return true;
    }
    if (a->ss.ss_family != AF_INET6)
        return false;
    memcpy(out->b, &((const struct sockaddr_in6 *) &a->ss)->sin6_addr, 16);
    return true;
}

uint16_t addr_port(const struct addr *a)
{
    if (a->ss.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *) &a->ss)->sin_port);
    if (a->ss.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *) &a->ss)->sin6_port);
    return 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    struct ip x, y;
    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (addr_ip(a, &x) && addr_ip(b, &y))
        return memcmp(x.b, y.b, 16) == 0 && addr_port(a) == addr_port(b);
    return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}
