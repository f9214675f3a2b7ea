/* SPDX-License-Identifier: Apache-2.0 */
/* api_config.c: the configuration as a whole: its text, reload, history, rollback. */
#include "base/mem.h"
#include "control/api.h"
#include "control/live.h"

/* False: a problem is the reply. */
static bool has_owner(struct api_call *c)
{
    if (c->a->ops && c->a->ops->text(c->a->ops_arg).n)
        return true;
    (void) api_problem(c->x, 409, "no-file", "this configuration came from no file");
    return false;
}

enum hook api_config_text(struct api_call *c)
{
    struct text t = {0};
    if (!has_owner(c))
        return HOOK_REPLY;
    text_add(&t, c->a->ops->text(c->a->ops_arg));
    return api_answer(c->x, 200, STR("application/yaml"), &t);
}

enum hook api_reload(struct api_call *c)
{
    static const struct {
        struct str name;
        enum live_mode mode;
    } modes[] = {{{"ask", 3}, LIVE_ASK}, {{"keep", 4}, LIVE_KEEP}, {{"discard", 7}, LIVE_DISCARD}};
    struct str wanted = api_param(c, "changes");
    enum hook h;
    size_t i = 0;
    while (i < 3 && wanted.n && !str_eq(wanted, modes[i].name))
        i++;
    if (i == 3)
        return api_problem(c->x, 400, "parameter", "changes must be ask, keep or discard");
    if (!has_owner(c) || !api_config_matches(c))
        return HOOK_REPLY;
    struct live_waiter *w = api_turn(c, &h);
    return w ? api_loaded(c, c->a->ops->reload(c->a->ops_arg, modes[i].mode, w), w) : h;
}

enum hook api_rollback(struct api_call *c)
{
    enum hook h;
    uint64_t back;
    if (!api_number(c, "back", 1, 1000, &back) || !has_owner(c) || !api_config_matches(c))
        return HOOK_REPLY;
    struct live_waiter *w = api_turn(c, &h);
    return w ? api_loaded(c, c->a->ops->rollback(c->a->ops_arg, (uint32_t) back, w), w) : h;
}

enum hook api_history(struct api_call *c)
{
    struct text json = {0};
    if (!has_owner(c))
        return HOOK_REPLY;
    text_add(&json, STR("{\"configurations\":"));
    c->a->ops->history(c->a->ops_arg, &json);
    text_add(&json, STR("}"));
    return api_json(c, 200, &json);
}
