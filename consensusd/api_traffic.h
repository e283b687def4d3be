/*
 * api_traffic: what goes through a stream at this node, for those that list streams.
 */
#ifndef CONSENSUSD_API_TRAFFIC_H
#define CONSENSUSD_API_TRAFFIC_H

#include "proto/mesh.pb.h"

struct sink;
struct source;

/* Fill in rates, ages, counts of retries, and what operators have said of the stream.  The targets of a
 * source are in info already, in the order of its flows. */
void api_traffic_source(const struct source *s, mesh_v1_StreamInfo *info);
void api_traffic_sink(const struct sink *s, mesh_v1_StreamInfo *info);

#endif
