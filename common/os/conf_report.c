/* conf_report: errors of a configuration, one line each. */
#include <stdarg.h>

#include "common/base/err.h"
#include "common/os/conf_impl.h"

void
conf_complain(struct conf_report *r, const char *file, unsigned line, const char *fmt, ...)
{
	va_list ap;

	if (r->fatal)
		return;
	r->count++;
	if (r->count > CONF_ERRORS_MAX) {
		fprintf(r->out, "too many errors\n");
		r->fatal = true;
		return;
	}
	if (file != NULL && line != 0)
		fprintf(r->out, "%s:%u: ", file, line);
	else if (file != NULL)
		fprintf(r->out, "%s: ", file);
	va_start(ap, fmt);
	vfprintf(r->out, fmt, ap);
	va_end(ap);
	fputc('\n', r->out);
}

void
conf_nomem(struct conf_report *r)
{
	conf_complain(r, NULL, 0, "%s", err_text(ERR_NOMEM));
	r->fatal = true;
}
