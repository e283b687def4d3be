/* MUST: ends the process with SIGABRT and says where. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/must.h"

static void
die_with_stderr(int fd)
{
	signal(SIGABRT, SIG_DFL);
	dup2(fd, STDERR_FILENO);
	must_fail("some/file.c", 1203, "a == b");
}

static void
test_fail_says_where_and_aborts(void **state)
{
	char text[256] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		die_with_stderr(fds[1]);
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	close(fds[0]);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_string_equal(text, "some/file.c:1203: MUST(a == b) does not hold\n");
}

static void
test_holds(void **state)
{
	int calls = 0;

	(void)state;
	MUST(++calls == 1);
	assert_int_equal(calls, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fail_says_where_and_aborts),
	    cmocka_unit_test(test_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
