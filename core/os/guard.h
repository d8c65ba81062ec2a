// SPDX-License-Identifier: ISC
//
// Calling a function that may end its thread.

#ifndef SS_GUARD_H
#define SS_GUARD_H

// Calls `run(arg)` and returns its result. Where it ends the thread instead (pthread_exit,
// cancellation), `cleanup(cleanup_arg)` is called in its place, and the thread ends.
int ss_call_guarded(int (*run)(void *arg), void *arg, void (*cleanup)(void *), void *cleanup_arg);

#endif // SS_GUARD_H
