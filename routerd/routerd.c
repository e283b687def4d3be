#include "routerd/routerd.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "routerd/members.h"
#include "routerd/nodemeta.h"
#include "routerd/pathstate.h"

/* What a block does not say is as the class has it. */
static void
read_coefficient(const struct conf *c, size_t block, const char *key, uint16_t *out)
{
	if (conf_block_values(c, "routerd", "cost", block, key) != 0)
		*out = (uint16_t)conf_block_int(c, "routerd", "cost", block, key);
}

static void
read_costs(const struct conf *c, struct cost_coefficients out[FRAME_CLASS_COUNT])
{
	memcpy(out, cost_defaults, sizeof(cost_defaults));
	for (size_t block = 0; block < conf_block_count(c, "routerd", "cost"); block++) {
		const char *name = conf_block_name(c, "routerd", "cost", block);

		for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
			if (strcmp(name, frame_class_name((uint8_t)i)) != 0)
				continue;
			read_coefficient(c, block, "latency", &out[i].latency);
			read_coefficient(c, block, "bandwidth", &out[i].bandwidth);
			read_coefficient(c, block, "utilisation", &out[i].utilisation);
			read_coefficient(c, block, "loss", &out[i].loss);
			read_coefficient(c, block, "hops", &out[i].hops);
		}
	}
}

/* Load that costs as much as the hysteresis moves the best path to a link, and from it when it is there. */
static void
check_costs(const struct router_conf *conf)
{
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
		if (conf->cost[i].utilisation != 0 &&
		    (uint32_t)conf->cost[i].utilisation * COST_BUSY_PERCENT >= conf->hysteresis_percent * 100)
			log_warn(
			    "routerd: utilisation of class %s counts as much as path-hysteresis: paths may "
			    "follow the load to and fro",
			    frame_class_name((uint8_t)i));
}

static void
read_conf(const struct conf *c, struct router_conf *out)
{
	*out = (struct router_conf){
	    .lsa_refresh_us = conf_int(c, "routerd", "lsa-refresh"),
	    .lsa_max_age_us = conf_int(c, "routerd", "lsa-max-age"),
	    .spf_delay_us = conf_int(c, "routerd", "spf-delay"),
	    .nodes_max = (size_t)conf_int(c, "routerd", "nodes-max"),
	    .paths_max = (size_t)conf_int(c, "routerd", "paths"),
	    .hysteresis_percent = (uint32_t)conf_int(c, "routerd", "path-hysteresis"),
	};
	read_costs(c, out->cost);
	check_costs(out);
	snprintf(out->software, sizeof(out->software), "%s", mesh_version);
	if (out->lsa_max_age_us < 3 * out->lsa_refresh_us) {
		/* One refresh may be lost without anybody taking the node for gone. */
		out->lsa_max_age_us = 3 * out->lsa_refresh_us;
		log_warn("routerd: lsa-max-age is less than three times lsa-refresh; using %lld s",
		    (long long)(out->lsa_max_age_us / 1000000));
	}
}

static int
read_labels(const struct conf *c, const char *directive, struct label_list *out)
{
	size_t count = conf_count(c, "mesh", directive);

	out->count = 0;
	for (size_t i = 0; i < count; i++) {
		const char *text = conf_item(c, "mesh", directive, i);

		if (label_has(out, text) || label_add(out, text))
			continue;
		log_error("mesh.conf: %s %s: at most %d of them, of at most %d characters", directive, text,
		    LABELS_MAX, LABEL_SIZE - 1);
		return ERR_RANGE;
	}
	return 0;
}

/* What this node offers, for its LSA. */
static int
tell_labels(struct routerd *d, const struct conf *c)
{
	struct label_list services, capabilities;
	int err;

	if ((err = read_labels(c, "service", &services)) != 0 ||
	    (err = read_labels(c, "capability", &capabilities)) != 0)
		return err;
	d->services = services;
	d->capabilities = capabilities;
	router_labels(d->router, &services, &capabilities);
	return 0;
}

static int
serve(struct routerd *d)
{
	struct channel_conf edges[2];
	int err;

	api_consensus_conf(d, &edges[0]);
	api_gateway_conf(d, &edges[1]);
	d->server = channel_serve(d->loop, d->daemon->listen_fd, d->daemon->def->name, edges, 2);
	if (d->server == NULL)
		return ERR_NOMEM;
	d->daemon->listen_fd = -1;
	if ((err = daemon_allow_edge(d->daemon, d->server, edges[0].edge, "consensusd")) != 0)
		return err;
	return daemon_allow_edge(d->daemon, d->server, edges[1].edge, "gatewayd");
}

int
routerd_start(struct daemon *daemon)
{
	struct routerd *d = mem_calloc(1, sizeof(*d));
	int err;

	if (d == NULL)
		return ERR_NOMEM;
	daemon->ctx = d;
	d->daemon = daemon;
	d->loop = daemon->loop;
	d->started = clock_mono();
	LIST_INIT(&d->gateways);
	snprintf(d->mesh_name, sizeof(d->mesh_name), "%s", conf_str(daemon->conf, "mesh", "name"));
	read_conf(daemon->conf, &d->conf);
	if ((err = ulid_parse(conf_str(daemon->conf, "mesh", "id"), &d->mesh_id)) != 0)
		return err;
	counters_init();
	if ((err = nodemeta_init(d)) != 0 || (err = members_init(d, daemon->conf)) != 0 ||
	    (err = engine_init(d)) != 0 || (err = tell_labels(d, daemon->conf)) != 0 ||
	    (err = topology_init(d)) != 0 || (err = known_init(d)) != 0 || (err = pathstate_init(d)) != 0 ||
	    (err = peer_transport_init(d)) != 0)
		return err;
	return serve(d);
}

void
routerd_configure(struct daemon *daemon, const struct conf *fresh)
{
	struct routerd *d = daemon->ctx;

	read_conf(fresh, &d->conf);
	router_configure(d->router, &d->conf, clock_mono());
	members_configure(d, fresh);
	if (tell_labels(d, fresh) != 0)
		log_warn("what this node offers stays as it was");
	engine_touch(d);
}

void
routerd_fini(struct daemon *daemon)
{
	struct routerd *d = daemon->ctx;

	if (d == NULL)
		return;
	d->consensus = NULL; /* its end is no news now */
	if (d->server != NULL)
		channel_server_free(d->server);
	peer_transport_fini(d);
	pathstate_fini(d);
	known_fini(d);
	topology_fini(d);
	engine_fini(d);
	members_fini(d);
	nodemeta_fini(d);
	mem_free(d);
	daemon->ctx = NULL;
}
