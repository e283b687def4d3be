/* advertise: where other nodes can dial this one; see wish.h. */
#include <stdio.h>
#include <string.h>

#include "common/os/conf.h"
#include "common/os/log.h"
#include "transportd/wish.h"

/* An address that means all of a machine's is none that others can dial. */
static bool
is_wildcard(const char *address)
{
	static const char *const hosts[] = {"*:", "0.0.0.0:", "[::]:"};

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (strncmp(address, hosts[i], strlen(hosts[i])) == 0)
			return true;
	return false;
}

void
advertise_read(const struct conf *c, mesh_ipc_Addresses *out)
{
	enum { MAX = sizeof(out->addresses) / sizeof(out->addresses[0]) };
	const char *key = conf_count(c, "transportd", "advertise") != 0 ? "advertise" : "listen";

	*out = (mesh_ipc_Addresses)mesh_ipc_Addresses_init_default;
	for (size_t i = 0; i < conf_count(c, "transportd", key); i++) {
		const char *address = conf_item(c, "transportd", key, i);

		if (is_wildcard(address))
			continue;
		if (out->addresses_count == MAX || strlen(address) >= sizeof(out->addresses[0])) {
			log_warn("%s %s is not made known: at most %d addresses of %zu characters", key,
			    address, MAX, sizeof(out->addresses[0]) - 1);
			continue;
		}
		memcpy(out->addresses[out->addresses_count++], address, strlen(address) + 1);
	}
}
