/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket.h"

#include <openssl/sha.h>

#include "http/base64.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */
#define KEY_MAX 128u

void websocket_key(char key[WEBSOCKET_KEY], const uint8_t random[16])
{
    base64_encode(key, random, 16);
}

bool websocket_accept(struct str key, char accept[WEBSOCKET_ACCEPT])
{
    char text[KEY_MAX + sizeof(GUID)];
    uint8_t digest[SHA_DIGEST_LENGTH];
    if (key.n == 0 || key.n > KEY_MAX)
        return false;
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, GUID, sizeof(GUID) - 1);
    SHA1((const unsigned char *) text, key.n + sizeof(GUID) - 1, digest);
    base64_encode(accept, digest, sizeof(digest));
    return true;
}

bool websocket_accepts(struct str key, struct str accept)
{
    char want[WEBSOCKET_ACCEPT];
    return websocket_accept(key, want) && str_eq(accept, str_of(want, sizeof(want)));
}
