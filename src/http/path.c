/* SPDX-License-Identifier: Apache-2.0 */
/* Paths. Normalising writes left to right into one buffer; it keeps these invariants:
 * 1. out[0, n) begins with '/' and holds only bytes of BYTE_PATH, '.', and upper-case escapes
 *    of bytes that are neither unreserved nor NUL.
 * 2. No segment before seg, where the last one begins, is "." or "..".
 * Both are what a second pass would leave alone: normalising twice equals once. */
#include "http/bytes.h"
#include "http/url.h"

static const char hex_upper[] = "0123456789ABCDEF";

static size_t put_escape(char *to, unsigned char c)
{
    to[0] = '%';
    to[1] = hex_upper[c >> 4];
    to[2] = hex_upper[c & 15];
    return 3;
}

/* A segment ended: removes "." and ".." (RFC 3986 5.2.4). seg is where it begins in out, and n
 * where it ends; out[seg - 1] is '/'. Returns the new n; out[n - 1] is '/' when it was removed. */
static size_t close_segment(const char *out, size_t seg, size_t n)
{
    if (n - seg == 1 && out[seg] == '.')
        return seg;
    if (n - seg != 2 || out[seg] != '.' || out[seg + 1] != '.')
        return n;
    n = seg - 1;
    while (n > 0 && out[n - 1] != '/')
        n--;
    return n > 0 ? n : 1;
}

/* The byte that "%XX" at p stands for, or -1. */
static int escaped(const char *p, const char *end)
{
    if (end - p < 3 || !byte_is(p[1], BYTE_HEX) || !byte_is(p[2], BYTE_HEX))
        return -1;
    return (int) (byte_hex(p[1]) << 4 | byte_hex(p[2]));
}

/* One byte or escape of raw at *at (moved to its last byte), written to to: bytes written, or 0
 * when it is refused. */
static size_t put_byte(const char **at, const char *end, char *to)
{
    char c = **at;
    if (c == '%') {
        int v = escaped(*at, end);
        if (v <= 0)
            return 0;
        *at += 2;
        if (!byte_is((char) v, BYTE_UNRESERVED))
            return put_escape(to, (unsigned char) v);
        c = (char) v;
    } else if (byte_is(c, BYTE_ESCAPE)) {
        return put_escape(to, (unsigned char) c);
    } else if (!byte_is(c, BYTE_PATH) && c != '.') {
        return 0;
    }
    *to = c;
    return 1;
}

/* Writes the normal form of raw, which begins with '/', to out (3 * raw.n bytes at most);
 * returns its length, 0 when a byte is refused. */
static size_t normalise(struct str raw, char *out)
{
    const char *end = raw.p + raw.n;
    size_t n = 1, seg = 1;
    out[0] = '/';
    for (const char *p = raw.p + 1; p < end; p++) {
        if (*p != '/') {
            size_t put = put_byte(&p, end, out + n);
            if (put == 0)
                return 0;
            n += put;
            continue;
        }
        size_t kept = close_segment(out, seg, n);
        n = kept == n ? n + 1 : kept;
        out[n - 1] = '/';
        seg = n;
    }
    return close_segment(out, seg, n);
}

enum fault path_normalise(struct str raw, struct arena *a, struct str *out)
{
    if (raw.n == 0 || raw.p[0] != '/')
        return FAULT_REQ_TARGET;
    char *text = arena_alloc(a, raw.n * 3);
    if (!text)
        return FAULT_MEMORY;
    *out = str_of(text, normalise(raw, text));
    return out->n ? FAULT_OK : FAULT_REQ_TARGET;
}

bool path_valid(struct str path)
{
    if (path.n == 0)
        return true;
    if (path.p[0] != '/')
        return false;
    const char *end = path.p + path.n;
    for (const char *p = path.p; p < end; p++) {
        if (*p == '%') {
            if (escaped(p, end) <= 0)
                return false;
            p += 2;
        } else if (!byte_is(*p, BYTE_PATH) && *p != '.') {
            return false;
        }
    }
    return true;
}

enum fault path_slashes(struct str *path, struct arena *a, enum slash_policy policy)
{
    if (policy == SLASH_KEEP || path->n == 0)
        return FAULT_OK;
    bool doubled = memmem(path->p, path->n, "//", 2) != NULL;
    if (policy == SLASH_REJECT) {
        bool hidden = memmem(path->p, path->n, "%2F", 3) != NULL;
        return doubled || hidden ? FAULT_REQ_TARGET : FAULT_OK;
    }
    if (!doubled)
        return FAULT_OK;
    char *text = arena_alloc(a, path->n);
    if (!text)
        return FAULT_MEMORY;
    size_t n = 0;
    for (size_t i = 0; i < path->n; i++)
        if (path->p[i] != '/' || n == 0 || text[n - 1] != '/')
            text[n++] = path->p[i];
    *path = str_of(text, n);
    return FAULT_OK;
}

struct str path_join(struct str base, struct str path, struct arena *a)
{
    /* "*" names a server, not a place below a path (RFC 9112 3.2.4). */
    if (str_eq(path, STR("*")) || base.n == 0 || str_eq(base, STR("/"))) {
        if (path.n && (path.p[0] == '/' || path.p[0] == '*'))
            return path;
    }
    if (base.n && base.p[base.n - 1] == '/')
        base.n--;
    if (path.n && path.p[0] == '/')
        path = str_sub(path, 1, path.n);
    struct str parts[] = {base, STR("/"), path};
    return arena_join(a, parts, 3);
}
