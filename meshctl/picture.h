/*
 * picture: the mesh drawn: as a graph for Graphviz (dot language), or as SVG.
 *
 * Both take the status of the mesh as api_json_mesh_status() makes it, and write to standard output.  The
 * same mesh gives the same picture.
 */
#ifndef MESHCTL_PICTURE_H
#define MESHCTL_PICTURE_H

#include <jansson.h>

#include "common/base/must.h"

enum { PICTURE_NODES_MAX = 2000 }; /* more than can be told apart */

/* One value per link whichever end tells of it: "a", "b" (ids), "a_name", "b_name", "status", and of each
 * direction what is measured: "rtt_us", "cost", "cost_back", "loss_ppm", "bandwidth_kbps",
 * "utilization_permille".  A new reference. */
json_t *picture_links(const json_t *mesh) MUST_USE;

void picture_dot(const json_t *mesh);
/* -1 after an error was printed: no memory, or more than PICTURE_NODES_MAX nodes. */
int picture_svg(const json_t *mesh) MUST_USE;

#endif
