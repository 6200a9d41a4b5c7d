/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes what reads the messages of DNS servers. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "discovery/dns/answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {""};
	struct dns_answer answer;
	int code = dns_answer_parse(data, size, &answer, &err);

	assert(code == 0 || (code == -EBADMSG && *err.text));
	for (size_t i = 0; i < answer.n_srvs; i++)
		assert(answer.srvs[i].target);
	for (size_t i = 0; i < answer.n_additional; i++)
		assert(answer.additional[i].owner && answer.additional[i].addr.family);
	dns_answer_clear(&answer);
	return 0;
}
