/* SPDX-License-Identifier: Apache-2.0 */
/* log: Weir's own events to stderr: level, event name, fields; human on a terminal,
 * JSON lines otherwise. Any thread; rate-limited by event; never waits for a reader: what stderr
 * does not take at once is lost and counted. Not the access log. Values are escaped: a peer cannot
 * forge a line. */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_form { LOG_AUTO, LOG_HUMAN, LOG_JSON };

typedef void (*log_sink)(void *arg, enum log_level level, const char *line);

/* Lowest level that is written; default LOG_INFO. */
void log_set_level(enum log_level level);
/* How lines look; LOG_AUTO, the default: for humans on a terminal, else JSON. */
void log_set_form(enum log_form form);
/* Hands lines to sink instead of stderr (the library); false: another has them. The sink is called
 * by the logging thread, one call at a time, and must not log. */
bool log_open_sink(log_sink sink, void *arg);
/* Lines go to stderr again, if it was the sink opened with arg that had them. */
void log_close_sink(const void *arg);
/* Writes one event. event is a stable dotted name ("config.refused"); text says what
 * happened, where, and what to do. */
void log_write(enum log_level level, const char *event, const char *text, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes one event of several lines, one by one: of any length, all or none of them. */
void log_write_lines(enum log_level level, const char *event, const char *lines);
/* Writes at once what rate limiting held back ("N more suppressed"): at the end of a process. */
void log_flush(void);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
