/* SPDX-License-Identifier: Apache-2.0 */
/* field_rule: which header fields configuration may touch, and how Weir writes a field that nobody
 * else may have a say in. Stateless; any thread on its own fields. Never looks at a connection. */
#ifndef WEIR_PROXY_FIELD_RULE_H
#define WEIR_PROXY_FIELD_RULE_H

#include "http/field.h"

enum field_rule { FIELD_RULE_REQUEST, FIELD_RULE_RESPONSE };

/* Why a rule may not set or remove the field name ('_' counts as '-'): no field name, or one that
 * belongs to framing, the hop or the rewrite (RFC 9110 7.6.1). NULL: it may. Static text. */
const char *field_rule_wrong(struct str name, enum field_rule where);
/* Removes all fields of name and those that differ from it in case, '_' and '-' only; returns how
 * many. */
uint32_t fields_remove_alias(struct fields *f, struct str name);
/* Makes name: value the only field of that name, aliases included. The views must live as long as
 * the head. False: memory. */
bool fields_own(struct fields *f, struct str name, struct str value)
    __attribute__((warn_unused_result));

#endif
