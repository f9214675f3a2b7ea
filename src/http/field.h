/* SPDX-License-Identifier: Apache-2.0 */
/* field: header and trailer fields: an ordered array in an arena, with a mask of the known
 * names in it so that "is there a TE?" is one test. Owner: the head that embeds it. One thread.
 * Views only; bytes live in the block or the arena. */
#ifndef WEIR_HTTP_FIELD_H
#define WEIR_HTTP_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/panic.h"
#include "base/str.h"

enum field_id {
    FIELD_OTHER, /* not in the table */
#define FIELD(id, name) FIELD_##id,
#include "http/field_table.h"
#undef FIELD
    FIELD_COUNT
};

struct field {
    struct str name;  /* as written by the sender */
    struct str value; /* trimmed */
    uint8_t id;       /* enum field_id */
    /* Bytes at name.p that are "name: value CRLF" as it would be written; 0: they are not. See
     * field_line and field_put. */
    uint32_t line;
};

struct fields {
    struct field *v;
    uint32_t n, cap;
    uint64_t present; /* bit field_id: at least one field of that id (bit 0: of no known name) */
    bool odd_names;   /* some name, known to no table, may hold other than letters, digits, '-' */
    struct arena *arena; /* where v grows */
};

#define FIELD_BIT(id) (UINT64_C(1) << FIELD_##id)
/* By which upstreams are told who asked. */
#define FIELDS_FORWARDING                                                                          \
    (FIELD_BIT(FORWARDED) | FIELD_BIT(X_FORWARDED_FOR) | FIELD_BIT(X_FORWARDED_HOST) |             \
     FIELD_BIT(X_FORWARDED_PROTO) | FIELD_BIT(X_REAL_IP))
/* Known names that no trailer section may hold: framing, routing, authentication, request
 * modifiers, what describes the content (RFC 9110 6.5.1), and what Weir itself sets. */
#define FIELDS_NOT_IN_TRAILERS                                                                     \
    (FIELD_BIT(HOST) | FIELD_BIT(CONNECTION) | FIELD_BIT(CONTENT_LENGTH) |                         \
     FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(TE) | FIELD_BIT(TRAILER) | FIELD_BIT(UPGRADE) |      \
     FIELD_BIT(KEEP_ALIVE) | FIELD_BIT(PROXY_CONNECTION) | FIELD_BIT(PROXY_AUTHENTICATE) |         \
     FIELD_BIT(PROXY_AUTHORIZATION) | FIELD_BIT(HTTP2_SETTINGS) | FIELD_BIT(EXPECT) |              \
     FIELD_BIT(VIA) | FIELD_BIT(DATE) | FIELD_BIT(MAX_FORWARDS) | FIELDS_FORWARDING |              \
     FIELD_BIT(X_REQUEST_ID) | FIELD_BIT(CONTENT_TYPE) | FIELD_BIT(CONTENT_ENCODING) |             \
     FIELD_BIT(CONTENT_RANGE) | FIELD_BIT(AUTHORIZATION) | FIELD_BIT(WWW_AUTHENTICATE) |           \
     FIELD_BIT(COOKIE) | FIELD_BIT(SET_COOKIE) | FIELD_BIT(CACHE_CONTROL) | FIELD_BIT(EXPIRES) |   \
     FIELD_BIT(VARY) | FIELD_BIT(LOCATION) | FIELD_BIT(RETRY_AFTER) | FIELD_BIT(AGE) |             \
     FIELD_BIT(RANGE) | FIELD_BIT(IF_NONE_MATCH) | FIELD_BIT(IF_MODIFIED_SINCE) |                  \
     FIELD_BIT(TRACEPARENT))

/* Empty, growing in arena. */
static inline void fields_init(struct fields *f, struct arena *arena)
{
    *f = (struct fields){.arena = arena};
}
/* A field of that known id is present. */
static inline bool fields_has(const struct fields *f, enum field_id id)
{
    return (f->present >> id) & 1;
}
/* The bytes at f->name.p that may be sent as they are for this field: its line as it was read and
 * found good, CRLF included; 0 when it must be written from its values. */
static inline size_t field_line(const struct field *f)
{
    debug_must(!f->line ||
               (f->value.p == f->name.p + f->name.n + 2 && f->name.n + f->value.n + 4 == f->line));
    return f->line;
}
/* Another value in the same place; the only way to change one. */
static inline void field_put(struct field *f, struct str value)
{
    f->value = value;
    f->line = 0;
}
/* The id of a name, compared without case; FIELD_OTHER when unknown. O(length), no loop over the
 * table. */
enum field_id field_id(struct str name);
/* The same of the n (less than 16) bytes at p that a ':' follows; sixteen can be read: for the
 * parser. */
enum field_id field_id_in16(const char *p, size_t n);
/* The canonical spelling of a known id ("Content-Length"). */
struct str field_name(enum field_id id);
/* Makes room for one more field at least; false when the arena refuses. */
bool fields_grow(struct fields *f) __attribute__((warn_unused_result));
/* A slot at the end for the caller to fill in whole (and to add to present); NULL when the arena
 * refuses. For parsers. */
__attribute__((warn_unused_result)) static inline struct field *fields_push(struct fields *f)
{
    if (f->n == f->cap && !fields_grow(f))
        return NULL;
    return &f->v[f->n++];
}
/* Appends; false when the arena refuses. The views must live as long as the head. */
bool fields_add(struct fields *f, struct str name, struct str value)
    __attribute__((warn_unused_result));
/* Appends a known field under its canonical spelling, without looking up the name. */
bool fields_add_id(struct fields *f, enum field_id id, struct str value)
    __attribute__((warn_unused_result));
/* The same under the sender's own spelling, which is name. */
bool fields_add_known(struct fields *f, enum field_id id, struct str name, struct str value)
    __attribute__((warn_unused_result));
/* Appends the field of a known id that line is: "Name: value CRLF" as it is to be sent, in whatever
 * spelling. It is not looked at again: value is one that field_value_valid agrees to. */
bool fields_add_line(struct fields *f, enum field_id id, struct str line)
    __attribute__((warn_unused_result));
/* Room for n fields at the end, for the caller to fill in (see field_set_line) and to add
 * (fields_added); NULL when the arena refuses. */
struct field *fields_room(struct fields *f, uint32_t n) __attribute__((warn_unused_result));
/* Makes of slot what fields_add_line appends. */
void field_set_line(struct field *slot, enum field_id id, struct str line);
/* n fields stand in the room that fields_room found; ids: FIELD_BIT of each, all known. */
static inline void fields_added(struct fields *f, uint32_t n, uint64_t ids)
{
    f->n += n;
    f->present |= ids;
}
/* Replaces all fields of name by one (in the place of the first). */
bool fields_set(struct fields *f, struct str name, struct str value)
    __attribute__((warn_unused_result));
/* Removes all fields of name (without case); returns how many. */
uint32_t fields_remove(struct fields *f, struct str name);
/* Removes all fields of a known id. */
uint32_t fields_remove_id(struct fields *f, enum field_id id);
/* Removes all whose known id is in mask; one pass. */
uint32_t fields_remove_mask(struct fields *f, uint64_t mask);
/* Removes all that gone() says yes to; one pass. */
void fields_remove_if(struct fields *f, bool (*gone)(const struct field *x, void *arg), void *arg);
/* The first field of name, or NULL. */
const struct field *fields_get(const struct fields *f, struct str name);
/* The first field of id, or NULL; one test when absent. */
const struct field *fields_get_id(const struct fields *f, enum field_id id);
/* The only field of id, or NULL when there are none or several. */
struct field *fields_only(const struct fields *f, enum field_id id);
/* Number of fields of id. */
uint32_t fields_count_id(const struct fields *f, enum field_id id);
/* All values of id joined by ", " (RFC 9110 5.3); the value itself when there is one. */
struct str fields_joined(const struct fields *f, enum field_id id);
/* Copies all fields of from (views, not bytes) behind those of f. */
bool fields_copy(struct fields *f, const struct fields *from) __attribute__((warn_unused_result));
/* The same without those whose known id is in drop; room for some more is made on the way. */
bool fields_copy_but(struct fields *f, const struct fields *from, uint64_t drop)
    __attribute__((warn_unused_result));
/* A valid field name: token characters only, not empty (RFC 9110 5.1). */
bool field_name_valid(struct str name);
/* A valid field value: no control byte but HTAB, no leading or trailing white space. */
bool field_value_valid(struct str value);
/* Equal without case when '_' counts as '-': how CGI-like backends fold names. */
bool field_name_alias(struct str a, struct str b);

#endif
