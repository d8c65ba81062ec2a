// SPDX-License-Identifier: ISC
//
// A run: its threads, how they are switched, and how all is as new before the next.

#include "context.h"
#include "seam.h"
#include "sim.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

struct sim_machine sim;
struct sim_thread sim_threads[SIM_THREADS_MAX];

// ---- variables, as they were at first

struct range {
    char *begin;
    size_t size;
    char *first;
};

static struct range ranges[8];
static unsigned range_count;
static size_t local_size;
static unsigned char local_first[SIM_LOCAL_MAX];

static void keep_range(char *begin, char *end)
{
    size_t size = (size_t)(end - begin);
    char *first = malloc(size);
    if (!first || range_count == sizeof ranges / sizeof *ranges)
        abort();
    memcpy(first, begin, size);
    ranges[range_count++] = (struct range){begin, size, first};
}

// The writable segment of the library that the core is, without what the linker made read-only.
static int find_core(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    uintptr_t local = (uintptr_t)sim_thread_local_begin(), relro_end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            relro_end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_W) ||
            local < begin || local >= end)
            continue;
        keep_range((char *)(relro_end > begin && relro_end < end ? relro_end : begin), (char *)end);
        return 1;
    }
    return 0;
}

extern char __start_sim_state[] __attribute__((weak)), __stop_sim_state[] __attribute__((weak));

static void begin_looks(void);

void sim_begin(void)
{
    begin_looks();
    local_size = (size_t)(sim_thread_local_end() - sim_thread_local_begin());
    if (local_size > SIM_LOCAL_MAX)
        abort();
    memcpy(local_first, sim_thread_local_begin(), local_size);
    if (!dl_iterate_phdr(find_core, NULL))
        abort();
    if (__start_sim_state)
        keep_range(__start_sim_state, __stop_sim_state);
}

void sim_places_reset(void);

static void reset(void)
{
    for (unsigned i = 0; i < range_count; i++)
        memcpy(ranges[i].begin, ranges[i].first, ranges[i].size);
    sim_memory_reset();
    sim_places_reset();
    sim_descriptors_reset();
    sim_process_reset();
}

// ---- switching

// To a context that is not the caller's. The other's thread-locals and errno come with it.
static void leave(struct sim_thread *self, void *to)
{
    if (self) {
        memcpy(self->local, sim_thread_local_begin(), local_size);
        self->saved_errno = errno;
    }
    sim_context_switch(self ? &self->context : &sim.scheduler, to);
}

static void enter(struct sim_thread *self)
{
    sim.self = self;
    memcpy(sim_thread_local_begin(), self->local, local_size);
    errno = self->saved_errno;
}

// The driver says which thread runs; NULL: back to sim_run().
static void dispatch(struct sim_thread *self)
{
    struct sim_thread *next = sim.over ? NULL : sim.driver->next();
    if (next == self && next)
        return;
    if (!next) {
        leave(self, sim.scheduler);
    } else {
        sim.self = next;
        leave(self, next->context);
    }
    enter(self); // back again
}

void sim_give_way(void)
{
    dispatch(sim.self);
}

static void run_key_destructors(struct sim_thread *self);

static void end_thread(struct sim_thread *self)
{
    run_key_destructors(self);
    sim_call("exit");
    self->state = SIM_ENDED;
    sim.alive--;
    sim_changed(self);
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        struct sim_thread *joiner = &sim_threads[id];
        if (joiner->state == SIM_ASLEEP && joiner->wait == SIM_JOIN && joiner->word == self)
            sim_wake(joiner, false);
    }
    dispatch(self);
    abort(); // an ended thread does not run
}

static void thread_begin(void)
{
    struct sim_thread *self = sim.self;
    enter(self);
    self->main(self->arg);
    end_thread(self);
}

void sim_exit_thread(void)
{
    struct sim_thread *self = sim.self;
    while (self->guard) {
        struct sim_guard *guard = self->guard;
        self->guard = guard->outer;
        guard->cleanup(guard->arg);
    }
    end_thread(self);
    abort();
}

// ---- threads

struct sim_thread *sim_new_thread(void *(*main)(void *), void *arg)
{
    if (sim.thread_count + 1 >= SIM_THREADS_MAX) {
        sim_fail("more than %u threads", SIM_THREADS_MAX);
        return NULL;
    }
    unsigned id = ++sim.thread_count;
    struct sim_thread *thread = &sim_threads[id];
    struct sim_thread *creator = sim.self;
    memset(thread, 0, offsetof(struct sim_thread, local));
    thread->id = id;
    thread->main = main;
    thread->arg = arg;
    thread->nice = creator ? creator->nice : 0;
    memcpy(thread->local, local_first, local_size);
    size_t size;
    void *top = sim_stack(id, &size);
    thread->context = sim_context_new(top, size, thread_begin);
    thread->hash = sim_mix(creator ? creator->hash : 0, id);
    sim.alive++;
    if (sim.driver->created)
        sim.driver->created(thread, creator);
    return thread;
}

void sim_sleep(enum sim_wait wait, uint64_t until)
{
    struct sim_thread *self = sim.self;
    self->state = SIM_ASLEEP;
    self->wait = wait;
    self->until = until;
    self->time_up = false;
    self->sleeps++;
    self->asleep_since_turn = ++sim.turn;
    if (sim.driver->asleep)
        sim.driver->asleep(self);
    dispatch(self);
}

void sim_wake(struct sim_thread *thread, bool time_up)
{
    if (thread->state != SIM_ASLEEP)
        return;
    thread->state = SIM_RUNNABLE;
    thread->wait = SIM_NO_WAIT;
    thread->time_up = time_up;
    if (!time_up && sim.self)
        thread->hash = sim_mix(thread->hash, sim.self->hash);
    else
        thread->hash = sim_mix(thread->hash, sim.clock);
    if (sim.driver->awake)
        sim.driver->awake(thread, time_up ? NULL : sim.self);
}

// ---- a run

// ---- loops without a step, as over a list that has become a ring

// None comes back to the driver by itself. So a timer of this process' CPU time looks twice whether
// a thread has come to no step, and if so breaks it off. No step computes for nearly as long.
#define LOOK_S 2

static unsigned run_number;

static void look(int number)
{
    static const struct sim_thread *thread;
    static uint64_t steps;
    static unsigned run;
    (void)number;
    struct sim_thread *self = sim.self;
    if (!self || sim.over)
        return;
    if (thread == self && steps == self->steps && run == run_number)
        sim_fail("thread %u goes round and round without a step", self->id);
    thread = self;
    steps = self->steps;
    run = run_number;
}

static void begin_looks(void)
{
    // The handler may leave for good, to the driver: so the signal must not stay blocked.
    struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART | SA_NODEFER};
    const struct itimerval times = {{LOOK_S, 0}, {LOOK_S, 0}};
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &times, NULL);
}

enum sim_verdict sim_run(const struct sim_driver *driver, const struct sim_config *config,
                         void *(*main)(void *), void *arg)
{
    reset();
    memset(&sim, 0, sizeof sim);
    run_number++;
    sim.driver = driver;
    sim.config = *config;
    sim.clock = SS_NS_PER_S; // 0 means "never" to some
    sim.main = sim_new_thread(main, arg);
    struct sim_thread *first = driver->next();
    sim.self = first;
    sim_context_switch(&sim.scheduler, first->context);
    sim.self = NULL;
    if (sim.verdict == SIM_GOOD)
        sim_memory_check();
    return sim.verdict;
}

void sim_end_run(enum sim_verdict verdict)
{
    if (!sim.over) {
        sim.over = true;
        sim.verdict = verdict;
    }
    if (sim.self)
        dispatch(sim.self);
}

void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!sim.over)
        vsnprintf(sim.failure, sizeof sim.failure, format, args);
    va_end(args);
    sim_end_run(SIM_FAILED);
}

// ---- of programs

struct sim_thread *sim_spawn(void *(*main)(void *), void *arg)
{
    sim_call("clone");
    struct sim_thread *thread = sim_new_thread(main, arg);
    if (thread)
        thread->joinable = true;
    return thread;
}

void sim_join(struct sim_thread *thread)
{
    sim_call("join");
    while (thread->state != SIM_ENDED) {
        sim.self->word = thread;
        sim_sleep(SIM_JOIN, SS_FOREVER);
    }
    sim_saw(thread);
    thread->joined = true;
}

void sim_explore_begin(void)
{
    sim.choosing = true;
}

void sim_explore_end(void)
{
    sim.choosing = false;
}

void sim_work(uint64_t ns)
{
    struct sim_op op = {.kind = SIM_OP_WORK, .ns = ns};
    sim.driver->step(sim.self, &op);
}

void sim_flag_wait(struct sim_flag *flag)
{
    while (!load_acquire(&flag->set))
        ss_os.futex_wait_until(&flag->set, 0, SS_FOREVER);
}

void sim_flag_set(struct sim_flag *flag)
{
    store_seq_cst(&flag->set, 1);
    ss_os.futex_wake(&flag->set, INT32_MAX);
}

void sim_fork(void)
{
    sim_call("fork");
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        struct sim_thread *thread = &sim_threads[id];
        if (thread == sim.self || thread->state == SIM_ENDED)
            continue;
        thread->state = SIM_ENDED;
        thread->dead = true;
        thread->store_count = 0; // of other CPUs: it depends; the child may or may not see them
        sim.alive--;
    }
    sim.forked = true;
    sim.main = sim.self;
    sim.asymmetric_registered = false;
    sim_run_fork_handlers();
}

uint64_t sim_now(void)
{
    return sim.driver ? sim.driver->now() : 0;
}

// ---- values of threads (core/os/thread.h)

static void (*key_ends[SIM_KEYS_MAX])(void *);
static unsigned key_count;

int sim_key_new(void (*at_end)(void *));
int sim_key_new(void (*at_end)(void *))
{
    key_ends[key_count] = at_end;
    return (int)key_count++;
}

void sim_keys_reset(void);
void sim_keys_reset(void)
{
    key_count = 0;
}

static void run_key_destructors(struct sim_thread *self)
{
    for (unsigned i = 0; i < key_count; i++) {
        void *value = self->keys[i];
        self->keys[i] = NULL;
        if (value && key_ends[i])
            key_ends[i](value);
    }
}
