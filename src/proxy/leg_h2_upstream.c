/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h2_upstream: what a stream to an endpoint does differently: it is opened by the request's
 * head, and several heads may come back (1xx). Invariants: see leg_h2.c;
 * 1. id is 0 until the request was submitted; then the leg is the stream's user data.
 * 2. head_read: the final head came; what comes behind it is DATA and trailers.
 * 3. The link goes back to its pool in close, whatever became of the stream. */
#include "base/panic.h"
#include "http/websocket.h"
#include "net/tls.h"
#include "proxy/driver.h"
#include "proxy/h2_callbacks.h"
#include "proxy/h2_link.h"
#include "proxy/leg_h2.h"

#define USUAL_WINDOW (16u * 1024)

/* A head that came. */
struct h2_answer {
    struct head head;
    struct h2_answer *next;
    bool whole;
};

bool leg_h2_up_begins(struct leg_h2 *h)
{
    struct exchange *x = h->leg.x;
    struct h2_answer *a = arena_zalloc(&x->arena, sizeof(*a)), **end = &h->answers;
    struct fields *into = &h->trailer_fields; /* nobody will look at it */
    uint32_t waiting = 0;
    for (; *end; end = &(*end)->next)
        waiting++;
    if (a) {
        *end = a;
        into = &a->head.fields;
    }
    fields_init(into, &x->arena);
    h2_reader_init(&h->reader, into, &x->arena, &x->plan->settings->response_limits);
    h->reader.response = true;
    if (waiting > (uint32_t) x->plan->settings->limits.interim)
        leg_h2_break(h, FAULT_UP_INTERIM_FLOOD);
    return a != NULL;
}

/* 2xx to an extended CONNECT is what 101 is to an upgrade (RFC 8441 5); what the handshake of
 * HTTP/1 adds is added here. */
static enum fault switched(struct leg_h2 *h, struct head *head)
{
    struct exchange *x = h->leg.x;
    const struct field *key = fields_get_id(&x->in->fields, FIELD_SEC_WEBSOCKET_KEY);
    char accept[WEBSOCKET_ACCEPT];
    head->status = 101;
    head->reason = status_reason(101);
    head->upgrade = x->out->upgrade;
    if (!key || !websocket_accept(key->value, accept))
        return FAULT_UP_UPGRADE;
    struct str text = arena_str(&x->arena, str_of(accept, sizeof(accept)));
    return text.p && fields_add(&head->fields, STR("Sec-WebSocket-Accept"), text) ? FAULT_OK
                                                                                  : FAULT_MEMORY;
}

void leg_h2_up_ends(struct leg_h2 *h, bool end_stream)
{
    struct exchange *x = h->leg.x;
    struct h2_answer *a = h->answers;
    while (a->next)
        a = a->next;
    uint8_t method = h->extended ? METHOD_CONNECT : x->in->method_id;
    enum fault f = h2_response_end(&h->reader, &a->head, method, end_stream);
    if (f == FAULT_OK && h->extended && a->head.body == BODY_TUNNEL)
        f = switched(h, &a->head);
    if (f != FAULT_OK) {
        leg_h2_break(h, f);
        return;
    }
    a->whole = true;
    if (a->head.status >= 200) {
        const struct head *head = &a->head;
        h->head_read = true;
        h->ended = end_stream;
        if (end_stream)
            h->leg.ahead = 0;
        h->left = head->body == BODY_LENGTH ? head->length
                  : head->body == BODY_NONE ? 0
                                            : LENGTH_NONE;
        h->reading = end_stream ? H2_DONE : H2_BODY;
        if (head->body == BODY_TUNNEL)
            h->left = LENGTH_NONE;
    }
    exchange_wake(x);
}

/* Where answers are long, a stream begins with more than the first window, as far as what its
 * client's connection may hold allows: the credit leaves with the head. */
void leg_h2_up_opened(struct leg_h2 *h)
{
    struct leg *client = h->leg.x->client;
    size_t share = SIZE_MAX;
    if (!h->c || !h->c->longer || h->c->unacked || h->ended)
        return;
    if (client && client->ops->share)
        share = client->ops->share(client, h->window);
    uint32_t n = USUAL_WINDOW;
    while (n > share)
        n /= 2;
    if (n <= h->window)
        return;
    leg_h2_set_window(h, n);
    if (client && client->ops->share)
        (void) client->ops->share(client, n);
}

void leg_h2_up_closed(struct leg_h2 *h, uint32_t code)
{
    if (h->ended)
        exchange_wake(h->leg.x);
    else
        leg_h2_break(h, code == NGHTTP2_REFUSED_STREAM ? FAULT_UP_H2_REFUSED : FAULT_UP_H2_STREAM);
}

enum io leg_h2_up_read_head(struct leg *l, struct head *head)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    struct h2_answer *a = h->answers;
    if (a && a->whole) {
        *head = a->head;
        h->answers = a->next;
        return IO_OK;
    }
    return h->reading == H2_BROKEN ? IO_ERR : IO_AGAIN;
}

enum fault leg_h2_up_write_head(struct leg *l, const struct head *head)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    struct h2_conn *c = h->c;
    nghttp2_nv *list;
    size_t n;
    must(h->writing == H2_HEAD && !h->id);
    if (leg_h2_is_shut(h) || !nghttp2_session_check_request_allowed(c->ng))
        return FAULT_UP_H2_REFUSED; /* it ended in the same moment: nothing was sent */
    struct str scheme = h->link->tls ? STR("https") : STR("http");
    h->extended = str_ieq(head->upgrade, STR("websocket")) && h2_link_extends(h->link);
    struct str protocol = h->extended ? STR("websocket") : STR("");
    enum fault f = h2_request_list(head, &l->x->arena, scheme, protocol, &list, &n);
    if (f != FAULT_OK)
        return f;
    bool tunnel = head->method_id == METHOD_CONNECT || h->extended;
    h->body_out =
        tunnel || (head->body != BODY_NONE && !(head->body == BODY_LENGTH && !head->length));
    const nghttp2_data_provider body = {.read_callback = h2_read_body};
    int32_t id = nghttp2_submit_request(c->ng, NULL, list, n, h->body_out ? &body : NULL, h);
    if (id < 0)
        return leg_h2_submitted(h, id);
    h->id = id;
    h->unsent_heads++;
    h->writing = tunnel ? H2_OFFER : h->body_out ? H2_BODY : H2_DONE;
    return leg_h2_submitted(h, 0);
}
