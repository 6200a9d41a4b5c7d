/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <stdio.h>

int fail(struct error *err, int code, const char *format, ...)
{
	struct error said;
	va_list args;

	/* Written aside first: the arguments may quote err->text. */
	va_start(args, format);
	vsnprintf(said.text, sizeof(said.text), format, args);
	va_end(args);
	if (err)
		*err = said;
	return code;
}

int fail_prefix(struct error *err, int code, const char *format, ...)
{
	struct error prefix;
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(prefix.text, sizeof(prefix.text), format, args);
	va_end(args);
	return fail(err, code, "%s: %s", prefix.text, err->text);
}
