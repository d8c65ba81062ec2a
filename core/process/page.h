// SPDX-License-Identifier: ISC
//
// The page by which `smolscale top` looks at a process (page.c writes it, cli/page.c reads it). Its
// layout only: plain numbers of fixed sizes, in the machine's own order.
//
// A reader asks, and the process answers:
//
//   1. The reader says in `again` when it will ask again, adds 1 to `request` and wakes the thread
//      that sleeps on it. (A futex of the file:
//      the reader maps it for that call alone. It reads and writes by pread() and pwrite(), which
//      fail where the file has been cut short; an access would end it by SIGBUS.)
//   2. A thread of the process, which sleeps until then, writes the body, and then puts the number
//      that it has seen into `answered`, and wakes the readers that sleep on that.
//   3. The reader takes the body. It holds if `sequence` was even before it was read and is the
//      same after that: another reader may have asked meanwhile.
//
// So nothing is written unless somebody looks, and no thread of the process wakes up by itself.
// Where a reader comes again, the process also measures how long some of its jobs wait, until then
// and for SS_PAGE_GRACE_S more. Then that thread wakes up once, and ends it.
//
// Two readers that ask at the same moment are answered at once; one whose number was overwritten
// asks again when some time has passed.
//
// The reader takes nothing for granted: the file may be anything.

#ifndef SS_PAGE_H
#define SS_PAGE_H

#include <stdint.h>

#define SS_PAGE_MAGIC   "smolscl"
#define SS_PAGE_VERSION 3u // of the layout: changes with any other change of this file

#define SS_PAGE_AGAIN_MAX 3600u // s; what is more counts as that
#define SS_PAGE_GRACE_S   5u

#define SS_PAGE_WORKERS 256u
#define SS_PAGE_QUEUES  128u

struct ss_page_head {
    char magic[8];             // with the zero at its end
    uint32_t version;          // SS_PAGE_VERSION
    uint32_t size;             // bytes: of the whole page
    int32_t pid;               // in the process' own pid namespace
    int32_t tid;               // of the thread that answers: it ends with exec(), the page does not
    _Atomic uint32_t request;  // futex word: written by readers
    _Atomic uint32_t answered; // futex word: written by the process
    _Atomic uint32_t sequence; // odd while the body is written
    _Atomic uint32_t again;    // s until the reader's next request; 0: none follows. By readers
};

enum ss_page_state {
    SS_PAGE_STARTING, // as enum ss_worker_state (sched/view.h)
    SS_PAGE_LOOKING,
    SS_PAGE_IN_JOB,
    SS_PAGE_BLOCKED,
    SS_PAGE_HOG,
    SS_PAGE_NAPPING,
    SS_PAGE_PARKED,
    SS_PAGE_STATES,
};

enum ss_page_kind {
    SS_PAGE_NOTHING,
    SS_PAGE_QUEUE, // a work queue
    SS_PAGE_TASKS, // a lane of tasks
    SS_PAGE_LOOP,  // a parallel call
    SS_PAGE_KINDS,
};

struct ss_page_worker {
    int32_t tid;    // 0: it has no thread yet
    uint8_t state;  // enum ss_page_state
    uint8_t serves; // enum ss_page_kind
    uint8_t unused[2];
    uint64_t queue;   // number of the queue that it serves; 0: none, or one that is not listed
    uint64_t started; // jobs and runnables that it has begun
};

// The look did not get the queue's lock soon. `ended`, `mean`, `active`, `blocked` and `max_active`
// are 0.
#define SS_PAGE_UNSEEN 0x80000000u

struct ss_page_queue {
    uint64_t number;  // from 1 on; no other queue of the process ever has it
    uint64_t parent;  // 0: none
    uint64_t pending; // not started
    uint64_t ended;   // jobs that have run
    uint64_t mean;    // of recent jobs' duration, ns; 0: not known
    // Time in queue of recent jobs of its pool (trace/recent.h), and of how many, by samples. All
    // queues of the same layer and function are one pool. `waits` 0: it was not measured.
    uint64_t waits, wait_p50, wait_p99, wait_max; // jobs; ns
    uint32_t active, blocked; // workers that serve it; of these, known to be asleep
    uint32_t max_active;      // SMOLSCALE_UNLIMITED: none
    uint32_t flags;           // SMOLSCALE_QUEUE_*, SS_PAGE_UNSEEN
    char name[16];            // of its threads, zero at its end; empty: none
    char object[32];          // the file whose code its jobs are, zero at its end
};

enum ss_page_counter {
    SS_PAGE_JOBS, // as in struct smolscale_stats
    SS_PAGE_WAKES,
    SS_PAGE_WAKES_SAVED,
    SS_PAGE_NAPS,
    SS_PAGE_TICKS,
    SS_PAGE_TAKEBACKS,
    SS_PAGE_COMPENSATIONS,
    SS_PAGE_WORKERS_CREATED,
    SS_PAGE_WORKERS_RETIRED,
    SS_PAGE_CREATE_FAILURES,
    SS_PAGE_WORKERS_PEAK,
    SS_PAGE_COUNTERS,
};

struct ss_page_body {
    uint64_t time; // CLOCK_MONOTONIC when it was taken, ns
    uint64_t counters[SS_PAGE_COUNTERS];
    uint64_t queues;                                   // all that exist
    uint32_t workers, parked, blocked, hogs, arriving; // of all groups
    uint32_t groups, injected, cpus;
    uint32_t balancer;     // enum ss_balancer_state
    uint32_t elastic;      // 1: the policy is so
    uint32_t worker_count; // listed below; 256 at most
    uint32_t queue_count;  // listed below; 128 at most
    struct ss_page_worker worker[SS_PAGE_WORKERS];
    struct ss_page_queue queue[SS_PAGE_QUEUES];
};

struct ss_page {
    struct ss_page_head head;
    struct ss_page_body body;
};

#endif // SS_PAGE_H
