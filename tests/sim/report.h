/*
 * report: figures of networks of several sizes, side by side, as a table or as JSON.
 */
#ifndef TESTS_SIM_REPORT_H
#define TESTS_SIM_REPORT_H

#include <stdint.h>
#include <stddef.h>

struct figures;

void report_table(struct figures *f, size_t count);
void report_json(struct figures *f, size_t count);

#endif
