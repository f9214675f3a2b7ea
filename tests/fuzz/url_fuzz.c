/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, authorities, URLs and queries; the first byte chooses the method. Properties: a second
 * normalisation changes nothing; no dot segment, bad byte or bad escape is left in a path; a
 * cleaned query is clean. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/url.h"

static bool hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static bool dots(const char *p, size_t n)
{
    return (n == 1 || n == 2) && p[0] == '.' && p[n - 1] == '.';
}

static void check_path(struct str path, struct arena *a)
{
    struct str again;
    must(path.n && path.p[0] == '/' && path_valid(path));
    size_t segment = 1;
    for (size_t i = 1; i <= path.n; i++) {
        char c = i < path.n ? path.p[i] : '/';
        if (c == '/') {
            must(!dots(path.p + segment, i - segment));
            segment = i + 1;
        }
        must(c > 0x20 && c < 0x7f && !strchr("\\?#\"<>[]^`{|}", c));
        must(c != '%' || (i + 2 < path.n && hex(path.p[i + 1]) && hex(path.p[i + 2])));
    }
    must(!memmem(path.p, path.n, "%00", 3) && !memmem(path.p, path.n, "%2E", 3));
    must(path_normalise(path, a, &again) == FAULT_OK && str_eq(path, again));
    must(path_slashes(&again, a, SLASH_MERGE) == FAULT_OK);
    must(!memmem(again.p, again.n, "//", 2));
}

static void check_authority(const struct head *h, struct arena *a)
{
    struct head again = {.status = 0};
    must(h->host.n && h->authority.n >= h->host.n);
    for (size_t i = 0; i < h->authority.n; i++) {
        char c = h->authority.p[i];
        must(c > 0x20 && c < 0x7f && !strchr("/?#@\\\"<>^`{|}", c) && !(c >= 'A' && c <= 'Z'));
    }
    must(authority_parse(h->authority, a, &again) == FAULT_OK);
    must(str_eq(again.authority, h->authority) && str_eq(again.host, h->host));
    must(again.port == h->port);
}

static void check_query(struct str query, struct arena *a)
{
    struct str value, rest = query, clean = query_clean(query, a), again = query_clean(clean, a);
    must(clean.p || query.n == 0);
    must(again.p == clean.p && again.n == clean.n);
    char *room = arena_alloc(a, query.n + 1);
    while (room && query_param(&rest, STR("a"), room, &value))
        must(value.n <= query.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct arena a;
    struct url url;
    const char *why = NULL;
    if (n == 0)
        return 0;
    struct head h = {.method_id = input[0] % METHOD_COUNT}, host = {.status = 0};
    struct str text = str_of((const char *) input + 1, n - 1), path;
    arena_init(&a, NULL, 16u << 20);
    if (target_parse(&h, &a, text) == FAULT_OK) {
        if (h.path.n && !str_eq(h.path, STR("*")))
            check_path(h.path, &a);
        if (h.target_form == TARGET_ABSOLUTE || h.target_form == TARGET_AUTHORITY)
            check_authority(&h, &a);
    }
    if (path_normalise(text, &a, &path) == FAULT_OK)
        check_path(path, &a);
    if (authority_parse(text, &a, &host) == FAULT_OK)
        check_authority(&host, &a);
    if (url_parse(text, &url, &why))
        must(authority_parse(url.authority, &a, &host) == FAULT_OK);
    else
        must(why && *why);
    check_query(text, &a);
    struct str joined = path_join(text, STR("/x"), &a);
    must(joined.n && joined.p[joined.n - 1] == 'x' && joined.p[joined.n - 2] == '/');
    arena_fini(&a);
    return 0;
}
