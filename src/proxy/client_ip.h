/* SPDX-License-Identifier: Apache-2.0 */
/* client_ip: the one address that a request is said to come from: the peer's, or, when the peer is
 * a trusted proxy, the first untrusted one in X-Forwarded-For or Forwarded read from the right.
 * Stateless; any thread on its own head. Never allocates, never believes an untrusted hop. */
#ifndef WEIR_PROXY_CLIENT_IP_H
#define WEIR_PROXY_CLIENT_IP_H

#include "http/field.h"
#include "net/addr.h"
#include "proxy/snapshot.h"

/* Most hops looked at; the address there is taken when all of them are trusted. */
#define CLIENT_IP_HOPS 64u

/* ip lies in the trusted set of s. */
bool client_ip_trusted(const struct snapshot *s, struct ip ip);
/* The client's address. peer is all zeros on a unix socket. X-Forwarded-For counts before Forwarded
 * (RFC 7239), several lines of one are one list, elements may have ports, brackets and (Forwarded)
 * quotes; an element that is no address ends the walk at the hop before. */
struct ip client_ip_derive(const struct snapshot *s, struct ip peer, bool peer_trusted,
                           const struct fields *in);

/* The address of one X-Forwarded-For element or one Forwarded node ("1.2.3.4", "1.2.3.4:80",
 * "::1", "[::1]", "[::1]:80"); false: none, or one that is no address. */
bool client_ip_node(struct str text, struct ip *out);
/* list is well-formed (RFC 7239 4): what stands behind another comma is an element of its own. */
bool client_ip_forwarded_valid(struct str list);

#endif
