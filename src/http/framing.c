/* SPDX-License-Identifier: Apache-2.0 */
#include "http/framing.h"

#include "http/bytes.h"

#define OPTIONS_MAX 100u /* of the Connection fields of a head, empty ones too */
#define FRAMING_FIELDS (FIELD_BIT(CONTENT_LENGTH) | FIELD_BIT(TRANSFER_ENCODING))

/* Digits only (RFC 9110 8.6), at most 2^63 - 1: whoever adds two lengths, or keeps one in a
 * signed number, cannot overflow. */
static bool length_value(struct str text, uint64_t *length)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = byte_digit(text.p[i]);
        if (digit > 9 || v > INT64_MAX / 10)
            return false;
        v = v * 10 + digit; /* at most INT64_MAX + 2 */
    }
    if (text.n == 0 || v > INT64_MAX)
        return false;
    *length = v;
    return true;
}

/* Exactly one Content-Length, and valid. */
static bool one_length(const struct fields *f, uint64_t *length)
{
    const struct field *only = fields_only(f, FIELD_CONTENT_LENGTH);
    return only && length_value(only->value, length);
}

enum coding { CODING_CHUNKED, CODING_OTHERS_THEN_CHUNKED, CODING_INVALID };

/* What a Transfer-Encoding says. A list is taken apart without forgiveness: elements are bare
 * tokens, none is empty, and chunked comes once, last (RFC 9112 6.1, 7). */
static enum coding coding_of(const struct fields *f)
{
    const struct field *only = fields_only(f, FIELD_TRANSFER_ENCODING);
    if (!only)
        return CODING_INVALID;
    struct str list = only->value;
    if (str_ieq(list, STR("chunked")))
        return CODING_CHUNKED;
    for (;;) {
        ptrdiff_t comma = str_find(list, ',');
        if (comma < 0)
            break;
        struct str item = str_trim(str_sub(list, 0, (size_t) comma));
        if (!field_name_valid(item) || str_ieq(item, STR("chunked")))
            return CODING_INVALID;
        list = str_sub(list, (size_t) comma + 1, list.n);
    }
    return str_ieq(str_trim(list), STR("chunked")) ? CODING_OTHERS_THEN_CHUNKED : CODING_INVALID;
}

/* What the Connection fields say: close wins, 1.0 must ask for it. */
static bool connection_option(const struct head *h)
{
    bool keep = h->minor >= 1;
    for (uint32_t i = 0; i < h->fields.n; i++) {
        const struct field *f = &h->fields.v[i];
        if (f->id != FIELD_CONNECTION)
            continue;
        if (str_has_token(f->value, STR("close")))
            return false;
        if (h->minor == 0 && str_has_token(f->value, STR("keep-alive")))
            keep = true;
    }
    return keep;
}

/* Each field is looked for in them: who sends thousands, or as many commas, wants that to take
 * long. */
static bool too_many_options(const struct fields *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct str value = f->v[i].value;
        if (f->v[i].id != FIELD_CONNECTION)
            continue;
        n++;
        for (size_t k = 0; k < value.n; k++)
            n += value.p[k] == ',';
    }
    return n > OPTIONS_MAX;
}

/* Whether the sender keeps its connection open (RFC 9112 9.3). Nearly always the field is not there
 * or has one of two values. False: the fields say too much. */
static bool settle_connection(struct head *h)
{
    h->names_none = true;
    h->keep_alive = h->minor >= 1;
    if (!fields_has(&h->fields, FIELD_CONNECTION))
        return true;
    const struct field *only = fields_only(&h->fields, FIELD_CONNECTION);
    if (only && str_ieq(only->value, STR("keep-alive"))) {
        h->keep_alive = true;
    } else if (only && str_ieq(only->value, STR("close"))) {
        h->keep_alive = false;
    } else {
        h->names_none = false;
        h->keep_alive = connection_option(h);
        return !too_many_options(&h->fields);
    }
    return true;
}

enum fault framing_request(struct head *h)
{
    h->declared = LENGTH_NONE;
    h->length = 0;
    h->body = BODY_NONE;
    if (!settle_connection(h))
        return FAULT_REQ_HEAD_LARGE;
    if (!(h->fields.present & FRAMING_FIELDS))
        return FAULT_OK;
    if (fields_has(&h->fields, FIELD_TRANSFER_ENCODING)) {
        if (fields_has(&h->fields, FIELD_CONTENT_LENGTH))
            return FAULT_REQ_LENGTH_AND_TE;
        if (h->minor == 0)
            return FAULT_REQ_TE;
        switch (coding_of(&h->fields)) {
        case CODING_CHUNKED:
            if (h->method_id == METHOD_CONNECT)
                return FAULT_REQ_TE;
            break;
        case CODING_OTHERS_THEN_CHUNKED:
            return FAULT_REQ_TE_UNSUPPORTED;
        case CODING_INVALID:
            return FAULT_REQ_TE;
        }
        h->body = BODY_CHUNKED;
        return FAULT_OK;
    }
    if (!one_length(&h->fields, &h->length))
        return FAULT_REQ_LENGTH;
    /* What follows is the tunnel's: whoever took it for content would read another message. */
    if (h->method_id == METHOD_CONNECT && h->length)
        return FAULT_REQ_LENGTH;
    h->body = BODY_LENGTH;
    h->declared = h->length;
    return FAULT_OK;
}

/* Whether the status and the method leave no room for a body, whatever the fields say
 * (RFC 9112 6.3, rules 1 and 2). */
static bool bodyless(struct head *h, uint8_t request_method)
{
    if (h->status == 101 || (request_method == METHOD_CONNECT && h->status / 100 == 2)) {
        h->body = BODY_TUNNEL;
        h->keep_alive = false;
    } else if (!status_bodyless(h->status) && request_method != METHOD_HEAD) {
        return false;
    }
    /* Who announces content of a 204 may well send it, later than anybody looks. */
    if (h->status == 204 && request_method != METHOD_HEAD &&
        (fields_has(&h->fields, FIELD_TRANSFER_ENCODING) ||
         (h->declared != LENGTH_NONE && h->declared > 0)))
        h->keep_alive = false;
    /* There the framing fields mean nothing, and are not sent on (RFC 9110 8.6, 9.3.6). */
    if (h->status != 304 &&
        (request_method != METHOD_HEAD || h->status < 200 || h->status == 204)) {
        fields_remove_mask(&h->fields, FRAMING_FIELDS);
        h->declared = LENGTH_NONE;
    }
    return true;
}

enum fault framing_response(struct head *h, uint8_t request_method)
{
    h->declared = LENGTH_NONE;
    h->length = 0;
    h->body = BODY_NONE;
    if (!settle_connection(h))
        return FAULT_UP_HEAD_LARGE;
    bool coded = fields_has(&h->fields, FIELD_TRANSFER_ENCODING);
    if (coded && (fields_has(&h->fields, FIELD_CONTENT_LENGTH) || h->minor == 0 ||
                  coding_of(&h->fields) != CODING_CHUNKED))
        return FAULT_UP_FRAMING;
    if (fields_has(&h->fields, FIELD_CONTENT_LENGTH) && !one_length(&h->fields, &h->declared))
        return FAULT_UP_FRAMING;
    if (bodyless(h, request_method))
        return FAULT_OK;
    if (coded) {
        h->body = BODY_CHUNKED;
    } else if (h->declared != LENGTH_NONE) {
        h->body = BODY_LENGTH;
        h->length = h->declared;
    } else {
        h->body = BODY_CLOSE;
        h->keep_alive = false;
    }
    return FAULT_OK;
}

enum fault expect_parse(struct head *h)
{
    if (head_is_10(h))
        return FAULT_OK;
    const struct field *expect = fields_only(&h->fields, FIELD_EXPECT);
    if (!expect || !str_ieq(expect->value, STR("100-continue")))
        return FAULT_REQ_EXPECT;
    h->expect_continue = true;
    return FAULT_OK;
}
