/* SPDX-License-Identifier: Apache-2.0 */
/* io: the four answers of every non-blocking operation. Owned by nobody, any thread; never says
 * more than how it went: bytes moved and faults come by out-parameters. */
#ifndef WEIR_BASE_IO_H
#define WEIR_BASE_IO_H

enum io {
    IO_OK,    /* progress was made */
    IO_AGAIN, /* nothing now; an event will tell */
    IO_EOF,   /* the peer ended its side in an orderly way, or the message is complete */
    IO_ERR,   /* broken; the out-parameter or the object says which fault */
};

#endif
