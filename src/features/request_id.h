/* SPDX-License-Identifier: Apache-2.0 */
/* request_id: one name for a request in every log on its way: kept from those who may choose it, or
 * made here (UUID version 7, RFC 9562 5.7), sent upstream, and to the client by choice. Not a
 * secret. Constant; hooks run on the exchange's worker. */
#ifndef WEIR_FEATURES_REQUEST_ID_H
#define WEIR_FEATURES_REQUEST_ID_H

#include "proxy/phase.h"

/* Whose id is kept. */
enum request_id_trust { REQUEST_ID_TRUSTED, REQUEST_ID_ALWAYS, REQUEST_ID_NEVER };

#define REQUEST_ID_MAX 128u /* longer ones, or such with odd bytes, are replaced */
#define REQUEST_ID_MADE 36u /* bytes of one made here */

/* routes[].request_id */
struct request_id_conf {
    bool enabled;      /* default true */
    struct str header; /* default X-Request-ID */
    uint8_t id;        /* no row: its enum field_id, once prepared */
    int trust;         /* enum request_id_trust */
    bool respond;      /* also in the response; default false */
};

extern const struct schema_table request_id_schema;
extern const struct feature feature_request_id;

/* Writes a fresh id of wall_us (microseconds since 1970) into out, drawing on *random (any state,
 * changed). Not NUL-terminated. */
void request_id_make(char out[REQUEST_ID_MADE], int64_t wall_us, uint64_t *random);

#endif
