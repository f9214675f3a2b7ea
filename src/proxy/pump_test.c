/* SPDX-License-Identifier: Apache-2.0 */
/* The pump between two made-up legs: an origin that always has more, and a client behind a long
 * round trip. Nothing but the pump's own bytes is under way: the kernel's buffers, which would only
 * help, are left out. So what arrives in a round trip is what the strategy held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/driver.h"
#include "proxy/exchange_kit.h"

#define KIB ((size_t) 1024)
#define ROUND_TRIP (50 * USEC_PER_MS)

struct bench {
    struct exchange_kit k;
    struct leg origin, client;
    struct pump pump;
    struct chain queue; /* at the client's leg */
    size_t most;        /* that it ever held */
    bool ended;         /* the client's leg was given the end */
};

static struct bench *bench_of(struct leg *l)
{
    return (struct bench *) (void *) list_entry(l->x, struct exchange_kit, x);
}

static enum io endless(struct leg *l, struct chain *into, size_t max)
{
    struct buf_pool *bp = &bench_of(l)->k.worker.buffers;
    struct block *b = block_new(bp);
    must(b && max > 0);
    b->fill = (uint32_t) (max < block_room(b) ? max : block_room(b));
    must(chain_add(into, bp, b, b->bytes, b->fill));
    block_unref(b);
    return IO_OK;
}

static size_t queued(const struct leg *l)
{
    return bench_of((struct leg *) (uintptr_t) l)->queue.bytes;
}

static enum fault take(struct leg *l, struct chain *from)
{
    struct bench *b = bench_of(l);
    chain_move(&b->queue, from, from->bytes, &b->k.worker.buffers);
    if (b->queue.bytes > b->most)
        b->most = b->queue.bytes;
    return FAULT_OK;
}

static const struct leg_ops origin_ops = {.name = "origin", .read_block = endless};
static const struct leg_ops client_ops = {.name = "client", .write_block = take, .queued = queued};

static void bench_open(struct bench *b, struct buffer_conf buffer)
{
    *b = (struct bench){.most = 0};
    exchange_kit_open(&b->k);
    b->k.settings.buffer = buffer;
    b->k.x.magic = EXCHANGE_MAGIC;
    b->origin = (struct leg){.ops = &origin_ops, .x = &b->k.x};
    b->client = (struct leg){.ops = &client_ops, .x = &b->k.x};
    pump_start(&b->pump, &b->k.x, DIR_RESPONSE, &b->origin, &b->client);
}

static void bench_close(struct bench *b)
{
    pump_stop(&b->pump, &b->k.x);
    chain_clear(&b->queue, &b->k.worker.buffers);
    loop_unqueue(&b->k.x.task);
    exchange_kit_close(&b->k);
}

/* Fills what may be filled, as often as the loop would run the exchange. */
static void fill(struct bench *b)
{
    do {
        loop_unqueue(&b->k.x.task);
        assert_int_equal(pump_run(&b->pump, &b->k.x), PUMP_WAIT);
    } while (!b->client.want_drain);
}

/* One round trip: what was queued has arrived. Bytes that did. */
static size_t round_trip(struct bench *b)
{
    size_t n = b->queue.bytes;
    chain_clear(&b->queue, &b->k.worker.buffers);
    fill(b);
    return n;
}

/* Bytes that arrive in so long. */
static size_t arrived(struct bench *b, usec_t span)
{
    size_t n = 0;
    for (usec_t t = 0; t < span; t += ROUND_TRIP)
        n += round_trip(b);
    return n;
}

static void adaptive_reaches_fixed_at_50_ms(void **state)
{
    (void) state;
    struct bench adaptive, fixed;
    bench_open(&adaptive, (struct buffer_conf){BUFFER_ADAPTIVE, 1024 * KIB});
    bench_open(&fixed, (struct buffer_conf){BUFFER_FIXED, 1024 * KIB});
    /* The first second, with its growth from 16 KiB, may be slower; then not. */
    arrived(&adaptive, USEC_PER_SEC);
    arrived(&fixed, USEC_PER_SEC);
    size_t least = arrived(&fixed, USEC_PER_SEC) / 10 * 9;
    assert_true(least >= 9 * 2 * 1024 * KIB);
    for (int second = 0; second < 10; second++)
        assert_true(arrived(&adaptive, USEC_PER_SEC) >= least);
    bench_close(&adaptive);
    bench_close(&fixed);
}

/* A whole transfer of 64 MiB, the growth counted in. */
static void growth_costs_little(void **state)
{
    (void) state;
    struct bench b;
    size_t n = 0, rounds = 0;
    bench_open(&b, (struct buffer_conf){BUFFER_ADAPTIVE, 1024 * KIB});
    for (; n < 64 * 1024 * KIB; rounds++)
        n += round_trip(&b);
    assert_in_range(rounds, 64, 71); /* fixed takes 65: the first brings nothing */
    bench_close(&b);
}

static void nothing_passes_the_mark(void **state)
{
    (void) state;
    static const struct {
        struct buffer_conf conf;
        size_t mark;
    } rows[] = {{{BUFFER_NONE, 64 * KIB}, 1},
                {{BUFFER_FIXED, 64 * KIB}, 64 * KIB},
                {{BUFFER_FIXED, 1024 * KIB}, 1024 * KIB},
                {{BUFFER_ADAPTIVE, 1024 * KIB}, 1024 * KIB}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b;
        bench_open(&b, rows[i].conf);
        arrived(&b, 2 * USEC_PER_SEC);
        for (int j = 0; j < 100; j++)
            fill(&b); /* woken in vain, it takes no more */
        assert_true(b.most < rows[i].mark + BLOCK_BYTES);
        bench_close(&b);
    }
}

/* Half a window drained is asked for, not the whole: the pipe must not run dry. */
static void wakes_at_half(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, (struct buffer_conf){BUFFER_FIXED, 256 * KIB});
    fill(&b);
    assert_true(b.client.want_drain);
    assert_int_equal(b.client.low, 128 * KIB);
    bench_close(&b);
}

static enum io over(struct leg *l, struct chain *into, size_t max)
{
    (void) l, (void) into, (void) max;
    return IO_EOF;
}

static enum fault take_end(struct leg *l, const struct fields *trailers)
{
    (void) trailers;
    bench_of(l)->ended = true;
    return FAULT_OK;
}

static enum hook refuse(struct exchange *x, void *slot, enum direction dir, struct fields *t)
{
    (void) x, (void) slot, (void) dir, (void) t;
    return HOOK_FAIL;
}

/* A message whose trailers a hook could not take does not end as if it were whole. */
static void a_failed_trailer_hook_ends_nothing(void **state)
{
    (void) state;
    static const struct leg_ops ended = {.name = "origin", .read_block = over};
    static const struct leg_ops sink = {
        .name = "client", .write_block = take, .write_end = take_end, .queued = queued};
    static const struct feature refusing = {.name = "refusing", .on_trailers = refuse};
    for (uint32_t hooks = 0; hooks < 2; hooks++) {
        struct bench b;
        struct fields trailers;
        bench_open(&b, (struct buffer_conf){BUFFER_FIXED, 256 * KIB});
        fields_init(&trailers, &b.k.x.arena);
        b.origin.ops = &ended;
        b.origin.trailers = &trailers;
        b.client.ops = &sink;
        b.k.hooks[ON_TRAILERS] = (struct hook_list){.n = hooks, .v = {{&refusing, 0}}};
        assert_int_equal(pump_run(&b.pump, &b.k.x), hooks ? PUMP_HOOK : PUMP_DONE);
        assert_int_equal(b.ended, !hooks);
        assert_int_equal(b.k.x.response_done, !hooks);
        assert_int_equal(b.k.x.pending, hooks ? FAULT_HOOK : FAULT_OK);
        bench_close(&b);
    }
}

static struct conn *never(struct leg *l)
{
    (void) l;
    return NULL;
}

static struct conn *raw_bytes(struct leg *l, uint64_t *raw)
{
    static struct conn conn = {.watch.fd = -1, .ops = &conn_plain, .may_read = true};
    (void) l;
    *raw = UINT64_MAX;
    return &conn;
}

/* What a tunnel has queued leaves before a pipe is filled: both together could pass the mark. */
static void a_tunnel_splices_behind_nothing(void **state)
{
    (void) state;
    static const struct leg_ops from = {
        .name = "origin", .read_block = endless, .splice_source = raw_bytes};
    static const struct leg_ops to = {
        .name = "client", .write_block = take, .queued = queued, .splice_sink = never};
    struct bench b;
    bench_open(&b, (struct buffer_conf){BUFFER_FIXED, 1024 * KIB});
    b.k.worker.pipes.account = &b.k.worker.account;
    b.origin.ops = &from;
    b.client.ops = &to;
    b.k.x.step = STEP_TUNNEL;
    pump_start(&b.pump, &b.k.x, DIR_RESPONSE, &b.origin, &b.client);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pump_run(&b.pump, &b.k.x), PUMP_WAIT);
        assert_true(b.client.want_drain && b.queue.bytes == BLOCK_BYTES);
        assert_null(b.pump.pipe);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adaptive_reaches_fixed_at_50_ms),
        cmocka_unit_test(growth_costs_little),
        cmocka_unit_test(nothing_passes_the_mark),
        cmocka_unit_test(wakes_at_half),
        cmocka_unit_test(a_tunnel_splices_behind_nothing),
        cmocka_unit_test(a_failed_trailer_hook_ends_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
