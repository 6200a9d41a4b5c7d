/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/realm.h"

const char *realm_lacks(const struct realm *realm)
{
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		if (!ambassador_is_ready(realm->ambassadors[i]))
			return "a network namespace does not have its table yet";
	}
	return catalog_is_waiting(realm->catalog) ? "a registry has not answered yet" : NULL;
}
