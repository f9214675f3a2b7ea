/* SPDX-License-Identifier: Apache-2.0 */
/* json: numbers and escaped strings written into memory that the caller has measured. No state, no
 * allocation; any thread. For the access log and status pages, where printf would cost too much. */
#ifndef WEIR_BASE_JSON_H
#define WEIR_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define JSON_U64_MAX 20u /* digits of the longest number */
#define JSON_PLAIN_MAX 256u
#define JSON_BYTE_MAX 6u /* most bytes that one byte of a string becomes */

/* Appends a string constant; evaluates at twice. */
#define JSON_LIT(at, lit) ((char *) memcpy((at), (lit), sizeof(lit) - 1) + (sizeof(lit) - 1))

/* Writes v in decimal at at; returns the place behind. */
char *json_u64(char *at, uint64_t v);
/* Writes the two low decimal digits of v (0..99). */
char *json_two(char *at, unsigned v);
/* Writes s escaped (RFC 8259 7), without the quotes around it, in at most room bytes: what does not
 * fit is cut at a character. Valid UTF-8 goes through but for control characters, other bytes come
 * out as \\xNN, so that the line is always valid and no terminal is misled. */
char *json_text(char *at, struct str s, size_t room);
/* Length of the valid UTF-8 sequence of several bytes (RFC 3629 4) at the front of s, which is not
 * empty, if it is no C1 control; 0: there is none. */
size_t json_utf8_length(struct str s);
/* s needs no escape and is at most JSON_PLAIN_MAX bytes long: asked once for a name that is written
 * often. */
bool json_plain(struct str s);

#endif
