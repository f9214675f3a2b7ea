/* SPDX-License-Identifier: Apache-2.0 */
/* server_upgrade.c: the two sides of an upgrade in the server: the one that is followed says what
 * it knows and lets go; the one that follows takes that, and serves when it is told to.
 * Invariants:
 * 1. While page.frozen is set no configuration changes and nothing in state_dir is written: another
 *    process owns both, or is about to.
 * 2. Who has said RETIRED listens on no address any more. */
#include <unistd.h>

#include "app/server_inside.h"
#include "base/log.h"
#include "control/conf_node.h"
#include "control/health_marks.h"
#include "control/state_file.h"
#include "control/ticket_marks.h"

#define LEFT_MAX (STATE_FILE_MAX + (1u << 20)) /* the changes, and little more */

/* ---- what is left ---------------------------------------------------------------------------- */

/* facts: taken. fd as of channel_memfd. */
static int memfd_of(json_t *facts)
{
    struct text t = {0};
    conf_json_print(facts, &t);
    int fd = channel_memfd(text_str(&t));
    text_fini(&t);
    json_decref(facts);
    return fd;
}

/* What fd holds; NULL: nothing that can be understood. For json_decref. */
static json_t *facts_of(int fd)
{
    size_t n;
    char *why = NULL, *text = channel_memfd_text(fd, LEFT_MAX, &n);
    json_t *v = text ? conf_json_parse(str_of(text, n), &why) : NULL;
    if (why)
        log_error("upgrade.handover", "what the server before left is not understood: %s", why);
    mem_free(why);
    mem_free(text);
    return v;
}

static void say(struct server *s, enum channel_kind kind, uint32_t number, int fd)
{
    struct channel_message m = channel_make(kind, number, STR(""));
    (void) channel_send(s->start->channel, &m, fd);
    if (fd >= 0)
        close(fd);
}

/* ---- the one that is followed ---------------------------------------------------------------- */

void server_freeze(struct server *s)
{
    const struct file_stamp *f = &s->seen;
    json_t *list = s->live.list ? json_incref(s->live.list) : json_array(); /* no file: none */
    json_t *facts = json_pack("{s:o, s:[IIIII]}", "changes", list, "file", (json_int_t) f->device,
                              (json_int_t) f->inode, (json_int_t) f->size, (json_int_t) f->sec,
                              (json_int_t) f->nsec);
    say(s, CHANNEL_FROZEN, 0, memfd_of(facts));
}

/* No address is listened on any more: the other one may begin. */
static void let_go(void *arg)
{
    struct server *s = arg;
    log_info("server.retired", "another server follows: exchanges may finish within %llu s",
             (unsigned long long) (s->upgrade_drain / USEC_PER_SEC));
    say(s, CHANNEL_RETIRED, (uint32_t) (s->upgrade_drain / USEC_PER_MS), s->left);
    s->left = -1;
}

static void retire(struct server *s)
{
    json_t *marks = json_array();
    health_marks_write(s->engine->checks, marks);
    ticket_marks_write(s->engine->tls, marks);
    s->left = memfd_of(marks);
    s->page.frozen = true;
    if (s->stopping) {
        let_go(s);
        return;
    }
    s->engine->succeeded = true;
    s->engine->on_let_go = let_go;
    server_drain(s, s->upgrade_drain);
}

/* ---- the one that follows -------------------------------------------------------------------- */

json_t *server_left_changes(struct server *s)
{
    json_int_t v[5];
    json_t *facts = facts_of(s->start->state);
    if (s->start->state >= 0)
        close(s->start->state);
    json_t *list = json_incref(json_object_get(facts, "changes"));
    if (json_unpack(json_object_get(facts, "file"), "[IIIII]", &v[0], &v[1], &v[2], &v[3], &v[4]) ==
        0)
        s->seen = (struct file_stamp){.device = (uint64_t) v[0],
                                      .inode = (uint64_t) v[1],
                                      .size = (uint64_t) v[2],
                                      .sec = v[3],
                                      .nsec = v[4]};
    json_decref(facts);
    return list;
}

static void go(struct server *s, int marks)
{
    json_t *list = facts_of(marks);
    if (!s->start->follows || !s->page.frozen)
        return;
    health_marks_take(s->engine->checks, list);
    ticket_marks_take(s->engine->tls, list);
    json_decref(list);
    s->page.frozen = false;
    server_serve(s);
    server_begin_history(s);
}

void server_obey_upgrade(struct server *s, const struct channel_message *m, int fd)
{
    switch (m->kind) {
    case CHANNEL_THAW:
        s->freeze_due = false;
        s->page.frozen = s->stopping;
        break;
    case CHANNEL_RETIRE:
        retire(s);
        break;
    case CHANNEL_GO:
        go(s, fd);
        break;
    default:
        break;
    }
}
