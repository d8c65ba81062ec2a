// SPDX-License-Identifier: ISC
//
// The gate of a team: one word that says which thread owns the call, and which may come in or are
// in. It knows nothing of what the call is.
//
//   G1  Helpers enter by a compare-and-swap of the whole word, which fails if the call has changed.
//       What they read afterwards (loop, threads, shares) was written before READY was stored
//       (release), and is not written again before `present` is 0.
//   G2  The call ends by one compare-and-swap from "nobody present" to idle. So either a helper is
//       counted before the end, and the caller waits for it, or it finds the gate shut.
//   G3  Whoever leaves does so last of all it does with the call (release, pairs with G2's
//       acquire).
//
// The number of the call has 32 bits. To be deceived, a helper would have to stand between its look
// and its swap for exactly 2^32 calls, and even then comes into a call that is open.
// tests/model/ptp-door.pml checks the protocol exhaustively.

#ifndef SS_REGION_GATE_H
#define SS_REGION_GATE_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The word.
//   BUSY      a caller owns the team; set and cleared by callers alone
//   READY     loop and share 0 are written (only ever with BUSY)
//   OPEN      helpers may check in (only ever with READY)
//   SLEEPER   the caller sleeps until the helpers have left
//   ORPHAN    the caller has gone without an end of the call (only ever with READY): the last
//             thread that leaves, when no item is left, ends it
//   PRESENT   the unit of those inside: helpers, and the balancer when it looks at the call
//   upper half: number of the call, so that a helper can tell a new call from the one it has seen
// While BUSY is set without READY the word belongs to the caller alone (plain stores); otherwise
// all changes are atomic read-modify-writes.
#define SS_GATE_BUSY    UINT64_C(1)
#define SS_GATE_READY   UINT64_C(2)
#define SS_GATE_OPEN    UINT64_C(4)
#define SS_GATE_SLEEPER UINT64_C(8)
#define SS_GATE_ORPHAN  UINT64_C(16)
#define SS_GATE_PRESENT UINT64_C(32)
#define SS_GATE_CALL    (UINT64_C(1) << 32)

struct ss_gate {
    _Atomic uint64_t word;
    _Atomic uint32_t waiting; // callers that wait for BUSY to go
    _Atomic uint32_t turn;    // futex of these; counts the calls that ended while any waited
};

static inline uint32_t ss_gate_present(uint64_t word)
{
    return (uint32_t)(word & (SS_GATE_CALL - 1)) >> 5;
}

static inline uint32_t ss_gate_call(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

// What is left of the word when nothing goes on.
static inline uint64_t ss_gate_idle(uint64_t word)
{
    return word & ~(SS_GATE_CALL - 1);
}

// Is a call in progress whose items can be told?
static inline bool ss_gate_is_busy(struct ss_gate *gate)
{
    return (load_relaxed(&gate->word) & SS_GATE_BUSY) != 0;
}

// ---- callers

void ss_gate_lock_slow(struct ss_gate *gate);

// Takes BUSY, for which it waits, and a number for the call.
static inline void ss_gate_lock(struct ss_gate *gate)
{
    uint64_t word = load_relaxed(&gate->word);
    if (__builtin_expect(
            (word & SS_GATE_BUSY) ||
                !cas_strong_seq_cst(&gate->word, &word, word + SS_GATE_CALL + SS_GATE_BUSY),
            0))
        ss_gate_lock_slow(gate);
}

// Sleeps until BUSY has gone, or until `until`, and may return at any time.
void ss_gate_wait_turn(struct ss_gate *gate, uint64_t until);

void ss_gate_wake_caller_slow(struct ss_gate *gate);

// After a sequentially consistent change that cleared BUSY.
static inline void ss_gate_wake_caller(struct ss_gate *gate)
{
    if (__builtin_expect(load_seq_cst(&gate->waiting) != 0, 0))
        ss_gate_wake_caller_slow(gate);
}

// Gives up BUSY without having made a call.
void ss_gate_unlock(struct ss_gate *gate);

// The call is written: BUSY without READY, so the word is the caller's.
static inline void ss_gate_ready(struct ss_gate *gate, bool open)
{
    uint64_t word = load_relaxed(&gate->word);
    store_release(&gate->word, word | SS_GATE_READY | (open ? SS_GATE_OPEN : 0));
}

static inline void ss_gate_open(struct ss_gate *gate)
{
    fetch_or_release(&gate->word, SS_GATE_OPEN);
}

// Waits until nobody is inside, spinning for `spin` ticks before it sleeps. All shares are empty,
// so those inside are at their last item; more are not let in, except by the balancer for a moment,
// if the last items stand still.
void ss_gate_wait_empty(struct ss_gate *gate, uint64_t spin);

// G2. From its success on the team is another caller's.
static inline void ss_gate_end(struct ss_gate *gate, uint64_t spin)
{
    uint64_t word = load_acquire(&gate->word);
    for (;;) {
        if (ss_gate_present(word) != 0) {
            ss_gate_wait_empty(gate, spin);
            word = load_acquire(&gate->word);
        } else if (cas_weak_seq_cst(&gate->word, &word, ss_gate_idle(word))) {
            break;
        }
    }
    ss_gate_wake_caller(gate);
}

// ---- threads that come in

// G1. `limit` is how many threads the call may use, the caller included. The number of the call
// goes to *call. False: not let in; *call is set all the same if the call has all its threads, so
// that the helper does not try again and again, beside the call, until it ends.
bool ss_gate_enter(struct ss_gate *gate, const _Atomic size_t *limit, uint32_t *call);

// G3. Returns the word as it was before. The caller's sleep is ended if this was the last inside.
uint64_t ss_gate_leave(struct ss_gate *gate);

#endif // SS_REGION_GATE_H
