// SPDX-License-Identifier: ISC
//
// One look of `smolscale top` at a process: its page, what the kernel says of its threads, and what
// has changed since the look before. And what is shown of it, as lines of text or as JSON.

#ifndef SMOLSCALE_CLI_LOOK_H
#define SMOLSCALE_CLI_LOOK_H

#include "page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

// What a worker does, as it is shown. Blocked: in user code, and asleep in the kernel.
enum doing { STARTING, LOOKING, RUNNING, BLOCKED, NAPPING, PARKED, DOINGS };

#define NO_RATE (-1.0) // not known

struct worker_look {
    const struct ss_page_worker *worker;
    enum doing doing;
    char name[16]; // of the thread; empty: not known
    double rate;   // jobs and runnables begun a second
};

struct queue_look {
    const struct ss_page_queue *queue;
    double rate;      // jobs ended a second
    uint64_t time;    // of the look that found how many had; ns; 0: none has yet
    unsigned blocked; // of the workers that are listed, those that serve it and are blocked
};

struct look {
    pid_t pid;
    char command[256];
    struct ss_page_body body;
    double interval; // s since the look before; 0: there was none
    double rates[SS_PAGE_COUNTERS];
    unsigned doing[DOINGS]; // workers, of those listed
    struct worker_look worker[SS_PAGE_WORKERS];
    struct queue_look queue[SS_PAGE_QUEUES];
};

enum sort { BY_WAITING, BY_RATE, BY_MEAN, BY_NUMBER, SORTS };

// The words of --sort; NULL behind the last.
extern const char *const sort_words[SORTS + 1];

// Takes a look. `before`: the one before, NULL: none. `again` and the result are page_ask()'s.
char *look_take(struct look *look, struct page *page, const struct look *before, double again,
                bool *ended);

// Part of that: what is found of the queues, against the look before, which may be NULL.
void look_at_queues(struct look *look, const struct look *before);

void look_sort(struct look *look, enum sort sort);

// What the lines have room in.
struct room {
    unsigned width; // 0: any. In a narrow one tables have fewer columns, and lists more lines.
    bool low;       // lists have one line each, and end earlier
};

// Writes lines of text. `line` is called with each, whether it is the heading of a table, and `to`.
// What has no place to break, like the command, may be wider than there is room.
void look_write(const struct look *look, struct room room,
                void (*line)(void *to, bool heading, const char *text), void *to);

void look_write_json(const struct look *look, FILE *file);

// The command line of a process, cut, with '?' for what cannot be printed.
void look_command(pid_t pid, char *text, size_t size);

#endif // SMOLSCALE_CLI_LOOK_H
