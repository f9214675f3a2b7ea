/* SPDX-License-Identifier: Apache-2.0 */
/* demo_page.c: demo.html as it is, with a NUL behind it. */
#include "app/demo.h"

__asm__(".pushsection .rodata\n"
        ".global demo_page\n"
        ".hidden demo_page\n"
        ".type demo_page, @object\n"
        "demo_page:\n"
        ".incbin \"src/app/demo.html\"\n"
        ".byte 0\n"
        ".size demo_page, . - demo_page\n"
        ".popsection\n");
