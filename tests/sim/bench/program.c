// SPDX-License-Identifier: ISC

#include "program.h"

#include "../time/lines.h"
#include "../time/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool guest_has_layer;

static const char help[] =
    "usage: sim program [--profile NAME] [--profiles FOLDER] [--cpus N] SUITE BENCHMARK [OPTION...]\n"
    "\n"
    "A benchmark of bench/SUITE on a simulated machine. It prints what the real one prints.\n"
    "\n"
    "  SUITE          tasks, glib (GThreadPool on smolscale), or glib-native (as GLib has it)\n"
    "  --profile NAME the machine (default: machine-a)\n"
    "  --stats        and what the simulator counted, on standard error\n"
    "  --lines N      and the N cache lines that were waited for longest\n";

struct program {
    int (*main)(int argc, char **argv);
    int argc;
    char **argv;
    int status;
};

static void *run(void *arg)
{
    struct program *program = arg;
    program->status = program->main(program->argc, program->argv);
    return NULL;
}

int sim_program(int argc, char **argv)
{
    const char *name = "machine-a", *folder = "tests/sim/time/profiles";
    unsigned cpus = 0, lines = 0;
    bool stats = false;
    int at = 0;
    for (; at < argc && argv[at][0] == '-'; at++) {
        bool more = at + 1 < argc;
        if (!strcmp(argv[at], "--profile") && more)
            name = argv[++at];
        else if (!strcmp(argv[at], "--profiles") && more)
            folder = argv[++at];
        else if (!strcmp(argv[at], "--cpus") && more)
            cpus = (unsigned)strtoul(argv[++at], NULL, 10);
        else if (!strcmp(argv[at], "--stats"))
            stats = true;
        else if (!strcmp(argv[at], "--lines") && more)
            lines = (unsigned)strtoul(argv[++at], NULL, 10);
        else
            return fputs(help, stderr), 2;
    }
    struct program program = {.argc = argc - at, .argv = argv + at};
    const char *suite = program.argc > 0 ? program.argv[0] : "";
    guest_has_layer = !strcmp(suite, "glib");
    if (!strcmp(suite, "costs"))
        program.main = guest_costs_main;
    else if (!strcmp(suite, "tasks"))
        program.main = guest_tasks_main;
    else if (!strncmp(suite, "glib", 4))
        program.main = guest_glib_main;
    if (!program.main)
        return fputs(help, stderr), 2;
    struct sim_profile profile;
    if (!sim_profile_read(&profile, folder, name))
        return 2;
    profile.cpus = cpus ? cpus : profile.cpus;
    if (!sim_time_run(&profile, run, &program)) {
        fprintf(stderr, "sim: %s\n", sim.failure);
        return 1;
    }
    if (stats) {
        struct sim_time_stats s = sim_time_stats();
        fprintf(
            stderr,
            "%.3f ms wall, %.3f ms CPU, %llu steps, %llu plain accesses, %llu calls, %llu wakes, "
            "%llu switches, %u threads\n",
            (double)s.end / 1e6, (double)s.cpu / 1e6, (unsigned long long)s.steps,
            (unsigned long long)s.plain, (unsigned long long)s.calls, (unsigned long long)s.wakes,
            (unsigned long long)s.switches, s.threads);
    }
    if (lines)
        sim_lines_print(lines);
    return program.status;
}
