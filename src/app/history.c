/* SPDX-License-Identifier: Apache-2.0 */
/* history.c: see history.h.
 * Invariants:
 * 1. Numbers in v rise; the newest is the last.
 * 2. A file of the directory is either whole or not there: file_replace makes it.
 * 3. Where dir is set a text is in memory, whole, only while it is being written, and where it
 *    cannot be.
 * 4. Files are written and removed in the order of their numbers, by one thread.
 * 5. Without dir the newest text is whole; an older one that is held can be made from it. */
#include "app/history.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file_io.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conf_lex.h"

#define HEAD "# weir-history"
#define HEAD_MAX 256u

/* ---- files --------------------------------------------------------------------------------- */

static void file_name(uint64_t number, char out[48])
{
    snprintf(out, 48, "config-%08" PRIu64 ".yaml", number);
}

static void remove_file(const char *dir, uint64_t number)
{
    char name[48];
    file_name(number, name);
    char *path = mem_printf("%s/%s", dir, name);
    (void) unlink(path);
    mem_free(path);
}

/* Reads a file of the directory: its head into e, the rest into *text (mem_free) when wanted. */
static bool read_file(const struct history *h, uint64_t number, struct history_entry *e,
                      struct str *text)
{
    char name[48], *why = NULL, head[HEAD_MAX] = "";
    size_t n = 0;
    file_name(number, name);
    char *path = mem_printf("%s/%s", h->dir, name);
    char *bytes = text ? file_read(path, CONF_TEXT_MAX + HEAD_MAX, &n, &why)
                       : file_read_start(path, HEAD_MAX, &n, &why);
    ptrdiff_t end = bytes ? str_find(str_of(bytes, n), '\n') : -1;
    bool good = end > 0 && (size_t) end < sizeof head;
    if (good)
        memcpy(head, bytes, (size_t) end);
    *e = (struct history_entry){.number = number};
    good = good && sscanf(head, HEAD " %" SCNd64 " %16" SCNx64 " %15s %63[^\n]", &e->wall_us,
                          &e->hash, e->origin, e->who) >= 3;
    if (good && text)
        *text = mem_str(str_sub(str_of(bytes, n), (size_t) end + 1, n));
    mem_free(bytes);
    mem_free(why);
    mem_free(path);
    return good;
}

/* A file on its way to the disk. */
struct history_job {
    struct post post; /* first */
    struct history *history;
    char *dir; /* owned */
    uint64_t number;
    uint64_t remove; /* another one, that goes then; 0: none */
    struct text whole;
    size_t head; /* bytes of whole before the text */
    enum file_end end;
    char *why;
};

/* Any thread. */
static void write_file(void *arg)
{
    struct history_job *j = arg;
    char name[48];
    file_name(j->number, name);
    j->end = file_replace(j->dir, name, text_str(&j->whole), &j->why);
    if (j->remove)
        remove_file(j->dir, j->remove);
}

/* ---- entries ------------------------------------------------------------------------------- */

static void drop_text(struct history_entry *e)
{
    if (!e->writing)
        mem_free((void *) (uintptr_t) e->text.p);
    e->text = (struct str){0};
    e->writing = NULL;
}

/* The number of the file that is not wanted any more; 0: there is none. */
static uint64_t drop_oldest(struct history *h)
{
    uint64_t number = h->v[0].number;
    drop_text(&h->v[0]);
    memmove(h->v, h->v + 1, --h->n * sizeof h->v[0]);
    return h->dir ? number : 0;
}

/* The file is there, or the text stays in memory. */
static void written(struct history_job *j)
{
    struct history *h = j->history;
    if (j->why)
        log_warn("history.write", "%s; the configuration is kept in memory, too", j->why);
    for (uint32_t i = 0; i < h->n; i++) {
        struct history_entry *e = &h->v[i];
        if (e->writing != j)
            continue;
        e->writing = NULL;
        e->text = j->end == FILE_KEPT ? (struct str){0} : mem_str(e->text);
    }
    text_fini(&j->whole);
    mem_free(j->why);
    mem_free(j->dir);
    mem_free(j);
}

static void came_back(struct post *p)
{
    struct history_job *j = (struct history_job *) (void *) p;
    struct history *h = j->history;
    written(j);
    if (--h->writing == 0)
        h->pen.idle(h->pen.arg);
}

/* On a thread of the pool. */
static void write_and_post(void *arg)
{
    struct history_job *j = arg;
    write_file(j);
    loop_post(j->history->pen.loop, &j->post);
}

/* Puts e, whose text that is, into the directory. */
static void write_entry(struct history *h, struct history_entry *e, struct str text,
                        uint64_t remove)
{
    struct history_job *j = mem_new(sizeof *j);
    *j = (struct history_job){.post.run = came_back,
                              .history = h,
                              .dir = mem_strdup(str_c(h->dir)),
                              .number = e->number,
                              .remove = remove};
    text_addf(&j->whole, HEAD " %" PRId64 " %016" PRIx64 " %s %s\n", e->wall_us, e->hash, e->origin,
              e->who);
    j->head = j->whole.n;
    text_add(&j->whole, text);
    e->text = str_of(j->whole.p + j->head, text.n);
    e->writing = j;
    if (!h->pen.jobs) {
        write_file(j);
        written(j);
    } else if (file_jobs_submit(h->pen.jobs, write_and_post, j)) {
        h->writing++;
    } else {
        j->end = FILE_AS_WAS;
        j->why = mem_printf("%s: too many files wait for this disk", h->dir);
        written(j);
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return x < y ? -1 : x > y;
}

/* The numbers of the files that are there, rising; for mem_free. */
static uint64_t *list_files(const struct history *h, size_t *n)
{
    size_t cap = 64;
    uint64_t *v = mem_new(cap * sizeof *v), number;
    DIR *d = opendir(h->dir);
    *n = 0;
    for (struct dirent *f; d && (f = readdir(d));) {
        char name[48];
        if (sscanf(f->d_name, "config-%" SCNu64, &number) != 1)
            continue;
        file_name(number, name);
        if (strcmp(name, f->d_name) != 0)
            continue;
        if (*n == cap)
            v = mem_resize(v, (cap *= 2) * sizeof *v);
        v[(*n)++] = number;
    }
    if (d)
        closedir(d);
    qsort(v, *n, sizeof *v, by_number);
    return v;
}

void history_open(struct history *h, struct str dir, struct history_pen pen)
{
    *h = (struct history){.pen = pen};
    if (dir.n == 0)
        return;
    h->dir = mem_strdup(dir);
    if (access(h->dir, R_OK | W_OK | X_OK) != 0) {
        log_warn("history.directory",
                 "%s: not a directory that the server may read and write, so earlier "
                 "configurations are kept in memory only; make it and give it to the server's user",
                 h->dir);
        mem_free(h->dir);
        h->dir = NULL;
        return;
    }
    size_t n;
    uint64_t *files = list_files(h, &n);
    for (size_t i = 0; i < n; i++) {
        struct history_entry e;
        if (!read_file(h, files[i], &e, NULL)) {
            remove_file(h->dir, files[i]);
            continue;
        }
        if (h->n == HISTORY_KEPT)
            remove_file(h->dir, drop_oldest(h));
        h->v[h->n++] = e;
    }
    mem_free(files);
}

void history_close(struct history *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        drop_text(&h->v[i]);
    mem_free(h->dir);
    *h = (struct history){0};
}

/* Where they are not in files the newest texts stay, as far as they fit. */
static void bound_memory(struct history *h)
{
    size_t sum = 0;
    for (uint32_t i = h->n; i-- > 0;) {
        sum += h->v[i].writing ? 0 : h->v[i].text.n;
        if (sum > HISTORY_MEMORY && !h->v[i].writing)
            drop_text(&h->v[i]);
    }
}

/* What e's text, which is whole, need not say since newer says it. */
static void shorten(struct history_entry *e, struct str newer)
{
    struct str whole = e->text;
    size_t most = whole.n < newer.n ? whole.n : newer.n, before = 0, behind = 0;
    while (before < most && whole.p[before] == newer.p[before])
        before++;
    while (behind < most - before && whole.p[whole.n - 1 - behind] == newer.p[newer.n - 1 - behind])
        behind++;
    e->text = mem_str(str_sub(whole, before, whole.n - behind));
    e->before = before;
    e->behind = behind;
    mem_free((void *) (uintptr_t) whole.p);
}

/* The whole text of entry i, which is in memory, for mem_free. */
static struct str whole_text(const struct history *h, uint32_t i)
{
    uint32_t from = i;
    while (h->v[from].before + h->v[from].behind)
        from++;
    struct str text = mem_str(h->v[from].text);
    while (from-- > i) {
        const struct history_entry *e = &h->v[from];
        size_t n = e->before + e->text.n + e->behind;
        char *p = mem_new(n + 1);
        memcpy(p, text.p, e->before);
        memcpy(p + e->before, e->text.p, e->text.n);
        memcpy(p + n - e->behind, text.p + text.n - e->behind, e->behind);
        mem_free((void *) (uintptr_t) text.p);
        text = str_of(p, n);
    }
    return text;
}

void history_add(struct history *h, struct str text, const char *origin, const char *who)
{
    uint64_t hash = str_stable_hash(text, 1), gone = 0;
    if (h->n && h->v[h->n - 1].hash == hash)
        return;
    if (h->n == HISTORY_KEPT)
        gone = drop_oldest(h);
    struct history_entry *e = &h->v[h->n];
    *e = (struct history_entry){
        .number = h->n ? h->v[h->n - 1].number + 1 : 1, .wall_us = clock_wall(), .hash = hash};
    snprintf(e->origin, sizeof e->origin, "%s", origin);
    snprintf(e->who, sizeof e->who, "%s", who);
    for (char *at = e->who; *at; at++) {
        if ((unsigned char) *at < ' ')
            *at = ' '; /* the head is one line */
    }
    if (!h->dir && h->n && h->v[h->n - 1].text.p)
        shorten(&h->v[h->n - 1], text);
    h->n++;
    if (h->dir)
        write_entry(h, e, text, gone);
    else
        e->text = mem_str(text);
    bound_memory(h);
}

char *history_text(const struct history *h, uint32_t back, size_t *n, char **why)
{
    struct history_entry e;
    struct str text = {0};
    if (back >= h->n) {
        *why = mem_printf("there %s %" PRIu32
                          " earlier configuration%s: weir history lists what there is",
                          h->n == 2 ? "is" : "are", h->n ? h->n - 1 : 0, h->n == 2 ? "" : "s");
        return NULL;
    }
    const struct history_entry *of = &h->v[h->n - 1 - back];
    if (of->text.p)
        text = whole_text(h, h->n - 1 - back);
    else if (h->dir)
        (void) read_file(h, of->number, &e, &text);
    if (!text.p || str_stable_hash(text, 1) != of->hash) {
        mem_free((void *) (uintptr_t) text.p);
        *why = mem_printf("the text of configuration %" PRIu64 " is not there any more%s",
                          of->number, h->dir ? "" : ": set state_dir to keep more");
        return NULL;
    }
    *n = text.n;
    return (char *) (uintptr_t) text.p;
}

void history_json(const struct history *h, struct text *out)
{
    text_add(out, STR("["));
    for (uint32_t back = 0; back < h->n; back++) {
        const struct history_entry *e = &h->v[h->n - 1 - back];
        char time[32];
        clock_iso8601(e->wall_us, time);
        text_addf(out,
                  "%s{\"back\":%" PRIu32 ",\"number\":%" PRIu64
                  ",\"time\":\"%s\",\"origin\":\"%s\",\"who\":",
                  back ? "," : "", back, e->number, time, e->origin);
        text_add_json(out, str_c(e->who));
        text_addf(out, ",\"held\":%s}", e->text.p || h->dir ? "true" : "false");
    }
    text_add(out, STR("]"));
}
