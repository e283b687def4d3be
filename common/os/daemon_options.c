/* daemon_options: the command line, the same for the four daemons. */
#include <stdio.h>
#include <unistd.h>

#include "common/os/daemon_impl.h"

#define CONF_PATH_DEFAULT "/etc/mesh/mesh.conf"

const char mesh_version[] = MESH_VERSION;

static void
usage(const struct daemon_def *def, FILE *out)
{
	fprintf(out,
	    "usage: %s [-dhnTV] [-c file]\n"
	    "%s\n\n"
	    "  -c file  configuration (default %s)\n"
	    "  -d       log at debug level\n"
	    "  -n       check the configuration, print it normalised and exit\n"
	    "  -T       trap forbidden system calls instead of killing: developers only\n"
	    "  -V       print the version and exit\n"
	    "  -h       print this and exit\n",
	    def->name, def->summary, CONF_PATH_DEFAULT);
}

bool
daemon_options_parse(
    struct daemon_options *o, const struct daemon_def *def, int argc, char **argv, int *status)
{
	int c;

	*o = (struct daemon_options){.conf_path = CONF_PATH_DEFAULT};
	*status = DAEMON_OK;
	while ((c = getopt(argc, argv, "c:dhnTV")) != -1) {
		if (c == 'c') {
			o->conf_path = optarg;
		} else if (c == 'd') {
			o->debug = true;
		} else if (c == 'n') {
			o->check = true;
		} else if (c == 'T') {
			o->trap = true;
		} else if (c == 'V') {
			printf("%s %s\n", def->name, mesh_version);
			return false;
		} else {
			*status = c == 'h' ? DAEMON_OK : DAEMON_USAGE;
			usage(def, c == 'h' ? stdout : stderr);
			return false;
		}
	}
	if (optind == argc)
		return true;
	fprintf(stderr, "%s: unexpected argument '%s'\n", def->name, argv[optind]);
	usage(def, stderr);
	*status = DAEMON_USAGE;
	return false;
}
