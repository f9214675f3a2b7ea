/* SPDX-License-Identifier: Apache-2.0 */
/* preface: what comes on a connection before its first request: a PROXY protocol header, where the
 * listener requires one of this peer, and then a TLS ClientHello, where connections may be passed
 * through. They are looked at while they lie in the socket: a session that waits for one holds no
 * buffer. A whole header is taken from there; a hello stays for who speaks TLS, Weir or an
 * endpoint. Owner: the session; worker thread. Decides nothing about requests. */
#ifndef WEIR_PROXY_PREFACE_H
#define WEIR_PROXY_PREFACE_H

#include "net/proxy_protocol.h"
#include "proxy/session.h"

/* What is waited for, in this order. */
enum preface { PREFACE_HEADER, PREFACE_HELLO };

/* What a PROXY header told, kept as long as its session: the texts of header lie in bytes. */
struct announced {
    struct proxy_header header;
    size_t size; /* of the whole, as charged to the worker's account */
    char bytes[];
};

/* Makes a new session wait for its preface. False: there is none to wait for. */
bool preface_begin(struct session *s);
/* The connection of a session in SESSION_PREFACE has an event. */
void preface_event(struct session *s);
/* Its time is over. */
void preface_timeout(struct session *s);
/* A PROXY header said that the client speaks TLS, with who sent it. */
static inline bool preface_told_tls(const struct session *s)
{
    return s->announced && (s->announced->header.ssl.client & PROXY_SSL_TLS);
}
/* Frees what was announced. */
void preface_forget(struct session *s);

#endif
