// SPDX-License-Identifier: ISC
//
// The benchmarks of the GThreadPool layer: a program that knows GLib's API alone. It is run
// natively and, the same binary, with the layer preloaded. Each function here is one kind of work
// and prints its figures; main.c has the table of names.

#ifndef SMOLSCALE_BENCH_GLIB_H
#define SMOLSCALE_BENCH_GLIB_H

#include "../measure.h"

#include <glib.h>

// throughput.c
void bench_empty(int argc, char **argv);
void bench_bursts(int argc, char **argv);
void bench_producers(int argc, char **argv);
void bench_gated(int argc, char **argv);
void bench_sorted(int argc, char **argv);
void bench_sleeping(int argc, char **argv);
void bench_spinning(int argc, char **argv);

// latency.c
void bench_round_trip(int argc, char **argv);
void bench_part_load(int argc, char **argv);
void bench_churn(int argc, char **argv);
void bench_mutual(int argc, char **argv);

// gtask.c
void bench_gtask(int argc, char **argv);

// startup.c
void bench_startup(int argc, char **argv);

// A pool, or the end of the program with GLib's message.
GThreadPool *new_pool(GFunc function, gpointer data, long max_threads, gboolean exclusive);

// Queues one item; an error of the pool (it could not start a thread) ends the program.
void push(GThreadPool *pool, gpointer item);

#endif
