/* SPDX-License-Identifier: Apache-2.0 */
/* tls_store.c: the servers and clients in use, and the watch over their files. Invariants:
 * 1. The list is read and changed under lock. A member that is found gets a reference under it, and
 *    the last reference goes under it: what is found never dies meanwhile.
 * 2. look() runs on the main thread, without the lock, with a reference. */
#include <sys/stat.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "net/tls_inside.h"

#define WARN_DAYS 14 /* before a certificate expires */
#define DAY INT64_C(86400)

struct tls_store {
    pthread_mutex_t lock;
    struct list watched; /* of struct tls_watched */
    uint64_t good, bad;  /* loads of changed files; under lock */
    int64_t warned;      /* day of the last warning */
};

/* ---- files --------------------------------------------------------------------------------- */

static uint64_t stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return 0;
    const uint64_t v[] = {(uint64_t) st.st_dev, (uint64_t) st.st_ino, (uint64_t) st.st_size,
                          (uint64_t) st.st_mtim.tv_sec, (uint64_t) st.st_mtim.tv_nsec};
    return str_stable_hash(str_of((const char *) v, sizeof v), 1) | 1;
}

void tls_file_init(struct tls_file *f, struct str path)
{
    *f = (struct tls_file){0};
    if (path.n == 0)
        return;
    f->path = mem_strdup(path);
    f->used = f->seen = stamp_of(f->path);
}

void tls_file_fini(struct tls_file *f)
{
    mem_free((void *) (uintptr_t) f->path);
}

bool tls_file_changed(struct tls_file *f)
{
    if (!f->path)
        return false;
    uint64_t before = f->seen;
    f->seen = stamp_of(f->path);
    if (f->seen == f->used || f->seen != before)
        return false; /* as it was, or being written right now */
    f->used = f->seen;
    return true;
}

/* ---- the list ------------------------------------------------------------------------------ */

struct tls_store *tls_store_new(void)
{
    struct tls_store *s = mem_new(sizeof *s);
    /* A program that embeds Weir may call exit() while workers shake hands: nothing is taken from
     * under them. Where it had OpenSSL at work before, that is settled already. */
    (void) OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    must(pthread_mutex_init(&s->lock, NULL) == 0);
    list_init(&s->watched);
    return s;
}

void tls_store_free(struct tls_store *s)
{
    if (!s)
        return;
    must(list_empty(&s->watched));
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

struct tls_watched *tls_store_find(struct tls_store *s, bool is_server, uint64_t content)
{
    struct tls_watched *found = NULL;
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->lock);
    list_each(node, &s->watched) {
        struct tls_watched *w = list_entry(node, struct tls_watched, node);
        if (w->is_server == is_server && w->content == content) {
            atomic_fetch_add(&w->refs, 1);
            found = w;
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void tls_store_add(struct tls_store *s, struct tls_watched *w)
{
    atomic_store(&w->refs, 1);
    w->store = s;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    list_push_back(&s->watched, &w->node);
    pthread_mutex_unlock(&s->lock);
}

bool tls_store_drop(struct tls_watched *w)
{
    struct tls_store *s = w->store;
    uint32_t n = atomic_load(&w->refs);
    while (n > 1) {
        if (atomic_compare_exchange_weak(&w->refs, &n, n - 1))
            return false;
    }
    if (!s)
        return true;
    pthread_mutex_lock(&s->lock);
    bool last = atomic_fetch_sub(&w->refs, 1) == 1;
    if (last)
        list_remove(&w->node);
    pthread_mutex_unlock(&s->lock);
    return last;
}

/* All of them, each with one more reference, as an array for mem_free. */
static struct tls_watched **all(struct tls_store *s, size_t *n)
{
    size_t count = 0;
    *n = 0;
    pthread_mutex_lock(&s->lock);
    list_each(node, &s->watched)
        count++;
    struct tls_watched **v = mem_new((count + 1) * sizeof *v);
    list_each(node, &s->watched) {
        struct tls_watched *w = list_entry(node, struct tls_watched, node);
        atomic_fetch_add(&w->refs, 1);
        v[(*n)++] = w;
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

static void unref(struct tls_watched *w)
{
    if (w->is_server)
        tls_server_unref((struct tls_server *) (void *) w);
    else
        tls_client_unref((struct tls_client *) (void *) w);
}

/* ---- certificates -------------------------------------------------------------------------- */

/* The certificates that connections get now. */
static void each_of(struct tls_server *s, void (*fn)(void *arg, const struct tls_cert_figures *c),
                    void *arg)
{
    const struct tls_cert_conf *conf = s->conf.certificates.items;
    for (size_t i = 0; i < s->conf.certificates.n; i++) {
        pthread_mutex_lock(&s->lock);
        struct tls_cert *c = tls_cert_ref(s->certs[i]);
        pthread_mutex_unlock(&s->lock);
        const struct tls_cert_figures one = {.file = conf[i].cert,
                                             .name = c->n_names ? c->names[0] : STR(""),
                                             .not_after = c->not_after};
        fn(arg, &one);
        tls_cert_unref(c);
    }
}

/* Whether an earlier server has the file, too. */
static bool shown_before(struct tls_watched **v, size_t at, size_t i, struct str file)
{
    for (size_t k = 0; k <= at; k++) {
        const struct tls_server *s = (const struct tls_server *) (const void *) v[k];
        if (!v[k]->is_server)
            continue;
        const struct tls_cert_conf *conf = s->conf.certificates.items;
        size_t n = k == at ? i : s->conf.certificates.n;
        for (size_t j = 0; j < n; j++)
            if (str_eq(conf[j].cert, file))
                return true;
    }
    return false;
}

struct once {
    struct tls_watched **v;
    size_t at, i;
    void (*fn)(void *arg, const struct tls_cert_figures *c);
    void *arg;
};

static void tell_once(void *arg, const struct tls_cert_figures *c)
{
    struct once *o = arg;
    if (!shown_before(o->v, o->at, o->i++, c->file))
        o->fn(o->arg, c);
}

void tls_store_each_cert(struct tls_store *s,
                         void (*fn)(void *arg, const struct tls_cert_figures *c), void *arg)
{
    size_t n;
    struct tls_watched **v = all(s, &n);
    for (size_t i = 0; i < n; i++) {
        struct once o = {.v = v, .at = i, .fn = fn, .arg = arg};
        if (v[i]->is_server)
            each_of((struct tls_server *) (void *) v[i], tell_once, &o);
    }
    for (size_t i = 0; i < n; i++)
        unref(v[i]);
    mem_free(v);
}

/* ---- keys of tickets for another process ---------------------------------------------------- */

static uint64_t certs_hash(const struct tls_server *s)
{
    const struct tls_cert_conf *c = s->conf.certificates.items;
    uint64_t h = 1;
    for (size_t i = 0; i < s->conf.certificates.n; i++)
        h = str_stable_hash(c[i].cert, h);
    return h;
}

/* What w made for itself; false: nothing. */
static bool keys_of(struct tls_watched *w, struct tls_made_keys *k)
{
    struct tls_server *s = (struct tls_server *) (void *) w;
    *k = (struct tls_made_keys){.content = w->content};
    if (!w->is_server || !tls_tickets_left(&s->tickets, &s->conf.session_tickets, k))
        return false;
    k->certs = certs_hash(s);
    return true;
}

void tls_store_each_keys(struct tls_store *s, void (*fn)(void *arg, struct tls_made_keys *k),
                         void *arg)
{
    size_t n;
    struct tls_watched **v = all(s, &n);
    for (size_t i = 0; i < n; i++) {
        struct tls_made_keys k;
        if (keys_of(v[i], &k))
            fn(arg, &k);
        OPENSSL_cleanse(&k, sizeof k);
        unref(v[i]);
    }
    mem_free(v);
}

static const struct tls_made_keys *best(const struct tls_made_keys *mine,
                                        const struct tls_made_keys *v, size_t n)
{
    const struct tls_made_keys *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (v[i].content == mine->content)
            return &v[i];
        if (!found && v[i].certs == mine->certs)
            found = &v[i];
    }
    return found;
}

void tls_store_take_keys(struct tls_store *s, const struct tls_made_keys *given, size_t n_given)
{
    size_t n;
    struct tls_watched **v = all(s, &n);
    for (size_t i = 0; i < n; i++) {
        struct tls_made_keys mine;
        bool makes = keys_of(v[i], &mine);
        const struct tls_made_keys *k = makes ? best(&mine, given, n_given) : NULL;
        if (k)
            tls_tickets_follow(&((struct tls_server *) (void *) v[i])->tickets, k);
        OPENSSL_cleanse(&mine, sizeof mine);
        unref(v[i]);
    }
    mem_free(v);
}

/* ---- looking ------------------------------------------------------------------------------- */

static void warn_expiry(void *arg, const struct tls_cert_figures *c)
{
    int64_t left = c->not_after - *(const int64_t *) arg;
    if (left <= 0)
        log_error("tls.expires", "the certificate in %.*s has expired: clients refuse it; renew it",
                  STR_ARG(c->file));
    else if (left / DAY < WARN_DAYS)
        log_warn("tls.expires", "the certificate in %.*s expires in %lld days; renew it",
                 STR_ARG(c->file), (long long) (left / DAY));
}

void tls_store_look(struct tls_store *s, usec_t now, int64_t wall)
{
    size_t n;
    struct tls_watched **v = all(s, &n);
    for (size_t i = 0; i < n; i++) {
        v[i]->look(v[i], now);
        unref(v[i]);
    }
    mem_free(v);
    if (n > 0 && s->warned != wall / DAY) {
        s->warned = wall / DAY;
        tls_store_each_cert(s, warn_expiry, &wall);
    }
}

void tls_store_loaded(struct tls_store *s, const char *file, const char *why)
{
    if (s) {
        pthread_mutex_lock(&s->lock);
        s->good += !why;
        s->bad += why != NULL;
        pthread_mutex_unlock(&s->lock);
    }
    if (why)
        log_error("tls.refused", "the changed %s is not used, what it replaces stays: %s", file,
                  why);
    else
        log_info("tls.loaded", "the changed %s is used for new connections", file);
}

void tls_store_loads(struct tls_store *s, uint64_t *good, uint64_t *bad)
{
    pthread_mutex_lock(&s->lock);
    *good = s->good;
    *bad = s->bad;
    pthread_mutex_unlock(&s->lock);
}
