// SPDX-License-Identifier: ISC
//
// bench-libuv NAME [--option value]...: runs one benchmark and prints its figures. The same sources
// make bench-libuv, which links libuv.so and runs natively or preloaded, and bench-libuv-relinked.

#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(int argc, char **argv);
    const char *help;
} benchmarks[] = {
    {"work", bench_work, "--jobs N --in-flight N: empty uv_queue_work jobs from one loop"},
    {"loops", bench_loops,
     "--jobs N --in-flight N --loops N: the same from several loops in threads"},
    {"stat", bench_stat, "--jobs N --in-flight N: uv_fs_stat of one file"},
    {"read", bench_read, "--jobs N --in-flight N: uv_fs_read of 4 KiB of a cached file"},
    {"trip", bench_trip, "--trips N --idle-us N: one job at a time, each waited for"},
    {"behind", bench_behind,
     "--slow N --ms N --stats N --compute 0|1 --elastic 0|1: uv_fs_stat behind slow jobs"},
    {"part-load", bench_part_load, "--rate N --us N --seconds N --pool 0|1: a paced producer"},
};

void check(int result, const char *what)
{
    if (result < 0)
        fail("%s: %s", what, uv_strerror(result));
}

void run_and_close(uv_loop_t *loop)
{
    check(uv_run(loop, UV_RUN_DEFAULT), "uv_run");
    check(uv_loop_close(loop), "uv_loop_close");
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof benchmarks / sizeof benchmarks[0]; i++) {
        if (strcmp(argv[1], benchmarks[i].name) == 0) {
            if (option(argc, argv, "elastic", 0) != 0)
                setenv("SMOLSCALE_POLICY", "elastic", 1);
            benchmarks[i].run(argc, argv);
            return 0;
        }
    }
    fputs("usage: bench-libuv NAME [--option value]...\n", stderr);
    for (size_t i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++)
        fprintf(stderr, "  %-11s %s\n", benchmarks[i].name, benchmarks[i].help);
    return 2;
}
