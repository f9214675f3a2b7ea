/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: one line an event, rate-limited by event name.
 * Invariants:
 * 1. Everything in log_state but level is guarded by lock; the sink is called under it, so
 *    that lines keep their order and log_set_sink never races with a call.
 * 2. A meter belongs to the event whose hash it holds; two events that fall on one meter
 *    take it over from each other, which at worst prints more lines. */
#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define LOG_LINES_A_SECOND 20u
#define LOG_METERS 64u
#define LOG_TEXT 2048u
#define LOG_LINE (6 * LOG_TEXT + 256)

struct meter {
    uint64_t hash; /* of the event's name */
    usec_t since;  /* start of the second that lines counts; 0: never used */
    unsigned lines, suppressed;
    enum log_level level;
    char event[64];
};

static struct {
    _Atomic int level;
    pthread_mutex_t lock;
    enum log_form form;
    unsigned lost; /* lines that stderr did not take */
    log_sink sink;
    void *arg;
    usec_t swept; /* when expired meters were last reported */
    struct meter meters[LOG_METERS];
} log_state = {.level = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* A line in the making; stays NUL-terminated, drops what does not fit. */
struct line {
    size_t n;
    char text[LOG_LINE];
};

static void add(struct line *l, const char *z)
{
    size_t n = strlen(z);
    if (n > sizeof l->text - 2 - l->n)
        n = sizeof l->text - 2 - l->n;
    memcpy(l->text + l->n, z, n);
    l->n += n;
}

/* Bytes of the UTF-8 sequence that begins at z (RFC 3629), 0: none does. */
static size_t utf8_length(const unsigned char *z)
{
    if (z[0] < 0x80)
        return 1;
    size_t n = z[0] >= 0xf0 ? 4 : z[0] >= 0xe0 ? 3 : 2;
    if (z[0] < 0xc2 || z[0] > 0xf4)
        return 0;
    /* The second byte rules out C1 controls, overlong forms, surrogates, what is above U+10FFFF. */
    unsigned char least = z[0] == 0xc2 || z[0] == 0xe0 ? 0xa0 : z[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char most = z[0] == 0xed ? 0x9f : z[0] == 0xf4 ? 0x8f : 0xbf;
    if (z[1] < least || z[1] > most)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((z[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Adds z so that it stays on one line and inside of its quotes. */
static void add_escaped(struct line *l, const char *z, bool json)
{
    while (*z) {
        const unsigned char *c = (const unsigned char *) z;
        size_t n = utf8_length(c);
        char one[8];
        if (n == 0)
            snprintf(one, sizeof one, "%s", json ? "\\ufffd" : "?");
        else if (json && (*c == '"' || *c == '\\'))
            snprintf(one, sizeof one, "\\%c", *c);
        else if (*c == '\n')
            snprintf(one, sizeof one, "\\n");
        else if (*c < 0x20 || *c == 0x7f)
            snprintf(one, sizeof one, json ? "\\u%04x" : "\\x%02x", *c);
        else
            snprintf(one, sizeof one, "%.*s", (int) n, z);
        add(l, one);
        z += n ? n : 1;
    }
}

static bool writable(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1;
}

/* After POLLOUT a pipe takes PIPE_BUF bytes without blocking (pipe(7)). A worker logs too, and a
 * reader that stalls must not stall it. */
static bool put(const char *p, size_t n)
{
    while (n) {
        if (!writable())
            return false;
        ssize_t took = write(STDERR_FILENO, p, n < PIPE_BUF ? n : PIPE_BUF);
        if (took <= 0)
            return false;
        p += took;
        n -= (size_t) took;
    }
    return true;
}

static void emit_one(enum log_level level, const char *event, const char *text)
{
    enum log_form form = log_state.form;
    if (form == LOG_AUTO)
        form = !log_state.sink && isatty(STDERR_FILENO) ? LOG_HUMAN : LOG_JSON;
    char when[32];
    clock_iso8601(clock_wall(), when);
    struct line l;
    l.n = 0;
    if (form == LOG_HUMAN) {
        char start[64];
        snprintf(start, sizeof start, "%.23sZ %-5s ", when, level_names[level]);
        add(&l, start);
        add_escaped(&l, event, false);
        add(&l, ": ");
        add_escaped(&l, text, false);
    } else {
        add(&l, "{\"time\":\"");
        add(&l, when);
        add(&l, "\",\"level\":\"");
        add(&l, level_names[level]);
        add(&l, "\",\"event\":\"");
        add_escaped(&l, event, true);
        add(&l, "\",\"text\":\"");
        add_escaped(&l, text, true);
        add(&l, "\"}");
    }
    l.text[l.n] = '\0';
    if (log_state.sink) {
        log_state.sink(log_state.arg, level, l.text);
        return;
    }
    l.text[l.n++] = '\n';
    log_state.lost += !put(l.text, l.n);
}

/* One line; before it, what became of those that stderr did not take. */
static void emit(enum log_level level, const char *event, const char *text)
{
    unsigned lost = log_state.lost;
    if (lost && writable()) {
        char said[80];
        log_state.lost = 0;
        snprintf(said, sizeof said, "%u line%s lost: nobody read standard error", lost,
                 lost == 1 ? " was" : "s were");
        emit_one(LOG_WARN, "log.lost", said);
    }
    emit_one(level, event, text);
}

/* Says how many lines of a meter were held back, and starts its next second. */
static void meter_restart(struct meter *m, usec_t now)
{
    if (m->suppressed) {
        char text[64];
        snprintf(text, sizeof text, "%u more suppressed", m->suppressed);
        emit(m->level, m->event, text);
    }
    m->since = now;
    m->lines = m->suppressed = 0;
}

/* Reports meters whose second is over (all: every meter). */
static void sweep(usec_t now, bool all)
{
    log_state.swept = now;
    for (unsigned i = 0; i < LOG_METERS; i++) {
        struct meter *m = &log_state.meters[i];
        if (m->suppressed && (all || now - m->since >= USEC_PER_SEC))
            meter_restart(m, now);
    }
}

/* The meter of an event, or the one that waits longest for a line, which the event gets. */
static struct meter *meter_of(uint64_t hash)
{
    struct meter *oldest = &log_state.meters[0];
    for (struct meter *m = oldest; m < log_state.meters + LOG_METERS; m++) {
        if (m->hash == hash)
            return m;
        if (m->since < oldest->since)
            oldest = m;
    }
    return oldest;
}

/* True when a line of event may be written now; counts it. */
static bool meter_allows(enum log_level level, const char *event, usec_t now)
{
    uint64_t hash = str_hash(str_c(event));
    struct meter *m = meter_of(hash);
    if (m->hash != hash || now - m->since >= USEC_PER_SEC) {
        meter_restart(m, now);
        m->hash = hash;
        m->level = level;
        snprintf(m->event, sizeof m->event, "%s", event);
    }
    if (m->lines < LOG_LINES_A_SECOND) {
        m->lines++;
        return true;
    }
    m->suppressed++;
    return false;
}

void log_set_level(enum log_level level)
{
    log_state.level = (int) level;
}

void log_set_form(enum log_form form)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.form = form;
    pthread_mutex_unlock(&log_state.lock);
}

bool log_open_sink(log_sink sink, void *arg)
{
    pthread_mutex_lock(&log_state.lock);
    bool mine = log_state.sink == NULL;
    if (mine) {
        log_state.sink = sink;
        log_state.arg = arg;
    }
    pthread_mutex_unlock(&log_state.lock);
    return mine;
}

void log_close_sink(const void *arg)
{
    pthread_mutex_lock(&log_state.lock);
    if (log_state.arg == arg)
        log_state.sink = NULL;
    pthread_mutex_unlock(&log_state.lock);
}

void log_flush(void)
{
    pthread_mutex_lock(&log_state.lock);
    sweep(clock_now(), true);
    pthread_mutex_unlock(&log_state.lock);
}

/* Takes the lock. True: the meter of event allows it. */
static bool begin(enum log_level level, const char *event)
{
    usec_t now = clock_now();
    pthread_mutex_lock(&log_state.lock);
    if (now - log_state.swept >= USEC_PER_SEC)
        sweep(now, false);
    return meter_allows(level, event, now);
}

void log_write(enum log_level level, const char *event, const char *text, ...)
{
    if ((int) level < log_state.level)
        return;
    char said[LOG_TEXT];
    va_list args;
    va_start(args, text);
    vsnprintf(said, sizeof said, text, args);
    va_end(args);

    if (begin(level, event))
        emit(level, event, said);
    pthread_mutex_unlock(&log_state.lock);
}

void log_write_lines(enum log_level level, const char *event, const char *lines)
{
    if ((int) level < log_state.level)
        return;
    bool allowed = begin(level, event);
    while (allowed && *lines) {
        char one[LOG_TEXT];
        size_t n = strcspn(lines, "\n");
        snprintf(one, sizeof one, "%.*s", (int) n, lines);
        emit(level, event, one);
        lines += n + (lines[n] == '\n');
    }
    pthread_mutex_unlock(&log_state.lock);
}
