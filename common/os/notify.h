/*
 * notify: sd_notify(3) as one datagram, and the watchdog interval.
 */
#ifndef COMMON_OS_NOTIFY_H
#define COMMON_OS_NOTIFY_H

#include <stdint.h>

/* Opens the socket named by NOTIFY_SOCKET, before the sandbox; without one all calls do nothing. */
void notify_open(void);
void notify_ready(void);
void notify_stopping(void);
void notify_reloading(void);
void notify_watchdog(void);
/* One line for `systemctl status`. */
void notify_status(const char *text);
/* Half of WATCHDOG_USEC in milliseconds, 0 if there is no watchdog. */
uint32_t notify_watchdog_ms(void);

#endif
