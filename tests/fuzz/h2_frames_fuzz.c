/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 frames through a whole worker: a client's bytes come in by a socket pair, as raw bytes or
 * (first byte odd) as a list of short records that become frames of the right length. Properties:
 * what comes back are whole frames within the sizes agreed; every stream and the connection end;
 * nothing is left held. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/panic.h"
#include "control/snapshot.h"
#include "proxy/driver.h"
#include "proxy/h2_session.h"
#include "proxy/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);

#define ADDRESS "127.0.0.1:1"
#define BIG 100000u
#define FRAME_MAX 16384u
#define SENT_MAX (512u * 1024)

static struct {
    struct loop *loop;
    struct worker *worker;
    struct listener *listener;
    char big[BIG];
    uint8_t sent[SENT_MAX];
    uint8_t got[9 + FRAME_MAX];
} it;

/* Answers by itself: small, large, or by a fault. */
static enum hook handler(struct exchange *x, void *arg)
{
    (void) arg;
    if (str_eq(x->in->path, STR("/big"))) {
        must(reply_text(x, 200, STR("a/b"), str_of(it.big, BIG)));
        return HOOK_REPLY;
    }
    if (str_eq(x->in->path, STR("/fail")))
        return HOOK_FAIL;
    return reply_text(x, 200, STR("a/b"), x->in->path) ? HOOK_REPLY : HOOK_FAIL;
}

static struct snapshot *make_snapshot(struct upstream_registry *registry)
{
    static const struct feature_set no_features;
    struct proxy_conf conf;
    struct listener_conf listener;
    struct route_conf route;
    schema_defaults(&proxy_schema, &conf);
    schema_defaults(&listener_schema, &listener);
    schema_defaults(&route_schema, &route);
    listener.address = STR(ADDRESS);
    listener.h2c = true;
    route.name = route.match.path = STR("/*");
    route.handler = handler;
    conf.listeners = (struct schema_list){&listener, 1};
    conf.routes = (struct schema_list){&route, 1};
    struct snapshot_inputs in = {.registry = registry, .features = &no_features, .n_workers = 1};
    char *errors = NULL;
    struct snapshot *s = snapshot_build(&conf, &in, &errors);
    must(s);
    return s;
}

static void begin(void)
{
    static struct mem_limit limit;
    static const struct feature_set no_features;
    int error, fds[2];
    it.loop = loop_new(&error);
    must(it.loop && pipe(fds) == 0);
    struct upstream_registry *registry = upstream_registry_new(2);
    struct worker_shared shared = {.limit = &limit,
                                   .registry = registry,
                                   .features = &no_features,
                                   .gauges = listener_gauges_new()};
    it.worker = worker_new(it.loop, 0, &shared, stats_new(NULL));
    it.listener = listener_open(it.worker, fds[0], STR(ADDRESS));
    must(it.listener);
    worker_set_snapshot(it.worker, make_snapshot(registry));
    loop_turn(it.loop, 0);
    must(it.worker->snapshot && it.listener->now);
}

static size_t put(size_t at, const void *bytes, size_t n)
{
    if (n == 0 || n > SENT_MAX - at)
        return at;
    memcpy(it.sent + at, bytes, n);
    return at + n;
}

static size_t put_frame(size_t at, const uint8_t front[4], const uint8_t *payload, size_t n)
{
    uint8_t head[9] = {0, (uint8_t) (n >> 8), (uint8_t) n, front[0], front[1]};
    head[8] = front[2];
    at = put(at, head, sizeof(head));
    return put(at, payload, n);
}

/* What the client sends: the preface and SETTINGS, then the input. */
static size_t compose(const uint8_t *input, size_t n)
{
    static const uint8_t settings[4] = {4, 0, 0, 0};
    size_t at = put(0, H2_PREFACE, sizeof(H2_PREFACE) - 1);
    at = put_frame(at, settings, NULL, 0);
    if (n == 0 || input[0] % 2 == 0)
        return put(at, input + (n > 0), n - (n > 0));
    for (size_t i = 1; i + 4 <= n;) {
        size_t length = input[i + 3] < n - i - 4 ? input[i + 3] : n - i - 4;
        unsigned times = input[i + 1] == 0xff ? 300 : 1; /* floods from few bytes */
        for (unsigned k = 0; k < times; k++)
            at = put_frame(at, input + i, input + i + 4, length);
        i += 4 + length;
    }
    return at;
}

/* Reads frames as far as they have come. held: bytes of one that is not whole yet. */
static void read_frames(int fd, size_t *held)
{
    for (;;) {
        size_t want = 9;
        if (*held >= 9) {
            want += (size_t) it.got[0] << 16 | (size_t) it.got[1] << 8 | it.got[2];
            must(want <= sizeof(it.got));
        }
        if (*held == want) {
            *held = 0;
            continue;
        }
        ssize_t k = read(fd, it.got + *held, want - *held);
        if (k <= 0)
            return;
        *held += (size_t) k;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    int fds[2];
    size_t held = 0, at = 0;
    if (!it.loop)
        begin();
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    struct addr peer = {.ss.ss_family = AF_UNIX, .len = sizeof(sa_family_t)};
    must(session_open(it.listener, fds[0], &peer));
    size_t all = compose(input, n);
    for (int idle = 0; idle < 3;) {
        ssize_t k = at < all ? write(fds[1], it.sent + at, all - at) : 0;
        at += k > 0 ? (size_t) k : 0;
        loop_turn(it.loop, 0);
        read_frames(fds[1], &held);
        idle = k > 0 ? 0 : idle + 1;
    }
    close(fds[1]);
    for (int i = 0; i < 1000 && !list_empty(&it.worker->session_list); i++)
        loop_turn(it.loop, 0);
    must(list_empty(&it.worker->session_list) && list_empty(&it.worker->exchange_list));
    must(it.worker->h2_sessions.n_used == 0 && it.worker->buffers.blocks.n_used == 0);
    must(it.worker->buffers.slices.n_used == 0);
    return 0;
}
