/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is read, checked and, when it is good, made into a snapshot
 * with its tests run, or refused with a message; and never anything else. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_load.h"
#include "features/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *errors = NULL;
    struct conf_loaded *l =
        conf_load_text(str_of((const char *) bytes, n), "fuzz.yaml", &feature_registry, &errors);
    must((l == NULL) == (errors != NULL));
    mem_free(errors);
    if (!l)
        return 0;
    struct conf_trial *t = conf_trial_new(l, &errors);
    must((t == NULL) == (errors != NULL));
    mem_free(errors);
    conf_trial_free(t);
    conf_loaded_free(l);
    return 0;
}
