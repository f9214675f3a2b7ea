/* SPDX-License-Identifier: Apache-2.0 */
/* Turns at max_active: exact counts, one FIFO, what is held goes on to who may use it; then several
 * workers on threads of their own. Meant for TSan too. */
#include "upstream/turn.h"

#include "upstream/kit.h"

#define ENDPOINTS 3

/* An upstream of three endpoints with limits; one worker, which runs on the test's thread. */
struct rig {
    struct kit k;
    struct endpoint_conf e[ENDPOINTS];
    char text[ENDPOINTS][32];
};

/* A request, as an attempt is one. */
struct req {
    struct turn turn;
    unsigned woken;
};

static void req_ready(struct turn *t)
{
    ((struct req *) t)->woken++;
}

static void rig_open(struct rig *r, uint32_t upstream, uint32_t endpoint, uint32_t pending,
                     unsigned n_workers)
{
    kit_open(&r->k);
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        schema_defaults(&endpoint_schema, &r->e[i]);
        snprintf(r->text[i], sizeof r->text[i], "127.0.0.1:%u", i + 1);
        r->e[i].address = str_c(r->text[i]);
        r->e[i].max_active = endpoint;
        r->e[i].max_pending = 1;
    }
    r->k.conf.endpoints = (struct schema_list){r->e, ENDPOINTS};
    r->k.conf.max_active = upstream;
    r->k.conf.max_pending = pending;
    kit_start(&r->k, n_workers);
}

static struct endpoint *at(struct rig *r, unsigned i)
{
    return r->k.up->endpoints[i];
}

static enum turn_answer rig_take(struct rig *r, struct req *q, unsigned i)
{
    q->turn.ready = req_ready;
    return turn_take(&q->turn, &r->k.worker, r->k.up, at(r, i));
}

static enum turn_queued rig_wait(struct rig *r, struct req *q, struct turn_want want)
{
    q->turn.ready = req_ready;
    return turn_wait(&q->turn, &r->k.worker, r->k.up, &want);
}

static void rig_leave(struct rig *r, struct req *q)
{
    turn_leave(&q->turn, &r->k.worker);
}

/* Nothing is counted and nobody waits. */
static void assert_quiet(struct rig *r)
{
    struct upstream_run *run = r->k.up->run;
    assert_int_equal(atomic_load(&run->turns), 0);
    assert_int_equal(atomic_load(&run->pending), 0);
    assert_int_equal(atomic_load(&run->pending_any), 0);
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        assert_int_equal(atomic_load(&at(r, i)->turns), 0);
        assert_int_equal(at(r, i)->pending, 0);
    }
}

static void limits_are_exact(void **state)
{
    struct rig r;
    struct req q[4] = {0};
    (void) state;
    rig_open(&r, 3, 2, 10, 1);
    assert_int_equal(rig_take(&r, &q[0], 0), TURN_TAKEN);
    assert_int_equal(rig_take(&r, &q[1], 0), TURN_TAKEN);
    assert_int_equal(rig_take(&r, &q[2], 0), TURN_ENDPOINT_FULL);
    assert_true(endpoint_full(at(&r, 0)));
    assert_int_equal(rig_take(&r, &q[2], 1), TURN_TAKEN);
    assert_int_equal(rig_take(&r, &q[3], 2), TURN_UPSTREAM_FULL);
    assert_int_equal(atomic_load(&at(&r, 2)->turns), 0); /* nothing of it was kept */
    rig_leave(&r, &q[0]);
    rig_leave(&r, &q[0]); /* harmless */
    assert_int_equal(rig_take(&r, &q[3], 2), TURN_TAKEN);
    for (unsigned i = 0; i < 4; i++)
        rig_leave(&r, &q[i]);
    assert_quiet(&r);
    kit_close(&r.k);
}

/* Without limits nothing is counted at all. */
static void no_limit_no_count(void **state)
{
    struct rig r;
    struct req q[2] = {0};
    (void) state;
    rig_open(&r, 0, 0, 10, 1);
    assert_false(r.k.up->limited);
    assert_int_equal(rig_take(&r, &q[0], 0), TURN_TAKEN);
    assert_int_equal(rig_take(&r, &q[1], 0), TURN_TAKEN);
    assert_quiet(&r);
    rig_leave(&r, &q[0]);
    rig_leave(&r, &q[1]);
    assert_quiet(&r);
    kit_close(&r.k);
}

static void first_come_first_served(void **state)
{
    struct rig r;
    struct req first = {0}, q[5] = {0};
    (void) state;
    rig_open(&r, 1, 0, 10, 1);
    assert_int_equal(rig_take(&r, &first, 0), TURN_TAKEN);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(rig_wait(&r, &q[i], (struct turn_want){.of_upstream = true}), TURN_QUEUED);
    rig_leave(&r, &q[1]); /* its client went away */
    for (unsigned i = 0; i < 5; i++) {
        if (i == 1)
            continue;
        assert_int_equal(q[i].woken, 0);
        rig_leave(&r, i == 0 ? &first : &q[i == 2 ? 0 : i - 1]);
        assert_int_equal(q[i].woken, 1);
        struct req late = {0};
        assert_int_equal(rig_take(&r, &late, 1), TURN_UPSTREAM_FULL);
        assert_int_equal(rig_take(&r, &q[i], 0), TURN_TAKEN);
        assert_int_equal(atomic_load(&r.k.up->run->turns), 1);
    }
    assert_int_equal(q[1].woken, 0);
    rig_leave(&r, &q[4]);
    assert_quiet(&r);
    kit_close(&r.k);
}

/* While somebody waits whom any endpoint would do, nobody who comes later takes what is free. */
static void nobody_overtakes(void **state)
{
    struct rig r;
    struct req first = {0}, waits = {0}, late = {0};
    (void) state;
    rig_open(&r, 1, 0, 10, 1);
    assert_int_equal(rig_take(&r, &first, 0), TURN_TAKEN);
    assert_int_equal(rig_wait(&r, &waits, (struct turn_want){.of_upstream = true}), TURN_QUEUED);
    rig_leave(&r, &first);
    assert_int_equal(waits.woken, 1); /* and has it already, though it did not look yet */
    assert_int_equal(rig_take(&r, &late, 0), TURN_UPSTREAM_FULL);
    rig_leave(&r, &waits); /* granted, and gone before it looked */
    assert_int_equal(rig_take(&r, &late, 0), TURN_TAKEN);
    rig_leave(&r, &late);
    assert_quiet(&r);
    kit_close(&r.k);
}

static void no_more_than_may_wait(void **state)
{
    struct rig r;
    struct req first = {0}, q[3] = {0};
    struct turn_want want = {.of_upstream = true};
    (void) state;
    rig_open(&r, 1, 0, 2, 1);
    assert_int_equal(rig_take(&r, &first, 0), TURN_TAKEN);
    assert_int_equal(rig_wait(&r, &q[0], want), TURN_QUEUED);
    assert_int_equal(rig_wait(&r, &q[1], want), TURN_QUEUED);
    assert_int_equal(rig_wait(&r, &q[2], want), TURN_REFUSED);
    assert_int_equal(counter_get(&r.k.up->run->workers[0].refused), 1);
    assert_int_equal(counter_get(&r.k.up->run->workers[0].waits), 2);
    rig_leave(&r, &q[0]);
    assert_int_equal(rig_wait(&r, &q[2], want), TURN_QUEUED);
    rig_leave(&r, &q[2]);
    rig_leave(&r, &q[1]);
    rig_leave(&r, &first);
    assert_quiet(&r);
    kit_close(&r.k);
}

/* An endpoint that comes free goes to the first who may use it: not to one that was there before,
 * and not to one that waits for another. A retry goes before those that had no turn. */
static void to_whom_it_helps(void **state)
{
    struct rig r;
    struct req busy[ENDPOINTS] = {0}, only = {0}, only2 = {0}, tried = {0}, any = {0};
    (void) state;
    rig_open(&r, 0, 1, 10, 1);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        assert_int_equal(rig_take(&r, &busy[i], i), TURN_TAKEN);
    struct endpoint *was[] = {at(&r, 0)};
    struct turn_want bound = {.only = at(&r, 1)};
    assert_int_equal(rig_wait(&r, &any, (struct turn_want){0}), TURN_QUEUED);
    assert_int_equal(rig_wait(&r, &only, bound), TURN_QUEUED);
    assert_ptr_equal(turn_waits_for(&only.turn), at(&r, 1));
    assert_int_equal(rig_wait(&r, &only2, bound), TURN_NOT_THERE); /* max_pending of it is 1 */
    assert_int_equal(
        rig_wait(&r, &tried, (struct turn_want){.tried = was, .n_tried = 1, .again = true}),
        TURN_QUEUED);
    rig_leave(&r, &busy[0]);
    assert_int_equal(any.woken, 1); /* the retry was first, but it was at that endpoint */
    rig_leave(&r, &busy[1]);
    assert_int_equal(tried.woken, 1);
    assert_int_equal(only.woken, 0);
    rig_leave(&r, &tried);
    assert_int_equal(only.woken, 1);
    assert_ptr_equal(only.turn.endpoint, at(&r, 1));
    rig_leave(&r, &only);
    rig_leave(&r, &any);
    rig_leave(&r, &busy[2]);
    assert_quiet(&r);
    kit_close(&r.k);
}

/* Who is offered one endpoint and takes another gives the first one on. */
static void an_offer_that_is_not_wanted(void **state)
{
    struct rig r;
    struct req busy[ENDPOINTS] = {0}, a = {0}, b = {0};
    (void) state;
    rig_open(&r, 0, 1, 10, 1);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        assert_int_equal(rig_take(&r, &busy[i], i), TURN_TAKEN);
    assert_int_equal(rig_wait(&r, &a, (struct turn_want){0}), TURN_QUEUED);
    rig_leave(&r, &busy[0]);
    assert_int_equal(a.woken, 1);
    assert_int_equal(rig_wait(&r, &b, (struct turn_want){0}), TURN_QUEUED);
    atomic_fetch_sub(&at(&r, 1)->turns, 1); /* as if room had come unseen */
    busy[1].turn.of_endpoint = false;
    assert_int_equal(rig_take(&r, &a, 1), TURN_TAKEN);
    assert_int_equal(b.woken, 1);
    assert_ptr_equal(b.turn.endpoint, at(&r, 0));
    rig_leave(&r, &a);
    rig_leave(&r, &b);
    rig_leave(&r, &busy[2]);
    assert_quiet(&r);
    kit_close(&r.k);
}

/* The one endpoint that it waits for is down: any will do. A limit that was raised is told to who
 * waits, and seen by who looks around. */
static void looking_around(void **state)
{
    struct rig r;
    struct req busy[ENDPOINTS] = {0}, q = {0};
    (void) state;
    rig_open(&r, 0, 1, 10, 1);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        assert_int_equal(rig_take(&r, &busy[i], i), TURN_TAKEN);
    assert_int_equal(rig_wait(&r, &q, (struct turn_want){.only = at(&r, 2)}), TURN_QUEUED);
    turn_look(r.k.up, &r.k.worker, at(&r, 0));
    assert_int_equal(q.woken, 0);
    turn_want_any(&q.turn);
    assert_int_equal(at(&r, 2)->pending, 0);
    turn_look(r.k.up, &r.k.worker, at(&r, 0));
    assert_int_equal(q.woken, 0); /* it is full */
    r.e[0].max_active = 2;
    struct upstream *old = upstream_ref(r.k.up);
    kit_reload(&r.k);
    KIT_UNTIL(&r.k, q.woken == 1); /* told to look around, at once */
    assert_non_null(q.turn.ticket);
    assert_int_equal(q.turn.looked, 0);
    turn_look(old, &r.k.worker, at(&r, 0));
    assert_int_equal(q.woken, 2);
    assert_null(q.turn.ticket);
    endpoint_set_up(at(&r, 1), false, "test"); /* who does not wait is not told */
    loop_turn(r.k.loop, 0);
    assert_int_equal(q.woken, 2);
    rig_leave(&r, &q);
    for (unsigned i = 0; i < ENDPOINTS; i++)
        rig_leave(&r, &busy[i]);
    assert_quiet(&r);
    upstream_unref(old);
    kit_close(&r.k);
}

/* A limit that is set while more than that are in progress: they count, and only when enough of
 * them have left another one passes. */
static void a_limit_that_is_set_later(void **state)
{
    struct rig r;
    struct req early[3] = {0}, q = {0};
    (void) state;
    rig_open(&r, 0, 0, 10, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rig_take(&r, &early[i], i % 2), TURN_TAKEN);
    struct upstream *old = upstream_ref(r.k.up);
    r.k.conf.max_active = 2;
    r.e[0].max_active = 1;
    kit_reload(&r.k);
    for (unsigned i = 0; i < 3; i++) {
        turn_adopt(&early[i].turn, old, at(&r, i % 2));
        turn_adopt(&early[i].turn, old, at(&r, i % 2)); /* as the next reload does */
    }
    assert_int_equal(atomic_load(&r.k.up->run->turns), 3);
    assert_int_equal(atomic_load(&at(&r, 0)->turns), 2);
    assert_int_equal(atomic_load(&at(&r, 1)->turns), 0);
    assert_int_equal(rig_wait(&r, &q, (struct turn_want){.of_upstream = true}), TURN_QUEUED);
    rig_leave(&r, &early[1]);
    assert_int_equal(q.woken, 0); /* two are left, which is the limit */
    rig_leave(&r, &early[0]);
    turn_look(r.k.up, &r.k.worker, at(&r, 2)); /* endpoint 0 has one, and may have no more */
    assert_int_equal(q.woken, 1);
    rig_leave(&r, &q);
    rig_leave(&r, &early[2]);
    assert_quiet(&r);
    upstream_unref(old);
    kit_close(&r.k);
}

/* ---- workers on threads -------------------------------------------------------------------- */

#define WORKERS 3
#define REQUESTS 8 /* at a time on each */
#define ROUNDS 3000
#define MOST 4
#define MOST_EACH 2

/* What all threads see. */
struct arena_all {
    struct rig rig;
    _Atomic uint32_t now, most, each[ENDPOINTS], most_each, served, gave_up, idle;
};

struct job {
    struct turn turn; /* first */
    struct crew *crew;
    bool busy, woken;
    unsigned endpoint;
};

struct crew {
    struct arena_all *all;
    struct pool_worker *worker, own;
    struct loop *loop;
    struct mem_account account;
    struct job jobs[REQUESTS];
    pthread_t thread;
    uint32_t index, left, random;
};

static uint32_t dice(struct crew *c, uint32_t n)
{
    c->random = c->random * 1664525u + 1013904223u;
    return (c->random >> 16) % n;
}

static void job_ready(struct turn *t)
{
    ((struct job *) t)->woken = true;
}

static void raise_most(_Atomic uint32_t *most, uint32_t now)
{
    uint32_t was = atomic_load(most);
    while (now > was && !atomic_compare_exchange_weak(most, &was, now)) {
    }
}

static void job_taken(struct job *j, unsigned i)
{
    struct arena_all *all = j->crew->all;
    j->busy = true;
    j->endpoint = i;
    raise_most(&all->most, atomic_fetch_add(&all->now, 1) + 1);
    raise_most(&all->most_each, atomic_fetch_add(&all->each[i], 1) + 1);
}

static void job_leave(struct job *j)
{
    struct arena_all *all = j->crew->all;
    if (j->busy) {
        atomic_fetch_sub(&all->each[j->endpoint], 1);
        atomic_fetch_sub(&all->now, 1);
        atomic_fetch_add(&all->served, 1);
    } else {
        atomic_fetch_add(&all->gave_up, 1);
    }
    j->busy = false;
    j->woken = false;
    turn_leave(&j->turn, j->crew->worker);
    j->turn = (struct turn){.ready = job_ready};
}

/* Tries all endpoints from a random one on, then waits. */
static void job_ask(struct job *j)
{
    struct crew *c = j->crew;
    struct upstream *u = c->all->rig.k.up;
    unsigned from = dice(c, ENDPOINTS);
    struct turn_want want = {0};
    j->woken = false;
    for (unsigned k = 0; k < ENDPOINTS && !want.of_upstream; k++) {
        unsigned i = (from + k) % ENDPOINTS;
        switch (turn_take(&j->turn, c->worker, u, u->endpoints[i])) {
        case TURN_TAKEN:
            job_taken(j, i);
            return;
        case TURN_UPSTREAM_FULL:
            want.of_upstream = true;
            break;
        case TURN_ENDPOINT_FULL:
            break;
        }
    }
    if (turn_wait(&j->turn, c->worker, u, &want) != TURN_QUEUED)
        return;
    for (unsigned k = 0; k < ENDPOINTS && !j->woken; k++)
        turn_look(u, c->worker, u->endpoints[k]);
}

/* One thing happens to one request. */
static void crew_step(struct crew *c)
{
    struct job *j = &c->jobs[dice(c, REQUESTS)];
    if (j->woken)
        job_ask(j);
    else if (j->busy || (j->turn.ticket && dice(c, 50) == 0))
        job_leave(j);
    else if (!j->turn.ticket && c->left > 0) {
        c->left--;
        job_ask(j);
    }
}

static bool crew_resting(const struct crew *c)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (c->jobs[i].busy || c->jobs[i].woken || c->jobs[i].turn.ticket)
            return false;
    }
    return c->left == 0;
}

static void crew_work(struct crew *c)
{
    usec_t until = clock_now() + 3 * KIT_DEADLINE;
    for (unsigned i = 0; i < REQUESTS; i++)
        c->jobs[i] = (struct job){.crew = c, .turn.ready = job_ready};
    bool rests = false;
    while (atomic_load(&c->all->idle) < WORKERS && clock_now() < until) {
        for (unsigned k = 0; k < 16; k++)
            crew_step(c);
        loop_turn(c->loop, rests ? USEC_PER_MS : 0);
        if (!rests && crew_resting(c))
            rests = atomic_fetch_add(&c->all->idle, 1) + 1 > 0;
    }
}

static void *crew_main(void *arg)
{
    struct crew *c = arg;
    int err;
    c->loop = loop_new(&err);
    c->worker = &c->own;
    c->account.limit = &c->all->rig.k.limit;
    pool_worker_init(c->worker, c->all->rig.k.registry, c->index, c->loop, &c->account);
    crew_work(c);
    pool_worker_fini(c->worker);
    loop_free(c->loop);
    mem_account_fini(&c->account);
    return NULL;
}

static void never_more_over_workers(void **state)
{
    static struct arena_all all;
    struct crew crews[WORKERS] = {0};
    (void) state;
    rig_open(&all.rig, MOST, MOST_EACH, 1000, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        crews[i].all = &all;
        crews[i].index = i;
        crews[i].random = i + 1;
        crews[i].left = ROUNDS;
        if (i > 0)
            assert_int_equal(pthread_create(&crews[i].thread, NULL, crew_main, &crews[i]), 0);
    }
    crews[0].worker = &all.rig.k.worker;
    crews[0].loop = all.rig.k.loop;
    crew_work(&crews[0]);
    for (uint32_t i = 1; i < WORKERS; i++)
        pthread_join(crews[i].thread, NULL);
    assert_int_equal(atomic_load(&all.idle), WORKERS); /* nobody waits for ever */
    assert_int_equal(atomic_load(&all.most), MOST);
    assert_int_equal(atomic_load(&all.most_each), MOST_EACH);
    assert_true(atomic_load(&all.served) > 0);
    assert_int_equal(atomic_load(&all.served) + atomic_load(&all.gave_up), WORKERS * ROUNDS);
    assert_quiet(&all.rig);
    kit_close(&all.rig.k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(no_limit_no_count),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(nobody_overtakes),
        cmocka_unit_test(no_more_than_may_wait),
        cmocka_unit_test(to_whom_it_helps),
        cmocka_unit_test(an_offer_that_is_not_wanted),
        cmocka_unit_test(looking_around),
        cmocka_unit_test(a_limit_that_is_set_later),
        cmocka_unit_test(never_more_over_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
