/* SPDX-License-Identifier: Apache-2.0 */
/* Invariant: text[0, DATE_BYTES) is the date of second whenever second is not -1. */
#include "http/date.h"

#include "base/clock.h"

#define DATE_BYTES 29
#define DAY INT64_C(86400)
#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31: the format has four digits for a year */

static void put_two(char *to, int64_t v)
{
    to[0] = (char) ('0' + v / 10 % 10);
    to[1] = (char) ('0' + v % 10);
}

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void write_date(char *to, int64_t second)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    int64_t day = second / DAY, rest = second % DAY;
    /* Days to a date by years that begin in March, so that leap days come last
     * (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
    int64_t z = day + 719468;
    int64_t era_day = z % 146097;
    int64_t era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    int64_t year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    int64_t march_month = (5 * year_day + 2) / 153;
    int64_t month = march_month < 10 ? march_month + 2 : march_month - 10; /* 0 is January */
    int64_t year = z / 146097 * 400 + era_year + (month < 2 ? 1 : 0);

    memcpy(to, "Thu, 01 Jan 1970 00:00:00 GMT", DATE_BYTES);
    memcpy(to, days + day % 7 * 3, 3);
    put_two(to + 5, year_day - (153 * march_month + 2) / 5 + 1);
    memcpy(to + 8, months + month * 3, 3);
    put_two(to + 12, year / 100);
    put_two(to + 14, year % 100);
    put_two(to + 17, rest / 3600);
    put_two(to + 20, rest / 60 % 60);
    put_two(to + 23, rest % 60);
}

struct str date_text(struct date_cache *c, int64_t wall_us)
{
    int64_t second = wall_us / (int64_t) USEC_PER_SEC;
    if (second < 0)
        second = 0;
    if (second > LAST_SECOND)
        second = LAST_SECOND;
    if (second != c->second) {
        write_date(c->text, second);
        c->second = second;
    }
    return str_of(c->text, DATE_BYTES);
}

/* The number of n digits; what is no digit makes it differ from what would be written for it. */
static int64_t number(const char *p, int n)
{
    int64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v * 10 + (p[i] - '0');
    return v;
}

bool date_read(struct str text, int64_t *second)
{
    char same[DATE_BYTES];
    int64_t month = 0;
    if (text.n != DATE_BYTES)
        return false;
    while (month < 12 && memcmp(text.p + 8, months + month * 3, 3) != 0)
        month++;
    int64_t year = number(text.p + 12, 4) - (month < 2);
    int64_t march_month = month < 2 ? month + 10 : month - 2;
    int64_t year_day = (153 * march_month + 2) / 5 + number(text.p + 5, 2) - 1;
    int64_t day = year * 365 + year / 4 - year / 100 + year / 400 + year_day - 719468;
    *second = day * DAY + number(text.p + 17, 2) * 3600 + number(text.p + 20, 2) * 60 +
              number(text.p + 23, 2);
    if (month == 12 || *second < 0 || *second > LAST_SECOND)
        return false;
    write_date(same, *second); /* of all that was not looked at, nothing differs */
    return memcmp(same, text.p, DATE_BYTES) == 0;
}
