// SPDX-License-Identifier: ISC
//
// Spawners: the threads that create workers.
//
// A new thread inherits settings from the thread that creates it, and some of them cannot be set
// later: no_new_privs, seccomp filters, Landlock, capabilities, and the affinity and nice value
// that a tool sets for all threads of the process. So a worker is created by a thread that has the
// settings of the worker's group: by the pusher, if the group has no worker yet and the pusher has
// these settings; else by the group's spawner. A spawner was created by such a pusher, and never
// runs code of the program. The worker then sets only its signal mask. If no thread with the
// settings is left, the worker sets what can be set.
//
// One spawner is the balancer (balancer.c): the first one, until another has a better scheduling
// for it. Usually all groups have the same settings, and there is one spawner. A spawner ends when
// no group with workers needs it. The balancer ends when the process has no worker and there is
// nothing to watch. smolscale_group_free() waits for the threads of spawners that are not needed
// any more; while it is under way (ss.frees) no spawner ends by itself. It asks them to end in the
// same section in which it stops counting itself.
//
// An order (`ordered` of a group) is placed and taken under ss.lock. The spawner sleeps on its
// futex word `word`, to which each order adds one under that lock, and so does whatever may end the
// need for it: a group's last worker that leaves, an order that nobody places after all, the last
// smolscale_group_free() under way. The sleep does not begin if one of these came before it. The
// balancer is hurried instead (balancer.c).

#include "base/room.h"
#include "os/memory.h"
#include "os/thread.h"
#include "sched/executor.h"
#include "trace/points.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum ss_spawner_end {
    RUNS,
    ASKED,   // a thread waits for its end
    REFUSED, // the answer to that: it is needed
    GONE,    // its thread is about to end
};

SS_THREAD_LOCAL struct ss_spawner *ss_spawner_self;

// Its destructor is reached with the key set only when a notice has ended the balancer's thread.
static struct ss_thread_key death_key;

static struct ss_spawner *free_spawners; // ss.lock; never given back: a late wake may touch one

// ---- settings

// The signal mask apart: that is a matter of the group's.
static bool have_same_settings(const struct ss_traits *a, const struct ss_traits *b)
{
    return ss_same_scheduling(a, b) && memcmp(&a->affinity, &b->affinity, sizeof a->affinity) == 0;
}

// ss.lock held.
static struct ss_spawner *find(const struct ss_traits *traits)
{
    struct ss_spawner *spawner = ss.spawners;
    while (spawner && !have_same_settings(&spawner->traits, traits))
        spawner = spawner->next;
    return spawner;
}

static int rank(const struct ss_traits *traits)
{
    switch (traits->policy) {
    case SCHED_IDLE:
        return 0;
    case SCHED_BATCH:
        return 1;
    case SCHED_OTHER:
        return 2;
    default:
        return 3;
    }
}

// Does `a` get a CPU sooner than `b`, wherever one is free?
static bool is_better(const struct ss_traits *a, const struct ss_traits *b)
{
    if (rank(a) != rank(b))
        return rank(a) > rank(b);
    if (a->nice != b->nice)
        return a->nice < b->nice;
    cpu_set_t both;
    CPU_AND(&both, &a->affinity, &b->affinity);
    return CPU_EQUAL(&both, &b->affinity) && !CPU_EQUAL(&a->affinity, &b->affinity);
}

// ---- a spawner's life

// ss.lock held.
static struct ss_spawner *new_spawner(const struct ss_traits *traits, bool balances)
{
    struct ss_spawner *spawner = free_spawners;
    if (spawner)
        ss_chain_take_first(free_spawners);
    else
        spawner = ss_allocate_zeroed(sizeof *spawner);
    if (!spawner)
        return NULL;
    spawner->traits = *traits;
    spawner->balances = balances;
    spawner->generation = ss.generation;
    store_relaxed(&spawner->tid, 0);
    store_relaxed(&spawner->end, RUNS);
    ss_chain_push(ss.spawners, spawner);
    return spawner;
}

// ss.lock held. Its orders are dropped: they are placed again where they are still wanted. A
// spawner that ends is forgotten in the section in which it finds that it may end: if others could
// still find it, they could give it a group, an order or the balancer's role, which would be lost.
static void forget(struct ss_spawner *spawner)
{
    struct ss_spawner **link = &ss.spawners;
    while (*link != spawner)
        link = &(*link)->next;
    *link = spawner->next;
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        if (group->spawner != spawner)
            continue;
        group->spawner = NULL;
        group->ordered = 0;
        group->settled &= group->workers > 0 || group->eager; // else no thread has them any more
    }
    store_relaxed(&ss.spawn_answers, load_relaxed(&ss.spawn_answers) + 1);
}

static void recycle(struct ss_spawner *spawner)
{
    ss_lock(&ss.lock);
    ss_chain_push(free_spawners, spawner);
    ss_unlock(&ss.lock);
}

static void answer(void)
{
    ss_os.futex_wake(&ss.spawn_answers, INT_MAX);
}

// Has a spawner without the balancer's role look at what it is to do. ss.lock held, without which
// it may be gone.
static void tell(struct ss_spawner *spawner)
{
    store_relaxed(&spawner->word, load_relaxed(&spawner->word) + 1);
    ss_os.futex_wake(&spawner->word, 1);
}

void ss_spawner_group_left(struct ss_group *group)
{
    if (group->spawner && !group->spawner->balances)
        tell(group->spawner);
}

// A group without workers whose work waits is about to order one. ss.lock held.
static bool needs_spawner(const struct ss_group *group)
{
    return group->workers > 0 || group->eager || group->ordered > 0 || ss_group_has_demand(group);
}

// A spawner without the balancer's role. ss.lock held.
static bool is_needed(const struct ss_spawner *spawner)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (group->spawner == spawner && needs_spawner(group))
            return true;
    return false;
}

// Tells the thread that waits for its end, if there is one, that it is needed. True: the caller
// must wake that thread. ss.lock held.
static bool refuse(struct ss_spawner *self)
{
    if (load_relaxed(&self->end) != ASKED)
        return false;
    store_relaxed(&self->end, REFUSED);
    return true;
}

// Deals with orders until it is to balance (true), or until it is not needed: then it is forgotten.
static bool spawn(struct ss_spawner *self)
{
    for (;;) {
        // Before the orders are looked at: one that comes after that finds another number.
        uint32_t seen = load_acquire(&self->word);
        ss_spawner_serve();
        ss_lock(&ss.lock);
        bool asked = load_relaxed(&self->end) == ASKED, balances = self->balances;
        bool needed = is_needed(self) || (!asked && ss.frees > 0);
        if (!balances && !needed)
            forget(self);
        bool refused = needed && refuse(self);
        ss_unlock(&ss.lock);
        if (refused)
            ss_os.futex_wake(&self->end, 1);
        if (balances || !needed)
            return balances;
        ss_os.futex_wait_until(&self->word, seen, SS_FOREVER);
    }
}

// The end of a spawner that is forgotten already. Called by its thread, or by the thread that could
// not create it.
static void end(struct ss_spawner *self)
{
    ss_lock(&ss.lock);
    bool asked = exchange_acq_rel(&self->end, GONE) != RUNS; // and the asker still waits
    ss_unlock(&ss.lock);
    answer();
    ss_wake_balancer_if_any(); // the balancer, too, may have been kept by this one
    if (asked)
        ss_os.futex_wake(&self->end, 1); // the structure is the asker's now
    else
        recycle(self);
}

static void tell_rooms(void)
{
    for (const struct ss_room *const *room = ss_rooms; *room; room++)
        if ((*room)->at_rest)
            (*room)->at_rest();
}

static void *spawner_main(void *arg)
{
    struct ss_spawner *self = arg;
    ss_spawner_self = self;
    store_relaxed(&self->tid, ss_os.thread_id());
    ss_thread_key_set(&death_key, self);
    ss_os.name_thread("smolscale");
    ss_point_thread(SS_ROLE_SPAWNER);
    ss_lock(&ss.lock);
    bool balances = self->balances;
    ss_unlock(&ss.lock);
    while (balances ? !ss_balance() : spawn(self))
        balances = !balances;
    ss_thread_key_set(&death_key, NULL);
    if (balances)
        tell_rooms();
    ss_point_thread_end();
    end(self);
    return NULL;
}

// Signals are for the program's own threads, and for workers as far as their group's mask says.
static int create_thread(struct ss_spawner *spawner)
{
    sigset_t mask;
    ss_os.block_signals(&mask);
    int err = ss_os.thread_create_small(spawner_main, spawner);
    ss_os.set_signal_mask(&mask);
    return err;
}

static int start(struct ss_spawner *spawner)
{
    int err = spawner ? create_thread(spawner) : -ENOMEM;
    if (!err)
        return 0;
    fetch_add_relaxed(&ss.stats.create_failures, 1);
    if (!spawner)
        return err;
    ss_lock(&ss.lock);
    forget(spawner);
    ss_unlock(&ss.lock);
    end(spawner); // another thread may have found it, and asked it to end
    return err;
}

// The balancer runs nothing of the program's but notify(), which may end its thread (pthread_exit).
// Then another goes on in its place. It is created by the one that ends, so it has its settings. If
// none can be had, this one goes on, in what is left of its life.
static void on_thread_death(void *arg)
{
    struct ss_spawner *self = arg;
    if (self->generation != ss.generation)
        return;
    ss_thread_key_set(&death_key, self); // for a notice that is left, and ends the thread again
    ss_balance_broken_off();
    ss_thread_key_set(&death_key, NULL);
    ss_point_thread_end();
    ss_spawner_self = NULL;
    if (create_thread(self) != 0)
        spawner_main(self);
}

static void new_death_key(void)
{
    ss_thread_key_new(&death_key, on_thread_death);
}

// Before the first spawner.
static void make_death_key(void)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, new_death_key);
}

int ss_start_balancer(void)
{
    uint32_t none = SS_BALANCER_NONE;
    if (load_relaxed(&ss.balancer) != SS_BALANCER_NONE ||
        !cas_strong_acq_rel(&ss.balancer, &none, SS_BALANCER_AWAKE))
        return 0;
    struct ss_traits mine;
    ss_os.thread_traits(&mine);
    ss_lock(&ss.lock);
    struct ss_spawner *spawner = new_spawner(&mine, true);
    ss_unlock(&ss.lock);
    int err = start(spawner);
    if (err)
        store_release(&ss.balancer, SS_BALANCER_NONE);
    return err;
}

int ss_group_start_spawner(struct ss_group *group)
{
    if (ss_start_balancer() != 0)
        return -EAGAIN;
    struct ss_spawner *spawner = NULL;
    ss_lock(&ss.lock);
    if (!group->spawner)
        group->spawner = find(&group->traits);
    bool exists = group->spawner != NULL;
    if (!exists && (spawner = new_spawner(&group->traits, false)))
        group->spawner = spawner;
    bool no_memory = !group->spawner;
    ss_unlock(&ss.lock);
    return exists ? 0 : no_memory ? -ENOMEM : start(spawner);
}

// ---- the balancer's role

// Of those whose thread runs: one that is being created may come to nothing. ss.lock held.
static struct ss_spawner *best_balancer(struct ss_spawner *self)
{
    struct ss_spawner *best = self;
    for (struct ss_spawner *other = ss.spawners; other; other = other->next)
        if (load_relaxed(&other->tid) != 0 && is_better(&other->traits, &best->traits))
            best = other;
    return best;
}

bool ss_hand_over(void)
{
    struct ss_spawner *self = ss_spawner_self;
    ss_lock(&ss.lock);
    bool alone = best_balancer(self) == self;
    ss_unlock(&ss.lock);
    if (alone)
        return false;
    ss_os.end_looks();
    ss_lock(&ss.lock);
    struct ss_spawner *best = best_balancer(self); // one may have ended meanwhile
    if (best != self) {
        self->balances = false;
        best->balances = true;
        tell(best);
    }
    ss_unlock(&ss.lock);
    if (best == self)
        ss_os.begin_looks();
    return best != self;
}

// ss.lock held.
static bool at_rest(const struct ss_spawner *self)
{
    if (ss_first_worker() || ss.eager_groups > 0 || ss.waiting > 0 || ss.frees > 0)
        return false;
    return ss.spawners == self && !self->next;
}

bool ss_balancer_at_rest(void)
{
    return at_rest(ss_spawner_self);
}

bool ss_balancer_end(bool (*resign)(void))
{
    struct ss_spawner *self = ss_spawner_self;
    ss_lock(&ss.lock);
    bool ends = at_rest(self) && resign();
    if (ends)
        forget(self);
    bool refused = !ends && refuse(self);
    ss_unlock(&ss.lock);
    if (refused)
        ss_os.futex_wake(&self->end, 1);
    return ends;
}

bool ss_balancer_is_asked(void)
{
    return load_relaxed(&ss_spawner_self->end) == ASKED;
}

// ---- orders

// Does it create the workers of the group? The balancer does so for groups without a spawner.
static bool serves(const struct ss_spawner *self, const struct ss_group *group)
{
    return group->spawner ? group->spawner == self : self->balances;
}

// Is that the balancer?
static bool serves_as_balancer(const struct ss_group *group)
{
    return !group->spawner || group->spawner->balances;
}

void ss_spawner_order(struct ss_group *group, unsigned count)
{
    if (group->ordered < count)
        group->ordered = count;
    ss_point_order(SS_ORDER_CREATES, count);
    if (!serves_as_balancer(group)) // else it is the caller, or about to be hurried by it
        tell(group->spawner);
}

bool ss_spawner_has_orders(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (group->ordered > 0 && serves(ss_spawner_self, group))
            return true;
    return false;
}

// Takes one order. ss.lock held. False: there is none. *worker may be NULL: no memory.
static bool take_order(struct ss_spawner *self, struct ss_worker **worker)
{
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        if (group->ordered == 0 || !serves(self, group))
            continue;
        // Creating takes a while, in which those created first may have done all there was.
        if (!ss_group_can_grow(group) || !ss_group_has_demand(group)) {
            group->ordered = 0;
            continue;
        }
        group->ordered--;
        *worker = ss_new_worker(group, group->spawner == self);
        return true;
    }
    return false;
}

// ss.lock held.
static void fail_orders(struct ss_spawner *self, int err)
{
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        if (!serves(self, group))
            continue;
        group->ordered = 0;
        group->create_error = err;
    }
}

void ss_spawner_serve(void)
{
    struct ss_spawner *self = ss_spawner_self;
    int err = 0;
    ss_lock(&ss.lock);
    // Those who wait for another spawner's answer would ask that one in vain again and again.
    bool answers = ss_spawner_has_orders();
    for (struct ss_worker *worker; take_order(self, &worker);) {
        answers = true;
        ss_unlock(&ss.lock);
        err = worker ? ss_start_worker(worker) : -ENOMEM;
        ss_lock(&ss.lock);
        if (err) {
            fail_orders(self, err);
            ss.create_retry_at = ss_os.now() + SS_CREATE_RETRY_NS;
        }
    }
    bool waiting = answers && ss.waiting > 0;
    if (waiting)
        store_relaxed(&ss.spawn_answers, load_relaxed(&ss.spawn_answers) + 1);
    ss_unlock(&ss.lock);
    if (waiting)
        answer();
}

// Orders a worker and waits until that is dealt with. ss.lock held on entry and exit. 0 or why it
// failed; 0 also if the spawner ended, or found no work.
static int order_and_wait(struct ss_group *group)
{
    ss.waiting++;
    group->create_error = 0;
    ss_spawner_order(group, 1);
    while (group->ordered > 0 && group->workers == 0) {
        uint32_t seen = load_relaxed(&ss.spawn_answers);
        bool hurries = serves_as_balancer(group);
        ss_unlock(&ss.lock);
        if (hurries)
            ss_hurry_balancer();
        // Counted under the lock, after what it tells: a wait begun too late finds another number.
        ss_os.futex_wait_until(&ss.spawn_answers, seen, SS_FOREVER);
        ss_lock(&ss.lock);
    }
    ss.waiting--;
    return group->create_error;
}

// Creates a worker itself, with the lock dropped.
static int create_here(struct ss_group *group, bool inherits)
{
    struct ss_worker *worker = ss_new_worker(group, inherits);
    ss_unlock(&ss.lock);
    int err = worker ? ss_start_worker(worker) : -ENOMEM;
    ss_lock(&ss.lock);
    return err;
}

// May a thread of these settings create the group's workers? What cannot be seen (confinement) may
// differ; the spawner of an eager group has all of it. ss.lock held.
static bool may_create(const struct ss_group *group, const struct ss_traits *traits)
{
    return have_same_settings(traits, &group->traits) && !(group->eager && group->spawner);
}

// Where there is no spawner yet, has one created by this thread if it may create the group's
// workers. A spawner (it fires a timer) waits for no spawner: it might be itself. No lock held.
static void prepare_spawner(struct ss_group *group, const struct ss_traits *mine)
{
    ss_lock(&ss.lock);
    bool same = may_create(group, mine);
    ss_unlock(&ss.lock);
    if (!ss_spawner_self && ss_start_balancer() == 0 && same)
        ss_group_start_spawner(group);
}

// Creates a worker, or has one created. *again: that came to nothing, and may be tried again.
// ss.lock held on entry and exit. 0 or a negative errno value.
static int try_first(struct ss_group *group, const struct ss_traits *mine, bool *again)
{
    *again = false;
    if (!group->spawner)
        group->spawner = find(&group->traits);
    struct ss_spawner *spawner = group->spawner;
    bool same = may_create(group, mine); // others may have settled it anew
    if (same || !spawner || spawner == ss_spawner_self)
        return create_here(group, same || spawner);
    if (ss_spawner_self) {
        ss_spawner_order(group, 1);
        return 0;
    }
    int err = order_and_wait(group);
    *again = !err && ss_group_has_demand(group);
    return err;
}

int ss_group_first_worker(struct ss_group *group)
{
    struct ss_traits mine;
    ss_os.thread_traits(&mine);
    ss_group_settle(group);
    prepare_spawner(group, &mine);
    int err = 0;
    ss_lock(&ss.lock);
    // Until there is a worker, which another thread may have created, or the group is being freed.
    bool again = true;
    while (again && group->workers == 0 && ss_group_can_grow(group))
        err = try_first(group, &mine, &again);
    group->starting = false;
    if (group->workers > 0)
        err = 0; // another thread may have created it, as the last that could be had
    else
        ss_spawner_group_left(group); // which may have waited for an order that does not come
    bool no_worker = group->workers == 0;
    ss_unlock(&ss.lock);
    // The balancer does not end while a thread waits. This one waits no more, and all else may be
    // over.
    if (no_worker)
        ss_wake_balancer_if_any();
    return err;
}

// ---- the end

// ss.lock held.
static struct ss_spawner *unneeded(bool balances)
{
    for (struct ss_spawner *spawner = ss.spawners; spawner; spawner = spawner->next) {
        if (load_relaxed(&spawner->end) != RUNS || spawner->balances != balances)
            continue;
        bool needed = balances ? !at_rest(spawner) : is_needed(spawner);
        if (!needed)
            return spawner;
    }
    return NULL;
}

// Waits until a spawner that was asked to end has done so, or is needed after all. Threads of
// spawners are not joined but looked for, because they are detached: a child of fork() may get a
// thread at the address of one that is never joined there.
static void wait_for_end(struct ss_spawner *spawner)
{
    while (load_acquire(&spawner->end) == ASKED)
        ss_os.futex_wait_until(&spawner->end, ASKED, SS_FOREVER);
    // It may end for another reason after it has refused. Its structure is ours until this
    // exchange, or for good: end() reads the same word.
    uint32_t refused = REFUSED;
    if (cas_strong_acq_rel(&spawner->end, &refused, RUNS))
        return;
    while (ss_os.thread_exists(load_relaxed(&spawner->tid)))
        ss_os.rest(); // it is past all that could hold it up
    recycle(spawner);
}

// Those that ss.frees has kept from ending look again. ss.lock held.
static void tell_kept(void)
{
    for (struct ss_spawner *spawner = ss.spawners; spawner; spawner = spawner->next)
        if (!spawner->balances && !is_needed(spawner))
            tell(spawner);
}

// False: there is none. That of the balancer comes last.
static bool end_unneeded(bool balances)
{
    ss_lock(&ss.lock);
    if (balances && --ss.frees == 0)
        tell_kept();
    struct ss_spawner *spawner = ss_spawner_self ? NULL : unneeded(balances);
    if (spawner) {
        store_relaxed(&spawner->end, ASKED);
        tell(spawner);
    }
    ss_unlock(&ss.lock);
    if (!spawner)
        return false;
    if (balances)
        ss_hurry_balancer();
    wait_for_end(spawner);
    return true;
}

void ss_spawners_retire(void)
{
    while (end_unneeded(false))
        ;               // one that refuses is needed, and not found again
    end_unneeded(true); // once: it may have more reasons to refuse than are looked at here
}

static void after_fork(void)
{
    // The parent's are not here. Those that were being changed hands are lost.
    while (ss.spawners) {
        struct ss_spawner *spawner = ss.spawners;
        ss.spawners = spawner->next;
        spawner->next = free_spawners;
        free_spawners = spawner;
    }
    ss.waiting = ss.frees = 0;
    ss.create_retry_at = 0;
}

SS_ROOM(sched_spawner, make_death_key, after_fork);
