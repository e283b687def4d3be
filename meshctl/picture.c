/* picture: links merged, and the graph for Graphviz; see picture.h. */
#include "meshctl/picture.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "meshctl/out.h"
#include "meshctl/picture_impl.h"

const char *
picture_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

json_int_t
picture_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* --- links: each end lists its own --- */

static json_t *
merged_new(const json_t *l)
{
	return json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O*}", "a",
	    json_object_get(l, "source_node_id"), "b", json_object_get(l, "target_node_id"), "a_name",
	    json_object_get(l, "source_name"), "b_name", json_object_get(l, "target_name"), "status",
	    json_object_get(l, "status"), "rtt_us", json_object_get(l, "rtt_us"), "cost",
	    json_object_get(l, "cost"), "loss_ppm", json_object_get(l, "loss_ppm"), "bandwidth_kbps",
	    json_object_get(l, "bandwidth_kbps"), "utilization_permille",
	    json_object_get(l, "utilization_permille"), "metadata", json_object_get(l, "metadata"));
}

/* The worse of both directions is what a link is like. */
static void
worse(json_t *merged, const json_t *l, const char *key, bool less)
{
	json_int_t have = picture_number(merged, key), other = picture_number(l, key);

	if (less ? other != 0 && (have == 0 || other < have) : other > have)
		json_object_set(merged, key, json_object_get(l, key));
}

static void
merge(json_t *merged, const json_t *l)
{
	json_object_set(merged, "cost_back", json_object_get(l, "cost"));
	if (json_object_get(l, "metadata") != NULL)
		json_object_set(merged, "metadata_back", json_object_get(l, "metadata"));
	worse(merged, l, "rtt_us", false);
	worse(merged, l, "loss_ppm", false);
	worse(merged, l, "bandwidth_kbps", true);
	worse(merged, l, "utilization_permille", false);
}

/* How busy the machines at both ends are, where that is known. */
static void
add_loads(const json_t *nodes, json_t *rows)
{
	json_t *loads = json_object(), *row;
	json_t *load;
	const json_t *n;
	size_t i;

	json_array_foreach (nodes, i, n)
		if ((load = json_object_get(n, "load_permille")) != NULL)
			json_object_set(loads, picture_text(n, "node_id"), load);
	json_array_foreach (rows, i, row) {
		if ((load = json_object_get(loads, picture_text(row, "a"))) != NULL)
			json_object_set(row, "a_load_permille", load);
		if ((load = json_object_get(loads, picture_text(row, "b"))) != NULL)
			json_object_set(row, "b_load_permille", load);
	}
	json_decref(loads);
}

json_t *
picture_links(const json_t *mesh)
{
	json_t *rows = json_array(), *index = json_object();
	const json_t *l;
	size_t i;

	json_array_foreach (json_object_get(mesh, "links"), i, l) {
		char there[64], back[64];
		const char *a = picture_text(l, "source_node_id"), *b = picture_text(l, "target_node_id");
		json_t *merged;

		snprintf(there, sizeof(there), "%.20s-%.20s", a, b);
		snprintf(back, sizeof(back), "%.20s-%.20s", b, a);
		if ((merged = json_object_get(index, back)) != NULL) {
			merge(merged, l);
			continue;
		}
		if ((merged = merged_new(l)) == NULL)
			continue;
		json_object_set(index, there, merged);
		json_array_append_new(rows, merged);
	}
	json_decref(index);
	add_loads(json_object_get(mesh, "nodes"), rows);
	return rows;
}

/* --- Graphviz --- */

static void
put_quoted(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

const char *
picture_colour(const char *state)
{
	if (strcmp(state, "alive") == 0 || strcmp(state, "up") == 0)
		return "#2b8a3e";
	if (strcmp(state, "suspect") == 0 || strcmp(state, "one-way") == 0)
		return "#e67700";
	return strcmp(state, "left") == 0 ? "#868e96" : "#c92a2a";
}

void
picture_state(const json_t *n, char *out, size_t size)
{
	const json_t *load = json_object_get(n, "load_permille");
	char text[32];

	if (load != NULL)
		snprintf(out, size, "%s, load %s", picture_text(n, "status"),
		    out_format(COLUMN_PERMILLE, load, text, sizeof(text)));
	else
		snprintf(out, size, "%s", picture_text(n, "status"));
}

static void
dot_node(const json_t *n, const char *self)
{
	const char *id = picture_text(n, "node_id"), *name = picture_text(n, "node_name");
	char state[80];

	printf("\t");
	put_quoted(id);
	printf(" [label=");
	put_quoted(name[0] != '\0' ? name : id);
	printf(", color=\"%s\"%s, tooltip=", picture_colour(picture_text(n, "status")),
	    strcmp(id, self) == 0 ? ", penwidth=3" : "");
	picture_state(n, state, sizeof(state));
	put_quoted(state);
	printf("];\n");
}

void
picture_label(const json_t *l, char *out, size_t size)
{
	char rtt[32], rate[32];

	out_format(COLUMN_US, json_object_get(l, "rtt_us"), rtt, sizeof(rtt));
	out_format(COLUMN_KBPS, json_object_get(l, "bandwidth_kbps"), rate, sizeof(rate));
	if (picture_number(l, "bandwidth_kbps") != 0)
		snprintf(out, size, "%s, %s", rtt, rate);
	else
		snprintf(out, size, "%s", rtt);
}

static void
dot_link(const json_t *l)
{
	char label[80];

	picture_label(l, label, sizeof(label));
	printf("\t");
	put_quoted(picture_text(l, "a"));
	printf(" -- ");
	put_quoted(picture_text(l, "b"));
	printf(" [label=");
	put_quoted(label);
	printf(", color=\"%s\"%s];\n", picture_colour(picture_text(l, "status")),
	    strcmp(picture_text(l, "status"), "up") == 0 ? "" : ", style=dashed");
}

void
picture_dot(const json_t *mesh)
{
	json_t *links = picture_links(mesh);
	const json_t *item;
	size_t i;

	printf("graph mesh {\n\tgraph [overlap=false, splines=true, label=");
	put_quoted(picture_text(mesh, "mesh_name"));
	printf("];\n\tnode [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
	       "\tedge [fontname=\"sans-serif\", fontsize=9];\n");
	json_array_foreach (json_object_get(mesh, "nodes"), i, item)
		dot_node(item, picture_text(mesh, "node_id"));
	json_array_foreach (links, i, item)
		dot_link(item);
	printf("}\n");
	json_decref(links);
}
