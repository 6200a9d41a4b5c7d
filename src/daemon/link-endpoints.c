/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/ambassador-state.h"

const struct endpoints *link_endpoints(struct link *link)
{
	const struct endpoints *endpoints =
		link->subscription.service ? service_endpoints(link->subscription.service) : NULL;
	bool keep = endpoints && !endpoints->count && link->conf->on_empty == ON_EMPTY_KEEP && link->installed &&
		    link->plan.slots.count;

	if (keep && !link->keeping)
		log_warning(
			"link %s: the registry names no endpoint any more; the last known ones stay (on_empty=keep)",
			link->conf->name);
	link->keeping = keep;
	if (endpoints && !keep)
		return endpoints_ref(endpoints);
	return link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
}
