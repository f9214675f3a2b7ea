/* SPDX-License-Identifier: Apache-2.0 */
/* channel_test.c: messages keep their shape, descriptors travel, the end is seen. */
#include "app/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void passes_messages_and_descriptors(void **state)
{
    (void) state;
    int ends[2], tube[2], fd;
    assert_true(channel_open(ends));
    assert_int_equal(pipe(tube), 0);
    struct channel_message in, out = channel_make(CHANNEL_SOCKET, 3, STR("127.0.0.1:80"));
    out.backlog = 77;
    assert_true(channel_send(ends[0], &out, tube[1]));
    assert_true(channel_send(ends[0], &out, -1));

    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_OK);
    assert_int_equal(in.kind, CHANNEL_SOCKET);
    assert_int_equal(in.number, 3);
    assert_int_equal(in.backlog, 77);
    assert_string_equal(in.text, "127.0.0.1:80");
    assert_true(fd >= 0 && fd != tube[1]);
    char byte = 0;
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(tube[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fd);

    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_OK);
    assert_int_equal(fd, -1);
    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_AGAIN);
    close(ends[0]);
    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_EOF);
    assert_false(channel_send(ends[1], &out, -1));
    close(ends[1]);
    close(tube[0]);
    close(tube[1]);
}

static void cuts_long_text(void **state)
{
    (void) state;
    char longer[2 * CHANNEL_TEXT];
    memset(longer, 'a', sizeof longer);
    struct channel_message m = channel_make(CHANNEL_REFUSED, 0, str_of(longer, sizeof longer));
    assert_int_equal(strlen(m.text), CHANNEL_TEXT - 1);
}

static void refuses_what_nobody_sends(void **state)
{
    (void) state;
    int ends[2], fd;
    struct channel_message in, out = channel_make(CHANNEL_READY, 0, STR(""));
    assert_true(channel_open(ends));
    assert_int_equal(write(ends[0], "short", 5), 5);
    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_ERR);
    out.kind = CHANNEL_KINDS;
    assert_true(channel_send(ends[0], &out, ends[0]));
    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_ERR);
    assert_int_equal(fd, -1);
    out.kind = CHANNEL_READY;
    memset(out.text, 'x', sizeof out.text);
    assert_true(channel_send(ends[0], &out, -1));
    assert_int_equal(channel_receive(ends[1], &in, &fd, 0), IO_ERR);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_messages_and_descriptors),
        cmocka_unit_test(cuts_long_text),
        cmocka_unit_test(refuses_what_nobody_sends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
