// SPDX-License-Identifier: ISC
//
// Threads that wait like tasks: a task of the thread's own, whose home the thread is. It is polled
// nowhere else.

#ifndef SS_THREAD_TASK_H
#define SS_THREAD_TASK_H

#include "task/task.h"

struct ss_thread_task {
    struct smolscale_task task; // of SMOLSCALE_BLOCK
    smolscale_cx cx;
    struct ss_home home;
    _Atomic uint32_t woken; // futex word: see thread.c
};
_Static_assert(sizeof(struct ss_thread_task) <= sizeof(smolscale_thread),
               "room for a thread's task");

// Begins to use the caller's storage.
struct ss_thread_task *ss_thread_task_init(smolscale_thread *storage);

// Wakes the thread.
void ss_thread_task_wake(struct ss_thread_task *thread);

// The thread sleeps until it is woken (true), or `until` has come.
bool ss_thread_task_sleep(struct ss_thread_task *thread, uint64_t until);

#endif // SS_THREAD_TASK_H
