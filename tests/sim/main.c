// SPDX-License-Identifier: ISC
//
// The command: sim explore, sim list. What it prints ends with "N passed, N failed".

#include "explore/explore.h"
#include "bench/program.h"
#include "time/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "usage: sim explore [PROGRAM...] [OPTION...]\n"
    "       sim list\n"
    "\n"
    "  --preemptions N     all schedules with at most N preemptions (default 2)\n"
    "  --seconds N         of CPU for each program and each strategy at most (default 10)\n"
    "  --steps N           the same in steps: as many runs on each machine (default: no limit)\n"
    "  --seed N            of the random strategies (default 1)\n"
    "  --strategy NAMES    some alone, with commas between them: random, pct, complete, turns\n"
    "  --faults            calls and allocations fail, too\n"
    "  --buffers           stores are seen late, as on x86 (TSO)\n"
    "  --weak              and out of order, as on arm64\n"
    "  --replay SCHEDULE   one run of one program, each step printed\n"
    "  --unpruned          cut no run short that comes to a known state: the ends must be as many\n"
    "  --check-pruning     run the complete search with and without cutting runs short: do they come\n"
    "                      to the same ends?\n"
    "  --until-failure     end with the first program that fails, and don't shrink\n"
    "  --quiet             print failures only\n";

double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct options options = {.preemptions = 2, .seconds = 10, .steps = UINT64_MAX, .seed = 1};
static const char *only, *replay; // strategies, schedule
static bool until_failure, check_pruning;
static unsigned passed, failed;

static const char *mode(void)
{
    static char text[64];
    snprintf(text, sizeof text, "%s%s%s", options.faults ? " --faults" : "",
             options.weak            ? " --weak"
             : options.store_buffers ? " --buffers"
                                     : "",
             "");
    return text;
}

static void report_failure(const struct sim_program *program, const char *strategy,
                           struct outcome *outcome)
{
    static char text[WAYS_MAX * 16];
    unsigned before = outcome->schedule.count;
    if (!until_failure)
        explore_shrink(program, &options, outcome);
    schedule_print(&outcome->schedule, text, sizeof text);
    printf(
        "FAILED  %s: %s%s%s (%s, run %llu, seed %llu; %u ways, of %u)\n        again: ./dev sim explore %s%s --replay '%s'\n",
        program->name, outcome->failure, outcome->turn ? " when " : "",
        outcome->turn ? outcome->turn : "", strategy, (unsigned long long)outcome->runs,
        (unsigned long long)options.seed, outcome->schedule.count, before, program->name, mode(),
        text);
    failed++;
}

// Is it among the words between commas?
static bool is_listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

typedef void explore_fn(const struct sim_program *, const struct options *, struct outcome *);

static bool explore_with(const struct sim_program *program, const char *strategy, explore_fn *how)
{
    static struct outcome outcome;
    if (only && !is_listed(only, strategy))
        return true;
    memset(&outcome, 0, sizeof outcome);
    double start = seconds_now();
    how(program, &options, &outcome);
    if (!options.quiet) {
        printf("%-16s %-9s %9llu runs", program->name, strategy, (unsigned long long)outcome.runs);
        if (how == explore_completely)
            printf(", %9llu states, %llu ends, %u preemptions: %s",
                   (unsigned long long)outcome.states, (unsigned long long)outcome.ends,
                   options.preemptions, outcome.complete ? "complete" : "NOT complete");
        if (how == explore_in_turn)
            printf(", %9llu turns in %llu rounds: %s", (unsigned long long)outcome.turns,
                   (unsigned long long)outcome.rounds, outcome.complete ? "each" : "a part");
        printf("  [%.1f s, %llu steps a run]\n", seconds_now() - start,
               (unsigned long long)(outcome.runs ? outcome.steps / outcome.runs : 0));
        fflush(stdout);
    }
    if (outcome.failed)
        report_failure(program, strategy, &outcome);
    else
        passed++;
    return !outcome.failed;
}

static int explore_program(const struct sim_program *program)
{
    if (replay) {
        static struct schedule schedule;
        if (!schedule_parse(replay, &schedule)) {
            fprintf(stderr, "sim: not a schedule: %s\n", replay);
            return 2;
        }
        options.trace = true;
        enum sim_verdict verdict = explore_replay(program, &options, &schedule);
        printf("%s\n", verdict == SIM_FAILED ? sim.failure : "nothing failed");
        return verdict == SIM_FAILED;
    }
    bool good = explore_with(program, "random", explore_randomly) &&
                (program->fair || explore_with(program, "pct", explore_by_priority)) &&
                explore_with(program, "complete", explore_completely) &&
                (program->fair || explore_with(program, "turns", explore_in_turn));
    return !good;
}

static bool is_wanted(const struct sim_program *program, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], program->name) == 0)
            return true;
    return count == 0;
}

static int explore(char **names, int count)
{
    int status = 0, found = 0;
    for (const struct sim_program *const *program = sim_programs; *program; program++)
        if (is_wanted(*program, names, count) && !(until_failure && failed)) {
            status |= explore_program(*program);
            found++;
        }
    if (found == 0 || (count > 0 && found < count)) {
        fprintf(stderr, "sim: no such program; see: ./dev sim list\n");
        return 2;
    }
    if (!replay)
        printf("%u passed, %u failed\n", passed, failed);
    return status | (failed > 0);
}

// Cutting runs short loses no end that the complete search comes to.
static int check(char **names, int count)
{
    options.seconds = 600;
    for (const struct sim_program *const *program = sim_programs; *program; program++) {
        static struct outcome cut, whole;
        if (!is_wanted(*program, names, count))
            continue;
        memset(&cut, 0, sizeof cut);
        memset(&whole, 0, sizeof whole);
        options.unpruned = false;
        explore_completely(*program, &options, &cut);
        options.unpruned = true;
        explore_completely(*program, &options, &whole);
        bool good = cut.complete && whole.complete && cut.ends == whole.ends;
        printf("%s%s: %llu ends in %llu runs; %llu in %llu when none is cut short\n",
               good ? "" : "FAILED  ", (*program)->name, (unsigned long long)cut.ends,
               (unsigned long long)cut.runs, (unsigned long long)whole.ends,
               (unsigned long long)whole.runs);
        passed += good;
        failed += !good;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}

static int list(void)
{
    for (const struct sim_program *const *program = sim_programs; *program; program++)
        printf("%-16s %s\n", (*program)->name, (*program)->what);
    return 0;
}

// The same addresses in each process: what is seen is reproduced.
static void without_randomisation(char **argv)
{
    int now = personality(0xffffffff);
    if (now < 0 || (now & ADDR_NO_RANDOMIZE) ||
        personality((unsigned long)now | ADDR_NO_RANDOMIZE) < 0)
        return;
    execv("/proc/self/exe", argv);
}

static const char *value_of(char **argv, int argc, int *i)
{
    if (*i + 1 >= argc) {
        fprintf(stderr, "sim: %s wants a value\n", argv[*i]);
        exit(2);
    }
    return argv[++*i];
}

int main(int argc, char **argv)
{
    char *names[64];
    int count = 0;
    without_randomisation(argv);
    if (argc > 1 && !strcmp(argv[1], "bench"))
        return sim_begin(), sim_bench(argc - 2, argv + 2);
    if (argc > 1 && !strcmp(argv[1], "program"))
        return sim_begin(), sim_program(argc - 2, argv + 2);
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--preemptions"))
            options.preemptions = (unsigned)strtoul(value_of(argv, argc, &i), NULL, 10);
        else if (!strcmp(argv[i], "--steps"))
            options.steps = strtoull(value_of(argv, argc, &i), NULL, 10);
        else if (!strcmp(argv[i], "--seconds"))
            options.seconds = strtod(value_of(argv, argc, &i), NULL);
        else if (!strcmp(argv[i], "--seed"))
            options.seed = strtoull(value_of(argv, argc, &i), NULL, 10);
        else if (!strcmp(argv[i], "--strategy"))
            only = value_of(argv, argc, &i);
        else if (!strcmp(argv[i], "--replay"))
            replay = value_of(argv, argc, &i);
        else if (!strcmp(argv[i], "--faults"))
            options.faults = true;
        else if (!strcmp(argv[i], "--buffers"))
            options.store_buffers = true;
        else if (!strcmp(argv[i], "--weak"))
            options.store_buffers = options.weak = true;
        else if (!strcmp(argv[i], "--unpruned"))
            options.unpruned = true;
        else if (!strcmp(argv[i], "--check-pruning"))
            check_pruning = true;
        else if (!strcmp(argv[i], "--until-failure"))
            until_failure = true;
        else if (!strcmp(argv[i], "--quiet"))
            options.quiet = true;
        else if (argv[i][0] != '-' && count < 64)
            names[count++] = argv[i];
        else {
            fputs(help, stderr);
            return 2;
        }
    }
    sim_begin();
    if (argc > 1 && !strcmp(argv[1], "explore") && check_pruning)
        return check(names, count);
    if (argc > 1 && !strcmp(argv[1], "explore"))
        return explore(names, count);
    if (argc > 1 && !strcmp(argv[1], "list"))
        return list();
    fputs(help, argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
    return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
}
