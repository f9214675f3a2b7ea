/* SPDX-License-Identifier: Apache-2.0 */
/* conf_file: a whole configuration file as structs: the engine's part and what control/ and app/
 * own (admin, log, tests). Lives in the arena of its load; constant after it. Any thread may read.
 * Never reads a file itself. */
#ifndef WEIR_CONTROL_CONF_FILE_H
#define WEIR_CONTROL_CONF_FILE_H

#include "base/log.h"
#include "control/conf_lex.h"
#include "proxy/conf.h"

/* admin */
struct admin_conf {
    struct str address;      /* IP:port or unix:/path; empty: off */
    struct str mode;         /* of a unix socket's file, octal */
    struct str token_file;   /* empty: none, and no /v1 by TCP */
    struct schema_list open; /* int: enum admin_page that need no token by TCP */
    bool open_given;
    struct schema_pos pos;
};

/* The address of an admin section that gives none. */
#define ADMIN_ADDRESS "unix:/run/weir/admin.sock"

/* Pages that may be served without a token. */
enum admin_page { ADMIN_METRICS, ADMIN_HEALTHZ, ADMIN_STATUS, ADMIN_PAGES };

/* A text for address that says that there is to be none. */
bool admin_off(struct str address);
/* The permissions of the admin socket's file. */
unsigned admin_mode(const struct admin_conf *c);
/* Pages that need no token by TCP: bits of enum admin_page. */
unsigned admin_open_pages(const struct admin_conf *c);

enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_HUMAN, LOG_FORMAT_JSON };

/* log */
struct log_conf {
    int level;  /* enum log_level */
    int format; /* enum log_format */
};

/* tests[].request */
struct test_request_conf {
    struct str method; /* default GET */
    struct str url;    /* absolute, or a path for host "localhost"; tls://NAME: a connection */
    struct str alpn;   /* what the client of a connection offers, by commas */
    struct str client; /* IP address that it comes from, default 127.0.0.1 */
    struct schema_map headers;
};

/* tests[].expect */
struct test_expect_conf {
    struct str route;          /* empty: not checked */
    struct str upstream;       /* empty: not checked */
    int64_t status;            /* of an answer made by Weir; 0: not checked */
    struct str path;           /* sent upstream, with the query; empty: not checked */
    struct schema_map headers; /* sent upstream; "*": present, "": absent */
};

/* tests[] */
struct test_conf {
    struct str name;
    struct test_request_conf request;
    struct test_expect_conf expect;
    struct schema_pos pos;
};

struct conf_file {
    struct proxy_conf proxy;
    struct admin_conf admin;
    struct log_conf log;
    struct str user;          /* whom the server process becomes; empty: whoever started Weir */
    struct str pid_file;      /* empty: none */
    struct str state_dir;     /* empty: what is changed at run time is not kept */
    bool pin_workers;         /* a CPU for each worker */
    bool watch;               /* the file is loaded again when it changes */
    struct schema_list tests; /* struct test_conf */
    bool admin_given, workers_given;
    const struct flat_routes *flat; /* proxy.routes, once they were checked; NULL: not yet */
};

extern const struct schema_table admin_schema, log_schema, test_request_schema, test_expect_schema,
    test_schema, file_schema;

/* Fills file from the tree; defaults where it says nothing, of features too. Says every error. */
void conf_parse(const struct conf_node *root, const struct feature_set *features,
                struct conf_file *file, struct conf_errors *e);
/* Reads one route of the top level, as conf_parse does with proxy around it. */
void conf_parse_route(const struct conf_node *n, const struct proxy_conf *proxy,
                      const struct feature_set *features, struct route_conf *r,
                      struct conf_errors *e);
/* Reads one value of the row into value, which holds its default; no route. */
void conf_parse_value(const struct schema_field *f, const struct conf_node *n, void *value,
                      struct conf_errors *e);
/* A regular expression compiles; false: *why (64 bytes or more) and the byte of the error. */
bool conf_regex_valid(struct str pattern, char why[128], size_t *offset);
/* Reads text: lex, parse, check, and the tests that it holds, run on a snapshot of their own.
 * NULL: e has errors. */
struct conf_file *conf_read(struct str text, const struct feature_set *features,
                            struct conf_errors *e);

#endif
