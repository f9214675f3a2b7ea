/* SPDX-License-Identifier: Apache-2.0 */
/* conf_check: what no row can say alone: names that must exist, routes that must make sense
 * together. Works on structs, so that a configuration made by C code is judged as a file is. Owned
 * by one load, its thread only. Never changes what it checks. */
#ifndef WEIR_CONTROL_CONF_CHECK_H
#define WEIR_CONTROL_CONF_CHECK_H

#include "control/conf_error.h"
#include "proxy/route.h"

struct conf_file;

/* A route that requests can end at: nested ones flattened, conditions joined. */
struct flat_route {
    const struct route_conf *conf;
    /* With the conditions of all routes around it, host in lower case; conf's own or another. */
    const struct match_conf *match;
    struct str name; /* of this route alone */
    enum route_action action;
    size_t upstream; /* index in proxy_conf.upstreams, when ROUTE_UPSTREAM */
};

struct flat_routes {
    struct flat_route *v; /* in file order, nested ones before the route around them */
    size_t n;
};

/* Flattens the routes into e's arena and says what is wrong with them. */
struct flat_routes conf_flatten(const struct proxy_conf *conf, struct conf_errors *e);
/* The flat route of one that stands at the top level, has a name and none within; says what is
 * wrong with it by itself. False: something is. */
bool conf_flatten_one(const struct proxy_conf *conf, const struct route_conf *r,
                      struct flat_route *out, struct conf_errors *e);
/* Checks a route and those within it by themselves, as conf_check_file does. */
void conf_check_route(const struct route_conf *r, struct conf_errors *e);
/* Checks everything but the routes (conf_flatten does). rows: also each row's own check, which the
 * parser has done for a file. */
void conf_check_proxy(const struct proxy_conf *conf, bool rows, struct conf_errors *e);
/* Warns of each route that nothing can reach, since another one has the same match (in whatever
 * order its conditions stand, those of the routes around it included) and is asked first. flat: of
 * a configuration without errors. */
void conf_warn_unreachable(const struct flat_routes *flat, struct conf_errors *e);
/* Checks a parsed file: its engine's part, routes (which are flat from here on), admin. */
void conf_check_file(struct conf_file *file, struct conf_errors *e);

#endif
