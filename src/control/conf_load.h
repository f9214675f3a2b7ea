/* SPDX-License-Identifier: Apache-2.0 */
/* conf_load: a configuration from a file or text to something that can be run: read, parsed,
 * checked, tested. The main thread's (or a command's); blocks on the file. It never touches what is
 * running: until a snapshot is built, endpoints and workers do not notice. */
#ifndef WEIR_CONTROL_CONF_LOAD_H
#define WEIR_CONTROL_CONF_LOAD_H

#include "control/conf_file.h"
#include "control/conf_tree.h"
#include "control/snapshot.h"

/* A good configuration and the memory that it lies in. */
struct conf_loaded {
    struct conf_file *file; /* its proxy.features[i] is what features_start takes */
    const struct feature_set *features;
    struct conf_errors errors;
    struct arena arena;
    struct conf_tree *sparse; /* of the text, which is to be given to it; NULL: there is none */
};

/* Reads, parses and checks, and runs the tests that the text holds. NULL: *errors says everything
 * that is wrong, one a line with its place (mem_free). features is kept. */
struct conf_loaded *conf_load_file(const char *path, const struct feature_set *features,
                                   char **errors);
/* The same without the tests: for who asks about a file, not whether it may be loaded. */
struct conf_loaded *conf_load_untested(const char *path, const struct feature_set *features,
                                       char **errors);
/* Reads the admin section alone, into file->admin, whatever else the file says: for who asks a Weir
 * that runs, perhaps since this file is wrong. NULL: *errors. */
struct conf_loaded *conf_load_admin(const char *path, const struct feature_set *features,
                                    char **errors);
/* What a good text says but for its routes, upstreams and tests, for conf_restart_needed. */
struct conf_loaded *conf_load_settings(struct str text, const char *name,
                                       const struct feature_set *features);
/* As conf_load_file, of a text; name stands for it in messages. */
struct conf_loaded *conf_load_text(struct str text, const char *name,
                                   const struct feature_set *features, char **errors);
/* The same of a tree, which is not needed afterwards. Never NULL; what is wrong is in its errors,
 * and then file is NULL. */
struct conf_loaded *conf_load_tree(const struct conf_node *root, const char *name,
                                   const struct feature_set *features);
/* Frees it; snapshots built from it live on. */
void conf_loaded_free(struct conf_loaded *l);
/* Builds the snapshot that is to run. NULL: *errors. */
struct snapshot *conf_loaded_snapshot(struct conf_loaded *l, const struct snapshot_inputs *in,
                                      char **errors);
/* Builds a snapshot beside everything that runs, for explain and check; free it by
 * conf_trial_free. NULL: *errors. */
struct conf_trial *conf_trial_new(struct conf_loaded *l, char **errors);
/* The snapshot of a trial, borrowed. */
const struct snapshot *conf_trial_snapshot(const struct conf_trial *t);
/* Frees the trial, NULL too. */
void conf_trial_free(struct conf_trial *t);
/* What differs between two files that a reload cannot change ("workers, admin"), comma-separated,
 * for mem_free; NULL: nothing. */
char *conf_restart_needed(const struct conf_file *running, const struct conf_file *loaded,
                          const struct feature_set *features);

/* Runs the tests of file against s and says those that fail. Returns how many passed. */
size_t conf_tests_run(const struct conf_file *file, const struct snapshot *s,
                      struct conf_errors *e);

#endif
