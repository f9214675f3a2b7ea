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

/* All that is wrong, a line each. why is taken. */
static enum hook refused(struct api_call *c, char *why)
{
    struct text t = {0};
    struct str rest = str_c(why ? why : "");
    bool first = true;
    text_add(&t, STR("{\"type\":\"urn:weir:problem:refused\",\"title\":\"Unprocessable Content\","
                     "\"status\":422,\"detail\":\"the configuration is refused, the old one "
                     "stays\",\"errors\":["));
    while (rest.n) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = end < 0 ? rest : str_sub(rest, 0, (size_t) end);
        rest = end < 0 ? STR("") : str_sub(rest, (size_t) end + 1, rest.n);
        if (line.n == 0)
            continue;
        text_add(&t, first ? STR("{\"detail\":") : STR(",{\"detail\":"));
        text_add_json(&t, line);
        text_add(&t, STR("}"));
        first = false;
    }
    text_add(&t, STR("]}\n"));
    mem_free(why);
    return api_answer(c->x, 422, STR("application/problem+json"), &t);
}

static enum hook answer(struct api_call *c, bool good, struct text *json, char *why)
{
    if (good)
        return api_json(c, 200, json);
    text_fini(json);
    return refused(c, why);
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
    struct text json = {0};
    char *why = NULL;
    size_t i = 0;
    while (i < 3 && wanted.n && !str_eq(wanted, modes[i].name))
        i++;
    if (i == 3)
        return api_problem(c->x, 400, "parameter", "changes must be ask, keep or discard");
    if (!has_owner(c) || !api_config_matches(c))
        return HOOK_REPLY;
    bool good = c->a->ops->reload(c->a->ops_arg, modes[i].mode, &json, &why);
    return answer(c, good, &json, why);
}

enum hook api_rollback(struct api_call *c)
{
    struct text json = {0};
    char *why = NULL;
    uint64_t back;
    if (!api_number(c, "back", 1, 1000, &back) || !has_owner(c) || !api_config_matches(c))
        return HOOK_REPLY;
    bool good = c->a->ops->rollback(c->a->ops_arg, (uint32_t) back, &json, &why);
    return answer(c, good, &json, why);
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
