/* SPDX-License-Identifier: Apache-2.0 */
/* admin_client.c: see admin_client.h. It speaks HTTP/1.0: a body ends with its connection. */
#include "app/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file_io.h"
#include "base/mem.h"
#include "control/conf_load.h"
#include "control/conf_node.h"
#include "features/registry.h"
#include "http/bytes.h"
#include "net/addr.h"

#define ANSWER_MAX (256u << 20)
/* Seconds of silence that are waited for: what is read is there; a change may wait for a disk. */
#define READ_WAIT 10
#define CHANGE_WAIT 90
/* A stream that ended is asked for again. */
#define FOLLOW_AGAIN (5 * USEC_PER_SEC)
#define FOLLOW_PAUSE_MS 50

static bool take_config(struct admin_client *c, const char *path, char **token_file)
{
    char *errors = NULL;
    struct conf_loaded *l = conf_load_admin(path, &feature_registry, &errors);
    if (!l) {
        fputs(errors, stderr);
        mem_free(errors);
        return false;
    }
    const struct admin_conf *a = &l->file->admin;
    if (a->address.n)
        c->address = mem_strdup(a->address);
    else
        fprintf(stderr, "%s: it has no admin section, or that is off\n", path);
    if (a->token_file.n)
        *token_file = mem_strdup(a->token_file);
    conf_loaded_free(l);
    return c->address != NULL;
}

static bool take_token(struct admin_client *c, const char *path)
{
    size_t n;
    char *why = NULL, *text = file_read(path, 4096, &n, &why);
    if (text)
        c->token = mem_strdup(str_trim(str_of(text, strcspn(text, "\r\n"))));
    else
        fprintf(stderr, "%s\n", why);
    mem_free(why);
    mem_free(text);
    return c->token != NULL;
}

bool admin_option(struct admin_options *o, int found, const char *value)
{
    switch (found) {
    case 'a':
        o->admin = value;
        return true;
    case 'c':
        o->config = value;
        return true;
    case 't':
        o->token_file = value;
        return true;
    case 'j':
        o->json = true;
        return true;
    default:
        return false;
    }
}

bool admin_client_init(struct admin_client *c, const struct admin_options *o)
{
    char *of_config = NULL;
    *c = (struct admin_client){0};
    if (o->config && !take_config(c, o->config, &of_config))
        return false;
    const char *env = getenv("WEIR_ADMIN");
    if (o->admin || !c->address) {
        mem_free(c->address);
        c->address = mem_strdup(str_c(o->admin ? o->admin : env && env[0] ? env : ADMIN_ADDRESS));
    }
    const char *path = o->token_file ? o->token_file
                       : of_config   ? of_config
                                     : getenv("WEIR_TOKEN_FILE");
    bool good = !path || take_token(c, path);
    mem_free(of_config);
    return good;
}

void admin_client_fini(struct admin_client *c)
{
    mem_free(c->address);
    mem_free(c->token);
}

void admin_path_add(struct text *path, struct str s)
{
    text_add(path, STR("/"));
    for (size_t i = 0; i < s.n; i++) {
        if (byte_is(s.p[i], BYTE_UNRESERVED))
            text_add(path, str_sub(s, i, i + 1));
        else
            text_addf(path, "%%%02X", (unsigned char) s.p[i]);
    }
}

/* Says on stderr what is wrong, unless c is quiet. */
static void __attribute__((format(printf, 2, 3)))
say(const struct admin_client *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!c->quiet)
        vfprintf(stderr, format, args);
    va_end(args);
}

static int dial(const struct admin_client *c)
{
    struct addr_text t;
    struct addr a;
    const char *why = NULL;
    if (!addr_split(str_c(c->address), 0, &t, &why) || !addr_from_text(&t, &a)) {
        say(c, "%s: %s\n", c->address, why ? why : "an IP address or unix:/path is wanted");
        return -1;
    }
    int fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *) &a.ss, a.len) == 0)
        return fd;
    say(c,
        "%s: %s; is Weir running, with an admin section? --admin, --config or $WEIR_ADMIN say "
        "where\n",
        c->address, strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool send_all(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        s = str_sub(s, (size_t) n, s.n);
    }
    return true;
}

static bool send_request(const struct admin_client *c, int fd, const char *method, const char *path,
                         struct str body)
{
    struct text t = {0};
    text_addf(&t, "%s %s HTTP/1.0\r\nHost: weir\r\n", method, path);
    if (c->token)
        text_addf(&t, "Authorization: Bearer %s\r\n", c->token);
    if (c->last_event[0])
        text_addf(&t, "Last-Event-ID: %s\r\n", c->last_event);
    if (body.n)
        text_addf(&t, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.n);
    text_add(&t, STR("\r\n"));
    text_add(&t, body);
    /* Who refuses early has answered: what it says is read all the same. */
    bool good = send_all(fd, text_str(&t));
    text_fini(&t);
    return good;
}

/* Takes the head off in; 0: it is not there yet. */
static unsigned take_head(struct text *in)
{
    unsigned status = 0;
    const char *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;
    if (!end || sscanf(in->p, "HTTP/1.%*c %3u", &status) != 1)
        return 0;
    size_t head = (size_t) (end + 4 - in->p);
    memmove(in->p, in->p + head, in->n - head);
    in->n -= head;
    return status;
}

/* What a problem (RFC 9457) says, a line each, on stderr; another body as it is. */
static void say_problem(unsigned status, const struct text *body)
{
    char *why = NULL;
    json_t *v = conf_json_parse(text_str(body), &why);
    const json_t *errors = json_object_get(v, "errors"), *one;
    size_t i;
    json_array_foreach(errors, i, one)
    {
        const char *at = json_string_value(json_object_get(one, "pointer"));
        const char *text = json_string_value(json_object_get(one, "detail"));
        fprintf(stderr, "%s%s%s\n", at ? at : "", at && at[0] ? ": " : "", text ? text : "");
    }
    const char *detail = json_string_value(json_object_get(v, "detail"));
    const char *first = json_string_value(json_object_get(json_array_get(errors, 0), "detail"));
    long long more = json_integer_value(json_object_get(v, "more_errors"));
    if (more)
        fprintf(stderr, "and %lld more\n", more);
    if (detail && first && strcmp(detail, first) == 0)
        ; /* it was said */
    else if (detail)
        fprintf(stderr, "%s\n", detail);
    else
        fprintf(stderr, "status %u: %.*s\n", status, STR_ARG(str_trim(text_str(body))));
    json_decref(v);
    mem_free(why);
}

/* Who is told of each line of a body. */
struct follower {
    void (*fn)(void *arg, struct str line);
    void *arg;
};

/* Hands on the lines that are whole. */
static void take_lines(const struct follower *f, struct text *in)
{
    struct str rest = text_str(in);
    for (ptrdiff_t end; (end = str_find(rest, '\n')) >= 0;
         rest = str_sub(rest, (size_t) end + 1, rest.n))
        f->fn(f->arg, str_sub(rest, 0, (size_t) end));
    if (rest.n)
        memmove(in->p, rest.p, rest.n);
    in->n = rest.n;
}

/* seconds 0: for ever. */
static void set_patience(int fd, int seconds)
{
    struct timeval t = {.tv_sec = seconds};
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static bool say_silent(const struct admin_client *c, int seconds, bool change)
{
    say(c,
        "%s: no answer within %d s: the server hangs or is stopped; look at its process and its "
        "log%s\n",
        c->address, seconds, change ? "; what was asked for may still be done" : "");
    return false;
}

/* follow (NULL: nobody) is told of what comes at once. */
static bool exchange(const struct admin_client *c, const char *method, const char *path,
                     struct str body, struct text *out, const struct follower *follow)
{
    unsigned status = 0;
    int fd = dial(c);
    if (fd < 0)
        return false;
    int seconds = strcmp(method, "GET") == 0 ? READ_WAIT : CHANGE_WAIT;
    bool silent = false;
    set_patience(fd, seconds);
    (void) send_request(c, fd, method, path, body);
    while (!silent) {
        ssize_t n = recv(fd, text_room(out, 65536), 65536, 0);
        silent = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (n <= 0 || out->n > ANSWER_MAX)
            break;
        out->n += (size_t) n;
        if (!status)
            status = take_head(out);
        if (status == 200 && follow) {
            set_patience(fd, 0); /* nothing may happen for long */
            take_lines(follow, out);
        }
    }
    close(fd);
    if (silent)
        return say_silent(c, seconds, seconds == CHANGE_WAIT);
    if (!status)
        say(c, "%s: the connection ended before an answer\n", c->address);
    else if ((status < 200 || status > 299) && !c->quiet)
        say_problem(status, out);
    return status >= 200 && status <= 299;
}

bool admin_client_ask(const struct admin_client *c, const char *method, const char *path,
                      struct str body, struct text *out)
{
    return exchange(c, method, path, body, out, NULL);
}

bool admin_ask(const struct admin_options *o, const char *method, const char *path, struct str body,
               struct text *out)
{
    struct admin_client c;
    bool good = admin_client_init(&c, o) && admin_client_ask(&c, method, path, body, out);
    admin_client_fini(&c);
    return good;
}

/* A line of the stream, of which the client keeps the id. */
struct stream {
    struct admin_client *c;
    void (*fn)(void *arg, struct str line);
    void *arg;
};

static void take_line(void *arg, struct str line)
{
    struct stream *s = arg;
    struct str id = STR("id: ");
    if (str_starts(line, id))
        snprintf(s->c->last_event, sizeof s->c->last_event, "%.*s",
                 STR_ARG(str_sub(line, id.n, line.n)));
    s->fn(s->arg, line);
}

void admin_client_follow(struct admin_client *c, const char *path,
                         void (*fn)(void *arg, struct str line), void *arg)
{
    struct text t = {0};
    struct stream s = {c, fn, arg};
    const struct follower f = {take_line, &s};
    bool good = exchange(c, "GET", path, STR(""), &t, &f);
    c->quiet = good; /* it was there: most likely it is soon there again */
    for (usec_t ended = clock_now(); good && clock_now() - ended < FOLLOW_AGAIN;) {
        (void) poll(NULL, 0, FOLLOW_PAUSE_MS);
        t.n = 0;
        if (exchange(c, "GET", path, STR(""), &t, &f))
            ended = clock_now();
    }
    c->quiet = false;
    if (good)
        say(c, "%s: the stream ended, and nobody answers any more: Weir was stopped\n", c->address);
    text_fini(&t);
}
