/* notify: what the service manager is told. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os/notify.h"

static int manager;

static const char *
heard(void)
{
	static char text[512];
	ssize_t n = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void
test_nobody(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_open();
	notify_ready();
	assert_int_equal(notify_watchdog_ms(), 0);
}

static void
manager_open(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char name[64];
	int len = snprintf(name, sizeof(name), "@test_notify.%d", (int)getpid());

	memcpy(sun.sun_path, name, (size_t)len);
	sun.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
	    0);
	setenv("NOTIFY_SOCKET", name, 1);
}

static void
test_messages(void **state)
{
	(void)state;
	manager_open();
	setenv("WATCHDOG_USEC", "30000000", 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 15000);
	notify_ready();
	assert_string_equal(heard(), "READY=1\n");
	notify_stopping();
	assert_string_equal(heard(), "STOPPING=1\n");
	notify_watchdog();
	assert_string_equal(heard(), "WATCHDOG=1\n");
	notify_status("3 links\nREADY=1");
	assert_string_equal(heard(), "STATUS=3 links READY=1\n");
	notify_reloading();
	assert_memory_equal(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27);
}

static void
test_watchdog_of_another(void **state)
{
	(void)state;
	setenv("WATCHDOG_PID", "1", 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 0);
	unsetenv("WATCHDOG_PID");
	setenv("WATCHDOG_USEC", "12 monkeys", 1);
	notify_open();
	assert_int_equal(notify_watchdog_ms(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nobody),
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test(test_watchdog_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
