/* SPDX-License-Identifier: Apache-2.0 */
/* demo: what `weir demo` is made of: three small origins, each an instance of the library on a port
 * of its own, and the page that watches them. Used by cmd_demo.c alone, on its thread. It speaks to
 * nobody but this machine. */
#ifndef WEIR_APP_DEMO_H
#define WEIR_APP_DEMO_H

#include <weir.h>

#define DEMO_ORIGINS 3

struct demo_origins;

/* Starts them. NULL: *why (static). */
struct demo_origins *demo_origins_start(const char **why);
/* "127.0.0.1:port" of origin i. */
const char *demo_origin_address(const struct demo_origins *o, unsigned i);
/* Ends them, after whoever sends them requests. */
void demo_origins_stop(struct demo_origins *o);

/* The page: HTML without any outside resource. */
extern const char demo_page[];

#endif
