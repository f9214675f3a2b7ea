/* SPDX-License-Identifier: Apache-2.0 */
/* client_ip.c: see client_ip.h. */
#include "proxy/client_ip.h"

/* A walk from the right. */
struct walk {
    const struct snapshot *s;
    struct ip at;  /* the hop reached so far */
    uint32_t left; /* hops that may still be looked at */
};

__attribute__((noinline)) bool client_ip_trusted(const struct snapshot *s, struct ip ip)
{
    for (uint32_t i = 0; i < s->n_trusted; i++) {
        if (cidr_has(&s->trusted[i], ip))
            return true;
    }
    return false;
}

/* A port in digits; an obfuscated one (RFC 7239 6.3) is not believed. */
static bool port_valid(struct str text)
{
    uint64_t port;
    return text.n > 0 && text.n <= 5 && str_to_u64(text, &port) && port <= 65535;
}

bool client_ip_node(struct str text, struct ip *out)
{
    if (text.n == 0)
        return false;
    if (text.p[0] == '[') {
        ptrdiff_t close = str_find(text, ']');
        struct str inner = close > 0 ? str_sub(text, 1, (size_t) close) : STR("");
        struct str rest = close > 0 ? str_sub(text, (size_t) close + 1, text.n) : STR("");
        if (str_find(inner, ':') < 0 || !ip_parse(inner, out))
            return false;
        return rest.n == 0 || (rest.p[0] == ':' && port_valid(str_sub(rest, 1, rest.n)));
    }
    ptrdiff_t colon = str_find(text, ':');
    if (colon >= 0 && colon == str_rfind(text, ':')) {
        if (!port_valid(str_sub(text, (size_t) colon + 1, text.n)))
            return false;
        text = str_sub(text, 0, (size_t) colon);
    }
    return ip_parse(text, out);
}

/* Takes one hop, given as text. False: the walk ends, w->at is the answer. */
static bool step(struct walk *w, struct str text)
{
    struct ip ip;
    if (w->left == 0 || !client_ip_node(text, &ip))
        return false;
    w->at = ip;
    w->left--;
    return client_ip_trusted(w->s, ip);
}

/* One X-Forwarded-For line from the right; empty elements count for nothing (RFC 9110 5.6.1). */
static bool walk_list(struct walk *w, struct str line)
{
    while (line.n > 0) {
        ptrdiff_t comma = str_rfind(line, ',');
        struct str item = str_trim(str_sub(line, (size_t) (comma + 1), line.n));
        line = str_sub(line, 0, comma < 0 ? 0 : (size_t) comma);
        if (item.n > 0 && !step(w, item))
            return false;
    }
    return true;
}

/* ---- Forwarded (RFC 7239 4) ----------------------------------------------------------------- */

/* The last elements of one line, oldest overwritten; a value is the node without quotes. */
struct nodes {
    struct str v[CLIENT_IP_HOPS];
    uint32_t n; /* seen in all */
};

static bool token_byte(char c)
{
    return field_name_valid(str_of(&c, 1));
}

/* Takes a token or a quoted string off *rest. A quoted string with an escape is no address: its
 * value is given as it stands, which no parser of addresses accepts. */
static bool take_value(struct str *rest, struct str *value)
{
    size_t n = 0;
    if (rest->n > 0 && rest->p[0] == '"') {
        for (n = 1; n < rest->n && rest->p[n] != '"'; n++)
            n += rest->p[n] == '\\';
        if (n >= rest->n)
            return false;
        *value = str_sub(*rest, 1, n);
        *rest = str_sub(*rest, n + 1, rest->n);
        return true;
    }
    while (n < rest->n && token_byte(rest->p[n]))
        n++;
    *value = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return n > 0;
}

static void skip_space(struct str *rest)
{
    while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = str_sub(*rest, 1, rest->n);
}

/* Takes one pair, which may be empty. */
static bool take_pair(struct str *rest, struct str *name, struct str *value)
{
    *name = *value = STR("");
    if (rest->n == 0 || rest->p[0] == ';' || rest->p[0] == ',')
        return true;
    bool quoted = rest->p[0] == '"';
    if (quoted || !take_value(rest, name) || rest->n == 0 || rest->p[0] != '=')
        return false;
    *rest = str_sub(*rest, 1, rest->n);
    return take_value(rest, value);
}

/* Takes one element, up to its comma or the end: pairs between semicolons, at most one "for". */
static bool take_element(struct str *rest, struct str *node)
{
    bool seen = false;
    *node = STR("");
    for (;;) {
        struct str name, value;
        if (!take_pair(rest, &name, &value))
            return false;
        if (str_ieq(name, STR("for"))) {
            if (seen)
                return false;
            seen = true;
            *node = value;
        }
        skip_space(rest);
        if (rest->n == 0 || rest->p[0] == ',')
            return true;
        if (rest->p[0] != ';')
            return false;
        *rest = str_sub(*rest, 1, rest->n);
        skip_space(rest);
    }
}

/* Splits a line. False: malformed, so nothing in it can be told apart safely. */
static bool parse_line(struct str rest, struct nodes *out)
{
    out->n = 0;
    for (;;) {
        while (rest.n > 0 && (rest.p[0] == ',' || rest.p[0] == ' ' || rest.p[0] == '\t'))
            rest = str_sub(rest, 1, rest.n);
        if (rest.n == 0)
            return true;
        if (!take_element(&rest, &out->v[out->n % CLIENT_IP_HOPS]))
            return false;
        out->n++;
    }
}

bool client_ip_forwarded_valid(struct str list)
{
    struct nodes nodes;
    return parse_line(list, &nodes);
}

static bool walk_forwarded(struct walk *w, struct str line)
{
    struct nodes nodes;
    if (!parse_line(line, &nodes))
        return false;
    uint32_t kept = nodes.n < CLIENT_IP_HOPS ? nodes.n : CLIENT_IP_HOPS;
    for (uint32_t i = 0; i < kept; i++) {
        struct str node = nodes.v[(nodes.n - 1 - i) % CLIENT_IP_HOPS];
        /* An IPv6 address stands in brackets there (RFC 7239 6). */
        bool bare = node.n > 0 && node.p[0] != '[' && str_find(node, ':') != str_rfind(node, ':');
        if (bare || !step(w, node))
            return false;
    }
    return nodes.n <= CLIENT_IP_HOPS;
}

__attribute__((noinline)) struct ip client_ip_derive(const struct snapshot *s, struct ip peer,
                                                     bool peer_trusted, const struct fields *in)
{
    if (!peer_trusted)
        return peer;
    bool list = fields_has(in, FIELD_X_FORWARDED_FOR);
    enum field_id id = list ? FIELD_X_FORWARDED_FOR : FIELD_FORWARDED;
    if (!fields_has(in, id))
        return peer;
    struct walk w = {.s = s, .at = peer, .left = CLIENT_IP_HOPS};
    bool more = true;
    for (uint32_t i = in->n; more && i-- > 0;) {
        if (in->v[i].id == id)
            more = list ? walk_list(&w, in->v[i].value) : walk_forwarded(&w, in->v[i].value);
    }
    return w.at;
}
