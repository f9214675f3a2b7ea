/* SPDX-License-Identifier: Apache-2.0 */
/* weir: an HTTP reverse proxy as a library; weir(3) explains. An instance (weir) serves what its
 * mux says, by proxies or C functions, on its own threads or inside a foreign loop; several may
 * live in one process. Callbacks run on the instance's threads, several at once, and never
 * block: they may suspend the exchange, and any thread resumes it. No signal handler is set,
 * exit() is never called. Structs of options and functions begin with their size: zero the rest and
 * set what you need; the values in arrays (weir_endpoint, weir_weight, weir_candidate) never grow.
 * Functions that answer int: 1 is success, 0 failure. Strings are copied if not said otherwise. */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_API __attribute__((visibility("default")))

typedef struct weir weir;
typedef struct weir_mux weir_mux;
typedef struct weir_proxy weir_proxy;
typedef struct weir_exchange weir_exchange; /* one request and its response; of the callback */
typedef struct weir_head weir_head;         /* a request's or response's head; of the callback */
typedef struct weir_ticket weir_ticket;     /* of a suspended exchange */
typedef struct weir_fetch weir_fetch;
typedef struct weir_event weir_event; /* something that changed; of the callback */

typedef struct weir_str { /* borrowed bytes, no NUL behind them */
    const char *p;
    size_t n;
} weir_str;

/* What a callback answers. */
typedef enum weir_result {
    WEIR_PASS,  /* go on; of a producer: call me again */
    WEIR_WAIT,  /* call me again after weir_resume (weir_read_body: when bytes came); with neither
                 * weir_suspend nor weir_read_body before it, it is WEIR_FAIL */
    WEIR_REPLY, /* weir_reply or weir_reply_stream was called */
    WEIR_FAIL,  /* give up: the client gets 502, or a visibly broken message */
    WEIR_END    /* of weir_read_body and producers: that was all */
} weir_result;

typedef struct weir_options {
    size_t size;
    unsigned workers;      /* threads that serve, at most 1024; 0: one a core */
    int foreign_loop;      /* no thread of its own: the caller polls weir_fd and calls weir_turn */
    uint64_t memory_limit; /* bytes that traffic may hold; 0: half of the machine's */
    void (*log)(void *arg, int level, const char *line); /* process-wide; NULL: stderr */
    void *log_arg;
    /* Each change of what is served and of the endpoints' states (weir/event.h), when it is in use.
     * On the instance's main thread, which it must not hold up: of the instance's functions it may
     * call those of any thread, as weir_update_weights. NULL: nobody hears. */
    void (*on_event)(void *arg, const weir_event *e);
    void *event_arg;
} weir_options;

typedef struct weir_endpoint {
    const char *address; /* host:port, [v6]:port, unix:/path */
    unsigned weight;     /* 1..100; 0 counts as 1 */
} weir_endpoint;

typedef struct weir_weight {
    const char *address;
    double weight; /* 0..100 */
} weir_weight;

typedef struct weir_candidate { /* an endpoint as select sees it */
    weir_str address;
    double weight;
    int usable, tried; /* healthy and resolved; failed this exchange before */
    uint64_t reserved[4];
} weir_candidate;

/* Chooses endpoints in place of weighted round robin. Called on several threads at once. hash is
 * of the client's address. */
typedef struct weir_balancer {
    size_t size;
    int (*select)(void *arg, const weir_candidate *c, size_t n, uint64_t hash); /* -1: none */
    void (*update_weights)(void *arg, const weir_weight *w, size_t n); /* all at once; or NULL */
    void (*done)(void *arg, size_t chosen, int failed, uint64_t first_byte_us); /* or NULL */
    void *arg;
} weir_balancer;

/* Answers requests in place of the pool of connections: by weir_reply or weir_reply_stream. out is
 * what would have been sent; the body comes by weir_read_body. */
typedef struct weir_transport {
    size_t size;
    weir_result (*round_trip)(void *arg, weir_exchange *x, const weir_head *out);
    void *arg;
} weir_transport;

typedef enum weir_buffer { WEIR_ADAPTIVE, WEIR_FIXED, WEIR_FLUSH_EACH } weir_buffer;

/* A handler that forwards; names as in Go's httputil.ReverseProxy and http.Transport. Times are in
 * milliseconds; 0 stands for the default and -1 for "no limit", of connections too. */
typedef struct weir_proxy_options {
    size_t size;
    const char *target; /* URL: its host is the endpoint, its path goes before each request's */
    const weir_endpoint *endpoints; /* several in place of the target's host */
    size_t n_endpoints;
    int host_rewrite;   /* Host is the target's (or the endpoint's) instead of the client's */
    int no_x_forwarded; /* X-Forwarded-* and X-Real-IP are not set */
    /* before an upstream is chosen; may suspend, reply, fail */
    weir_result (*access)(void *arg, weir_exchange *x, const weir_head *in);
    /* in is what came, out what goes, each attempt */
    void (*rewrite)(void *arg, weir_exchange *x, const weir_head *in, weir_head *out);
    /* the upstream's answer before it goes to the client; may suspend, reply, fail */
    weir_result (*modify_response)(void *arg, weir_exchange *x, weir_head *response);
    /* nothing was sent yet: WEIR_REPLY answers, WEIR_PASS leaves it to Weir. reason: see
     * faults.md */
    weir_result (*error_handler)(void *arg, weir_exchange *x, const char *reason, int status);
    void (*finished)(void *arg, weir_exchange *x, const char *reason); /* exactly once; "ok" */
    void *arg;
    const weir_transport *transport; /* or NULL; copied */
    const weir_balancer *balancer;   /* or NULL; copied */
    long max_idle_conns_per_host, max_conns_per_host;
    long idle_conn_timeout, dial_timeout, response_header_timeout, exchange_timeout;
    int disable_keep_alives;
    long flush_interval; /* -1: as WEIR_FLUSH_EACH; else nothing: bytes never wait for more */
    weir_buffer buffer;
    size_t buffer_size; /* bytes of WEIR_FIXED, most of WEIR_ADAPTIVE; 0: 64 KiB, 1 MiB */
} weir_proxy_options;

/* A request of our own. Callbacks run on a thread of the instance's, and may come before
 * weir_fetch_start returns. */
typedef struct weir_fetch_options {
    size_t size;
    const char *method, *target, *host; /* target: path?query; NULL: GET, "/", "localhost" */
    const char *const *fields;          /* name, value, name, value, ..., NULL */
    const void *body;
    size_t body_size;
    long timeout; /* of the whole, ms */
    void (*on_head)(void *arg, const weir_head *response);
    size_t (*on_body)(void *arg, const void *p, size_t n); /* bytes taken; fewer: paused */
    void (*on_end)(void *arg, const char *reason);         /* exactly once; "ok" */
    void *arg;
    /* In place of body, by weir_fetch_write: WEIR_PASS, _WAIT (for resume), _END or _FAIL. */
    weir_result (*produce)(void *arg, weir_fetch *f);
} weir_fetch_options;

/* A C function in place of an upstream: WEIR_REPLY, WEIR_WAIT or WEIR_FAIL. It is not called again
 * when its client has left meanwhile: weir_on_finished tells of that. */
typedef weir_result (*weir_func)(void *arg, weir_exchange *x, const weir_head *in);

/* ---- instances: one thread at a time --------------------------------------------------------- */

/* A running instance that serves nothing yet; o may be NULL. NULL: no threads or descriptors (the
 * log says which). */
WEIR_API weir *weir_new(const weir_options *o);
/* Why the last call on w failed; "" when none did. Valid until the next one. */
WEIR_API const char *weir_error(const weir *w);
/* Puts mux to use (a copy: change it and call again to change what is served). */
WEIR_API int weir_serve(weir *w, const weir_mux *mux);
/* Accepts on v4:port, [v6]:port, :port, unix:/path; no names. Several are served alike. */
WEIR_API int weir_listen(weir *w, const char *address);
/* The port of an address that said 0; -1: w does not listen there. */
WEIR_API int weir_port(const weir *w, const char *address);
/* Accepts no more and lets exchanges finish within drain_ms. With threads of its own it waits for
 * that; in a foreign loop call weir_turn until it answers 0. */
WEIR_API void weir_stop(weir *w, unsigned drain_ms);
/* Stops if need be, ends the threads, frees. No callback comes after it. */
WEIR_API void weir_free(weir *w);
/* Foreign loop: a descriptor that is readable when weir_turn has work. */
WEIR_API int weir_fd(const weir *w);
/* Foreign loop: milliseconds until weir_turn has work without it; -1: never. */
WEIR_API int weir_timeout(const weir *w);
/* Foreign loop: does what is due, never waits. 0 once weir_stop has come to its end. */
WEIR_API int weir_turn(weir *w);
/* "0.1.0" */
WEIR_API const char *weir_version(void);

/* ---- muxes and proxies: any thread, one at a time; mistakes are told by weir_serve ----------- */

/* An empty mux. */
WEIR_API weir_mux *weir_mux_new(void);
/* Frees it; what was served from it goes on. */
WEIR_API void weir_mux_free(weir_mux *m);
/* "[METHOD ][HOST]/path" goes to p; "/path/" + "*" is all below, HOST may be *.name; the most
 * specific wins. pattern NULL: p serves weir_fetch only. */
WEIR_API void weir_mux_proxy(weir_mux *m, const char *pattern, weir_proxy *p);
/* The same to a C function. */
WEIR_API void weir_mux_func(weir_mux *m, const char *pattern, weir_func f, void *arg);
/* What inner has now, under "[METHOD ][HOST]/prefix", but what is of another method or host. */
WEIR_API void weir_mux_mount(weir_mux *m, const char *pattern, const weir_mux *inner);
/* A proxy, for any number of muxes and instances. */
WEIR_API weir_proxy *weir_proxy_new(const weir_proxy_options *o);
/* Lets go of it; muxes and instances keep it as long as they use it. */
WEIR_API void weir_proxy_free(weir_proxy *p);
/* New weights for p's endpoints as w serves them, all at once, from soon after; any thread. */
WEIR_API void weir_update_weights(weir *w, weir_proxy *p, const weir_weight *v, size_t n);

#include <weir/event.h>
#include <weir/exchange.h>

#ifdef __cplusplus
}
#endif
#endif
