/* SPDX-License-Identifier: Apache-2.0 */
/* change_write.c: the state file on its way to the disk, which a thread of the pool waits for.
 * Invariants:
 * 1. At most one is on its way: live is busy meanwhile.
 * 2. live hears of it once: from the post that the thread sends, or from whoever settles first. The
 *    post frees the job, as it comes last. */
#include <pthread.h>

#include "app/server_inside.h"
#include "base/file_io.h"
#include "base/mem.h"
#include "control/state_file.h"

struct write_job {
    struct post post; /* first */
    struct server *server;
    struct str dir; /* owned */
    struct text bytes;
    enum file_end end;
    char *why;
    bool told; /* live was; main thread */
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool written; /* under lock; end and why are then the main thread's */
};

/* On the pool's thread. */
static void write_now(void *arg)
{
    struct write_job *j = arg;
    j->end = state_file_put(j->dir, text_str(&j->bytes), &j->why);
    pthread_mutex_lock(&j->lock);
    j->written = true;
    pthread_cond_signal(&j->done);
    pthread_mutex_unlock(&j->lock);
    loop_post(j->server->engine->loop, &j->post);
}

static void tell(struct write_job *j)
{
    if (j->told)
        return;
    j->told = true;
    j->server->writing = NULL;
    live_written(&j->server->live, j->end, j->why);
    server_obey_later(j->server);
}

static void job_free(struct write_job *j)
{
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->done);
    text_fini(&j->bytes);
    mem_free((void *) (uintptr_t) j->dir.p);
    mem_free(j);
}

static void came_back(struct post *p)
{
    struct write_job *j = (struct write_job *) (void *) p;
    tell(j);
    job_free(j);
}

bool server_write_state(void *arg, struct str dir, struct text *bytes)
{
    struct server *s = arg;
    if (!s->jobs)
        return false;
    struct write_job *j = mem_new(sizeof *j);
    *j = (struct write_job){
        .post.run = came_back, .server = s, .dir = mem_str(dir), .bytes = *bytes};
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->done, NULL);
    if (file_jobs_submit(s->jobs, write_now, j)) {
        s->writing = j;
        *bytes = (struct text){0};
        return true;
    }
    j->bytes = (struct text){0};
    job_free(j);
    return false;
}

void server_settle_state(void *arg)
{
    struct server *s = arg;
    struct write_job *j = s->writing;
    pthread_mutex_lock(&j->lock);
    while (!j->written)
        pthread_cond_wait(&j->done, &j->lock);
    pthread_mutex_unlock(&j->lock);
    tell(j);
}
