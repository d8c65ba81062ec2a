// SPDX-License-Identifier: ISC
//
// What the core asks of the C library's threads beside the table of os.h: to do something once, and
// to be told of a thread's end.

#ifndef SS_THREAD_H
#define SS_THREAD_H

#include <pthread.h>
#include <stdbool.h>

struct ss_once {
    pthread_once_t flag;
};

#define SS_ONCE_INIT      \
    {                     \
        PTHREAD_ONCE_INIT \
    }

// Calls `what` unless that was done before. Other threads that come meanwhile wait for it. In a
// child of fork() whose parent was in the call, it is done anew.
void ss_once(struct ss_once *once, void (*what)(void));

// A value that each thread has for itself, with a function that is told of the thread's end.
struct ss_thread_key {
    pthread_key_t key;
    bool exists;
};

// `at_end` is called by a thread that ends with a value that is not NULL. Where the process has no
// key left, nothing is told.
void ss_thread_key_new(struct ss_thread_key *key, void (*at_end)(void *value));

// Gives the calling thread its value.
void ss_thread_key_set(const struct ss_thread_key *key, void *value);

#endif // SS_THREAD_H
