/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test includes first: cmocka with the headers that it wants before it. */
#ifndef NUNCIO_TESTS_UNIT_H
#define NUNCIO_TESTS_UNIT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* cmocka's macro would swallow our fail() of base/error.h; and fail_msg() is made of it. */
#undef fail
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#endif
