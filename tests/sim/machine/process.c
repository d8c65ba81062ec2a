// SPDX-License-Identifier: ISC
//
// The process, as core/os/process.h, thread.h and guard.h ask for it; and the rooms of
// core/os/linux, which are not here.

#include "os/process.h"
#include "base/room.h"
#include "os/guard.h"
#include "os/shared.h"
#include "os/thread.h"
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- fork

// Registered when the core is loaded, before there is a machine: they stay.
#define HANDLERS_MAX 8
static void (*in_child[HANDLERS_MAX])(void);
static unsigned handlers;

void ss_process_at_fork(void (*handler)(void))
{
    if (handlers == HANDLERS_MAX)
        abort();
    in_child[handlers++] = handler;
}

void sim_run_fork_handlers(void)
{
    for (unsigned i = 0; i < handlers; i++)
        in_child[i]();
}

// ---- the process

void sim_keys_reset(void);

// The environment of each run: options, as "NAME=value"; NULL at the end.
const char *const *sim_environment;

void sim_process_reset(void)
{
    sim_keys_reset();
}

void ss_process_at_exit(void (*handler)(void))
{
    (void)handler;
}

pid_t ss_process_id(void)
{
    return 1;
}

uint64_t ss_process_cpu_ns(void)
{
    return 0;
}

bool ss_process_is_privileged(void)
{
    return false;
}

const char *ss_process_environment(const char *name)
{
    size_t length = strlen(name);
    for (const char *const *entry = sim_environment; entry && *entry; entry++)
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}

// Nothing is traced on the simulated machine: what runs there is seen otherwise.
int ss_output_create(const char *path)
{
    (void)path;
    errno = EACCES;
    return -1;
}

bool ss_output_write(int file, const void *bytes, size_t size)
{
    (void)file, (void)bytes, (void)size;
    return false;
}

bool ss_output_close(int file)
{
    (void)file;
    return false;
}

const char *ss_process_name(void)
{
    return "simulated";
}

void ss_process_symbol(const void *address, char *text, size_t size)
{
    snprintf(text, size, "%p", address);
}

int ss_append_to_file(const char *path, const char *text, size_t length)
{
    (void)path, (void)text, (void)length;
    return 0;
}

void ss_write_to_stderr(const char *text)
{
    fputs(text, stderr);
}

// ---- once, and values of threads

enum { ONCE_NOT_YET, ONCE_BEGUN, ONCE_DONE };

void ss_once(struct ss_once *once, void (*what)(void))
{
    _Static_assert(sizeof once->flag == sizeof(int), "a flag is a word");
    int *flag = &once->flag;
    int begun = ONCE_NOT_YET;
    if (cas_strong_acq_rel(flag, &begun, ONCE_BEGUN)) {
        what();
        store_release(flag, ONCE_DONE);
    }
    while (load_acquire(flag) != ONCE_DONE)
        cpu_relax();
}

int sim_key_new(void (*at_end)(void *));

void ss_thread_key_new(struct ss_thread_key *key, void (*at_end)(void *value))
{
    key->key = (pthread_key_t)sim_key_new(at_end);
    key->exists = true;
}

void ss_thread_key_set(const struct ss_thread_key *key, void *value)
{
    if (key->exists)
        sim.self->keys[key->key] = value;
}

int ss_call_guarded(int (*call)(void *arg), void *arg, void (*cleanup)(void *), void *cleanup_arg)
{
    struct sim_thread *self = sim.self;
    struct sim_guard guard = {cleanup, cleanup_arg, self->guard};
    self->guard = &guard;
    int result = call(arg);
    self->guard = guard.outer;
    return result;
}

// ---- what of core/os/linux is not here

void ss_os_be_quiet(void)
{
}

_Atomic uint64_t ss_ticks_per_us = SS_NS_PER_US;

void ss_process_object_of(void (*code)(void), char *name, size_t size)
{
    (void)code;
    snprintf(name, size, "sim");
}

// No page is shown to other processes.

int ss_shared_make(struct ss_shared *shared, size_t size)
{
    (void)size;
    shared->memory = NULL;
    return -ENOSYS;
}

void ss_shared_remove(const struct ss_shared *shared)
{
    (void)shared;
}

void ss_shared_end(struct ss_shared *shared, size_t size)
{
    (void)shared, (void)size;
}

bool ss_shared_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    (void)word, (void)expected, (void)ns;
    return false;
}

void ss_shared_wake(_Atomic uint32_t *word)
{
    (void)word;
}

SS_ROOM(os_ticks, NULL, NULL);
SS_ROOM(os_linux_linux, NULL, NULL);
SS_ROOM(os_linux_refused, NULL, NULL);
SS_ROOM(os_linux_process, NULL, NULL);
SS_ROOM(os_linux_cpus, NULL, NULL);
SS_ROOM(os_linux_placement, NULL, NULL);
SS_ROOM(os_linux_look, NULL, NULL);
