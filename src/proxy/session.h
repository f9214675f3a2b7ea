/* SPDX-License-Identifier: Apache-2.0 */
/* session: one client connection. Idle it is this struct and nothing else: no buffer, no arena
 * (256 bytes at most). Belongs to one worker for life. Opens an exchange when bytes come, takes the
 * connection back when it ends. Worker thread only. */
#ifndef WEIR_PROXY_SESSION_H
#define WEIR_PROXY_SESSION_H

#include "net/addr.h"
#include "net/conn.h"
#include "proxy/worker.h"

#define SESSION_MAGIC 0x57535331u

/* What the connection is doing while no exchange has it. */
enum session_state {
    SESSION_PREFACE,   /* waits for what comes before the first request: see preface.h */
    SESSION_HANDSHAKE, /* of TLS */
    SESSION_IDLE,      /* waits for the first byte of a request */
    SESSION_SNIFF,     /* its first bytes may become the preface of HTTP/2 */
    SESSION_H2,        /* an h2_session has it */
    SESSION_BUSY,      /* an exchange has it */
    SESSION_LINGER,    /* our side is shut; what the peer still sends is drained */
    SESSION_CLOSED,
};

struct session {
    struct conn conn; /* first */
    uint32_t magic;
    uint8_t state; /* enum session_state */
    bool peer_unix;
    bool begun;         /* SESSION_PREFACE: some of it has come */
    bool passthrough;   /* a TLS ClientHello is due, and chooses where it goes */
    uint8_t preface;    /* SESSION_PREFACE: enum preface */
    bool sniff;         /* the next bytes are the first, and may be HTTP/2 */
    uint16_t peer_port; /* of the connection, or of its PROXY header */
    struct ip peer_ip;
    struct worker *worker;
    struct listener *listener;
    union {
        struct exchange *x;    /* while SESSION_BUSY */
        struct h2_session *h2; /* while SESSION_H2 */
    };
    struct announced *announced; /* what a PROXY header said beyond the peer; NULL: nothing */
    struct handshake *handshake; /* while SESSION_HANDSHAKE */
    uint32_t charged;            /* bytes, for TLS */
    struct block *in;            /* bytes read beyond the last message (pipelining); NULL: none */
    uint32_t in_at;              /* offset of the first of them */
    uint32_t drained;            /* bytes dropped in SESSION_LINGER */
    struct timer timer;          /* keep-alive, linger, and the exchange's deadlines */
    struct list_node node;       /* worker->session_list */
};

/* Takes an accepted fd. False: memory or the kernel refused; the fd is closed. */
bool session_open(struct listener *l, int fd, const struct addr *peer);
/* The handshake is over: the session waits for its first request. */
void session_ready(struct session *s);
/* The exchange is over and its bytes are written. keep: wait for the next request;
 * otherwise close, lingering when the peer may still be sending (RFC 9112 9.6). */
void session_resume(struct session *s, bool keep);
/* The preface is over: waits for the first request, or begins to read it when more is there. */
void session_greeted(struct session *s, bool more);
/* An exchange of s begins, which has it now. */
void session_busy(struct session *s, struct exchange *x);
/* Ends a session that was asked nothing, for a reason that the access log tells. */
void session_refuse(struct session *s, enum fault f);
/* Closes at once; reset: so that the peer sees a broken connection. */
void session_close(struct session *s, bool reset);

#endif
