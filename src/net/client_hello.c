/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello.c: see client_hello.h. Numbers in parentheses are sections of RFC 8446. */
#include "net/client_hello.h"

#include <string.h>

enum { RECORD_HEADER = 5, MESSAGE_HEADER = 4, RECORD_MAX = 1 << 14 };
enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, MESSAGE_CLIENT_HELLO = 1 };
enum { EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43 };

static uint16_t get16(const char *p)
{
    return (uint16_t) ((uint8_t) p[0] << 8 | (uint8_t) p[1]);
}

/* ---- pieces of a message (3.4) -------------------------------------------------------------- */

/* Takes n bytes off *rest; false: there are fewer. */
static bool take(struct str *rest, size_t n, struct str *out)
{
    if (rest->n < n)
        return false;
    *out = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return true;
}

/* Takes a vector behind its length of one byte. */
static bool take8(struct str *rest, struct str *out)
{
    struct str length;
    return take(rest, 1, &length) && take(rest, (uint8_t) length.p[0], out);
}

/* The same with a length of two bytes. */
static bool take16(struct str *rest, struct str *out)
{
    struct str length;
    return take(rest, 2, &length) && take(rest, get16(length.p), out);
}

/* ---- extensions (4.2) ----------------------------------------------------------------------- */

bool client_hello_host_name(struct str name, struct client_hello *out)
{
    size_t label = 0;
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n >= CLIENT_HELLO_NAME)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = str_lower(name.p[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!(word ? ++label <= 63 : c == '.' && label > 0))
            return false;
        if (c == '.')
            label = 0;
        out->sni[i] = c;
    }
    out->sni_n = (uint16_t) name.n;
    return label > 0;
}

bool client_hello_server_name(struct str body, struct client_hello *out)
{
    struct str list, kind, name;
    return out->sni_n == 0 && take16(&body, &list) && body.n == 0 && take(&list, 1, &kind) &&
           kind.p[0] == 0 && take16(&list, &name) && list.n == 0 &&
           client_hello_host_name(name, out);
}

/* RFC 7301 3.1. */
static bool read_alpn(struct str body, struct client_hello *out)
{
    struct str list, name;
    if (out->alpn_n || !take16(&body, &list) || body.n > 0 || list.n == 0)
        return false;
    bool room = true;
    while (list.n > 0) {
        const char *from = list.p;
        if (!take8(&list, &name) || name.n == 0)
            return false;
        room = room && name.n + 1 <= CLIENT_HELLO_ALPN - out->alpn_n;
        if (!room)
            continue;
        memcpy(out->alpn + out->alpn_n, from, name.n + 1);
        out->alpn_n = (uint16_t) (out->alpn_n + name.n + 1);
    }
    return true;
}

/* The highest version that is one; others are there to be passed over (RFC 8701). */
static bool read_versions(struct str body, struct client_hello *out)
{
    struct str list;
    uint16_t best = 0;
    if (!take8(&body, &list) || body.n > 0 || list.n < 2 || list.n % 2)
        return false;
    for (size_t i = 0; i < list.n; i += 2) {
        uint16_t v = get16(list.p + i);
        if (v >= 0x0300 && v <= 0x0304 && v > best)
            best = v;
    }
    out->version = best;
    return true;
}

static bool read_extensions(struct str rest, struct client_hello *out)
{
    unsigned seen = 0;
    while (rest.n > 0) {
        struct str type, body;
        if (!take(&rest, 2, &type) || !take16(&rest, &body))
            return false;
        unsigned kind = get16(type.p), bit = kind == EXTENSION_SERVER_NAME ? 1u
                                             : kind == EXTENSION_ALPN      ? 2u
                                             : kind == EXTENSION_VERSIONS  ? 4u
                                                                           : 0u;
        bool fine = bit == 1   ? client_hello_server_name(body, out)
                    : bit == 2 ? read_alpn(body, out)
                    : bit == 4 ? read_versions(body, out)
                               : true;
        if (!fine || (seen & bit))
            return false;
        seen |= bit;
    }
    return true;
}

/* ---- the message (4.1.2) -------------------------------------------------------------------- */

static enum hello_verdict read_message(struct str m, struct client_hello *out)
{
    struct str version, random, session, suites, compression, extensions;
    if (!take(&m, 2, &version) || !take(&m, 32, &random) || !take8(&m, &session) ||
        session.n > 32 || !take16(&m, &suites) || suites.n < 2 || suites.n % 2 ||
        !take8(&m, &compression) || compression.n == 0)
        return HELLO_INVALID;
    out->version = get16(version.p);
    if (m.n == 0) /* older than extensions */
        return HELLO_WHOLE;
    if (!take16(&m, &extensions) || m.n > 0 || !read_extensions(extensions, out))
        return HELLO_INVALID;
    return HELLO_WHOLE;
}

/* ---- records (5.1) -------------------------------------------------------------------------- */

/* A walk over the records from the first byte: where the hello's pieces are. */
struct records {
    struct str bytes;
    size_t at;   /* the next record */
    size_t have; /* bytes of the hello that were passed, its header included */
    size_t need; /* of its bytes; 0: not known yet */
    char header[MESSAGE_HEADER];
};

/* Notes the message's own header when it is there. */
static enum hello_verdict note_header(struct records *r, struct str piece)
{
    for (size_t i = 0; r->have + i < MESSAGE_HEADER && i < piece.n; i++)
        r->header[r->have + i] = piece.p[i];
    if (r->header[0] != MESSAGE_CLIENT_HELLO)
        return HELLO_INVALID;
    if (r->have + piece.n < MESSAGE_HEADER)
        return HELLO_MORE;
    r->need = MESSAGE_HEADER + ((size_t) (uint8_t) r->header[1] << 16 | get16(r->header + 2));
    return r->need + RECORD_HEADER > CLIENT_HELLO_MAX ? HELLO_TOO_LARGE : HELLO_WHOLE;
}

/* Passes one record, as much of it as has come. HELLO_WHOLE: go on. */
static enum hello_verdict pass_record(struct records *r, struct str *piece)
{
    struct str rest = str_sub(r->bytes, r->at, r->bytes.n);
    if (rest.n > 0 && rest.p[0] != RECORD_HANDSHAKE)
        return r->at ? HELLO_INVALID : HELLO_NOT_TLS;
    if (rest.n > 1 && rest.p[1] != 3)
        return r->at ? HELLO_INVALID : HELLO_NOT_TLS;
    if (rest.n < RECORD_HEADER)
        return HELLO_MORE;
    size_t n = get16(rest.p + 3);
    if (n == 0 || n > RECORD_MAX)
        return HELLO_INVALID;
    *piece = str_sub(rest, RECORD_HEADER, RECORD_HEADER + n);
    if (piece->n > 0 && r->need == 0) {
        enum hello_verdict v = note_header(r, *piece);
        if (v != HELLO_WHOLE && v != HELLO_MORE)
            return v;
    }
    if (r->need && r->have + n > r->need)
        return HELLO_INVALID; /* something else in the hello's record */
    r->have += piece->n;
    r->at += RECORD_HEADER + n;
    return piece->n < n ? HELLO_MORE : HELLO_WHOLE;
}

/* Passes records until the hello is whole; its pieces are laid together in room when there are
 * several. */
static enum hello_verdict collect(struct records *r, char *room, struct str *message)
{
    struct str piece;
    size_t laid = 0;
    while (!r->need || r->have < r->need) {
        enum hello_verdict v = pass_record(r, &piece);
        if (v != HELLO_WHOLE)
            return v;
        if (!laid && r->have == r->need) {
            *message = piece; /* all in one record */
            return HELLO_WHOLE;
        }
        memcpy(room + laid, piece.p, piece.n);
        laid += piece.n;
    }
    *message = str_of(room, laid);
    return HELLO_WHOLE;
}

enum hello_verdict client_hello_parse(struct str bytes, struct client_hello *out)
{
    char room[CLIENT_HELLO_MAX];
    struct str message;
    out->version = out->sni_n = out->alpn_n = 0;
    struct records r = {.bytes = str_sub(bytes, 0, CLIENT_HELLO_MAX)};
    enum hello_verdict v = collect(&r, room, &message);
    if (v == HELLO_MORE && bytes.n >= CLIENT_HELLO_MAX)
        return HELLO_TOO_LARGE;
    return v == HELLO_WHOLE ? read_message(str_sub(message, MESSAGE_HEADER, message.n), out) : v;
}

bool client_hello_offers(struct str alpn, struct str protocol)
{
    struct str name;
    while (take8(&alpn, &name)) {
        if (str_eq(name, protocol))
            return true;
    }
    return false;
}

void tls_alert_write(uint8_t description, char out[TLS_ALERT_BYTES])
{
    const char record[TLS_ALERT_BYTES] = {RECORD_ALERT, 3, 1, 0, 2, 2, (char) description};
    memcpy(out, record, TLS_ALERT_BYTES);
}
