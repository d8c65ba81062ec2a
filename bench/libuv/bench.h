// SPDX-License-Identifier: ISC
//
// The benchmarks of bench-libuv, one function each; main.c has the list.

#ifndef SMOLSCALE_BENCH_LIBUV_H
#define SMOLSCALE_BENCH_LIBUV_H

#include "../measure.h"

#include <uv.h>

void bench_work(int argc, char **argv);
void bench_loops(int argc, char **argv);
void bench_stat(int argc, char **argv);
void bench_read(int argc, char **argv);
void bench_trip(int argc, char **argv);
void bench_behind(int argc, char **argv);
void bench_part_load(int argc, char **argv);

// Ends the program unless `result` is at least 0; `what` names the call.
void check(int result, const char *what);

// Runs the loop until it has nothing left, and closes it.
void run_and_close(uv_loop_t *loop);

#endif
