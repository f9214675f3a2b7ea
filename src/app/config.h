/* SPDX-License-Identifier: Apache-2.0 */
/* config: where a configuration comes from: a file, the text that the supervisor keeps of it, or a
 * command's C code. Owned by the process that loads it, its main thread. Never acts on anything. */
#ifndef WEIR_APP_CONFIG_H
#define WEIR_APP_CONFIG_H

#include "control/conf_load.h"

/* Fills file, which holds the defaults, with what lives in a; for commands that need no file. */
typedef void (*config_fill)(struct conf_file *file, struct arena *a, const void *arg);

struct config_source {
    const char *path; /* the file, or NULL: fill */
    config_fill fill;
    const void *arg;
};

struct config {
    struct conf_loaded *loaded;
    struct str text; /* of the file, owned; empty for one made by C code */
};

/* Reads, checks and tests it. False: *why (mem_free) has every error, one a line; c is empty. */
bool config_read(struct config *c, const struct config_source *from, char **why)
    __attribute__((warn_unused_result));
/* The same, but a file's text is read from descriptor fd; -1: from the file after all. */
bool config_read_fd(struct config *c, const struct config_source *from, int fd, char **why)
    __attribute__((warn_unused_result));
/* The same of a text (owned, taken either way) that the file once held. */
bool config_take_text(struct config *c, const struct config_source *from, struct str text,
                      char **why) __attribute__((warn_unused_result));
/* A memfd that holds the text; -1: there is none, or the kernel refused. */
int config_text_fd(const struct config *c);
/* Frees it; harmless when empty. */
void config_fini(struct config *c);

#endif
