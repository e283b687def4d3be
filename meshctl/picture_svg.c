/*
 * picture_svg: the mesh as SVG; see picture.h.
 *
 * Nodes are placed by forces (Fruchterman and Reingold 1991): all push each other off, links pull, and what
 * may move in one step grows less.  It begins on a circle in the order of ids and draws no lots, so that
 * the same mesh looks the same.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "meshctl/out.h"
#include "meshctl/picture.h"
#include "meshctl/picture_impl.h"

enum {
	STEPS = 300,
	STEPS_LARGE = 40, /* from LARGE nodes on: their pairs are many */
	LARGE = 200,
	SPACING = 150, /* between linked nodes, about, in px */
	MARGIN = 90,
	BOX_HEIGHT = 30,
	CHAR_WIDTH = 8,
	LABEL_LINKS_MAX = 150, /* with more links their labels only cover each other */
};

struct place {
	double x, y, dx, dy;
};

struct edge {
	size_t a, b;
};

struct drawing {
	const json_t *nodes;
	json_t *links;
	struct place *places;
	struct edge *edges; /* of links, in their order */
	size_t count, edge_count;
};

/* --- places --- */

static void
push(struct place *a, struct place *b)
{
	double dx = a->x - b->x, dy = a->y - b->y, d2 = fmax(dx * dx + dy * dy, 1);
	double f = (double)SPACING * SPACING / d2;

	a->dx += dx * f;
	a->dy += dy * f;
	b->dx -= dx * f;
	b->dy -= dy * f;
}

static void
pull(struct place *a, struct place *b)
{
	double dx = a->x - b->x, dy = a->y - b->y, f = sqrt(dx * dx + dy * dy) / SPACING;

	a->dx -= dx * f;
	a->dy -= dy * f;
	b->dx += dx * f;
	b->dy += dy * f;
}

static void
move(struct place *p, double most)
{
	double d = sqrt(p->dx * p->dx + p->dy * p->dy);

	if (d > 0) {
		p->x += p->dx / d * fmin(d, most);
		p->y += p->dy / d * fmin(d, most);
	}
	p->dx = p->dy = 0;
}

static void
arrange(struct drawing *d)
{
	double radius = SPACING * (double)d->count / 6 + 1;
	int steps = d->count < LARGE ? STEPS : STEPS_LARGE;

	for (size_t i = 0; i < d->count; i++) {
		double angle = 2 * M_PI * (double)i / (double)d->count;

		d->places[i] = (struct place){.x = radius * cos(angle), .y = radius * sin(angle)};
	}
	for (int step = 0; step < steps; step++) {
		for (size_t i = 0; i < d->count; i++)
			for (size_t k = i + 1; k < d->count; k++)
				push(&d->places[i], &d->places[k]);
		for (size_t i = 0; i < d->edge_count; i++)
			pull(&d->places[d->edges[i].a], &d->places[d->edges[i].b]);
		for (size_t i = 0; i < d->count; i++)
			move(&d->places[i], SPACING * (1 - (double)step / steps));
	}
}

/* Moves all into the picture; its size. */
static void
fit(struct drawing *d, double *width, double *height)
{
	double left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;

	for (size_t i = 0; i < d->count; i++) {
		left = fmin(left, d->places[i].x);
		right = fmax(right, d->places[i].x);
		top = fmin(top, d->places[i].y);
		bottom = fmax(bottom, d->places[i].y);
	}
	for (size_t i = 0; i < d->count; i++) {
		d->places[i].x += MARGIN - left;
		d->places[i].y += MARGIN - top;
	}
	*width = d->count != 0 ? right - left + 2 * MARGIN : 2 * MARGIN;
	*height = d->count != 0 ? bottom - top + 2 * MARGIN : 2 * MARGIN;
}

/* --- drawing --- */

static void
put_escaped(const char *text)
{
	for (; *text != '\0'; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", stdout);
			break;
		case '>':
			fputs("&gt;", stdout);
			break;
		case '&':
			fputs("&amp;", stdout);
			break;
		case '"':
			fputs("&quot;", stdout);
			break;
		default:
			putchar(*text);
		}
}

static void
draw_link(const struct drawing *d, size_t i)
{
	const struct place *a = &d->places[d->edges[i].a], *b = &d->places[d->edges[i].b];
	const json_t *l = json_array_get(d->links, i);
	const char *status = picture_text(l, "status");
	char label[80];

	picture_label(l, label, sizeof(label));
	printf("<line x1=\"%.0f\" y1=\"%.0f\" x2=\"%.0f\" y2=\"%.0f\" stroke=\"%s\" stroke-width=\"1.5\"%s>"
	       "<title>",
	    a->x, a->y, b->x, b->y, picture_colour(status),
	    strcmp(status, "up") == 0 ? "" : " stroke-dasharray=\"6 4\"");
	put_escaped(picture_text(l, "a_name"));
	printf(" - ");
	put_escaped(picture_text(l, "b_name"));
	printf(": %s, ", status);
	put_escaped(label);
	printf("</title></line>\n");
	if (d->edge_count > LABEL_LINKS_MAX)
		return;
	printf("<text x=\"%.0f\" y=\"%.0f\" class=\"link\">", (a->x + b->x) / 2, (a->y + b->y) / 2 - 4);
	put_escaped(label);
	printf("</text>\n");
}

static void
draw_node(const struct drawing *d, size_t i, const char *self)
{
	const json_t *n = json_array_get(d->nodes, i);
	const char *id = picture_text(n, "node_id"), *name = picture_text(n, "node_name");
	const char *status = picture_text(n, "status"), *text = name[0] != '\0' ? name : id;
	double width = (double)strlen(text) * CHAR_WIDTH + 24;
	char state[80];

	printf("<g><title>");
	put_escaped(id);
	picture_state(n, state, sizeof(state));
	printf(", %s", state);
	if (picture_text(n, "region_id")[0] != '\0')
		printf(", ");
	put_escaped(picture_text(n, "region_id"));
	printf("</title><rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%d\" rx=\"8\" fill=\"#ffffff\" "
	       "stroke=\"%s\" stroke-width=\"%d\"/><text x=\"%.0f\" y=\"%.0f\" class=\"node\">",
	    d->places[i].x - width / 2, d->places[i].y - BOX_HEIGHT / 2.0, width, BOX_HEIGHT,
	    picture_colour(status), strcmp(id, self) == 0 ? 3 : 1, d->places[i].x, d->places[i].y + 5);
	put_escaped(text);
	printf("</text></g>\n");
}

static void
draw(struct drawing *d, const json_t *mesh)
{
	double width, height;

	fit(d, &width, &height);
	printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
	       "height=\"%.0f\">\n<style>text{font-family:sans-serif;text-anchor:middle}"
	       ".node{font-size:13px;fill:#212529}.link{font-size:9px;fill:#495057}</style>\n"
	       "<rect width=\"100%%\" height=\"100%%\" fill=\"#f8f9fa\"/>\n<title>",
	    width, height, width, height);
	put_escaped(picture_text(mesh, "mesh_name"));
	printf("</title>\n");
	for (size_t i = 0; i < d->edge_count; i++)
		draw_link(d, i);
	for (size_t i = 0; i < d->count; i++)
		draw_node(d, i, picture_text(mesh, "node_id"));
	printf("</svg>\n");
}

/* --- what is drawn --- */

static size_t
find(const json_t *nodes, const char *id)
{
	const json_t *n;
	size_t i;

	json_array_foreach (nodes, i, n)
		if (strcmp(picture_text(n, "node_id"), id) == 0)
			return i;
	return SIZE_MAX;
}

/* Links with both ends among the nodes. */
static void
list_edges(struct drawing *d)
{
	for (size_t i = 0; i < json_array_size(d->links);) {
		const json_t *l = json_array_get(d->links, i);
		size_t a = find(d->nodes, picture_text(l, "a")), b = find(d->nodes, picture_text(l, "b"));

		if (a == SIZE_MAX || b == SIZE_MAX)
			json_array_remove(d->links, i);
		else
			d->edges[i++] = (struct edge){a, b};
	}
	d->edge_count = json_array_size(d->links);
}

int
picture_svg(const json_t *mesh)
{
	struct drawing d = {.nodes = json_object_get(mesh, "nodes"), .links = picture_links(mesh)};
	int err = -1;

	d.count = json_array_size(d.nodes);
	d.places = mem_calloc(d.count + 1, sizeof(*d.places));
	d.edges = mem_calloc(json_array_size(d.links) + 1, sizeof(*d.edges));
	if (d.count > PICTURE_NODES_MAX) {
		out_error("%zu nodes are too many to draw (at most %d): use --format dot", d.count,
		    PICTURE_NODES_MAX);
	} else if (d.places == NULL || d.edges == NULL) {
		out_error("out of memory");
	} else {
		list_edges(&d);
		arrange(&d);
		draw(&d, mesh);
		err = 0;
	}
	json_decref(d.links);
	mem_free(d.places);
	mem_free(d.edges);
	return err;
}
