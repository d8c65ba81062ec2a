// SPDX-License-Identifier: ISC
//
// The command "sim program": the benchmarks of bench/ themselves, their sources unchanged, on the
// simulated machine.

#ifndef SIM_BENCH_PROGRAM_H
#define SIM_BENCH_PROGRAM_H

#include <stdbool.h>

int sim_program(int argc, char **argv);

// Their main functions.
int guest_costs_main(int argc, char **argv);
int guest_tasks_main(int argc, char **argv);
int guest_glib_main(int argc, char **argv)
    __attribute__((weak)); // NULL: built without GLib's headers

// GThreadPool is smolscale's layer; else a pool as GLib's own.
extern bool guest_has_layer;

#endif // SIM_BENCH_PROGRAM_H
