/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 frames of an endpoint through a whole worker: two requests go out on one connection, and
 * the input comes back: raw bytes, or (first byte odd) a list of short records that become frames
 * of the right length. Properties: both requests end, for whatever reason; the connection ends;
 * nothing is left held. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/panic.h"
#include "control/conf_load.h"
#include "control/snapshot.h"
#include "proxy/driver.h"
#include "proxy/fetch.h"
#include "proxy/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);

#define SENT_MAX (256u * 1024)
#define TURNS 2000

static struct {
    struct loop *loop;
    struct worker *worker;
    struct route *route;
    int listen_fd;
    uint32_t running;
    uint8_t sent[SENT_MAX];
} it;

static void on_head(void *arg, const struct head *h)
{
    (void) arg;
    must(h->status >= 200 && h->status <= 599);
}

static void on_body(void *arg, struct chain *in)
{
    (void) arg;
    chain_clear(in, &it.worker->buffers);
}

static void on_end(void *arg, enum fault f)
{
    (void) arg;
    (void) f;
    it.running--;
}

static const struct fetch_events events = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end};

static struct snapshot *make_snapshot(struct upstream_registry *registry, uint16_t port)
{
    static const struct feature_set no_features;
    char text[512], *errors = NULL;
    snprintf(text, sizeof(text),
             "listeners: ['127.0.0.1:1']\n"
             "upstreams: {u: {endpoints: ['127.0.0.1:%u'], protocol: h2}}\n"
             "routes: [{match: /*, to: u, retry: {enabled: false}}]\n",
             (unsigned) port);
    struct conf_loaded *l = conf_load_text(str_c(text), "fuzz", &no_features, &errors);
    must(l);
    struct snapshot_inputs in = {.registry = registry, .features = &no_features, .n_workers = 1};
    struct snapshot *s = conf_loaded_snapshot(l, &in, &errors);
    must(s);
    conf_loaded_free(l);
    return s;
}

static void begin(void)
{
    static struct mem_limit limit;
    static const struct feature_set no_features;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int error;
    it.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(bind(it.listen_fd, (struct sockaddr *) &a, sizeof(a)) == 0);
    must(listen(it.listen_fd, 16) == 0);
    must(getsockname(it.listen_fd, (struct sockaddr *) &a, &len) == 0);
    it.loop = loop_new(&error);
    must(it.loop);
    struct upstream_registry *registry = upstream_registry_new(2);
    struct worker_shared shared = {.limit = &limit,
                                   .registry = registry,
                                   .features = &no_features,
                                   .gauges = listener_gauges_new()};
    it.worker = worker_new(it.loop, 0, &shared, stats_new(NULL));
    worker_set_snapshot(it.worker, make_snapshot(registry, ntohs(a.sin_port)));
    loop_turn(it.loop, 0);
    must(it.worker->snapshot && it.worker->snapshot->n_routes == 1);
    it.route = router_route(it.worker->snapshot->router, STR("/*"));
    must(it.route);
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

/* What the endpoint sends: SETTINGS, then the input. */
static size_t compose(const uint8_t *input, size_t n)
{
    static const uint8_t settings[4] = {4, 0, 0, 0};
    size_t at = put_frame(0, settings, NULL, 0);
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

static void ask(const char *method, struct str body)
{
    struct fetch_request r = {.method = str_c(method),
                              .path = STR("/"),
                              .authority = STR("a.example"),
                              .body = body,
                              .route = it.route};
    must(fetch_start(it.worker, &r, &events, NULL));
    it.running++;
}

/* The next connection; -1: none within some turns. */
static int take_connection(void)
{
    int fd = -1;
    for (int i = 0; i < TURNS && fd < 0; i++) {
        loop_turn(it.loop, 0);
        fd = accept4(it.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    char drop[4096];
    size_t at = 0;
    if (!it.loop)
        begin();
    ask("GET", STR(""));
    ask("POST", STR("some content"));
    int fd = take_connection();
    must(fd >= 0);
    size_t all = compose(input, n);
    for (int idle = 0; idle < 4;) {
        ssize_t k = at < all ? write(fd, it.sent + at, all - at) : 0;
        at += k > 0 ? (size_t) k : 0;
        loop_turn(it.loop, 0);
        while (read(fd, drop, sizeof(drop)) > 0)
            continue;
        idle = k > 0 ? 0 : idle + 1;
    }
    close(fd);
    for (int i = 0; i < TURNS && it.running; i++) {
        loop_turn(it.loop, 0);
        int again = accept4(it.listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (again >= 0)
            close(again);
    }
    must(it.running == 0);
    loop_turn(it.loop, 0);
    must(list_empty(&it.worker->exchange_list) && it.worker->h2_links.n_used == 0);
    must(it.worker->buffers.blocks.n_used == 0 && it.worker->buffers.slices.n_used == 0);
    return 0;
}
