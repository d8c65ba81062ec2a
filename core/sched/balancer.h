// SPDX-License-Identifier: ISC
//
// The balancer (balancer.c): the thread that looks at the whole while something depends on it.

#ifndef SS_BALANCER_H
#define SS_BALANCER_H

#include <stdbool.h>
#include <stdint.h>

enum ss_balancer_state {
    SS_BALANCER_NONE,   // no such thread (yet, or it could not be created)
    SS_BALANCER_PARKED, // asleep until it is needed
    SS_BALANCER_SEATED, // the same, or until a descriptor has an event (reactor.c)
    SS_BALANCER_DOZING, // asleep until its next look at lanes; what is published for others ends it
    SS_BALANCER_AWAKE,  // looks, or sleeps until its next look, which comes soon
    SS_BALANCER_HURRIED, // is to look now
};

// ---- No lock held.

// ss_wake_balancer() (executor.h) makes sure that the balancer looks at what the caller has just
// published. This is the part of it for a balancer that sleeps, or that is not there. `enough`: a
// balancer in this state, or a later one, need not be woken.
void ss_wake_balancer_slow(enum ss_balancer_state enough);

// The same, but starts no balancer if there is none.
void ss_wake_balancer_if_any(void);

// Until when a thread may sleep that waits for what workers do. Wherever there are workers there is
// a balancer, unless none could be had. If the workers block then, such a thread is the only one
// that can try again: it does so here, and is to come back in a while. No lock held.
uint64_t ss_balancer_wait_limit(void);

// Makes the balancer look now.
void ss_hurry_balancer(void);

// Keeps the balancer from looking, for a moment. False: a tick is under way, perhaps the caller's
// own (it may call the program to give notices).
bool ss_balancer_pause(void);
void ss_balancer_resume(void);

// Balances until the role goes to another spawner, or there is nothing left to do: true then, and
// the thread is to end.
bool ss_balance(void);

// The calling thread, which balanced, ends in the middle of it: nothing is left undone or held that
// the next one could not do or take.
void ss_balance_broken_off(void);

#endif // SS_BALANCER_H
