/* SPDX-License-Identifier: Apache-2.0 */
/* chunk: the chunked coding (RFC 9112 7.1), sans-I/O. Decoder: strict CRLF, sizes of at most
 * 16 hex digits without overflow, extensions checked and dropped, overhead bounded. Data is
 * returned as views into the input: no copy. One owner, one thread. */
#ifndef WEIR_HTTP_CHUNK_H
#define WEIR_HTTP_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/str.h"
#include "http/field.h"

enum chunk_state {
    CHUNK_SIZE,    /* in a size line */
    CHUNK_EXT,     /* in its extension */
    CHUNK_SIZE_LF, /* CR seen */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* after the last chunk's size line: field lines until the empty one */
    CHUNK_END,
};

struct chunk_decoder {
    uint64_t left;      /* data bytes left in this chunk */
    uint64_t overhead;  /* framing bytes since the last allowance: sizes, extensions, line ends */
    uint32_t trailer_n; /* bytes gathered in trailer_text */
    uint8_t state;      /* enum chunk_state */
    uint8_t digits;
    uint8_t ext_state;  /* private */
    char *trailer_text; /* in the arena, NULL until a trailer comes */
    struct arena *arena;
    struct fields *trailers; /* filled at the end */
    uint32_t max_trailer;    /* bytes, default 8 KiB */
    enum fault bad, large;   /* what to report: REQ_CHUNK/REQ_TRAILER_LARGE or UP_CHUNK/UP_CHUNK */
};

/* Ready for the first size line. */
void chunk_decoder_init(struct chunk_decoder *d, struct arena *arena, struct fields *trailers,
                        enum fault bad, enum fault large);
/* Consumes from in (advances it); *data is the next run of body bytes inside in, n 0 when
 * none. Call until in is empty or state is CHUNK_END (bytes behind the end stay in in). */
enum fault chunk_decode(struct chunk_decoder *d, struct str *in, struct str *data) FAULT_CHECKED;

#define CHUNK_SIZE_LINE_MAX 20
/* Writes "SIZE CRLF" for a chunk of n > 0 bytes; returns bytes. */
size_t chunk_size_line(char out[CHUNK_SIZE_LINE_MAX], uint64_t n);

#endif
