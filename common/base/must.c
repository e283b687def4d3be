#include "common/base/must.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
say(const char *s)
{
	/* The process ends in any case: a failed write changes nothing. */
	if (write(STDERR_FILENO, s, strlen(s)) < 0)
		return;
}

static void
say_number(unsigned n)
{
	char text[16], *p = text + sizeof(text) - 1;

	*p = '\0';
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	say(p);
}

/* No stdio: it must work in a sandbox, with a corrupt heap, and in the lowest tier. */
_Noreturn void
must_fail(const char *file, int line, const char *expr)
{
	say(file);
	say(":");
	say_number((unsigned)line);
	say(": MUST(");
	say(expr);
	say(") does not hold\n");
	abort();
}
