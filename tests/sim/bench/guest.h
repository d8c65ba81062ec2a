// SPDX-License-Identifier: ISC
//
// Included before each source of bench/ and compat/ that runs on the simulated machine: what they
// ask of the C library and of the kernel, the machine answers (guest.c).

#ifndef SIM_GUEST_H
#define SIM_GUEST_H

#include "os/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int guest_clock_gettime(clockid_t id, struct timespec *now);
int guest_clock_nanosleep(clockid_t id, int flags, const struct timespec *when,
                          struct timespec *rest);
int guest_usleep(useconds_t us);
int guest_prctl(int what, unsigned long value);
int guest_getrusage(int whose, struct rusage *usage);
void *guest_aligned_alloc(size_t alignment, size_t size);
int guest_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
                         void *arg);
int guest_pthread_join(pthread_t thread, void **result);
int guest_barrier_init(pthread_barrier_t *barrier, unsigned count);
int guest_barrier_wait(pthread_barrier_t *barrier);

#define clock_gettime                    guest_clock_gettime
#define clock_nanosleep                  guest_clock_nanosleep
#define usleep                           guest_usleep
#define prctl(what, value)               guest_prctl((what), (value))
#define getrusage                        guest_getrusage
#define malloc                           ss_allocate
#define free                             ss_deallocate
#define aligned_alloc                    guest_aligned_alloc
#define calloc(count, size)              ss_allocate_zeroed((count) * (size))
#define pthread_create                   guest_pthread_create
#define pthread_join                     guest_pthread_join
#define pthread_barrier_init(b, a, n)    guest_barrier_init((b), (n))
#define pthread_barrier_wait             guest_barrier_wait
#define pthread_barrier_destroy(barrier) ((void)(barrier))
#define __builtin_ia32_pause             sim_relax

#endif // SIM_GUEST_H
