/* SPDX-License-Identifier: Apache-2.0 */
/* field_hash: made by scripts/field-hash from field_table.h; do not edit. Constant; any
 * thread; used by field.c only. first and late (the last but one) are bytes of a name,
 * with bit 5 set. */
#ifndef WEIR_HTTP_FIELD_HASH_H
#define WEIR_HTTP_FIELD_HASH_H

#define FIELD_SLOT(n, first, late)                                                                 \
    ((1u * (unsigned) (n) + 11u * (unsigned) (first) + 30u * (unsigned) (late)) % 256u)

/* clang-format off */
static const unsigned char field_slots[256] = {
    [8] = FIELD_SEC_WEBSOCKET_VERSION,
    [14] = FIELD_ACCEPT_RANGES,
    [15] = FIELD_X_IDEMPOTENCY_KEY,
    [25] = FIELD_ORIGIN,
    [30] = FIELD_ACCEPT_ENCODING,
    [42] = FIELD_IF_NONE_MATCH,
    [46] = FIELD_IF_MODIFIED_SINCE,
    [50] = FIELD_ALLOW,
    [52] = FIELD_EXPIRES,
    [53] = FIELD_CONTENT_ENCODING,
    [57] = FIELD_X_FORWARDED_FOR,
    [58] = FIELD_AUTHORIZATION,
    [64] = FIELD_AGE,
    [65] = FIELD_FORWARDED,
    [73] = FIELD_SET_COOKIE,
    [76] = FIELD_ACCEPT_LANGUAGE,
    [77] = FIELD_CONNECTION,
    [80] = FIELD_CACHE_CONTROL,
    [81] = FIELD_ACCEPT,
    [96] = FIELD_CONTENT_RANGE,
    [99] = FIELD_VIA,
    [104] = FIELD_IDEMPOTENCY_KEY,
    [109] = FIELD_CONTENT_TYPE,
    [114] = FIELD_VARY,
    [115] = FIELD_MAX_FORWARDS,
    [119] = FIELD_KEEP_ALIVE,
    [121] = FIELD_SEC_FETCH_DEST,
    [122] = FIELD_PROXY_AUTHENTICATE,
    [127] = FIELD_X_REAL_IP,
    [130] = FIELD_X_REQUEST_ID,
    [135] = FIELD_LAST_MODIFIED,
    [146] = FIELD_PROXY_STATUS,
    [149] = FIELD_COOKIE,
    [150] = FIELD_TE,
    [151] = FIELD_SEC_FETCH_SITE,
    [152] = FIELD_HTTP2_SETTINGS,
    [174] = FIELD_LOCATION,
    [178] = FIELD_X_FORWARDED_HOST,
    [183] = FIELD_SEC_FETCH_MODE,
    [184] = FIELD_UPGRADE_INSECURE_REQUESTS,
    [185] = FIELD_ETAG,
    [195] = FIELD_REFERER,
    [197] = FIELD_WWW_AUTHENTICATE,
    [198] = FIELD_UPGRADE,
    [199] = FIELD_RETRY_AFTER,
    [205] = FIELD_SERVER,
    [209] = FIELD_X_FORWARDED_PROTO,
    [216] = FIELD_SEC_WEBSOCKET_KEY,
    [217] = FIELD_TRAILER,
    [226] = FIELD_PROXY_CONNECTION,
    [229] = FIELD_PROXY_AUTHORIZATION,
    [231] = FIELD_CONTENT_LENGTH,
    [232] = FIELD_DATE,
    [235] = FIELD_TRACEPARENT,
    [241] = FIELD_TRANSFER_ENCODING,
    [245] = FIELD_USER_AGENT,
    [246] = FIELD_HOST,
    [247] = FIELD_EXPECT,
    [253] = FIELD_RANGE,
};
/* clang-format on */

#endif
