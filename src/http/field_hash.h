/* SPDX-License-Identifier: Apache-2.0 */
/* field_hash: made by scripts/field-hash from field_table.h; do not edit. Constant; any
 * thread; used by field.c only. Of the second byte of a name and the last but one, late,
 * the low five bits count, in which letters of either case are the same. */
#ifndef WEIR_HTTP_FIELD_HASH_H
#define WEIR_HTTP_FIELD_HASH_H

#define FIELD_SLOT(n, second, late) ((1u * (n) + 8u * (5u * (second) + 9u * (late))) % 256u)

/* clang-format off */
static const unsigned char field_slots[256] = {
    [2] = FIELD_KEEP_ALIVE,
    [6] = FIELD_CONTENT_LENGTH,
    [19] = FIELD_AGE,
    [21] = FIELD_SEC_WEBSOCKET_VERSION,
    [23] = FIELD_IDEMPOTENCY_KEY,
    [24] = FIELD_PROXY_CONNECTION,
    [27] = FIELD_PROXY_AUTHORIZATION,
    [29] = FIELD_ALLOW,
    [37] = FIELD_RANGE,
    [38] = FIELD_HTTP2_SETTINGS,
    [46] = FIELD_SEC_FETCH_DEST,
    [47] = FIELD_EXPIRES,
    [54] = FIELD_SERVER,
    [55] = FIELD_REFERER,
    [57] = FIELD_UPGRADE_INSECURE_REQUESTS,
    [59] = FIELD_RETRY_AFTER,
    [60] = FIELD_VARY,
    [63] = FIELD_TRAILER,
    [65] = FIELD_SEC_WEBSOCKET_KEY,
    [72] = FIELD_WWW_AUTHENTICATE,
    [79] = FIELD_X_FORWARDED_FOR,
    [84] = FIELD_MAX_FORWARDS,
    [88] = FIELD_CONTENT_ENCODING,
    [90] = FIELD_SET_COOKIE,
    [93] = FIELD_CONTENT_RANGE,
    [94] = FIELD_ORIGIN,
    [106] = FIELD_TE,
    [108] = FIELD_ETAG,
    [109] = FIELD_CACHE_CONTROL,
    [112] = FIELD_X_FORWARDED_HOST,
    [118] = FIELD_SEC_FETCH_SITE,
    [119] = FIELD_ACCEPT_ENCODING,
    [127] = FIELD_ACCEPT_LANGUAGE,
    [129] = FIELD_X_IDEMPOTENCY_KEY,
    [130] = FIELD_PROXY_AUTHENTICATE,
    [141] = FIELD_AUTHORIZATION,
    [152] = FIELD_LOCATION,
    [153] = FIELD_X_REAL_IP,
    [154] = FIELD_CONNECTION,
    [156] = FIELD_X_REQUEST_ID,
    [157] = FIELD_LAST_MODIFIED,
    [158] = FIELD_EXPECT,
    [167] = FIELD_UPGRADE,
    [180] = FIELD_HOST,
    [185] = FIELD_X_FORWARDED_PROTO,
    [196] = FIELD_PROXY_STATUS,
    [201] = FIELD_FORWARDED,
    [203] = FIELD_TRACEPARENT,
    [204] = FIELD_DATE,
    [209] = FIELD_TRANSFER_ENCODING,
    [213] = FIELD_IF_NONE_MATCH,
    [217] = FIELD_IF_MODIFIED_SINCE,
    [228] = FIELD_CONTENT_TYPE,
    [230] = FIELD_COOKIE,
    [237] = FIELD_ACCEPT_RANGES,
    [242] = FIELD_USER_AGENT,
    [243] = FIELD_VIA,
    [246] = FIELD_SEC_FETCH_MODE,
    [254] = FIELD_ACCEPT,
};
/* clang-format on */

#endif
