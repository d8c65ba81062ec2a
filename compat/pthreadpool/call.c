// SPDX-License-Identifier: ISC
//
// One call from begin to end: the door, the caller, the helpers, the theft between them.
//
// Guarantees. Every item runs exactly once. ptp_call() returns when all have run and no helper is
// inside. The caller waits only for helpers that have checked in, never for one that was asked.
// Calls on one pool are serialised by DOOR_BUSY.
//
// Two protocols make it so; tests/model/ checks both exhaustively.
//
// The door (pool.h has its bits).
//   D1  Helpers enter by a compare-and-swap of the whole word, which fails if the call has changed.
//       What they read afterwards (call, threads, shares) was written before READY was stored
//       (release), and is not written again before `present` is 0.
//   D2  The call ends by one compare-and-swap from "nobody present" to idle. So either a helper is
//       counted before the end, and the caller waits for it, or it finds the door shut.
//   D3  Whoever leaves does so last of all it does with the pool (release, pairs with D2's
//       acquire).
//
// Claims and theft: who may run item i of a share. The owner announces first and looks second; the
// thief, holding steal_lock, does the same from the other end. This is done on two levels: for a
// piece of some microseconds with a full fence, and for each item within it with none.
//       owner, for a piece                  thief, of what lies beyond the piece
//       claimed = end          (a)          limit = cut            (c)
//       full fence             (A)          full fence             (B)
//       end <= limit ? run it  (b)          claimed <= cut ? mine are [cut, old limit)   (d)
//                    : lock, look again                    : limit = old limit, try again
//       owner, for an item                  thief, of what lies within it
//       next = i + 1           (a)          limit = cut            (c)
//       compiler barrier       (A)          membarrier()           (B)
//       i < limit ? run i      (b)          next <= cut ? mine are [cut, old limit)      (d)
//                 : lock, look again                    : limit = old limit, try again
//   S1  If (d) reads a word from before (a) for something that reaches beyond the cut, then (b) for
//       that comes after (B) and reads the cut or less: the owner does not run it. So an item is
//       run by its owner or stolen, never both.
//   S2  An owner whose look failed decides again under the lock, where limit stands still. So no
//       item is given up by both.
//   membarrier() acts as a full barrier on every CPU that runs an owner, so items cost their owner
//   plain stores ("the thief pays": 10 ns items reach 80 to 95 % of a plain loop, an atomic claim
//   each 60 %; bench/pthreadpool, rows *-items-10ns). It costs the thief and the owners some
//   microseconds in a virtual machine, hence the pieces: only the rest of a piece that is being run
//   is taken back that way, which happens when its owner stands still. Where membarrier is
//   forbidden, not registered yet, or not to be used (SMOLSCALE_QUIET=1) the call is `fenced`: both
//   are full fences for items as well.

#include "pool.h"

#include <stddef.h>

_Atomic unsigned ptp_generation;

// What waking costs, and so from what rest on a helper is asked for; and the cost from which on
// helpers that are awake already are let in (bench/pthreadpool, rows call-50us and part-load).
enum { help_pays_us = 40, awake_help_pays_us = 8 };
// How long a helper waits for the next call, if the recent ones came sooner than that.
enum { linger_us = 20 };
// The caller thinks of asking for help this often: first, and then while it might ask for more.
enum { look_soon_us = 16, look_later_us = 100 };
// A piece takes about an eighth of its share, but this long at least and at most. An announcement
// and a look at the clock, 30 ns, are 1 % of the shortest (rows 100us-items-*, 20ms-items-10ns).
enum { piece_us = 4, long_piece_us = 50, pieces_of_share = 8 };
// What a theft costs, and one that needs a membarrier: rests that their owner will have done sooner
// are left alone for so long. The latter is longer than the short pieces at a call's end.
enum { theft_us = 2, take_back_us = 8 };
// How long the caller spins for the last helper's last item before it sleeps.
enum { wait_spin_us = 30 };

uint32_t cpuinfo_get_current_uarch_index_with_default(uint32_t) __attribute__((weak));

static uint32_t uarch_here(const struct call *call)
{
    if (!call->wants_uarch || !cpuinfo_get_current_uarch_index_with_default)
        return call->uarch_default;
    uint32_t uarch = cpuinfo_get_current_uarch_index_with_default(call->uarch_default);
    return uarch > call->uarch_max ? call->uarch_default : uarch;
}

// ---------------------------------------------------------------------------------------------
// Theft
// ---------------------------------------------------------------------------------------------

// The lock's holder has lost its CPU, perhaps to us.
static void yield_to_holder(struct pthreadpool *pool)
{
    enum { quiet_ns = 20000 };
    if (smolscale_quiet())
        futex_wait_until(&pool->steal_lock, 1, monotonic_ns() + quiet_ns);
    else
        sched_yield();
}

static void steal_lock(struct pthreadpool *pool)
{
    for (unsigned n = 0; atomic_exchange_explicit(&pool->steal_lock, 1, memory_order_acquire);
         n++) {
        if (n < 100)
            cpu_pause();
        else
            yield_to_holder(pool);
    }
}

static void steal_unlock(struct pthreadpool *pool)
{
    atomic_store_explicit(&pool->steal_lock, 0, memory_order_release);
}

static size_t items_left(struct share *share)
{
    size_t next = atomic_load_explicit(&share->next, memory_order_relaxed);
    size_t limit = atomic_load_explicit(&share->limit, memory_order_relaxed);
    return next < limit ? limit - next : 0;
}

// What has not even been announced: it can be stolen without a membarrier.
static size_t items_free(struct share *share)
{
    size_t claimed = atomic_load_explicit(&share->claimed, memory_order_relaxed);
    size_t limit = atomic_load_explicit(&share->limit, memory_order_relaxed);
    return claimed < limit ? limit - claimed : 0;
}

// The share with most of what is counted; NULL when all are empty. Exact with steal_lock held, a
// hint without.
static struct share *richest(struct pthreadpool *pool, size_t (*count)(struct share *),
                             size_t *most)
{
    struct share *found = NULL;
    *most = 0;
    uint32_t used = atomic_load_explicit(&pool->shares_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        size_t n = count(&pool->shares[i]);
        if (n > *most) {
            *most = n;
            found = &pool->shares[i];
        }
    }
    return found;
}

// A rest that its owner finishes in less time than a theft takes is not worth one. Gives the owner
// that time; it may stand still, so no longer.
static void let_finish(struct pthreadpool *pool, size_t (*count)(struct share *), uint64_t us)
{
    size_t left;
    uint64_t item = atomic_load_explicit(&pool->item_ticks, memory_order_relaxed);
    struct share *victim = richest(pool, count, &left);
    uint64_t patience = ticks_of_us(us);
    if (!victim || !item || left > patience * 16 / item)
        return;
    for (uint64_t start = ticks(); ticks() - start < patience && count(victim);)
        cpu_pause();
}

// (B) against the owner's items.
static bool item_barrier(const struct call *call)
{
    if (call->fenced) {
        atomic_thread_fence(memory_order_seq_cst);
        return true;
    }
    if (membarrier_all())
        return true;
    // Forbidden since it was registered: the calls that follow go without.
    atomic_store_explicit(&ptp_membarrier_ready, false, memory_order_relaxed);
    return false;
}

// Moves the back half of what a share has left into `mine`, which is empty: of what is free, if
// there is any, else of a piece that is being run. False: there is nothing left.
static bool steal(struct pthreadpool *pool, struct share *mine)
{
    let_finish(pool, items_free, theft_us);
    let_finish(pool, items_left, take_back_us);
    steal_lock(pool);
    for (;;) {
        size_t left;
        bool barrier = true;
        struct share *victim = richest(pool, items_free, &left);
        _Atomic size_t *announced = victim ? &victim->claimed : NULL;
        if (!victim) {
            victim = richest(pool, items_left, &left);
            if (!victim)
                break;
            announced = &victim->next;
        }
        size_t limit = atomic_load_explicit(&victim->limit, memory_order_relaxed);
        size_t cut = limit - (left + 1) / 2;
        atomic_store_explicit(&victim->limit, cut, memory_order_relaxed); // (c)
        if (announced == &victim->claimed)
            atomic_thread_fence(memory_order_seq_cst); // (B)
        else
            barrier = item_barrier(&pool->call);
        if (barrier && atomic_load_explicit(announced, memory_order_relaxed) <= cut) { // (d)
            atomic_store_explicit(&mine->next, cut, memory_order_relaxed);
            atomic_store_explicit(&mine->claimed, cut, memory_order_relaxed);
            atomic_store_explicit(&mine->limit, limit, memory_order_relaxed);
            steal_unlock(pool);
            return true;
        }
        atomic_store_explicit(&victim->limit, limit, memory_order_relaxed);
        if (!barrier) // those who run these pieces have to end them
            break;
    }
    steal_unlock(pool);
    return false;
}

// ---------------------------------------------------------------------------------------------
// Asking for helpers
// ---------------------------------------------------------------------------------------------

static void helper_task(void *pool);

// Sees to it that `want` helpers are around or on their way, with the door open. One that is about
// to go looks at the door once more (ptp_help): either it sees that the door is open, or we see
// that it has gone. Called by the caller, and by the watcher while it is inside.
void ptp_ask(struct pthreadpool *pool, uint32_t want, struct tickets *tickets)
{
    atomic_thread_fence(memory_order_seq_cst); // pairs with the decrement in ptp_help()
    uint32_t have = atomic_load_explicit(&pool->around, memory_order_relaxed) +
                    atomic_load_explicit(&pool->asked, memory_order_relaxed);
    if (want <= have)
        return;
    uint32_t more = want - have;
    atomic_fetch_add_explicit(&pool->asked, more, memory_order_relaxed);
    if (pool->executor.schedule) {
        atomic_fetch_add_explicit(&pool->foreign, more, memory_order_relaxed);
        while (more--)
            pool->executor.schedule(pool->executor_context, pool, helper_task);
        return;
    }
    uint64_t ticket = 0;
    if (!ptp_threads_ask(pool, more, &ticket)) { // the caller does it alone
        atomic_fetch_sub_explicit(&pool->asked, more, memory_order_relaxed);
        return;
    }
    if (tickets) {
        tickets->first = ticket;
        tickets->count = more;
    }
}

// CPUs of this process that no pool keeps busy at the moment: the caller's own does not count as
// free, nor does one whose pool was called just now and will be again.
static uint32_t free_cpus(struct pthreadpool *pool)
{
    enum { words = 16 };
    uint64_t seen[words] = {0};
    uint32_t busy = 0;
    uint64_t now = ticks();
    for (struct pthreadpool *p = atomic_load_explicit(&ptp_pools, memory_order_acquire); p;
         p = atomic_load_explicit(&p->next_pool, memory_order_relaxed)) {
        uint64_t door = atomic_load_explicit(&p->door, memory_order_relaxed);
        bool called =
            (door & DOOR_BUSY) || now - atomic_load_explicit(&p->last_end, memory_order_relaxed) <
                                      ticks_of_us(look_later_us);
        if (!called && p != pool)
            continue;
        uint32_t used = door_present(door) ? (uint32_t)p->capacity : 1;
        for (uint32_t i = 0; i < used; i++) {
            if (i > 0 && !atomic_load_explicit(&p->shares[i].taken, memory_order_relaxed))
                continue;
            uint32_t cpu = atomic_load_explicit(&p->shares[i].cpu, memory_order_relaxed);
            uint64_t bit = UINT64_C(1) << (cpu % 64);
            if (!(seen[cpu / 64 % words] & bit)) {
                seen[cpu / 64 % words] |= bit;
                busy++;
            }
        }
    }
    uint32_t cpus = smolscale_cpus();
    return cpus > busy ? cpus - busy : 0;
}

// The control word to give back to fpu_leave().
static fpu_state fpu_enter(uint32_t flags)
{
    if (!(flags & PTHREADPOOL_FLAG_DISABLE_DENORMALS))
        return 0;
    fpu_state before = fpu_get();
    fpu_set(fpu_without_denormals(before));
    return before;
}

static void fpu_leave(uint32_t flags, fpu_state before)
{
    if (flags & PTHREADPOOL_FLAG_DISABLE_DENORMALS)
        fpu_set(before);
}

// Asks for helpers: as many as there are items and threads for, at most `can` in all.
static void ask(struct pthreadpool *pool, size_t items, size_t can, struct tickets *tickets)
{
    size_t want = atomic_load_explicit(&pool->threads, memory_order_relaxed) - 1;
    if (want > items)
        want = items;
    // A thread that is created for this starts with the control word of its creator.
    fpu_state fpu = fpu_get();
    fpu_leave(pool->call.flags, pool->fpu);
    ptp_ask(pool, (uint32_t)(want < can ? want : can), tickets);
    fpu_leave(pool->call.flags, fpu);
}

// The same, no more than there are CPUs for.
static void ask_for_free_cpus(struct pthreadpool *pool, size_t items, struct tickets *tickets)
{
    uint32_t present = door_present(atomic_load_explicit(&pool->door, memory_order_relaxed));
    ask(pool, items, (size_t)present + free_cpus(pool), tickets);
}

// ---------------------------------------------------------------------------------------------
// Running items
// ---------------------------------------------------------------------------------------------

// How a participant cuts its share into pieces.
struct pace {
    uint64_t item; // cost of an item in 1/16 ticks; 0: unknown
    size_t most;   // items in the next piece at most
    uint64_t look; // when the caller thinks of asking for help next, in ticks; helpers never do
};

static size_t next_piece(const struct call *call, const struct pace *pace, size_t left)
{
    size_t part = left / pieces_of_share;
    size_t least = pace->item ? ticks_of_us(piece_us) * 16 / pace->item : 0;
    size_t most = pace->item ? ticks_of_us(long_piece_us) * 16 / pace->item : 0;
    size_t piece = part < least ? least : part > most ? most : part;
    if (piece > pace->most)
        piece = pace->most;
    if (call->guide && piece < left / call->guide)
        piece = left / call->guide;
    return piece ? piece : 1;
}

// Opens the door and asks for help if what is left is worth it.
static void look_for_help(struct pthreadpool *pool, struct share *mine, uint64_t item)
{
    size_t left = items_left(mine);
    if (left <= ticks_of_us(help_pays_us) * 16 / item)
        return;
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_relaxed);
    if (!(door & DOOR_OPEN))
        atomic_fetch_or_explicit(&pool->door, DOOR_OPEN, memory_order_release);
    ask_for_free_cpus(pool, left, &pool->tickets);
}

// Draws the conclusions from a piece of `done` items that ended now.
static void after_piece(struct pthreadpool *pool, struct share *mine, struct pace *pace,
                        size_t done, uint64_t spent, uint64_t now)
{
    pace->item = spent * 16 / done + 1;
    pace->most = done * 4; // one lucky item says little about the others
    uint64_t known = atomic_load_explicit(&pool->item_ticks, memory_order_relaxed);
    if (pace->item - known + known / 4 > known / 2) // unsigned: off by more than a quarter
        atomic_store_explicit(&pool->item_ticks, pace->item, memory_order_relaxed);
    if (now >= pace->look) {
        look_for_help(pool, mine, pace->item);
        pace->look = ticks() + ticks_of_us(look_later_us);
    }
}

// Runs `mine` from item `i` on until it is empty.
static void run_share(struct pthreadpool *pool, struct share *mine, size_t i, size_t thread,
                      uint32_t uarch, struct pace *pace)
{
    const struct call *call = &pool->call;
    uint64_t start = ticks();
    for (;;) {
        size_t limit = atomic_load_explicit(&mine->limit, memory_order_relaxed);
        if (i < limit) {
            size_t piece = next_piece(call, pace, limit - i);
            size_t from = i;
            size_t end = piece < limit - i ? i + piece : limit;
            atomic_store_explicit(&mine->claimed, end, memory_order_relaxed);    // (a)
            atomic_thread_fence(memory_order_seq_cst);                           // (A)
            if (end <= atomic_load_explicit(&mine->limit, memory_order_relaxed)) // (b)
                i = call->run(call, mine, i, end, uarch, thread);
            if (i == end) {
                uint64_t now = ticks();
                after_piece(pool, mine, pace, end - from, now - start, now);
                start = now;
                continue;
            }
        }
        steal_lock(pool); // S2
        limit = atomic_load_explicit(&mine->limit, memory_order_relaxed);
        bool more = i < limit;
        atomic_store_explicit(&mine->next, more ? i : limit, memory_order_relaxed);
        atomic_store_explicit(&mine->claimed, more ? i : limit, memory_order_relaxed);
        steal_unlock(pool);
        if (!more)
            return;
        start = ticks();
    }
}

// Runs what can be stolen, until there is nothing.
static void run_stolen(struct pthreadpool *pool, struct share *mine, size_t thread, uint32_t uarch,
                       struct pace *pace)
{
    while (steal(pool, mine))
        run_share(pool, mine, atomic_load_explicit(&mine->next, memory_order_relaxed), thread,
                  uarch, pace);
}

static void run_serially(const struct call *call, size_t thread)
{
    struct share all = {.limit = call->total};
    fpu_state fpu = fpu_enter(call->flags);
    call->run(call, &all, 0, call->total, uarch_here(call), thread);
    fpu_leave(call->flags, fpu);
}

// ---------------------------------------------------------------------------------------------
// Calls without a caller
// ---------------------------------------------------------------------------------------------
//
// An item may throw or jump out of the call (the caller runs it), and it may fork (a helper runs
// it: its caller does not exist in the child). Natively the other threads go on with what is left
// while the caller is long elsewhere; later calls on this pool hang, all else works. So it is here,
// and later calls work: the call goes on as an *orphan*.
//
// No clean-up runs when a frame is left by longjmp() (nor by an exception: the library does without
// the C++ run time's help), and nothing of ours lies in that frame but a mark. The pool itself says
// whose call it is in. Its caller's thread finds that out when it comes back to the pool: while the
// frame of the call lives, what comes is a nested call of one of its items.
//   O1  Not taken for gone is what may live: the frame is gone if its memory is the present frame's
//       or lies just below, where those of the functions called from here lie; or if its mark has
//       changed. A call taken for nested runs in the caller alone, which is right for either.
//   O2  An orphan ends by one compare-and-swap from "nobody present" to idle, by whoever finds that
//       no item is left: the last to leave, or the one that made it an orphan. A helper leaves only
//       if it finds nothing to take, so nothing is left when the last of them goes; the watcher may
//       leave as the last with items left, which it sends help for at its next look.

static void wake_waiting_caller(struct pthreadpool *pool)
{
    if (ptp_likely(atomic_load(&pool->waiting_callers) == 0))
        return;
    atomic_fetch_add(&pool->turn, 1);
    futex_wake(&pool->turn, 1);
}

// BUSY is a lock with sleepers. Pairs: the unlocker clears BUSY, then reads waiting_callers; a
// waiter raises waiting_callers, then reads BUSY; both are sequentially consistent, so one sees the
// other. `turn` is read before BUSY, so an unlock in between makes the futex return at once.
static void wait_for_turn(struct pthreadpool *pool, uint64_t deadline)
{
    atomic_fetch_add(&pool->waiting_callers, 1);
    uint32_t turn = atomic_load(&pool->turn);
    if (atomic_load(&pool->door) & DOOR_BUSY)
        futex_wait_until(&pool->turn, turn, deadline); // woken, changed, interrupted, late: look
    atomic_fetch_sub_explicit(&pool->waiting_callers, 1, memory_order_relaxed);
}

static size_t all_left(struct pthreadpool *pool)
{
    size_t left = 0;
    uint32_t used = atomic_load_explicit(&pool->shares_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++)
        left += items_left(&pool->shares[i]);
    return left;
}

// True when all items of the call have begun and no helper is inside. An item on its way from one
// share to another is in neither, but then its thief is present: hence the door before and after.
bool ptp_is_drained(struct pthreadpool *pool)
{
    uint64_t door = atomic_load(&pool->door);
    if (!(door & DOOR_READY) || door_present(door) != 0)
        return false;
    size_t left = all_left(pool);
    atomic_thread_fence(memory_order_acquire);
    return left == 0 && atomic_load(&pool->door) == door;
}

// O2. From its success on the pool is another caller's.
static void end_orphan(struct pthreadpool *pool)
{
    uint64_t door = atomic_load(&pool->door);
    while ((door & DOOR_ORPHAN) && door_present(door) == 0 && all_left(pool) == 0)
        if (atomic_compare_exchange_weak(&pool->door, &door, door & ~(DOOR_CALL - 1))) {
            wake_waiting_caller(pool);
            return;
        }
}

// Makes an orphan of the calling thread's call, whose frame is gone.
static void abandon(struct pthreadpool *pool)
{
    struct share *mine = &pool->shares[0];
    steal_lock(pool);
    // Nobody runs the piece any more: what is left of it can be taken without a membarrier.
    atomic_store_explicit(&mine->claimed, atomic_load_explicit(&mine->next, memory_order_relaxed),
                          memory_order_relaxed);
    steal_unlock(pool);
    atomic_store_explicit(&pool->caller, 0, memory_order_relaxed);
    atomic_fetch_or_explicit(&pool->door, DOOR_OPEN, memory_order_release);
    size_t left = all_left(pool);
    size_t most = atomic_load_explicit(&pool->threads, memory_order_relaxed) - 1;
    if (left > 0)
        ptp_ask(pool, (uint32_t)(left < most ? left : most), NULL);
    atomic_fetch_or(&pool->door, DOOR_ORPHAN);
    end_orphan(pool);
}

// O1. `here`: something in the calling frame.
__attribute__((noinline, no_sanitize("address"))) static bool frame_is_gone(
    const struct pthreadpool *pool, uintptr_t here)
{
    enum { below = 1024, above = 1 << 16 }; // bytes; beyond, a stack may have been given back
    uintptr_t mark = (uintptr_t)pool->mark;
    if (mark <= here)
        return here - mark < below;
    return mark - here < above && *pool->mark != pool->mark_value;
}

// Called before ptp_lock(), which would wait for ever for a call that the calling thread has left.
void ptp_reclaim(struct pthreadpool *pool, const void *here)
{
    if ((atomic_load_explicit(&pool->door, memory_order_relaxed) & DOOR_BUSY) &&
        atomic_load_explicit(&pool->caller, memory_order_relaxed) == this_thread() &&
        frame_is_gone(pool, (uintptr_t)here))
        abandon(pool);
}

// The number of the thread as which the calling thread runs items of the pool; SIZE_MAX: it runs
// none. Natively a call from there waits for itself for ever; here it runs in its own thread.
static size_t seat_of_this_thread(struct pthreadpool *pool)
{
    uintptr_t self = this_thread();
    if (atomic_load_explicit(&pool->caller, memory_order_relaxed) == self)
        return 0;
    uint32_t used = atomic_load_explicit(&pool->shares_used, memory_order_relaxed);
    for (uint32_t i = 1; i < used; i++)
        if (atomic_load_explicit(&pool->shares[i].owner, memory_order_relaxed) == self)
            return i;
    return SIZE_MAX;
}

// Before the pool is destroyed: waits until no call is made. As natively, one whose caller is out
// of its items' way (it may have jumped out of them, and nobody but itself could know) is not
// waited for: the pool then is not used again before that call has ended.
void ptp_settle(struct pthreadpool *pool)
{
    enum { first_ms = 1, last_ms = 64 };
    uint64_t ms = first_ms;
    if ((atomic_load(&pool->door) & DOOR_BUSY) && atomic_load(&pool->caller) == this_thread())
        abandon(pool);
    while ((atomic_load(&pool->door) & DOOR_BUSY) && !ptp_is_drained(pool)) {
        wait_for_turn(pool, monotonic_ns() + ms * 1000000);
        ms = ms < last_ms ? ms * 2 : last_ms;
    }
}

// ---------------------------------------------------------------------------------------------
// Helpers
// ---------------------------------------------------------------------------------------------

// The half of the door's word in which its lowest bits are: a futex.
static _Atomic uint32_t *door_futex(struct pthreadpool *pool)
{
    return (_Atomic uint32_t *)&pool->door + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

// D3. The futex may belong to a later call by now: its caller looks again and sleeps on.
void ptp_leave(struct pthreadpool *pool)
{
    uint64_t old = atomic_fetch_sub_explicit(&pool->door, DOOR_PRESENT, memory_order_acq_rel);
    if (ptp_likely(door_present(old) != 1))
        return;
    if (old & DOOR_SLEEPER)
        futex_wake(door_futex(pool), 1);
    if (ptp_unlikely(old & DOOR_ORPHAN))
        end_orphan(pool);
}

// Checks in (D1): the number of the thread that the helper now is, 0 if it is not let in.
static size_t check_in(struct pthreadpool *pool, uint32_t *call)
{
    size_t threads;
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_acquire);
    do {
        threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
        if (!(door & DOOR_OPEN) || door_present(door) + 1 >= threads)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&pool->door, &door, door + DOOR_PRESENT,
                                                    memory_order_acq_rel, memory_order_acquire));
    *call = door_call(door);
    // Fewer than `threads` - 1 others are inside and each has one share: one is free. Others may be
    // changing seats meanwhile, so it can take more than one round to meet it.
    for (;;) {
        for (uint32_t i = 1; i < threads; i++) {
            struct share *share = &pool->shares[i];
            if (atomic_load_explicit(&share->taken, memory_order_relaxed) ||
                atomic_exchange_explicit(&share->taken, 1, memory_order_acquire))
                continue;
            atomic_store_explicit(&share->owner, this_thread(), memory_order_relaxed);
            atomic_store_explicit(&share->cpu, current_cpu(), memory_order_relaxed);
            uint32_t used = atomic_load_explicit(&pool->shares_used, memory_order_relaxed);
            while (used <= i && !atomic_compare_exchange_weak(&pool->shares_used, &used, i + 1))
                ;
            return i;
        }
    }
}

static void help(struct pthreadpool *pool, size_t thread)
{
    uint64_t start = ticks();
    struct share *mine = &pool->shares[thread];
    uint32_t uarch = uarch_here(&pool->call);
    fpu_state fpu = fpu_enter(pool->call.flags);
    struct pace pace = {atomic_load_explicit(&pool->item_ticks, memory_order_relaxed), SIZE_MAX,
                        UINT64_MAX};
    run_stolen(pool, mine, thread, uarch, &pace);
    fpu_leave(pool->call.flags, fpu);
    atomic_fetch_add_explicit(&pool->helper_ticks, ticks() - start, memory_order_relaxed);
    atomic_store_explicit(&mine->owner, 0, memory_order_relaxed);
    atomic_store_explicit(&mine->taken, 0, memory_order_release);
    ptp_leave(pool);
}

static bool is_open(uint64_t door, uint32_t seen)
{
    return (door & DOOR_OPEN) && door_call(door) != seen;
}

// Waits a moment for another call than `seen`, if such have been coming in quick succession; not in
// the way of the caller, if it has to run here.
static bool next_call_is_open(struct pthreadpool *pool, uint32_t seen)
{
    if (atomic_load_explicit(&pool->linger, memory_order_relaxed) == 0)
        return false;
    for (uint64_t start = ticks(); ticks() - start < ticks_of_us(linger_us);) {
        if (is_open(atomic_load_explicit(&pool->door, memory_order_relaxed), seen))
            return true;
        if (current_cpu() == atomic_load_explicit(&pool->shares[0].cpu, memory_order_relaxed))
            return false;
        cpu_pause();
    }
    return false;
}

// What the executor runs.
void ptp_help(void *item, void *unused)
{
    (void)unused;
    struct pthreadpool *pool = item;
    uint32_t call = door_call(atomic_load_explicit(&pool->door, memory_order_relaxed)) - 1;
    atomic_fetch_add_explicit(&pool->around, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&pool->asked, 1, memory_order_relaxed);
    for (;;) {
        do {
            size_t thread = check_in(pool, &call);
            if (thread)
                help(pool, thread);
        } while (next_call_is_open(pool, call));
        atomic_fetch_sub(&pool->around, 1);
        if (!is_open(atomic_load(&pool->door), call)) // who opens it now finds us gone (ptp_ask)
            return;
        atomic_fetch_add_explicit(&pool->around, 1, memory_order_relaxed);
    }
}

// What executors of the program run.
static void helper_task(void *pool)
{
    unsigned generation = atomic_load_explicit(&ptp_generation, memory_order_relaxed);
    ptp_help(pool, NULL);
    if (generation == atomic_load_explicit(&ptp_generation, memory_order_relaxed))
        ptp_foreign_ended(pool); // otherwise it is counted in the parent
}

// ---------------------------------------------------------------------------------------------
// The caller
// ---------------------------------------------------------------------------------------------

void ptp_lock(struct pthreadpool *pool)
{
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_relaxed);
    for (;;) {
        if (!(door & DOOR_BUSY)) {
            if (atomic_compare_exchange_weak(&pool->door, &door, door + DOOR_CALL + DOOR_BUSY))
                return;
            continue;
        }
        wait_for_turn(pool, 0);
        door = atomic_load_explicit(&pool->door, memory_order_relaxed);
    }
}

// Gives up BUSY without having made a call.
void ptp_unlock(struct pthreadpool *pool)
{
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_relaxed);
    atomic_store(&pool->door, door & ~(DOOR_CALL - 1));
    wake_waiting_caller(pool);
}

// Waits until no helper is inside. All shares are empty, so those inside are at their last item;
// more are not let in, except by the watcher for a moment, if the last items stand still.
static void wait_for_helpers(struct pthreadpool *pool)
{
    uint64_t start = ticks();
    uint64_t door = atomic_fetch_and_explicit(&pool->door, ~DOOR_OPEN, memory_order_acq_rel);
    while (door_present(door) != 0 && ticks() - start < ticks_of_us(wait_spin_us)) {
        cpu_pause();
        door = atomic_load_explicit(&pool->door, memory_order_acquire);
    }
    while (door_present(door) != 0) {
        if (!atomic_compare_exchange_strong(&pool->door, &door, door | DOOR_SLEEPER))
            continue;
        // Woken by the last to leave (its decrement came after our swap, so it saw SLEEPER), or the
        // word has changed, or a signal came: look again.
        futex_wait_until(door_futex(pool), (uint32_t)(door | DOOR_SLEEPER), 0);
        door = atomic_load_explicit(&pool->door, memory_order_acquire);
    }
}

// D2. From its success on the pool is another caller's.
static void end_call(struct pthreadpool *pool)
{
    atomic_store_explicit(&pool->caller, 0, memory_order_relaxed);
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_acquire);
    for (;;) {
        if (door_present(door) != 0) {
            wait_for_helpers(pool);
            door = atomic_load_explicit(&pool->door, memory_order_acquire);
        } else if (atomic_compare_exchange_weak(&pool->door, &door, door & ~(DOOR_CALL - 1))) {
            break;
        }
    }
    wake_waiting_caller(pool);
}

// Calls that follow each other within what a helper would linger make the next helpers linger.
static void judge_gap(struct pthreadpool *pool, uint64_t now)
{
    uint64_t gap = now - atomic_load_explicit(&pool->last_end, memory_order_relaxed);
    uint32_t linger = atomic_load_explicit(&pool->linger, memory_order_relaxed);
    if (gap > ticks_of_us(linger_us) || (pool->call.flags & PTHREADPOOL_FLAG_DONT_SPIN_WORKERS))
        linger = linger > 2 ? linger - 2 : 0;
    else if (linger < 4)
        linger++;
    atomic_store_explicit(&pool->linger, linger, memory_order_relaxed);
}

// Writes down the call, and opens the door if `open`.
static void begin_call(struct pthreadpool *pool, const struct call *given, size_t threads,
                       bool open)
{
    struct share *mine = &pool->shares[0];
    atomic_store_explicit(&pool->caller, this_thread(), memory_order_relaxed);
    pool->call = *given;
    pool->call.guide *= threads * 2;
    pool->call.fenced = !atomic_load_explicit(&ptp_membarrier_ready, memory_order_relaxed);
    pool->tickets.count = 0;
    atomic_store_explicit(&mine->next, 0, memory_order_relaxed);
    // Behind a closed door all is one piece that needs no announcement.
    atomic_store_explicit(&mine->claimed, open ? 0 : given->total, memory_order_relaxed);
    atomic_store_explicit(&mine->limit, given->total, memory_order_relaxed);
    atomic_store_explicit(&pool->shares_used, 1, memory_order_relaxed);
    atomic_store_explicit(&pool->helper_ticks, 0, memory_order_relaxed);
    if (open) {
        judge_gap(pool, ticks());
        atomic_store_explicit(&mine->cpu, current_cpu(), memory_order_relaxed);
    }
    // BUSY without READY: the word is ours.
    uint64_t door = atomic_load_explicit(&pool->door, memory_order_relaxed);
    atomic_store_explicit(&pool->door, door | DOOR_READY | (open ? DOOR_OPEN : 0),
                          memory_order_release);
}

// Either we see that the watcher is armed, or it sees BUSY when it disarms (watch.c, W1). False:
// there is no watcher.
static bool is_watched(void)
{
    return ptp_likely(atomic_load(&ptp_watch_armed)) || ptp_watch_arm();
}

// (No address sanitizer: it would have the mark on a stack of its own.)
__attribute__((no_sanitize("address"))) void ptp_call(struct pthreadpool *pool,
                                                      const struct call *given)
{
    size_t threads = pool ? atomic_load_explicit(&pool->threads, memory_order_relaxed) : 1;
    if (threads <= 1 || given->total <= 1) {
        run_serially(given, 0);
        return;
    }
    volatile uint64_t mark;
    if (ptp_unlikely(atomic_load_explicit(&pool->door, memory_order_relaxed) & DOOR_BUSY)) {
        ptp_reclaim(pool, (const void *)&mark);
        size_t seat = seat_of_this_thread(pool);
        if (seat != SIZE_MAX) {
            run_serially(given, seat);
            return;
        }
    }

    ptp_lock(pool);
    threads = atomic_load_explicit(&pool->threads, memory_order_relaxed);
    uint64_t expected;
    struct cost_key key = ptp_cost_key(given);
    bool known = ptp_cost_get(key, &expected);
    bool watched = is_watched();
    bool open = !watched || !known || expected >= ticks_of_us(awake_help_pays_us);
    begin_call(pool, given, threads, open);
    pool->mark = &mark;
    pool->mark_value = mark =
        atomic_load_explicit(&pool->door, memory_order_relaxed) ^ (uintptr_t)pool;

    struct share *mine = &pool->shares[0];
    pool->fpu = fpu_enter(given->flags);
    uint32_t uarch = uarch_here(given);

    size_t i = 0;
    struct pace pace = {0, 1, 0};
    uint64_t start = ticks();
    if (!open) {
        i = given->run(&pool->call, mine, 0, given->total, uarch, 0);
    } else {
        // In integers: floating-point flags are the program's.
        if (known)
            pace = (struct pace){expected * 16 / given->total + 1, SIZE_MAX, 0};
        atomic_store_explicit(&pool->item_ticks, pace.item, memory_order_relaxed);
        if (!watched)
            ask(pool, given->total - 1, SIZE_MAX, &pool->tickets); // nobody would send more of them
        else if (!known || expected >= ticks_of_us(help_pays_us))
            ask_for_free_cpus(pool, given->total - 1, &pool->tickets);
        start = ticks(); // what asking costs is not the call's
        pace.look = start + ticks_of_us(look_soon_us);
    }
    // A closed call whose items its caller has all claimed met no thief: nothing is left to look
    // for.
    if (open || i < given->total) {
        run_share(pool, mine, i, 0, uarch, &pace);
        run_stolen(pool, mine, 0, uarch, &pace);
    }
    fpu_leave(given->flags, pool->fpu);

    if (pool->tickets.count) // those of earlier batches come, and find the door shut
        ptp_threads_withdraw(pool, &pool->tickets);
    uint64_t now = ticks();
    uint64_t spent = now - start;
    if (open) {
        if (door_present(atomic_load_explicit(&pool->door, memory_order_acquire)) != 0)
            wait_for_helpers(pool);
        spent += atomic_load_explicit(&pool->helper_ticks, memory_order_relaxed);
        atomic_store_explicit(&pool->last_end, now, memory_order_relaxed);
    }
    ptp_cost_put(key, known, expected, spent);
    end_call(pool);
}
