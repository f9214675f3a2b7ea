/* SPDX-License-Identifier: Apache-2.0 */
/* handover.c: see handover.h. The variable is "FD ROLE"; the object says its own version. */
#include "app/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/channel.h"
#include "base/file_io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/conf_node.h"

#define VARIABLE "WEIR_HANDOVER"
#define VERSION 2 /* of the facts, and of the messages of channel.h */
#define ARGUMENTS_MAX (1u << 20)
#define FACTS_MAX (64u << 20)

void handover_keep(int fd, bool keep)
{
    if (fd >= 0)
        (void) fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

json_t *handover_fd(int fd)
{
    handover_keep(fd, true);
    return json_integer(fd);
}

int handover_fd_of(const json_t *facts, const char *name)
{
    const json_t *v = json_object_get(facts, name);
    int fd = json_is_integer(v) ? (int) json_integer_value(v) : -1;
    handover_keep(fd, false);
    return fd;
}

json_t *handover_sockets(const struct sockets *s)
{
    json_t *list = json_array();
    list_each(node, &s->rows) {
        const struct socket_row *row = list_entry(node, struct socket_row, node);
        json_t *fds = json_array();
        for (uint32_t i = 0; i < row->n; i++)
            json_array_append_new(fds, handover_fd(row->fds[i]));
        json_array_append_new(list, json_pack("{s:s%, s:i, s:b, s:o}", "address", row->address.p,
                                              row->address.n, "port", (int) row->port, "lent",
                                              (int) row->lent, "fds", fds));
    }
    return list;
}

void handover_sockets_of(const json_t *list, struct sockets *s)
{
    size_t i, k;
    const json_t *one, *fd;
    json_array_foreach(list, i, one)
    {
        const char *address = json_string_value(json_object_get(one, "address"));
        const json_t *fds = json_object_get(one, "fds");
        if (!address || json_array_size(fds) == 0)
            continue;
        struct socket_row *row = sockets_add(s, str_c(address), (uint32_t) json_array_size(fds));
        row->port = (uint16_t) json_integer_value(json_object_get(one, "port"));
        row->lent = json_is_true(json_object_get(one, "lent"));
        json_array_foreach(fds, k, fd)
        {
            row->fds[k] = (int) json_integer_value(fd);
            handover_keep(row->fds[k], false);
        }
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

static json_t *read_facts(int fd)
{
    size_t n;
    char *why = NULL, *text = channel_memfd_text(fd, FACTS_MAX, &n);
    json_t *v = text ? conf_json_parse(str_of(text, n), &why) : NULL;
    mem_free(text);
    mem_free(why);
    return v;
}

enum handover_role handover_take(json_t **facts)
{
    const char *value = getenv(VARIABLE);
    int fd = -1;
    unsigned role = HANDOVER_BROKEN;
    *facts = NULL;
    if (!value)
        return HANDOVER_NONE;
    bool good = sscanf(value, "%d %u", &fd, &role) == 2 && fd > 2 && role < HANDOVER_BROKEN;
    (void) unsetenv(VARIABLE);
    if (good) {
        *facts = read_facts(fd);
        close(fd);
    }
    if (json_integer_value(json_object_get(*facts, "version")) == VERSION)
        return (enum handover_role) role;
    log_error("upgrade.handover",
              "what another version of Weir left to this one (%s) cannot be "
              "understood: stop the other one, then start this",
              WEIR_VERSION);
    json_decref(*facts);
    *facts = NULL;
    return HANDOVER_BROKEN;
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* The words that this process was started with, NULL behind the last; one mem_free of *text, one of
 * the answer. NULL: they cannot be had. */
static char **arguments(char **text)
{
    size_t n, words = 0, at = 0;
    char *why = NULL;
    *text = file_read("/proc/self/cmdline", ARGUMENTS_MAX, &n, &why);
    mem_free(why);
    if (!*text)
        return NULL;
    for (size_t i = 0; i < n; i++)
        words += (*text)[i] == '\0';
    char **v = mem_new((words + 1) * sizeof *v);
    for (size_t i = 0; i < words; i++) {
        v[i] = *text + at;
        at += strlen(*text + at) + 1;
    }
    return v;
}

static int leave(json_t *facts)
{
    struct text t = {0};
    json_object_set_new(facts, "version", json_integer(VERSION));
    conf_json_print(facts, &t);
    int fd = channel_memfd(text_str(&t));
    handover_keep(fd, true);
    text_fini(&t);
    json_decref(facts);
    return fd;
}

int handover_run(const char *path, enum handover_role role, json_t *facts)
{
    int fd = facts ? leave(facts) : -1, error = facts ? errno : EILSEQ; /* a name is not UTF-8 */
    char *text = NULL, **argv = fd >= 0 ? arguments(&text) : NULL;
    char value[32];
    snprintf(value, sizeof value, "%d %u", fd, (unsigned) role);
    if (argv && setenv(VARIABLE, value, 1) == 0) {
        log_flush();
        (void) execv(path, argv);
        error = errno;
        (void) unsetenv(VARIABLE);
    }
    if (fd >= 0)
        close(fd);
    mem_free(argv);
    mem_free(text);
    return error;
}

char *handover_absolute(const char *path)
{
    char here[4096];
    if (path[0] == '/' || !getcwd(here, sizeof here))
        return mem_strdup(str_c(path));
    return mem_printf("%s/%s", here, path);
}

char *handover_path(void)
{
    const char *given = (const char *) (uintptr_t) getauxval(AT_EXECFN);
    return handover_absolute(given ? given : "/proc/self/exe");
}
