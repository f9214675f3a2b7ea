/* SPDX-License-Identifier: Apache-2.0 */
/* state_file.c: see state_file.h. The file is a line "weir-changes VERSION CHECKSUM BYTES" and the
 * list as JSON behind it. Holds no state. */
#include "control/state_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/changes.h"

#define VERSION 1

static int add_piece(const char *piece, size_t n, void *arg)
{
    text_add(arg, str_of(piece, n));
    return 0;
}

bool state_file_text(const json_t *list, size_t most, struct text *bytes, char **why)
{
    struct text body = {0};
    bool good = json_dump_callback(list, add_piece, &body, JSON_INDENT(1)) == 0;
    text_add(&body, STR("\n"));
    text_addf(bytes, "weir-changes %d %016" PRIx64 " %zu\n", VERSION,
              str_stable_hash(text_str(&body), VERSION), body.n);
    text_add(bytes, text_str(&body));
    text_fini(&body);
    if (!good)
        *why = mem_printf("the changes cannot be written as JSON");
    else if (bytes->n > most)
        *why = mem_printf("all changes together would take more than %zu bytes; put some of them "
                          "into the file",
                          most);
    return good && bytes->n <= most;
}

enum file_end state_file_put(struct str dir, struct str bytes, char **why)
{
    char *path = mem_strdup(dir);
    enum file_end end = file_replace(path, STATE_FILE_NAME, bytes, why);
    mem_free(path);
    return end;
}

/* The list that text holds; NULL: *why. */
static json_t *understand(struct str text, const char **why)
{
    ptrdiff_t end = str_find(text, '\n');
    unsigned version = 0;
    uint64_t sum = 0;
    size_t n = 0;
    char head[80] = "", *problem = NULL;
    if (end > 0 && (size_t) end < sizeof head)
        memcpy(head, text.p, (size_t) end);
    if (sscanf(head, "weir-changes %u %16" SCNx64 " %zu", &version, &sum, &n) != 3) {
        *why = "its first line is not that of a file of changes";
        return NULL;
    }
    struct str body = str_sub(text, (size_t) end + 1, text.n);
    *why = "it is of another version of Weir";
    if (version != VERSION)
        return NULL;
    *why = "its checksum or length is wrong: it was cut or changed";
    if (body.n != n || str_stable_hash(body, VERSION) != sum)
        return NULL;
    json_t *list = conf_json_parse(body, &problem);
    mem_free(problem);
    *why = "it does not hold a list of changes";
    if (list && changes_valid(list))
        return list;
    json_decref(list);
    return NULL;
}

bool state_file_move_aside(struct str dir, char **to)
{
    char *path = mem_strdup(dir);
    int64_t second = clock_wall() / 1000000;
    *to = NULL;
    for (unsigned i = 1; !*to && i < 1000; i++) { /* one of this second stays */
        char more[16] = "";
        if (i > 1)
            snprintf(more, sizeof more, "-%u", i);
        *to = mem_printf("%s.refused-%" PRId64 "%s", STATE_FILE_NAME, second, more);
        char *there = mem_printf("%s/%s", path, *to);
        if (!file_missing(there)) {
            mem_free(*to);
            *to = NULL;
        }
        mem_free(there);
    }
    bool good = *to && file_rename(path, STATE_FILE_NAME, *to);
    mem_free(path);
    return good;
}

json_t *state_file_read(struct str dir, char **why)
{
    char *path = mem_printf("%.*s/%s", STR_ARG(dir), STATE_FILE_NAME), *reason = NULL, *to = NULL;
    size_t n;
    const char *wrong = NULL;
    json_t *list = NULL;
    char *text = file_read(path, STATE_FILE_MAX, &n, &reason);
    if (!text && file_missing(path)) {
        list = json_array();
    } else if (!text || !(list = understand(str_of(text, n), &wrong))) {
        list = json_array();
        bool moved = state_file_move_aside(dir, &to); /* else the next change would replace it */
        *why = mem_printf("%s%s%s; %s%s", text ? path : "", text ? ": " : "", text ? wrong : reason,
                          moved ? "it was moved aside, to " : "it cannot be renamed to ", to);
        mem_free(to);
    }
    mem_free(reason);
    mem_free(text);
    mem_free(path);
    return list;
}
