/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of links and endpoints in words: one for a state, a sentence for the reason. */
#ifndef NUNCIO_DAEMON_STATUS_WORDS_H
#define NUNCIO_DAEMON_STATUS_WORDS_H

#include "daemon/ambassador.h"

#define REASON_TEXT 512
#define LINK_REASON_TEXT 768

/* "up", "down", "draining", "ejected": how it stands by itself. */
const char *status_endpoint_state(enum standing standing);
/* Why the one at this index gets connections or none; always something. */
const char *status_endpoint_reason(const struct link_status *status, uint32_t index, char buffer[REASON_TEXT]);

/* "serving", "empty", "holding", "stale". */
const char *status_link_state(const struct link_status *status);
/* What is to be said besides; NULL: nothing. */
const char *status_link_reason(const struct link_status *status, char buffer[LINK_REASON_TEXT]);

#endif
