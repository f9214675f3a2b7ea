/* SPDX-License-Identifier: Apache-2.0 */
/* field_hash: made by scripts/field-hash from field_table.h; do not edit. Constant; any
 * thread; used by field.c only. first and late (the last but one) are the low five bits
 * of bytes of a name. */
#ifndef WEIR_HTTP_FIELD_HASH_H
#define WEIR_HTTP_FIELD_HASH_H

#define FIELD_SLOT(n, first, late)                                                                 \
    ((1u * (unsigned) (n) + 11u * (unsigned) (first) + 30u * (unsigned) (late)) % 256u)

/* clang-format off */
static const unsigned char field_slots[256] = {
    [0] = FIELD_CONTENT_RANGE,
    [3] = FIELD_VIA,
    [8] = FIELD_IDEMPOTENCY_KEY,
    [13] = FIELD_CONTENT_TYPE,
    [18] = FIELD_VARY,
    [19] = FIELD_MAX_FORWARDS,
    [23] = FIELD_KEEP_ALIVE,
    [25] = FIELD_SEC_FETCH_DEST,
    [26] = FIELD_PROXY_AUTHENTICATE,
    [31] = FIELD_X_REAL_IP,
    [34] = FIELD_X_REQUEST_ID,
    [39] = FIELD_LAST_MODIFIED,
    [50] = FIELD_PROXY_STATUS,
    [53] = FIELD_COOKIE,
    [54] = FIELD_TE,
    [55] = FIELD_SEC_FETCH_SITE,
    [56] = FIELD_HTTP2_SETTINGS,
    [78] = FIELD_LOCATION,
    [82] = FIELD_X_FORWARDED_HOST,
    [87] = FIELD_SEC_FETCH_MODE,
    [88] = FIELD_UPGRADE_INSECURE_REQUESTS,
    [89] = FIELD_ETAG,
    [99] = FIELD_REFERER,
    [101] = FIELD_WWW_AUTHENTICATE,
    [102] = FIELD_UPGRADE,
    [103] = FIELD_RETRY_AFTER,
    [109] = FIELD_SERVER,
    [113] = FIELD_X_FORWARDED_PROTO,
    [120] = FIELD_SEC_WEBSOCKET_KEY,
    [121] = FIELD_TRAILER,
    [130] = FIELD_PROXY_CONNECTION,
    [133] = FIELD_PROXY_AUTHORIZATION,
    [135] = FIELD_CONTENT_LENGTH,
    [136] = FIELD_DATE,
    [139] = FIELD_TRACEPARENT,
    [145] = FIELD_TRANSFER_ENCODING,
    [149] = FIELD_USER_AGENT,
    [150] = FIELD_HOST,
    [151] = FIELD_EXPECT,
    [157] = FIELD_RANGE,
    [168] = FIELD_SEC_WEBSOCKET_VERSION,
    [174] = FIELD_ACCEPT_RANGES,
    [175] = FIELD_X_IDEMPOTENCY_KEY,
    [185] = FIELD_ORIGIN,
    [190] = FIELD_ACCEPT_ENCODING,
    [202] = FIELD_IF_NONE_MATCH,
    [206] = FIELD_IF_MODIFIED_SINCE,
    [210] = FIELD_ALLOW,
    [212] = FIELD_EXPIRES,
    [213] = FIELD_CONTENT_ENCODING,
    [217] = FIELD_X_FORWARDED_FOR,
    [218] = FIELD_AUTHORIZATION,
    [224] = FIELD_AGE,
    [225] = FIELD_FORWARDED,
    [233] = FIELD_SET_COOKIE,
    [236] = FIELD_ACCEPT_LANGUAGE,
    [237] = FIELD_CONNECTION,
    [240] = FIELD_CACHE_CONTROL,
    [241] = FIELD_ACCEPT,
};
/* clang-format on */

#endif
