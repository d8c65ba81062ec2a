// SPDX-License-Identifier: ISC
//
// Leaving a call, and calls without a caller.
//
// An item may throw or jump out of the call (the caller runs it), and it may fork (a helper runs
// it: its caller does not exist in the child). The call then goes on as an *orphan*: helpers run
// what is left while the caller is long elsewhere.
//
// No clean-up runs when a frame is left by longjmp() (nor by an exception: the library does without
// the C++ run time's help), and nothing of ours lies in that frame but a mark. The team itself says
// whose call it is in. Its caller's thread finds that out when it comes back to the team: while the
// frame of the call lives, what comes is a nested call of one of its items.
//
//   O1  Not taken for gone is what may live: the frame is gone if its memory is the present frame's
//       or lies just below, where those of the functions called from here lie; or if its mark has
//       changed. A call taken for nested runs in the caller alone, which is right for either.
//   O2  An orphan ends by one compare-and-swap from "nobody present" to idle, by the thread that
//       finds that no item is left: the last to leave, or the one that made it an orphan. A helper
//       leaves only if it finds nothing to take, so nothing is left when the last of them goes; the
//       balancer may leave as the last with items left, which it sends help for at its next look.
//
// tests/model/ptp-orphan.pml checks O2 exhaustively.

#include "region/region.h"

// O2. From its success on the team is another caller's.
static void end_orphan(smolscale_team *team)
{
    uint64_t word = load_seq_cst(&team->gate.word);
    while ((word & SS_GATE_ORPHAN) && ss_gate_present(word) == 0 &&
           ss_shares_left(&team->shares) == 0)
        if (cas_strong_seq_cst(&team->gate.word, &word, ss_gate_idle(word))) {
            ss_gate_wake_caller(&team->gate);
            return;
        }
}

void ss_team_leave(smolscale_team *team)
{
    uint64_t before = ss_gate_leave(&team->gate);
    if (__builtin_expect(before & SS_GATE_ORPHAN, 0) && ss_gate_present(before) == 1)
        end_orphan(team);
}

// An item on its way from one share to another is in neither, but then its thief is present: hence
// the word before and after.
bool ss_team_is_drained(smolscale_team *team)
{
    uint64_t word = load_seq_cst(&team->gate.word);
    if (!(word & SS_GATE_READY) || ss_gate_present(word) != 0)
        return false;
    size_t left = ss_shares_left(&team->shares);
    fence_acquire();
    return left == 0 && load_seq_cst(&team->gate.word) == word;
}

// Makes an orphan of the calling thread's call, whose frame is gone.
static void abandon(smolscale_team *team)
{
    ss_leave_piece(&team->shares, &team->of[0]);
    store_relaxed(&team->caller, 0);
    ss_gate_open(&team->gate);
    size_t left = ss_shares_left(&team->shares);
    size_t most = load_relaxed(&team->limit) - 1;
    if (left > 0)
        ss_team_ask(team, (uint32_t)(left < most ? left : most));
    fetch_or_seq_cst(&team->gate.word, SS_GATE_ORPHAN);
    end_orphan(team);
}

// O1. `here`: something in the calling frame.
__attribute__((noinline, no_sanitize("address"))) static bool frame_is_gone(
    const smolscale_team *team, uintptr_t here)
{
    enum { BELOW = 1024, ABOVE = 1 << 16 }; // bytes; beyond, a stack may have been given back
    uintptr_t mark = (uintptr_t)team->mark;
    if (mark <= here)
        return here - mark < BELOW;
    return mark - here < ABOVE && *team->mark != team->mark_value;
}

void ss_team_reclaim(smolscale_team *team, const void *here)
{
    if (ss_gate_is_busy(&team->gate) && load_relaxed(&team->caller) == ss_this_thread() &&
        frame_is_gone(team, (uintptr_t)here))
        abandon(team);
}

// One whose caller is out of its items' way (it may have jumped out of them, and nobody but itself
// could know) is not waited for: the team then is not used again before that call has ended.
void ss_team_settle(smolscale_team *team)
{
    uint64_t ns = SS_NS_PER_MS;
    const uint64_t longest = 64 * SS_NS_PER_MS;
    if (ss_gate_is_busy(&team->gate) && load_seq_cst(&team->caller) == ss_this_thread())
        abandon(team);
    while ((load_seq_cst(&team->gate.word) & SS_GATE_BUSY) && !ss_team_is_drained(team)) {
        ss_gate_wait_turn(&team->gate, ss_time_in(ns));
        ns = ns < longest ? ns * 2 : longest;
    }
}
