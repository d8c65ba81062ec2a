// SPDX-License-Identifier: ISC
//
// Inside the parallel call: what a team is, which thread touches which field when, and what the
// room's files offer each other, from the lowest:
//
//   history.h/.c what loops have cost lately
//   gate.h/.c    the word that says which thread owns a call, which may come in, which are in
//   shares.h/.c  which thread may run which item; theft
//   lend.c       asking for helpers: workers of the executor, or threads that the program lends
//   orphan.c     leaving a call; the end of one whose caller has left it
//   stand.c      the balancer's look at calls that stand still
//   pieces.c     running a share in pieces
//   helper.c     a helper from check-in to its end
//   call.c       the caller: a call from begin to end
//   team.c       making and freeing teams; fork
//   for.c        smolscale_parallel_for(), and the teams for callers that bring none
//
// A *call* is one run of a loop of `items` items. Its *caller* can run them all alone. *Helpers*
// may join: they were asked for and check in at the team's *gate*. Every participant owns a *share*
// of the items, runs it from the front, and when it is empty takes half of what another has left,
// from the back.
//
// Guarantees. Every item runs exactly once. smolscale_team_run() returns when all have run and no
// helper is inside. The caller waits only for helpers that have checked in, never for one that was
// asked. Calls of one team are serialised by its gate.
//
// The memory of a team is never given back, only used again for another team: a helper that comes
// late finds a gate, and finds it shut.

#ifndef SS_REGION_H
#define SS_REGION_H

#include "os/fpu.h"
#include "region/gate.h"
#include "region/history.h"
#include "region/shares.h"
#include "sched/executor.h"
#include "smolscale.h"
#include "trace/points.h"
#include "trace/pools.h"

// Who guards a field:
//   G  the gate: written by the caller (the owner of BUSY) before READY, read by those inside
//   C  the owner of BUSY alone
//   E  ss.lock
//   T  the lock of the list of unused teams (team.c)
//   A  atomic, by the threads that it says
//   =  set by smolscale_team_new(), constant until smolscale_team_free()
struct smolscale_team {
    // Callers, helpers and the balancer.
    _Alignas(SS_CACHE_LINE) struct ss_gate gate; // A
    _Atomic size_t limit;   // G: threads that this call may use, the caller included. Helpers read
                            // it before they enter: the word tells them whether it was this call's
    _Atomic size_t threads; // C, read by all: what calls may use

    // Thieves and helpers.
    _Alignas(SS_CACHE_LINE) struct ss_shares shares;
    _Atomic uint64_t helper_ticks; // A: what helpers have spent in this call
    _Atomic uint32_t asked;  // A: helpers that were asked for and have not started. Workers: E
    _Atomic uint32_t around; // A: helpers that have started and not gone, inside or lingering
    _Atomic uint32_t lent;   // A: lent threads that have not come and gone; a futex
    _Atomic uint32_t linger; // A: >0: calls follow each other closely enough to wait for them

    // The call.
    _Alignas(SS_CACHE_LINE) union {
        struct smolscale_loop loop;
        unsigned char bytes[SMOLSCALE_LOOP_MAX];
    } call; // G
    _Atomic uint64_t
        last_end;             // C, others read it as a hint: ticks at the end of the last open call
    _Atomic uintptr_t caller; // A: its thread while the call is READY; 0 before BUSY is given up,
                              // so that a thread that reads its own number here has written it
    const volatile uint64_t *mark; // in the caller's frame, and what stands there until it returns:
    uint64_t mark_value;           // read by the caller's thread alone
    ss_fpu fpu;                    // C: the caller's control word, while it is another

    // Through this, helpers are asked for (lend.c).
    struct ss_runnable runnable;    // E
    struct ss_group *group;         // E: whose workers come; NULL: nobody does (any more)
    bool listed;                    // E: is in the group's injection queue, or was popped just now
    uint32_t to_lend;               // E: threads that a worker is to have lent
    struct smolscale_lender lender; // E, and written by the owner of BUSY; lend NULL: workers come
    char thread_name[16];           // =
    bool owns_group;                // =
    size_t max_threads;             // =
    size_t capacity;                // shares that there are; constant for good

    // The balancer's notes, its own.
    uint64_t seen_word;
    size_t seen_sum;

    // Life.
    bool used;                      // T: between new and free
    bool anybodys;                  // =: of for.c
    smolscale_team *next_unused;    // T
    _Atomic(smolscale_team *) next; // all teams there ever were; written once
    struct smolscale_share of[];    // the shares; S1, S2 in shares.h
};

// All teams there ever were. Only grows.
extern _Atomic(smolscale_team *) ss_teams;

// Counts fork()s, for threads that may come back in a child.
extern _Atomic unsigned ss_region_generation;

// A number that no other living thread has; never 0.
static inline uintptr_t ss_this_thread(void)
{
    return ss_thread_address(ss_self);
}

static inline unsigned ss_this_cpu(void)
{
    int cpu = ss_os.cpu();
    return cpu < 0 ? 0 : (unsigned)cpu;
}

// The control word to give back to ss_fpu_leave().
static inline ss_fpu ss_fpu_enter(unsigned flags)
{
    if (__builtin_expect(!(flags & SMOLSCALE_LOOP_FLUSH_DENORMALS), 1))
        return 0;
    ss_fpu before = ss_fpu_get();
    ss_fpu_set(ss_fpu_without_denormals(before));
    return before;
}

static inline void ss_fpu_leave(unsigned flags, ss_fpu before)
{
    if (__builtin_expect(flags & SMOLSCALE_LOOP_FLUSH_DENORMALS, 0))
        ss_fpu_set(before);
}

// ---- for observers (trace/points.h): a thread's part in a call

// NULL: nobody observes.
static inline struct ss_pool *ss_region_observe_start(const struct smolscale_loop *loop)
{
    if (!ss_is_observed())
        return NULL;
    struct ss_pool *pool = ss_pool_find("parallel", loop->what);
    ss_note_start(pool, 0, false);
    return pool;
}

static inline void ss_region_observe_end(struct ss_pool *pool)
{
    if (__builtin_expect(pool != NULL, 0))
        ss_note_end(pool);
}

// ---- lend.c

// Sees to it that `want` helpers are around or on their way, with the gate open. Called by the
// caller, and by the balancer while it is inside.
void ss_team_ask(smolscale_team *team, uint32_t want);

// The same for the caller in its loop: as many as there are items and threads for, at most `can`.
void ss_team_ask_for(smolscale_team *team, size_t items, size_t can);

// No more than there are CPUs for.
void ss_team_ask_for_free_cpus(smolscale_team *team, size_t items);

// Nobody is needed any more of those that have not started.
void ss_team_withdraw(smolscale_team *team);

// A lent thread has come and is about to go: the last that it does.
void ss_team_lent_ended(smolscale_team *team);

// A worker comes for the runnable. False: it is not needed. True: it counts as `around`.
bool ss_team_take_order(smolscale_team *team, struct ss_worker *worker);

// From now on no helper comes, and none that was asked is on its way when this returns.
void ss_team_close(smolscale_team *team);

// ---- orphan.c

// Leaves the call: the last that one inside does with it.
void ss_team_leave(smolscale_team *team);

// True when all items of the call have begun and no helper is inside.
bool ss_team_is_drained(smolscale_team *team);

// Called before the gate is locked, which would wait for ever for a call that the calling thread
// has left. `here`: something in the calling frame.
void ss_team_reclaim(smolscale_team *team, const void *here);

// Waits until no call is made, or its caller is out of its items' way.
void ss_team_settle(smolscale_team *team);

// ---- stand.c

enum ss_standing_watch {
    SS_UNWATCHED,
    SS_WATCH_CHANGING, // somebody is about to write one of the others: counts as watched for the
                       // balancer, and as unwatched for callers
    SS_WATCHED,
};
extern _Atomic uint32_t ss_calls_watched; // one of these

bool ss_watch_calls_slow(void);

// To be called with the gate locked, after a sequentially consistent read-modify-write. False:
// nobody will look whether the call stands still.
static inline bool ss_watch_calls(void)
{
    bool watched = load_seq_cst(&ss_calls_watched) == SS_WATCHED &&
                   load_relaxed(&ss.balancer) != SS_BALANCER_NONE;
    return __builtin_expect(watched, 1) || ss_watch_calls_slow();
}

// Has the balancer not look any longer, if no call is in progress.
void ss_unwatch_calls(void);

// Has the balancer know of this room; again and again is fine.
void ss_watch_register_calls(void);

// ---- pieces.c

// How a participant cuts its share into pieces.
struct ss_pace {
    uint64_t item; // cost of an item in 1/16 ticks; 0: unknown
    size_t most;   // items in the next piece at most
    uint64_t look; // when the caller thinks of asking for help next, in ticks; helpers never do
};

// Runs `mine` from item `i` on until it is empty, and then what can be stolen, until there is
// nothing.
void ss_run_pieces(smolscale_team *team, struct smolscale_share *mine, size_t i, size_t thread,
                   struct ss_pace *pace);
void ss_run_stolen(smolscale_team *team, struct smolscale_share *mine, size_t thread,
                   struct ss_pace *pace);

// Without anybody's help.
void ss_run_serially(const struct smolscale_loop *loop, size_t thread);

// ---- helper.c

// What a worker runs for a team, and what a lent thread does.
void ss_team_serve(struct ss_runnable *runnable, struct ss_worker *worker);
void ss_team_help_lent(void *team);

// ---- team.c

// A team of workers of the default group, for good. NULL: no memory.
smolscale_team *ss_team_for_anybody(size_t threads);

#endif // SS_REGION_H
