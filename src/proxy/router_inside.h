/* SPDX-License-Identifier: Apache-2.0 */
/* router_inside: what the files of the router share. Built on the main thread by router.c,
 * constant afterwards, read by any thread. Nothing outside router*.c includes this.
 *
 * Which rule answers a request: the most specific one whose conditions all hold.
 *   1. Host: the exact host, then the longest `*.wildcard`, then rules without a host.
 *   2. Path, among rules of one host: the exact path, then path_regex rules in file order, then
 *      the longest prefix, then rules without a path. `/x/` + `*` matches /x, /x/ and all below;
 *      `/` + `*` matches everything, the target `*` of OPTIONS included.
 *   3. Among rules of one host and one path pattern: more conditions (methods counts as one, each
 *      header and each query parameter as one), then file order.
 * A rule whose conditions fail is passed over for the next in this order. */
#ifndef WEIR_PROXY_ROUTER_INSIDE_H
#define WEIR_PROXY_ROUTER_INSIDE_H

#include "proxy/pattern.h"
#include "proxy/route.h"
#include "proxy/trie.h"

#define HOST_MAX 255u          /* bytes of a host that can be named; longer ones match no name */
#define PATTERN_PATH_MAX 8192u /* bytes of a path pattern */
#define PATH_BORDER ((struct trie_border){'/', true})
#define HOST_BORDER ((struct trie_border){'.', false})

/* In the order in which they are tried (invariant of rule order above). */
enum path_kind { PATH_EXACT, PATH_REGEX, PATH_PREFIX, PATH_ANY };
enum host_kind { HOST_ANY, HOST_EXACT, HOST_WILDCARD };

enum condition_kind { CONDITION_EQUAL, CONDITION_PRESENT, CONDITION_REGEX };

/* One header or query condition. */
struct condition {
    struct str name, value;
    struct pattern *regex; /* CONDITION_REGEX */
    uint8_t kind;          /* enum condition_kind */
    uint8_t field;         /* enum field_id of a header's name */
};

/* All conditions of a rule that has some. */
struct conditions {
    uint32_t methods;        /* bit enum method; 0 with n_names 0: any */
    const struct str *names; /* the methods as written */
    uint32_t n_names, n_headers, n_query, n_alpn;
    struct str sni;         /* exact, or the name behind "*" of a wildcard; empty: any */
    const struct str *alpn; /* one of which is offered */
    bool sni_wild;
    struct condition *headers, *query;
    struct conditions *next; /* all of the router: to free regexes */
};

/* One rule. Rules of one host and path pattern lie side by side, best first. */
struct rule {
    struct route *route;
    const struct conditions *conditions; /* NULL: none */
    uint32_t order;                      /* place in the file */
    uint32_t group;
};

/* The rules of one host and path pattern. Numbered from 1. What answers most requests is here, so
 * that a match touches one cache line less. */
struct group {
    struct route *route;                 /* of the first rule */
    const struct conditions *conditions; /* of the first rule */
    uint32_t first, n;                   /* rules */
    uint32_t shorter; /* group of the next shorter prefix of the host that matches too; 0: none */
};

/* A path_regex of a host: in file order. */
struct regex_path {
    struct pattern *pattern;
    uint32_t group;
};

/* All rules of one host. Numbered from 1. */
struct host_set {
    uint32_t paths;                /* root of its trie: values are groups; 0: none */
    uint32_t any;                  /* group without a path; 0: none */
    uint32_t first_regex, n_regex; /* in router.regexes */
};

/* The text of a rule, for explain: by file order. */
struct rule_text {
    struct str host, path; /* as matched: lower case, normalised */
    uint8_t host_kind, path_kind;
    uint32_t rule;
};

struct router {
    struct arena arena;
    struct forest forest;
    uint32_t hosts; /* root of the trie of reversed hosts: values are sets */
    uint32_t any;   /* set of the rules without a host; 0: none */
    struct host_set *sets;
    uint32_t *shorter_host; /* by set: next shorter wildcard that matches too; 0: none */
    struct group *groups;
    struct rule *rules;
    struct regex_path *regexes;
    struct rule_text *texts;
    struct conditions *conditions;
    uint32_t n_rules, n_groups, n_sets, n_regexes;
};

/* One match in progress. */
struct walk {
    const struct router *router;
    const struct head *head;
    struct pattern_run run;
    enum fault fault;    /* FAULT_OK, or why the walk had to stop */
    bool method_refused; /* a rule failed only by its method */
    bool collect;        /* collect those methods in allow */
    uint32_t chosen;     /* the rule that answers */
    struct str *allow;
    uint32_t n_allow, cap_allow;
};

/* What a rule's conditions said. */
enum verdict {
    VERDICT_HOLD,
    VERDICT_METHOD, /* only the method differs */
    VERDICT_HEADER,
    VERDICT_QUERY,
    VERDICT_TLS,   /* sni or alpn */
    VERDICT_FAULT, /* walk.fault says why */
};

/* Compiles the conditions of m; *out NULL when there are none. False: *why. */
bool conditions_new(const struct match_conf *m, struct arena *a, struct conditions **out,
                    char **why);
/* Frees the regexes of c. */
void conditions_free(struct conditions *c);
/* How many conditions. */
uint32_t conditions_count(const struct conditions *c);
/* Tests c against w->head; *which (may be NULL) is the condition that failed. */
enum verdict conditions_test(const struct conditions *c, struct walk *w,
                             const struct condition **which);
/* The route that answers w->head, by rule w->chosen, or NULL (w->fault, w->method_refused). */
struct route *router_walk(struct walk *w);
/* Reverses s, at most HOST_MAX bytes, into out. */
struct str host_reverse(struct str s, char out[HOST_MAX]);

#endif
