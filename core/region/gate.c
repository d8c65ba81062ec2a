// SPDX-License-Identifier: ISC
//
// The rare halves of the gate (gate.h): waiting for one's turn, for those inside, and coming in.

#include "region/gate.h"

#include "os/os.h"
#include "os/ticks.h"

// BUSY is a lock with sleepers. Pairs: the owner clears BUSY, then reads `waiting`; a waiter
// raises `waiting`, then reads BUSY; all are sequentially consistent, so one sees the other. `turn`
// is read before BUSY, so an unlock in between makes the futex return at once.
void ss_gate_wait_turn(struct ss_gate *gate, uint64_t until)
{
    fetch_add_seq_cst(&gate->waiting, 1);
    uint32_t turn = load_seq_cst(&gate->turn);
    if (load_seq_cst(&gate->word) & SS_GATE_BUSY)
        ss_os.futex_wait_until(&gate->turn, turn, until); // woken, changed, interrupted, late: look
    fetch_sub_relaxed(&gate->waiting, 1);
}

void ss_gate_wake_caller_slow(struct ss_gate *gate)
{
    fetch_add_seq_cst(&gate->turn, 1);
    ss_os.futex_wake(&gate->turn, 1);
}

void ss_gate_lock_slow(struct ss_gate *gate)
{
    uint64_t word = load_relaxed(&gate->word);
    for (;;) {
        if (!(word & SS_GATE_BUSY)) {
            if (cas_weak_seq_cst(&gate->word, &word, word + SS_GATE_CALL + SS_GATE_BUSY))
                return;
            continue;
        }
        ss_gate_wait_turn(gate, SS_FOREVER);
        word = load_relaxed(&gate->word);
    }
}

void ss_gate_unlock(struct ss_gate *gate)
{
    store_seq_cst(&gate->word, ss_gate_idle(load_relaxed(&gate->word)));
    ss_gate_wake_caller(gate);
}

// The half of the word in which its lowest bits are: a futex.
static _Atomic uint32_t *futex_of(struct ss_gate *gate)
{
    return (_Atomic uint32_t *)&gate->word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

void ss_gate_wait_empty(struct ss_gate *gate, uint64_t spin)
{
    uint64_t start = ss_ticks();
    uint64_t word = fetch_and_acq_rel(&gate->word, ~SS_GATE_OPEN);
    while (ss_gate_present(word) != 0 && ss_ticks() - start < spin) {
        cpu_relax();
        word = load_acquire(&gate->word);
    }
    while (ss_gate_present(word) != 0) {
        if (!cas_strong_seq_cst(&gate->word, &word, word | SS_GATE_SLEEPER))
            continue;
        // Woken by the last to leave (its decrement came after our swap, so it saw SLEEPER), or the
        // word has changed, or a signal came: look again.
        ss_os.futex_wait_until(futex_of(gate), (uint32_t)(word | SS_GATE_SLEEPER), SS_FOREVER);
        word = load_acquire(&gate->word);
    }
}

bool ss_gate_enter(struct ss_gate *gate, const _Atomic size_t *limit, uint32_t *call)
{
    uint64_t word = load_acquire(&gate->word);
    do {
        if (!(word & SS_GATE_OPEN))
            return false;
        if (ss_gate_present(word) + 1 >= load_relaxed(limit)) {
            *call = ss_gate_call(word); // seen: its threads are there
            return false;
        }
    } while (!cas_weak_acq_rel(&gate->word, &word, word + SS_GATE_PRESENT));
    *call = ss_gate_call(word);
    return true;
}

// The futex may belong to a later call by now: its caller looks again and sleeps on.
uint64_t ss_gate_leave(struct ss_gate *gate)
{
    uint64_t before = fetch_sub_acq_rel(&gate->word, SS_GATE_PRESENT);
    if (ss_gate_present(before) == 1 && (before & SS_GATE_SLEEPER))
        ss_os.futex_wake(futex_of(gate), 1);
    return before;
}
