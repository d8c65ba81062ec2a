// SPDX-License-Identifier: ISC
//
// Inside the pthreadpool layer: what a call is, what a pool is, and who touches which field when.
//
// A *call* (one pthreadpool_parallelize_…) is a row of `total` items. Its *caller* can run them all
// alone. *Helpers* may join: jobs of the executor that were asked for and check in at the pool's
// *door*. Every participant owns a *share* of the row, runs it from the front, and when it is empty
// takes half of what another has left, from the back.
//
// The memory of a pool is never given back, only used again for another pool: a helper that comes
// late finds a door, and finds it shut.

#ifndef SS_PTP_POOL_H
#define SS_PTP_POOL_H

#include "machine.h"
#include "pthreadpool.h"
#include "smolscale.h"

#include <pthread.h>

enum { max_dims = 6 };

#define cache_line __attribute__((aligned(64)))

// What one participant still has to run: the items [next, limit). It runs them in pieces, and
// announces each piece before it starts it: next <= claimed, and never an item from `claimed` on.
//   next     written by the owner alone, before it runs the item below it
//   claimed  written by the owner alone, before it runs any item of the piece that ends here
//   limit    written with the pool's steal_lock held, except by the caller before its door opens
//   taken    1 while a helper is this participant
//   owner    its thread (this_thread()), written by itself; 0: none. Share 0: see `caller`
//   cpu      where the participant was last seen running; a hint
struct share {
    _Atomic size_t next;
    _Atomic size_t claimed;
    _Atomic size_t limit;
    _Atomic uint32_t taken;
    _Atomic uint32_t cpu;
    _Atomic uintptr_t owner;
} cache_line;

struct call;

// Runs items [first, end) of `call` out of `share`, claiming each (or several, if the callback
// takes several at once). Stops at the first that could not be claimed at once and returns its
// number, or `end`. `chunk`: see shapes.c.
typedef size_t run_items_fn(const struct call *call, struct share *share, size_t first, size_t end,
                            uint32_t uarch, size_t thread);

// Written by the caller before the door opens; constant until it has shut.
struct call {
    run_items_fn *run;
    void (*task)(void);
    void *context;
    size_t total;           // items: the product of count[]
    size_t range[max_dims]; // as the program gave them
    size_t tile[max_dims];  // 1 where the shape has no tile
    size_t count[max_dims]; // tiles in each dimension
    size_t guide;           // callbacks may take several tiles: (what is left) / guide; 0: one tile
    uint32_t flags;         // PTHREADPOOL_FLAG_*
    uint32_t uarch_default;
    uint32_t uarch_max;
    bool wants_uarch;
    bool fenced; // claims are made with a full barrier, steals without membarrier
};

// The door: one word that says who may come in and who is in.
//   BUSY      a caller owns the pool; set and cleared by callers alone
//   READY     `call` and share 0 are written (only ever with BUSY)
//   OPEN      helpers may check in (only ever with READY)
//   SLEEPER   the caller sleeps until the helpers have left
//   ORPHAN    the caller has gone without an end of the call (only ever with READY): who leaves
//             last, when no item is left, ends it
//   present   checked-in helpers, and ptp_watch() when it looks at the pool, in units of PRESENT
//   upper half: number of the call, so that a helper can tell a new call from the one it has seen
// While BUSY is set without READY the word belongs to the caller alone (plain stores); otherwise
// all changes are atomic read-modify-writes.
#define DOOR_BUSY    UINT64_C(1)
#define DOOR_READY   UINT64_C(2)
#define DOOR_OPEN    UINT64_C(4)
#define DOOR_SLEEPER UINT64_C(8)
#define DOOR_ORPHAN  UINT64_C(16)
#define DOOR_PRESENT UINT64_C(32)
#define DOOR_CALL    (UINT64_C(1) << 32)

static inline uint32_t door_present(uint64_t door)
{
    return (uint32_t)(door & (DOOR_CALL - 1)) >> 5;
}

static inline uint32_t door_call(uint64_t door)
{
    return (uint32_t)(door >> 32);
}

struct tickets { // of one smolscale_queue_push_many()
    uint64_t first;
    uint32_t count;
};

struct pthreadpool {
    // Callers, helpers and the watcher.
    _Atomic uint64_t door cache_line;
    _Atomic uint32_t waiting_callers; // callers that wait for BUSY to go
    _Atomic uint32_t turn;  // futex of these; counts the calls that ended while any waited
    _Atomic size_t threads; // what this call and the next ones may use, caller included

    // Thieves.
    _Atomic uint32_t steal_lock cache_line;
    _Atomic uint32_t shares_used;  // shares beyond this have been empty since the call began
    _Atomic uint64_t item_ticks;   // recent cost of an item in 1/16 ticks; 0 unknown; a hint
    _Atomic uint64_t helper_ticks; // what helpers have spent in this call
    _Atomic uint32_t asked;        // helpers that were asked for and have not started
    _Atomic uint32_t borrowed;     // who uses `queue` at the moment; a futex (threads.c, Q1)
    _Atomic uint32_t around;       // helpers that have started and not gone, inside or lingering
    _Atomic uint32_t foreign;      // tasks of the program's executor that have not ended; a futex
    _Atomic uint32_t linger;       // >0: calls follow each other closely enough to wait for them

    // The caller (owner of BUSY) alone, unless said otherwise.
    struct call call cache_line; // read by helpers
    _Atomic uint64_t last_end;   // ticks at the end of the last open call; others read it as a hint
    _Atomic uintptr_t caller; // its thread while the call is READY; 0 before BUSY is given up, so
                              // that one who reads its own number here has written it
    const volatile uint64_t *mark; // in the caller's frame, and what stands there until it returns:
    uint64_t mark_value;           // read by the caller's thread alone
    fpu_state fpu;                 // the caller's control word, while denormals are disabled
    struct tickets tickets;        // of the helpers that this call has asked for

    // Set by create, constant.
    size_t max_threads;
    size_t capacity;                  // shares that there are: at least max_threads
    _Atomic(smolscale_queue *) queue; // through which helpers are asked for; cleared by destroy.
                                      // NULL: no threads, or the program's. See threads.c, Q1
    smolscale_group *group;           // its threads; NULL: none of its own. Create and destroy

    // Held by BUSY: the program's own executor, if it gave one.
    struct pthreadpool_executor executor;
    void *executor_context;

    // ptp_watch() alone.
    uint64_t watch_door;
    size_t watch_sum;

    // pool.c, under its lock.
    struct pthreadpool *next_free;
    _Atomic(struct pthreadpool *) next_pool; // all pools there ever were; written once

    struct share shares[];
};

// pool.c
extern _Atomic(struct pthreadpool *) ptp_pools; // all pools there ever were
extern _Atomic int ptp_mode;
enum { mode_unknown = 0, mode_ours, mode_native };
int ptp_decide_mode(void);

// call.c
extern _Atomic unsigned ptp_generation; // counts fork()s
void ptp_call(struct pthreadpool *pool, const struct call *call);
void ptp_lock(struct pthreadpool *pool);
void ptp_unlock(struct pthreadpool *pool);
void ptp_reclaim(struct pthreadpool *pool, const void *here);
void ptp_settle(struct pthreadpool *pool);
bool ptp_is_drained(struct pthreadpool *pool);
void ptp_ask(struct pthreadpool *pool, uint32_t want, struct tickets *tickets);
void ptp_help(void *pool, void *unused);
void ptp_foreign_ended(struct pthreadpool *pool); // pool.c
void ptp_leave(struct pthreadpool *pool);
void ptp_fork_child(void);

// threads.c
bool ptp_threads_new(struct pthreadpool *pool, size_t helpers); // false: no memory
void ptp_threads_free(struct pthreadpool *pool);                // they have ended
bool ptp_threads_ask(struct pthreadpool *pool, uint32_t count, uint64_t *ticket);
void ptp_threads_withdraw(struct pthreadpool *pool, const struct tickets *tickets);

// watch.c
extern _Atomic uint32_t ptp_watch_armed;
extern _Atomic bool ptp_membarrier_ready;
extern _Atomic uint64_t ptp_ticks_per_us;
bool ptp_watch_arm(void);
void ptp_watch_stop(void);
void ptp_watch_before_fork(void);
void ptp_watch_after_fork(void);
void ptp_watch_fork_child(void);

// A number that no other living thread has; never 0.
static inline uintptr_t this_thread(void)
{
    return (uintptr_t)pthread_self();
}

static inline uint64_t ticks_of_us(uint64_t us)
{
    return us * atomic_load_explicit(&ptp_ticks_per_us, memory_order_relaxed);
}

// cost.c
struct cost_key {
    uint32_t slot;
    uint32_t tag;
};
struct cost_key ptp_cost_key(const struct call *call);
bool ptp_cost_get(struct cost_key key, uint64_t *cost);
void ptp_cost_put(struct cost_key key, bool known, uint64_t before, uint64_t cost);

// forward.c
void *ptp_native(const char *name, void *ours);

#endif // SS_PTP_POOL_H
