/* SPDX-License-Identifier: Apache-2.0 */
/* ticket_marks.c: see ticket_marks.h. Hashes and keys are hexadecimal. Holds no state. */
#include "control/ticket_marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void put_hash(json_t *m, const char *key, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    json_object_set_new(m, key, json_string(text));
}

static void write_keys(void *arg, struct tls_made_keys *k)
{
    char hex[2 * sizeof k->bytes + 1] = "";
    json_t *m = json_object();
    for (size_t i = 0; i < k->n * (size_t) TLS_KEY_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", k->bytes[i]);
    put_hash(m, "tickets", k->content);
    put_hash(m, "certs", k->certs);
    json_object_set_new(m, "next", json_integer((json_int_t) k->next));
    json_object_set_new(m, "keys", json_string(hex));
    json_array_append_new(arg, m);
    explicit_bzero(hex, sizeof hex);
}

void ticket_marks_write(struct tls_store *s, json_t *list)
{
    tls_store_each_keys(s, write_keys, list);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static uint64_t hash_of(const json_t *m, const char *key)
{
    const char *text = json_string_value(json_object_get(m, key));
    uint64_t hash = 0;
    return text && sscanf(text, "%16" SCNx64, &hash) == 1 ? hash : 0;
}

/* False: m is about something else, or not whole. */
static bool read_keys(const json_t *m, struct tls_made_keys *k)
{
    const char *hex = json_string_value(json_object_get(m, "keys"));
    size_t n = hex ? strlen(hex) / 2 : 0;
    *k = (struct tls_made_keys){.content = hash_of(m, "tickets"), .certs = hash_of(m, "certs")};
    if (n == 0 || n > sizeof k->bytes || n % TLS_KEY_BYTES != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return false;
        k->bytes[i] = (unsigned char) byte;
    }
    k->n = (unsigned) (n / TLS_KEY_BYTES);
    k->next = (usec_t) json_integer_value(json_object_get(m, "next"));
    return true;
}

void ticket_marks_take(struct tls_store *s, const json_t *list)
{
    size_t size = (json_array_size(list) + 1) * sizeof(struct tls_made_keys), n = 0, i;
    struct tls_made_keys *v = mem_new(size);
    const json_t *m;
    json_array_foreach(list, i, m) n += read_keys(m, &v[n]);
    tls_store_take_keys(s, v, n);
    explicit_bzero(v, size);
    mem_free(v);
}
