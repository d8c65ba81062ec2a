// SPDX-License-Identifier: ISC
//
// Runs a command once and says what it took.

#ifndef SMOLSCALE_CLI_MEASURE_H
#define SMOLSCALE_CLI_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_SIZE = 32 }; // SHA-256

struct output {
    uint64_t size;
    unsigned char hash[HASH_SIZE];
};

struct measurement {
    int status;     // as wait(2) gives it
    bool timed_out; // it was killed because its time was over
    double wall;    // seconds, from fork to end
    // Of the command and its descendants, as far as they were waited for:
    double cpu;      // seconds, user and system
    double switches; // context switches
    double memory;   // bytes; the largest resident set of one process
    // Of the command and its descendants, as far as they were seen in a sample:
    double threads; // most at once
    struct output out, err;
};

struct run {
    char **command;
    char **environment;
    int input;         // standard input of the command; a file is read from its beginning
    double time_limit; // seconds; 0: none
};

// Once, before the first measurement: SIGINT, SIGTERM and SIGHUP end the command that is measured,
// and then this process by measure_interrupted().
void measure_init(void);

// Returns 0, a negative errno if the command cannot be executed, or -EINTR if a signal asked this
// process to end; then the command has been killed.
int measure(const struct run *run, struct measurement *out);

// Ends this process by the signal that measure() noticed.
_Noreturn void measure_interrupted(void);

#endif // SMOLSCALE_CLI_MEASURE_H
