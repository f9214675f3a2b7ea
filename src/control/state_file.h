/* SPDX-License-Identifier: Apache-2.0 */
/* state_file: the changes made at run time, on disk: written whole to a new file that takes the old
 * one's name, so that a reader sees one of the two, whenever the power fails or the process is
 * killed. Whoever writes is blocked for the time of two fsyncs. */
#ifndef WEIR_CONTROL_STATE_FILE_H
#define WEIR_CONTROL_STATE_FILE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/file_io.h"
#include "base/text.h"

/* What the file is called in state_dir. */
#define STATE_FILE_NAME "changes.json"

/* The most that a file may hold; what is longer could not be read again. */
#define STATE_FILE_MAX ((size_t) 256 << 20)

/* The bytes of a file that holds list, at most so many, added to bytes. False: *why (mem_free). */
bool state_file_text(const json_t *list, size_t most, struct text *bytes, char **why);
/* Makes bytes what the file in the directory holds. Any thread. Unless it is kept: *why. */
enum file_end state_file_put(struct str dir, struct str bytes, char **why)
    __attribute__((warn_unused_result));
/* What the directory holds; an empty list when there is no file. A file that cannot be read or
 * understood is moved aside and *why (mem_free) says so; then the list is empty. For
 * json_decref. */
json_t *state_file_read(struct str dir, char **why);
/* Moves the file aside: what it holds is not to be used. *to (mem_free): its new name. */
bool state_file_move_aside(struct str dir, char **to);

#endif
