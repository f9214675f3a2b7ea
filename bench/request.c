/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_SIZE 4096
#define BROWSER_SIZE 800

/* Thirteen fields as a browser sends them; Host is the fourteenth, and the cookie fills up. */
static const char browser_fields[] =
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"126\", \"Not.A/Brand\";v=\"24\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;"
    "q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Referer: http://www.example.com/articles/index.html\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=";

static void add(char *head, size_t *len, const char *text)
{
    size_t n = strlen(text);

    if (*len + n >= HEAD_SIZE) {
        bench_die("the request head is too long");
    }
    memcpy(head + *len, text, n + 1);
    *len += n;
}

static void add_fields(char *head, size_t *len, const struct request_options *options)
{
    char line[64];

    add(head, len, "Host: www.example.com\r\n");
    if (strcmp(options->head, "browser") == 0) {
        add(head, len, browser_fields);
        while (*len < BROWSER_SIZE - 4) {
            add(head, len, "x");
        }
        add(head, len, "\r\n");
    } else if (options->wants_close) {
        add(head, len, "Connection: close\r\n");
    }
    if (options->body_size > 0) {
        snprintf(line, sizeof(line), "Content-Length: %llu\r\n",
                 (unsigned long long) options->body_size);
        add(head, len, line);
    }
    add(head, len, "\r\n");
}

void request_init(struct request *q, const struct request_options *options)
{
    char head[HEAD_SIZE];
    char path[1024];
    size_t len = 0;
    const char *mark = strstr(options->path, "%06u");

    if (mark != NULL) {
        snprintf(path, sizeof(path), "%.*s000000%s", (int) (mark - options->path), options->path,
                 mark + 4);
    } else {
        snprintf(path, sizeof(path), "%s", options->path);
    }
    add(head, &len, options->body_size > 0 ? "POST " : "GET ");
    size_t path_at = len;
    add(head, &len, path);
    add(head, &len, " HTTP/1.1\r\n");
    add_fields(head, &len, options);
    q->len = len + (size_t) options->body_size;
    q->bytes = bench_zalloc(q->len);
    memcpy(q->bytes, head, len);
    memset(q->bytes + len, 'b', (size_t) options->body_size);
    q->digits = mark != NULL ? q->bytes + path_at + (mark - options->path) : NULL;
    q->numbers = options->numbers > 0 ? options->numbers : 1;
    q->random = 88172645463325252u;
}

void request_vary(struct request *q)
{
    if (q->digits == NULL) {
        return;
    }
    q->random ^= q->random << 13;
    q->random ^= q->random >> 7;
    q->random ^= q->random << 17;
    uint64_t number = q->random % q->numbers;
    for (int i = 5; i >= 0; i--) {
        q->digits[i] = (char) ('0' + number % 10);
        number /= 10;
    }
}

bool response_parse(const char *head, size_t len, struct response *out)
{
    const char *line = head;
    const char *end = head + len;
    bool sized = false;

    if (len < 16 || memcmp(head, "HTTP/1.", 7) != 0 || head[8] != ' ') {
        return false;
    }
    *out = (struct response){.status = (unsigned) strtoul(head + 9, NULL, 10)};
    while ((line = memchr(line, '\n', (size_t) (end - line))) != NULL && ++line < end) {
        if ((*line | 0x20) != 'c') {
            continue;
        }
        if (strncasecmp(line, "content-length:", 15) == 0) {
            out->body_size = strtoull(line + 15, NULL, 10);
            sized = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            out->closes = true;
        }
    }
    if (!sized && out->status != 204 && out->status != 304) {
        out->closes = true;
    }
    return out->status >= 100 && out->status <= 999;
}
