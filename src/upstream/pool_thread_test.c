/* SPDX-License-Identifier: Apache-2.0 */
/* Several workers: links that move, the one FIFO, exact limits under load. Meant for TSan too. */
#include <poll.h>

#include "upstream/kit.h"

#define DEADLINE (60 * USEC_PER_SEC)

/* ---- a second worker on a thread of its own ------------------------------------------------ */

/* Something to do on the other thread; the caller waits until it was done. */
struct order {
    struct post post;
    void (*fn)(struct order *o);
    void *arg;
    _Atomic bool done;
};

struct other {
    struct pool_worker worker;
    struct loop *loop;
    struct upstream_registry *registry;
    struct mem_limit limit;
    struct mem_account account;
    pthread_t thread;
    _Atomic bool ready;
};

static void *other_main(void *arg)
{
    struct other *o = arg;
    int err;
    o->account.limit = &o->limit;
    o->loop = loop_new(&err);
    pool_worker_init(&o->worker, o->registry, 1, o->loop, &o->account);
    atomic_store(&o->ready, true);
    loop_run(o->loop);
    pool_worker_fini(&o->worker);
    return NULL;
}

static void other_start(struct other *o, struct kit *k)
{
    *o = (struct other){.registry = k->registry};
    assert_int_equal(pthread_create(&o->thread, NULL, other_main, o), 0);
    KIT_UNTIL(k, atomic_load(&o->ready));
}

static void order_run(struct post *p)
{
    struct order *o = (struct order *) p;
    o->fn(o);
    atomic_store(&o->done, true);
}

/* Runs fn(arg) on the other worker's loop, which must be quick. */
static void on_other(struct kit *k, struct other *other, void (*fn)(struct order *), void *arg)
{
    struct order o = {.post.run = order_run, .fn = fn, .arg = arg};
    loop_post(other->loop, &o.post);
    KIT_UNTIL(k, atomic_load(&o.done));
}

/* A request of the other worker. */
struct remote {
    struct link_wait wait;
    struct pool_worker *worker;
    struct endpoint *e;
    struct link *link;
    enum fault fault;
    _Atomic bool done;
};

static void remote_ready(struct link_wait *w, struct link *l, enum fault fault)
{
    struct remote *r = (struct remote *) w;
    r->link = l;
    r->fault = fault;
    atomic_store(&r->done, true);
}

static void remote_ask(struct order *o)
{
    struct remote *r = o->arg;
    r->wait.ready = remote_ready;
    if (pool_acquire(r->worker, r->e, &r->wait, &r->link, &r->fault) != ACQUIRE_PENDING)
        atomic_store(&r->done, true);
}

static void remote_release(struct order *o)
{
    struct remote *r = o->arg;
    pool_release(r->link);
}

static void remote_evict(struct order *o)
{
    struct remote *r = o->arg;
    pool_evict(r->link, EVICT_ERROR, false);
}

static void remote_cancel(struct order *o)
{
    struct remote *r = o->arg;
    pool_cancel(&r->wait);
}

static void remote_stop(struct order *o)
{
    pool_worker_stop(o->arg);
}

static void other_end(struct kit *k, struct other *o)
{
    on_other(k, o, remote_stop, &o->worker);
    loop_stop(o->loop);
    pthread_join(o->thread, NULL);
    loop_free(o->loop);
    mem_account_fini(&o->account);
}

/* ---- stories ------------------------------------------------------------------------------- */

/* At the limit, with the one link idle at the other worker: it comes over and works. */
static void an_idle_link_moves(void **state)
{
    (void) state;
    struct kit k;
    struct other other;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 2);
    other_start(&other, &k);
    struct remote r = {.worker = &other.worker, .e = k.e};
    on_other(&k, &other, remote_ask, &r);
    KIT_UNTIL(&k, atomic_load(&r.done));
    assert_int_equal(r.fault, FAULT_OK);
    int server = kit_accept(&k);
    on_other(&k, &other, remote_release, &r);
    struct link *l = kit_link(&k);
    assert_false(l->fresh);
    assert_int_equal(atomic_load(&k.e->open), 1);
    assert_int_equal(counter_get(&k.e->stats[1].open_now), 0);
    assert_int_equal(counter_get(&k.e->stats[0].open_now), 1);
    kit_answer(&k, l, server, "hello");
    pool_release(l);
    atomic_store(&r.done, false); /* and back */
    on_other(&k, &other, remote_ask, &r);
    KIT_UNTIL(&k, atomic_load(&r.done));
    assert_int_equal(r.fault, FAULT_OK);
    assert_int_equal(counter_get(&k.e->stats[0].opens) + counter_get(&k.e->stats[1].opens), 1);
    on_other(&k, &other, remote_evict, &r);
    other_end(&k, &other);
    close(server);
    kit_close(&k);
}

/* Turns, first come first served, whatever worker they come from. */
static void one_fifo_over_workers(void **state)
{
    (void) state;
    for (int closes = 0; closes < 2; closes++) {
        struct kit k;
        struct other other;
        kit_open(&k);
        k.conf.pool.max_connections = 1;
        kit_start(&k, 2);
        other_start(&other, &k);
        struct link *l = kit_link(&k);
        struct remote first = {.worker = &other.worker, .e = k.e}, third = first;
        struct ask second = {0};
        on_other(&k, &other, remote_ask, &first);
        assert_int_equal(kit_ask(&k, &second), ACQUIRE_PENDING);
        on_other(&k, &other, remote_ask, &third);
        if (closes)
            pool_evict(l, EVICT_ERROR, false);
        else
            pool_release(l);
        KIT_UNTIL(&k, atomic_load(&first.done));
        assert_false(second.done || atomic_load(&third.done));
        on_other(&k, &other, closes ? remote_evict : remote_release, &first);
        KIT_UNTIL(&k, second.done);
        assert_false(atomic_load(&third.done));
        if (closes)
            pool_evict(second.link, EVICT_ERROR, false);
        else
            pool_release(second.link);
        KIT_UNTIL(&k, atomic_load(&third.done));
        assert_int_equal(third.fault, FAULT_OK);
        on_other(&k, &other, remote_release, &third);
        uint64_t opens = counter_get(&k.e->stats[0].opens) + counter_get(&k.e->stats[1].opens);
        assert_int_equal(opens, closes ? 4 : 1);
        other_end(&k, &other);
        kit_close(&k);
    }
}

/* A link on its way to a worker whose waiter has gone goes to the next one. */
static void granted_but_cancelled(void **state)
{
    (void) state;
    struct kit k;
    struct other other;
    kit_open(&k);
    k.conf.pool.max_connections = 1;
    kit_start(&k, 2);
    other_start(&other, &k);
    for (int i = 0; i < 50; i++) {
        struct link *l = kit_link(&k);
        struct remote gone = {.worker = &other.worker, .e = k.e};
        struct order cancel = {.post.run = order_run, .fn = remote_cancel, .arg = &gone};
        struct ask next = {0};
        on_other(&k, &other, remote_ask, &gone);
        assert_int_equal(kit_ask(&k, &next), ACQUIRE_PENDING);
        loop_post(other.loop, &cancel.post); /* races with the hand-over */
        pool_release(l);
        KIT_UNTIL(&k, atomic_load(&cancel.done));
        if (atomic_load(&gone.done))
            on_other(&k, &other, remote_release, &gone);
        KIT_UNTIL(&k, next.done);
        assert_int_equal(next.fault, FAULT_OK);
        pool_release(next.link);
    }
    other_end(&k, &other);
    kit_close(&k);
}

/* A worker that ends lets go of its place in the FIFO and of its links. */
static void a_worker_ends(void **state)
{
    (void) state;
    struct kit k;
    struct other other;
    kit_open(&k);
    k.conf.pool.max_connections = 2;
    kit_start(&k, 2);
    other_start(&other, &k);
    struct link *l = kit_link(&k);
    struct remote holds = {.worker = &other.worker, .e = k.e}, waits = holds;
    struct ask mine = {0};
    on_other(&k, &other, remote_ask, &holds);
    KIT_UNTIL(&k, atomic_load(&holds.done));
    on_other(&k, &other, remote_ask, &waits);
    assert_int_equal(kit_ask(&k, &mine), ACQUIRE_PENDING);
    other_end(&k, &other);
    assert_int_equal(waits.fault, FAULT_SHUTDOWN);
    KIT_UNTIL(&k, mine.done);
    assert_int_equal(mine.fault, FAULT_OK);
    assert_int_equal(atomic_load(&k.e->open), 2);
    pool_release(mine.link);
    pool_release(l);
    kit_close(&k);
}

/* ---- load ---------------------------------------------------------------------------------- */

#define WORKERS 4u
#define SLOTS 6u    /* requests at a time a worker */
#define ROUNDS 400u /* requests a worker */
#define LIMIT 3

struct load;

struct slot {
    struct link_wait wait;
    struct load *load;
    struct link *link;
    unsigned hold; /* turns left to hold the link */
};

struct load {
    struct upstream_registry *registry;
    struct endpoint *e;
    uint32_t index;
    struct mem_limit limit;
    struct mem_account account;
    struct pool_worker worker;
    struct loop *loop;
    struct slot slots[SLOTS];
    unsigned served, cancelled, faults;
    uint64_t seed;
    pthread_t thread;
    _Atomic int *lent; /* over all workers */
    _Atomic unsigned *finished;
};

static unsigned dice(struct load *l, unsigned n)
{
    l->seed = l->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (l->seed >> 33) % n;
}

static void slot_got(struct slot *s, struct link *link)
{
    int before = atomic_fetch_add(s->load->lent, 1);
    must(before < LIMIT);
    s->link = link;
    s->hold = dice(s->load, 3);
}

static void slot_ready(struct link_wait *w, struct link *link, enum fault fault)
{
    struct slot *s = (struct slot *) w;
    if (link)
        slot_got(s, link);
    else
        s->load->faults += fault != FAULT_OK;
}

/* One move of one slot: hold, give back, cancel, or ask. */
static void slot_move(struct slot *s)
{
    struct load *l = s->load;
    enum fault fault;
    struct link *link = s->link;
    if (link) {
        if (s->hold-- > 0)
            return;
        s->link = NULL;
        l->served++;
        atomic_fetch_sub(l->lent, 1);
        if (dice(l, 4) == 0)
            pool_evict(link, EVICT_ERROR, dice(l, 2));
        else
            pool_release(link);
    } else if (s->wait.pool) {
        if (dice(l, 40) == 0) {
            pool_cancel(&s->wait);
            l->cancelled++;
        }
    } else if (l->served < ROUNDS) {
        s->wait.ready = slot_ready;
        s->wait.want_fresh = dice(l, 10) == 0;
        s->wait.must_peek = dice(l, 2);
        if (pool_acquire(&l->worker, l->e, &s->wait, &link, &fault) == ACQUIRE_READY)
            slot_got(s, link);
    }
}

static void *load_main(void *arg)
{
    struct load *l = arg;
    int err;
    usec_t until = clock_now() + DEADLINE;
    l->account.limit = &l->limit;
    l->loop = loop_new(&err);
    pool_worker_init(&l->worker, l->registry, l->index, l->loop, &l->account);
    while (l->served < ROUNDS) {
        must(clock_now() < until);
        for (uint32_t i = 0; i < SLOTS; i++)
            slot_move(&l->slots[i]);
        loop_turn(l->loop, USEC_PER_MS);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        pool_cancel(&l->slots[i].wait);
        if (l->slots[i].link) {
            atomic_fetch_sub(l->lent, 1);
            pool_release(l->slots[i].link);
        }
    }
    /* Serve the others until they are done: idle links here may be asked for. */
    atomic_fetch_add(l->finished, 1);
    while (atomic_load(l->finished) < WORKERS) {
        must(clock_now() < until);
        loop_turn(l->loop, USEC_PER_MS);
    }
    pool_worker_fini(&l->worker);
    loop_free(l->loop);
    mem_account_fini(&l->account);
    return NULL;
}

/* Takes connections and closes those that the pools closed, until *stop. */
struct server {
    int listen_fd;
    _Atomic bool stop;
};

static void *server_main(void *arg)
{
    struct server *s = arg;
    struct pollfd p[64] = {{.fd = s->listen_fd, .events = POLLIN}};
    nfds_t n = 1;
    char byte;
    while (!atomic_load(&s->stop)) {
        poll(p, n, 10);
        int fd = n < 64 ? accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
        if (fd >= 0)
            p[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        for (nfds_t i = 1; i < n; i++) {
            if (!p[i].revents || recv(p[i].fd, &byte, 1, MSG_DONTWAIT) > 0)
                continue;
            close(p[i].fd);
            p[i--] = p[--n];
        }
    }
    while (n > 1)
        close(p[--n].fd);
    return NULL;
}

static void the_limit_holds_under_load(void **state)
{
    (void) state;
    static struct load load[WORKERS];
    struct kit k;
    struct server server = {0};
    pthread_t server_thread;
    _Atomic int lent = 0;
    _Atomic unsigned finished = 0;
    kit_open(&k);
    k.conf.pool.max_connections = LIMIT;
    k.conf.pool.max_idle = 2;
    k.registry = upstream_registry_new(WORKERS);
    k.up = upstream_new(k.registry, STR("origin"), &k.conf);
    struct endpoint *e = k.up->endpoints[0];
    server.listen_fd = k.listen_fd;
    pthread_create(&server_thread, NULL, server_main, &server);
    for (uint32_t i = 0; i < WORKERS; i++) {
        load[i] = (struct load){.registry = k.registry, .e = e, .index = i, .seed = i + 1};
        load[i].lent = &lent;
        load[i].finished = &finished;
        for (uint32_t j = 0; j < SLOTS; j++)
            load[i].slots[j].load = &load[i];
        pthread_create(&load[i].thread, NULL, load_main, &load[i]);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(load[i].thread, NULL);
        assert_int_equal(load[i].faults, 0);
    }
    atomic_store(&server.stop, true);
    pthread_join(server_thread, NULL);
    assert_int_equal(atomic_load(&lent), 0);
    assert_int_equal(atomic_load(&e->open), 0);
    assert_int_equal(atomic_load(&e->waiting), 0);
    assert_int_equal(atomic_load(&e->idle), 0);
    assert_int_equal(atomic_load(&e->refs), 1);
    upstream_unref(k.up);
    upstream_registry_free(k.registry);
    close(k.listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_link_moves),         cmocka_unit_test(one_fifo_over_workers),
        cmocka_unit_test(granted_but_cancelled),      cmocka_unit_test(a_worker_ends),
        cmocka_unit_test(the_limit_holds_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
