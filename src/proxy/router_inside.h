/* SPDX-License-Identifier: Apache-2.0 */
/* router_inside: what the files of the router share. A router is a version of a store: built on the
 * main thread by router.c, derived from its predecessor by router_change.c, constant afterwards,
 * read by any thread. Nothing outside router*.c includes this.
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

#include "base/list.h"
#include "proxy/pattern.h"
#include "proxy/route.h"
#include "proxy/trie.h"

#define HOST_MAX 255u          /* bytes of a host that can be named; longer ones match no name */
#define ORDER_STEP 16u         /* between neighbours in a file */
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
};

/* One rule. Rules of one host and path pattern lie side by side, best first. */
struct rule {
    struct route *route;
    const struct conditions *conditions; /* NULL: none */
    uint32_t entry;
};

/* The rules of one host and path pattern. Numbered from 1. What answers most requests is here, so
 * that a match touches one cache line less. */
struct group {
    struct route *route;                 /* of the first rule */
    const struct conditions *conditions; /* of the first rule */
    uint32_t first, n;                   /* rules */
};

/* A path_regex of a host: in file order. */
struct regex_path {
    const struct pattern *pattern; /* of its rules' entries */
    uint32_t group;
};

/* All rules of one host. Numbered from 1. */
struct host_set {
    uint32_t paths;                /* root of its trie: values are groups; 0: none */
    uint32_t any;                  /* group without a path; 0: none */
    uint32_t first_regex, n_regex; /* in router.regexes */
};

/* What a rule is beside its place: for explain, changes and the end. Numbered from 1. */
struct entry {
    struct route *route; /* one reference */
    struct conditions *conditions;
    struct pattern *pattern; /* PATH_REGEX: one reference */
    struct str host, path;   /* as matched: host reversed, without "*."; path normalised */
    struct arena *own;       /* of a rule that was added to a router: holds its texts; else NULL */
    uint64_t order;          /* grows with the place in the file */
    uint32_t n_conditions;
    uint8_t host_kind, path_kind;
};

/* Entries whose route's names have the same hash lie in a list of cells; page by page. */
struct cell {
    uint32_t entry, next;
};

#define NAMES_PAGE 64u
struct names_page {
    uint32_t first[NAMES_PAGE]; /* cells */
};

/* The index of rules by name. */
struct names {
    uint32_t pages, n_pages; /* block in the table: numbers of pages; n_pages: a power of two */
};

enum slab_kind {
    SLAB_NODES,
    SLAB_TABLE,
    SLAB_SETS,
    SLAB_GROUPS,
    SLAB_RULES,
    SLAB_REGEXES,
    SLAB_ENTRIES,
    SLAB_CELLS,
    SLAB_PAGES,
    SLABS
};

/* A block of a store. */
struct piece {
    uint32_t at, n;
    uint8_t slab; /* enum slab_kind */
};

struct pieces {
    struct piece *v;
    size_t n, cap;
};

/* Where versions of a router live that share what is alike in them. */
struct router {
    /* What a match reads. */
    struct forest forest;
    uint32_t hosts; /* root of the trie of reversed hosts: values are sets */
    uint32_t any;   /* set of the rules without a host; 0: none */
    const struct host_set *sets;
    const struct group *groups;
    const struct rule *rules;
    const struct regex_path *regexes;
    const struct entry *entries;
    /* The rest. */
    struct names names;
    const struct cell *cells;
    const struct names_page *pages;
    uint32_t n_rules;
    struct router_store *store;
    struct slab_memory *held[SLABS]; /* one reference each */
    struct list_node node;           /* in store->versions */
    struct pieces left;              /* what its successor did without */
    bool kept, freed;
};

/* One match in progress. */
struct walk {
    const struct router *router;
    const struct head *head;
    struct pattern_run run;
    enum fault fault;       /* FAULT_OK, or why the walk had to stop */
    bool method_refused;    /* a rule failed only by its method */
    bool collect;           /* those methods in allow */
    char *room;             /* for one decoded parameter of the query; NULL: not needed yet */
    uint32_t group, chosen; /* what answers: the first rule of a group, or, when not 0, a rule */
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
/* The route that answers w->head, or NULL (w->fault, w->method_refused). */
struct route *router_walk(struct walk *w);
/* Reverses s, at most HOST_MAX bytes, into out. */
struct str host_reverse(struct str s, char out[HOST_MAX]);
/* Fills e from rule, all but order and pattern; texts go into a. False: *why. */
bool entry_read(const struct router_rule *rule, struct arena *a, struct entry *e, char **why);
/* The pattern of an entry with a path_regex. NULL: *why. */
struct pattern *entry_pattern(const struct entry *e, char **why);
/* Which of two rules of one host and path goes first. */
bool entry_before(const struct entry *a, const struct entry *b);

#endif
