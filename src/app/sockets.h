/* SPDX-License-Identifier: Apache-2.0 */
/* sockets: the listening sockets by address, one a worker. The supervisor opens them and keeps them
 * over crashes and reloads; the server inherits copies. One thread each. Never accepts. */
#ifndef WEIR_APP_SOCKETS_H
#define WEIR_APP_SOCKETS_H

#include "base/list.h"
#include "base/str.h"

/* The sockets of one configured address. */
struct socket_row {
    struct list_node node;
    struct str address; /* as configured; owned */
    uint32_t n;         /* how many */
    uint16_t port;      /* that they got, where the address says 0 */
    bool lent;          /* by the service manager, which keeps them: a file is not ours to remove */
    int fds[];          /* -1: handed on */
};

struct sockets {
    struct list rows; /* of struct socket_row */
};

/* None. */
void sockets_init(struct sockets *s);
/* What to listen on. */
struct socket_wish {
    struct str address;
    uint32_t n; /* sockets: one a worker, 1 for the admin page */
    int backlog;
    int mode; /* of a unix socket's file; MODE_BY_UMASK: as the umask has it */
};

#define MODE_BY_UMASK (-1)

/* Opens what is wished: of an inet address n sockets of its own that the kernel spreads connections
 * over (SO_REUSEPORT), of a unix address copies of one. The umask is changed meanwhile: only where
 * no other thread makes files. False: *why (static, of this thread). */
bool sockets_open(struct sockets *s, const struct socket_wish *wish, const char **why)
    __attribute__((warn_unused_result));
/* Nobody listens on that address yet: SO_REUSEPORT alone would let two processes of one user share
 * a port unnoticed. Waits up to a second for one that is letting go. False: *why (static). */
bool sockets_alone(struct str address, const char **why) __attribute__((warn_unused_result));
/* Adds a row without sockets, for descriptors that come one by one. */
struct socket_row *sockets_add(struct sockets *s, struct str address, uint32_t n);
/* The file of a unix socket that is not lent gets that mode (see struct socket_wish). */
void sockets_set_mode(const struct socket_row *row, int mode);
/* The row of that address, or NULL. */
struct socket_row *sockets_find(const struct sockets *s, struct str address);
/* The address as listened on: with the port that the kernel chose where it says 0; for mem_free. */
char *sockets_text(const struct socket_row *row);
/* Closes what is left of one row and frees it; unlink: removes a unix socket's file, too. */
void sockets_close(struct socket_row *row, bool unlink_file);
/* Closes all sockets, and removes all rows and files but those of keep (empty: none), which are
 * left to sockets_fini. */
void sockets_let_go(struct sockets *s, struct str keep);
/* sockets_close for all rows. */
void sockets_fini(struct sockets *s, bool unlink_files);

#endif
