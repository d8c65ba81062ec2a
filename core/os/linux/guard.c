// SPDX-License-Identifier: ISC
//
// Calling a function that may end its thread (../guard.h).

#include "os/guard.h"

#include <pthread.h>

int ss_call_guarded(int (*run)(void *arg), void *arg, void (*cleanup)(void *), void *cleanup_arg)
{
    int result;
    pthread_cleanup_push(cleanup, cleanup_arg);
    result = run(arg);
    pthread_cleanup_pop(0);
    return result;
}
