/* SPDX-License-Identifier: Apache-2.0 */
/* weir/exchange: what callbacks of weir.h may do with an exchange and its heads. Part of weir.h,
 * not to be included by itself. Heads and exchanges belong to the library and are valid during
 * the callback alone; only weir_resume, weir_fetch_resume, _cancel and _free may be called from
 * other threads. Nothing here blocks. */
#ifndef WEIR_EXCHANGE_H
#define WEIR_EXCHANGE_H

/* ---- heads ----------------------------------------------------------------------------------- */

/* Of a request: "GET". */
WEIR_API weir_str weir_method(const weir_head *h);
/* Of a request: its one authority, host[:port], whatever form it came in. */
WEIR_API weir_str weir_host(const weir_head *h);
/* Of a request: the normalised path, still percent-encoded. */
WEIR_API weir_str weir_path(const weir_head *h);
/* Of a request: what stands behind '?'. */
WEIR_API weir_str weir_query(const weir_head *h);
/* Of a response. */
WEIR_API int weir_status(const weir_head *h);
/* The first value of the field name (in any case); p is NULL when there is none. */
WEIR_API weir_str weir_field(const weir_head *h, const char *name);
/* Field number i, from 0; 0: there are not so many. */
WEIR_API int weir_field_at(const weir_head *h, size_t i, weir_str *name, weir_str *value);
/* Makes it the only field of that name. 0: not a valid name or value, or one that Weir keeps for
 * itself (framing, Connection, Host: see weir_set_host), or out of memory. */
WEIR_API int weir_set_field(weir_head *h, const char *name, weir_str value);
/* Adds one more; 0 as above. */
WEIR_API int weir_add_field(weir_head *h, const char *name, weir_str value);
/* Removes all of that name; how many. */
WEIR_API int weir_remove_field(weir_head *h, const char *name);
/* Of an outgoing request. 0: not a path; dot segments are resolved. */
WEIR_API int weir_set_path(weir_head *h, weir_str path);
/* Of an outgoing request, without '?'. 0: not a query. */
WEIR_API int weir_set_query(weir_head *h, weir_str query);
/* Of an outgoing request: Host; the endpoint stays the same. 0: not host[:port]. */
WEIR_API int weir_set_host(weir_head *h, weir_str host);
/* Of a response, 200..599. 0: another number, or one that changes whether there is a body; that of
 * a switch of protocols (101, CONNECT) stays. */
WEIR_API int weir_set_status(weir_head *h, int status);
/* A view of a C string. */
static inline weir_str weir_cstr(const char *z)
{
    weir_str s = {z, 0};
    while (z && z[s.n])
        s.n++;
    return s;
}

/* ---- exchanges ------------------------------------------------------------------------------- */

/* The client's address, behind trusted proxies too; "" for unix sockets and for requests of our
 * own. room for 46 bytes. */
WEIR_API const char *weir_client_ip(weir_exchange *x, char room[46]);
/* What the last weir_set_value of this exchange said, at first NULL. */
WEIR_API void *weir_value(weir_exchange *x);
/* Keeps a pointer for later callbacks of this exchange; weir_on_finished is the way to free it. */
WEIR_API void weir_set_value(weir_exchange *x, void *value);
/* Has fn called at the end of x, however it ends: soon after its client has left, say, suspended or
 * not ("client_gone"). On x's thread, behind the proxy's `finished`, once; x and what it keeps are
 * valid until fn returns. One an exchange: the last call counts, and fn NULL takes it back. */
WEIR_API void weir_on_finished(weir_exchange *x,
                               void (*fn)(void *arg, weir_exchange *x, const char *reason),
                               void *arg);
/* Before answering WEIR_WAIT: a ticket for weir_resume. The callback is called again then, and not
 * before (but for weir_read_body's sake). NULL: one is out already. */
WEIR_API weir_ticket *weir_suspend(weir_exchange *x);
/* Any thread, exactly once a ticket, also when the exchange has ended meanwhile; before
 * weir_free. NULL does nothing. */
WEIR_API void weir_resume(weir_ticket *t);
/* Of a C function or round_trip, and of their produce: up to n bytes of the request's body to `to`,
 * *got of them. Before an answer has begun it lets a client that waits for a 100 go on.
 * WEIR_PASS: some came; WEIR_WAIT: return WEIR_WAIT; WEIR_END: no more; WEIR_FAIL: return
 * WEIR_FAIL. Of a request that goes to endpoints always WEIR_FAIL: the body is theirs. */
WEIR_API weir_result weir_read_body(weir_exchange *x, void *to, size_t n, size_t *got);
/* Answers with a copy of n bytes; type may be NULL. Returns what the callback returns: WEIR_REPLY,
 * or WEIR_FAIL when status (200..599) or type is invalid, an answer is on its way, or memory is
 * short (then, and above 512 KiB, use weir_reply_stream). */
WEIR_API weir_result weir_reply(weir_exchange *x, int status, const char *type, const void *body,
                                size_t n);
/* Answers with what produce writes: WEIR_PASS: call again (in a later turn if nothing was written),
 * WEIR_WAIT: after weir_resume, WEIR_END, WEIR_FAIL. It is called as the client takes the bytes,
 * some 64 KiB ahead. Answers as weir_reply does. */
WEIR_API weir_result weir_reply_stream(weir_exchange *x, int status, const char *type,
                                       weir_result (*produce)(void *arg, weir_exchange *x),
                                       void *arg);
/* After weir_reply or weir_reply_stream: a field of its head; 0 as of weir_set_field, or when
 * there is no reply. */
WEIR_API int weir_reply_field(weir_exchange *x, const char *name, weir_str value);
/* One more of that name, as Set-Cookie needs it; 0 as of weir_reply_field. */
WEIR_API int weir_reply_add_field(weir_exchange *x, const char *name, weir_str value);
/* In produce: appends n bytes (a copy). 0: memory is short, return WEIR_WAIT and write them
 * again. */
WEIR_API int weir_write(weir_exchange *x, const void *p, size_t n);

/* ---- requests of our own --------------------------------------------------------------------- */

/* Sends a request to p's endpoints through its pool, as w serves it (else it ends with "no_route");
 * p's callbacks have their say in it. For weir_fetch_free. NULL: the method, target, host or a
 * field is invalid. Any thread. */
WEIR_API weir_fetch *weir_fetch_start(weir *w, weir_proxy *p, const weir_fetch_options *o);
/* In produce: appends n bytes (a copy) to the request's body. 0: memory is short, answer WEIR_WAIT,
 * resume later and write them again. */
WEIR_API int weir_fetch_write(weir_fetch *f, const void *p, size_t n);
/* After on_body took less than all, or produce had to wait: they are called again. Any thread. */
WEIR_API void weir_fetch_resume(weir_fetch *f);
/* Ends it; on_end comes with "client_gone" unless it came before. Any thread. */
WEIR_API void weir_fetch_cancel(weir_fetch *f);
/* Lets go of the handle; a fetch that runs goes on. Before weir_free. Any thread. */
WEIR_API void weir_fetch_free(weir_fetch *f);

#endif
