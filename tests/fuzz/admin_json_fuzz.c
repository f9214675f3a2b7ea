/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of the admin API sends: what is JSON makes a tree, each place of which has its
 * pointer, and the tree printed is JSON again. */
#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *why = NULL;
    struct arena a;
    struct conf_errors e;
    struct text text = {0}, pointer = {0};
    unsigned line = 0;
    json_t *v = conf_json_parse(str_of((const char *) data, size), &why);
    must(v || why);
    mem_free(why);
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    struct conf_node *n = v ? conf_node_of_json(v, &a, &line, &e) : NULL;
    must(!v || n || e.n);
    if (n && e.n == 0) {
        must(conf_node_pointer(n, CONF_JSON_LINE + line, &pointer));
        conf_node_print(n, &text);
        json_t *again = conf_json_parse(text_str(&text), &why);
        must(again);
        json_decref(again);
    }
    text_fini(&text);
    text_fini(&pointer);
    json_decref(v);
    conf_errors_fini(&e);
    arena_fini(&a);
    return 0;
}
