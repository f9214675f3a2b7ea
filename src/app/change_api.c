/* SPDX-License-Identifier: Apache-2.0 */
/* change_api.c: what the admin API asks of the server: reload, rollback, history. */
#include <inttypes.h>

#include "app/server_inside.h"

void server_answer(struct change_result *r, struct text *json, char **why)
{
    if (r->good) {
        text_addf(json, "{\"generation\":%" PRIu64 ",\"words\":", r->generation);
        text_add_json(json, text_str(&r->words));
        text_add(json, STR(",\"changes\":"));
        text_add(json, r->json.n ? text_str(&r->json) : STR("[]"));
        text_add(json, STR(",\"warnings\":"));
        text_add_json_lines(json, str_c(r->warnings ? r->warnings : ""));
        text_add(json, STR("}"));
    }
    *why = r->why;
    r->why = NULL;
    change_result_fini(r);
}

static enum live_result ask_reload(void *arg, enum live_mode mode, struct live_waiter *w)
{
    struct change_result r = {0};
    enum live_result result = server_reload(arg, mode, ORIGIN_API, w, &r);
    server_answer(&r, &w->json, &w->why);
    return result;
}

static enum live_result ask_rollback(void *arg, uint32_t back, struct live_waiter *w)
{
    struct change_result r = {0};
    enum live_result result = server_rollback(arg, back, w, &r);
    server_answer(&r, &w->json, &w->why);
    return result;
}

static void ask_history(void *arg, struct text *json)
{
    const struct server *s = arg;
    history_json(&s->history, json);
}

static struct str ask_text(void *arg)
{
    const struct server *s = arg;
    return s->config.text;
}

const struct admin_ops server_admin_ops = {ask_reload, ask_rollback, ask_history, ask_text};
