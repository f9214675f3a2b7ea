/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_version.c: weir version. */
#include <stdio.h>

#include "app/commands.h"

int cmd_version(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "weir version: unexpected argument '%s'\n", argv[1]);
        return 2;
    }
    printf("weir %s\n", WEIR_VERSION);
    return 0;
}
