// SPDX-License-Identifier: ISC
//
// The simulated machine. The core's real sources run on it: each of their threads is a coroutine of
// one thread of the real machine, and time is a number. A run is determined by what its *driver*
// decides.
//
//   seam/      base/atomic.h and os/ticks.h in place of the core's: an atomic operation is a *step*
//   machine/   threads, memory, and the kernel behind core/os: what steps and calls do
//   explore/   the driver that tries schedules, one after the other
//   time/      the driver that counts time: CPUs, run queues, costs
//   programs/  what runs: small programs over the core, with what must hold
//
// A driver is asked at each step whether the thread goes on, and which one runs when it cannot. It
// is told of each step's kind and address, and of threads that sleep and wake, so that it can
// count.
//
// All here is one struct and one region of memory, so that a run begins by copying.

#ifndef SIM_H
#define SIM_H

#include "base/atomic.h"
#include "os/os.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- threads

enum sim_state { SIM_RUNNABLE, SIM_ASLEEP, SIM_ENDED };

// What a thread waits for.
enum sim_wait { SIM_NO_WAIT, SIM_FUTEX, SIM_POLL, SIM_REST, SIM_JOIN };

// A store that other CPUs do not see yet.
struct sim_stored {
    volatile void *p;
    uint64_t value;
    unsigned size;
    enum sim_order order;
    uint64_t hash; // of the thread when it was issued
};

#define SIM_STORES_MAX 8
#define SIM_KEYS_MAX   4
#define SIM_LOCAL_MAX  256

struct sim_guard {
    void (*cleanup)(void *);
    void *arg;
    struct sim_guard *outer;
};

struct sim_thread {
    unsigned id; // from 1; its tid is the same
    enum sim_state state;
    void *context;
    void *(*main)(void *);
    void *arg;

    // asleep
    enum sim_wait wait;
    const void *word;   // of a futex; or the thread that is joined
    struct pollfd *fds; // of a poll
    unsigned fd_count;
    uint64_t until; // SS_FOREVER: no limit
    bool time_up;
    uint64_t still_until; // stands still where it is; 0: it does not
    bool still_asleep;    // as a thread that waits for a page does, and /proc shows it
    bool placed;
    int nice;                   // as created
    uint64_t asleep_since_turn; // order of the sleepers

    // spinning
    bool spins;                     // has found nothing new: others first
    bool spins_out;                 // goes on spinning all the same
    const volatile void *looked_at; // loaded last
    unsigned looked_size;

    struct sim_stored stores[SIM_STORES_MAX];
    unsigned store_count;

    bool joinable, joined;
    bool dead; // does not exist in the child of a fork()
    struct sim_guard *guard;
    void *keys[SIM_KEYS_MAX];
    int saved_errno;
    uint64_t hash; // of all that has led to where it is
    uint64_t steps;
    uint64_t sleeps;
    uint64_t slack;            // of its timers, ns; 0: what the kernel gives
    uint64_t cpu_ns;           // kept by a driver that counts time
    int priority;              // of the driver
    int cpu;                   // of the driver
    struct sim_thread *queued; // of the driver: next in a run queue
    unsigned char local[SIM_LOCAL_MAX];
};

#define SIM_THREADS_MAX 20000u

// ---- steps

enum sim_kind {
    SIM_OP_LOAD,
    SIM_OP_STORE,
    SIM_OP_RMW,
    SIM_OP_FENCE,
    SIM_OP_CALL, // of the kernel
    SIM_OP_CREATE,
    SIM_OP_MEMORY,
    SIM_OP_RELAX, // spins
    SIM_OP_WORK,  // computes for `ns`
    SIM_OP_CLOCK, // reads it
    SIM_OP_PLAIN, // no step: a plain access
};

struct sim_op {
    enum sim_kind kind;
    const volatile void *p;
    unsigned size;
    enum sim_order order;
    uint64_t ns;      // of SIM_OP_WORK
    const char *what; // of SIM_OP_CALL; of SIM_OP_CLOCK if it is the counter that is read
    const void *at;   // code that makes the step; NULL: not known
};

// What may go wrong, or another way. The first option, 0, is the usual one.
enum sim_choice {
    SIM_CHOOSE_ACTION,     // of the program: what it does next
    SIM_CHOOSE_SPURIOUS,   // a wait returns for no reason
    SIM_CHOOSE_WEAK,       // a weak compare-and-swap fails
    SIM_CHOOSE_THREAD,     // no thread can be created; from here on: calls that fail
    SIM_CHOOSE_MEMORY,     // no memory
    SIM_CHOOSE_MEMBARRIER, // it is forbidden since it was registered
    SIM_CHOOSE_PROC,       // /proc is gone
    SIM_CHOOSE_EVENTS,   // no descriptor is left for epoll or an eventfd, or no memory to watch one
    SIM_CHOOSE_AFFINITY, // a thread's CPUs cannot be set
    SIM_CHOICES,
};

struct sim_driver {
    // The running thread is about to make this step. May call sim_go_on().
    void (*step)(struct sim_thread *self, const struct sim_op *op);
    // It is about to make a plain access, which is no step: its time is part of the next step's.
    // May call sim_give_way(). May be NULL.
    void (*plain)(struct sim_thread *self, const void *p, bool writes, const void *at);
    // Which thread is next? The one that ran is asleep, has ended, or gave way. NULL: the run is
    // over.
    struct sim_thread *(*next)(void);
    // One of `count` ways.
    unsigned (*choose)(enum sim_choice what, unsigned count);
    uint64_t (*now)(void);
    void (*asleep)(struct sim_thread *thread); // may be NULL, as the next two
    void (*awake)(struct sim_thread *thread, struct sim_thread *waker);
    void (*created)(struct sim_thread *thread, struct sim_thread *creator);

    // Of a driver that counts time: it explores nothing, so what leads to a state is not kept.
    bool counts_time;
    uint64_t (*cpu_time)(const struct sim_thread *thread);
    bool (*place)(struct sim_thread *thread, int cpu, bool on); // as ss_os.place()
    void (*release)(struct sim_thread *thread);
};

// ---- a run

enum sim_verdict { SIM_GOOD, SIM_FAILED, SIM_PRUNED };

struct sim_config {
    unsigned cpus;
    bool store_buffers; // TSO
    bool weak;          // stores leave the buffer out of order, too; and weak operations may fail
    bool no_membarrier;
    bool reuses_memory; // freed memory is given out again
    uint64_t steps_max;
};

struct sim_machine {
    const struct sim_driver *driver;
    struct sim_config config;
    struct sim_thread *self; // that runs; NULL: none, the machine stands
    struct sim_thread *main; // the first; in a child of fork() the one that has forked. When it has
                             // ended, the others may sleep for ever
    void *scheduler;         // context of sim_run()
    unsigned thread_count;   // 1 to this
    unsigned alive;
    uint64_t clock;        // for drivers without one of their own, ns
    uint64_t disturbed_ns; // by which things may take longer: threads stood still, calls failed
    uint64_t steps, turn;
    bool kept;     // stores are held back of a thread that does not run
    bool choosing; // between sim_explore_begin() and _end(): the driver may choose
    bool over, asymmetric_registered;
    bool forked;
    enum sim_verdict verdict;
    char failure[512];
    uint64_t memory_hash, call_hash;
};

extern struct sim_machine sim;
extern struct sim_thread sim_threads[SIM_THREADS_MAX];

// Once: puts aside what the core's variables are before anything has run.
void sim_begin(void);

// A run of `main`: until no thread can go on.
enum sim_verdict sim_run(const struct sim_driver *driver, const struct sim_config *config,
                         void *(*main)(void *), void *arg);

// Ends the run. Does not return when a simulated thread calls it.
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_end_run(enum sim_verdict verdict);

#define SIM_CHECK(condition, ...)  \
    do {                           \
        if (!(condition))          \
            sim_fail(__VA_ARGS__); \
    } while (0)

// ---- for programs

// Variables of programs: as at the start of the process in each run. No initialiser: zero.
#define SIM_STATE __attribute__((section("sim_state")))

struct sim_thread *sim_spawn(void *(*main)(void *), void *arg);
void sim_join(struct sim_thread *thread);

// From here to there the driver chooses.
void sim_explore_begin(void);
void sim_explore_end(void);

// Computes.
void sim_work(uint64_t ns);
// One of `count` things to do, as the driver chooses. 0 is the usual one.
unsigned sim_roll(unsigned count);
// Sleeps in the kernel until it is set.
struct sim_flag {
    _Atomic uint32_t set;
};
void sim_flag_wait(struct sim_flag *flag);
void sim_flag_set(struct sim_flag *flag);

// From here on this thread is the only one, in a child of fork().
void sim_fork(void);

// Ends the calling thread, as pthread_exit() does.
void sim_exit_thread(void) __attribute__((noreturn));

// A pipe: -1 and less are errno values.
int sim_pipe(int fds[2]);

// ---- for drivers and the kernel

// To another thread, or on in this one: what driver->next() says.
void sim_give_way(void);
void sim_sleep(enum sim_wait wait, uint64_t until);
void sim_wake(struct sim_thread *thread, bool time_up);
struct sim_thread *sim_new_thread(void *(*main)(void *), void *arg);
uint64_t sim_now(void);

// A call of the kernel begins: a step, and what is stored is seen.
void sim_call(const char *what);
bool sim_call_fails(enum sim_choice what);

// The running thread has now seen, or changed, what stands for `p`.
void sim_saw(const volatile void *p);
void sim_changed(const volatile void *p);
uint64_t sim_state_hash(void); // of all threads

// ---- stores that wait

void sim_flush(struct sim_thread *thread);
void sim_flush_all(void);
void sim_flush_oldest(struct sim_thread *thread);

// ---- memory

void sim_memory_reset(void);
void sim_memory_check(void);  // that nothing was written after it was freed
size_t sim_memory_live(void); // blocks
void sim_memory_access(const volatile void *p, unsigned size, bool writes);
void *sim_stack(unsigned id, size_t *size); // its top
bool sim_is_stack(const volatile void *p);

// ---- descriptors

void sim_descriptors_reset(void);
void sim_descriptors_wake(void);
int sim_descriptors_ready(struct pollfd *fds, unsigned count);

void sim_process_reset(void);
void sim_run_fork_handlers(void);

static inline uint64_t sim_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2))) *
                 UINT64_C(0xff51afd7ed558ccd);
    return x ^ x >> 32;
}

#endif // SIM_H
