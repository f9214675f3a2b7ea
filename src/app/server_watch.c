/* SPDX-License-Identifier: Apache-2.0 */
/* server_watch.c: loads the file again when it has changed. It is looked at, not listened to: that
 * works through links, renames of editors, bind mounts and network file systems alike, for one
 * stat(2) a look.
 * Invariants:
 * 1. A state of the file is judged once: seen is its stamp.
 * 2. It is judged when two looks in a row found it the same: nobody is writing it. */
#include <sys/stat.h>

#include "app/server_inside.h"

#define LOOK_PAUSE (250 * USEC_PER_MS)

static struct file_stamp stamp_of(const char *path)
{
    struct stat st;
    if (!path || stat(path, &st) < 0)
        return (struct file_stamp){0};
    return (struct file_stamp){.device = st.st_dev,
                               .inode = st.st_ino,
                               .size = (uint64_t) st.st_size,
                               .sec = st.st_ctim.tv_sec,
                               .nsec = st.st_ctim.tv_nsec};
}

static bool same(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->sec == b->sec && a->nsec == b->nsec;
}

void server_file_read(struct server *s)
{
    s->seen = stamp_of(s->plan->source.path);
}

static void look(struct timer *t)
{
    struct server *s = list_entry(t, struct server, watch);
    struct file_stamp now = stamp_of(s->plan->source.path);
    bool steady = same(&now, &s->before);
    s->before = now;
    timer_set(s->engine->loop, t, loop_now(s->engine->loop) + LOOK_PAUSE);
    if (s->page.frozen || live_busy(&s->live)) /* who follows will see it; the next look will */
        return;
    if (!steady || same(&now, &s->seen) || (now.sec == 0 && now.nsec == 0))
        return;
    struct change_result r = {0};
    (void) server_reload(s, LIVE_KEEP, ORIGIN_WATCH, NULL, &r); /* it says what comes of it */
    change_result_fini(&r);
}

void server_watch_file(struct server *s)
{
    bool wanted = s->config.loaded->file->watch && s->plan->source.path && !s->stopping;
    if (!s->watch.fire)
        timer_init(&s->watch, look);
    if (!wanted)
        timer_stop(&s->watch);
    else
        timer_set(s->engine->loop, &s->watch, loop_now(s->engine->loop) + LOOK_PAUSE);
}
