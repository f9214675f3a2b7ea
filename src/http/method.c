/* SPDX-License-Identifier: Apache-2.0 */
#include "http/head.h"

enum method method_id(struct str name)
{
#define IS(text, id)                                                                               \
    if (memcmp(name.p, text, sizeof(text) - 1) == 0)                                               \
    return METHOD_##id
    switch (name.n) {
    case 3:
        IS("GET", GET);
        IS("PUT", PUT);
        break;
    case 4:
        IS("POST", POST);
        IS("HEAD", HEAD);
        break;
    case 5:
        IS("PATCH", PATCH);
        IS("TRACE", TRACE);
        break;
    case 6:
        IS("DELETE", DELETE);
        break;
    case 7:
        IS("OPTIONS", OPTIONS);
        IS("CONNECT", CONNECT);
        break;
    default:
        break;
    }
#undef IS
    return METHOD_OTHER;
}

bool method_safe(uint8_t method)
{
    return method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS ||
           method == METHOD_TRACE;
}

bool method_idempotent(uint8_t method)
{
    return method_safe(method) || method == METHOD_PUT || method == METHOD_DELETE;
}
