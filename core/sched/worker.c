// SPDX-License-Identifier: ISC
//
// A worker from its birth to its end, in the order in which it happens.
//
//   birth   A structure, which counts as a worker of its group from then on, and then a thread.
//   loop    The worker takes a runnable out of its group's injection queue and runs it, or parks
//           (idle.c) if there is none.
//   end     It leaves its group under ss.lock, and its thread ends.
//
// Structures of workers are kept for the next, and freed only by smolscale_trim(). The last touch
// of a waker is a futex wake at the address of `park`, which reads nothing there, and at worst
// wakes for nothing what sleeps there next: any sleeper on a futex must expect that. The balancer
// may look at a worker that has ended, as long as the tick goes on in which it has seen it; trim()
// below sees to that.

#include "sched/worker.h"

#include "os/memory.h"
#include "os/thread.h"
#include "sched/duty.h"
#include "sched/executor.h"
#include "trace/points.h"

#include <errno.h>
#include <string.h>

SS_THREAD_LOCAL struct ss_worker *ss_self;

// Its destructor is reached with the key set only when a job has ended its thread.
static struct ss_thread_key death_key;

static void *worker_main(void *arg);

// ---- birth: the structure. ss.lock held.

static struct ss_worker *allocate(void)
{
    struct ss_worker *worker = ss.free_workers;
    if (worker) {
        ss.free_workers = worker->next;
        return worker;
    }
    worker = ss_allocate_aligned(SS_CACHE_LINE, sizeof *worker);
    if (!worker)
        return NULL;
    memset(worker, 0, sizeof *worker);
    worker->counters = &ss.work[ss.next_counters++ % SS_WORK_COUNTERS];
    worker->next_allocated = ss.allocated;
    compiler_fence(); // fork() may copy the list at any moment
    ss.allocated = worker;
    return worker;
}

static void put_back(struct ss_worker *worker)
{
    worker->forgotten = false;
    worker->next = ss.free_workers;
    ss.free_workers = worker;
}

static void renew_service(struct ss_worker *worker)
{
    store_relaxed(&worker->progress, load_relaxed(&worker->progress) + 1);
    store_relaxed(&worker->in_job, false);
    worker->serves = NULL;
    store_relaxed(&worker->serves_ops, NULL);
    store_relaxed(&worker->counted_in, NULL);
}

static void renew_thread(struct ss_worker *worker, bool joinable)
{
    worker->joinable = joinable;
    worker->inherits = worker->is_joined = worker->goes_back = worker->lent = false;
    worker->generation = ss.generation;
    store_relaxed(&worker->tid, 0);
    memset(worker->name, 0, sizeof worker->name);
}

// Makes everything as it is before a life has begun, whatever the last one has left: that of a
// worker which has ended, or that of the parent's in a child of fork(), where it may have been
// anywhere. Only the balancer's notes and `progress`, which they are compared with, go on. The
// balancer may still look at what it knew: so what it reads without a lock is set atomically. The
// parts of higher rooms are as new whenever the worker serves nothing. After a fork() these rooms
// see to them.
static void renew(struct ss_worker *worker, struct ss_group *group)
{
    renew_service(worker);
    worker->attends = worker->exit = worker->exit_if_idle = false;
    store_relaxed(&worker->park, SS_PARK_AWAKE);
    worker->group = group;
    ss_parking_renew(&worker->parking);
    ss_doing_renew(&worker->doing);
    renew_thread(worker, group->joined);
    ss_placing_renew(&worker->placing);
    const struct ss_worker_duty *duty = load_acquire(&ss_duties.worker);
    if (duty)
        duty->renew(worker);
}

// ---- the lists of all workers. ss.lock held.

static struct ss_worker_list *list_of(const struct ss_worker *worker)
{
    return worker->rests ? &ss.resting : &ss.active;
}

static void link_worker(struct ss_worker *worker, bool rests)
{
    worker->rests = rests;
    struct ss_worker_list *list = list_of(worker);
    worker->next = NULL;
    worker->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = worker;
    list->last = worker;
    list->count++;
}

static void unlink_worker(struct ss_worker *worker)
{
    struct ss_worker_list *list = list_of(worker);
    *(worker->prev ? &worker->prev->next : &list->first) = worker->next;
    *(worker->next ? &worker->next->prev : &list->last) = worker->prev;
    list->count--;
}

struct ss_worker *ss_first_worker(void)
{
    return ss.active.first ? ss.active.first : ss.resting.first;
}

struct ss_worker *ss_next_worker(const struct ss_worker *worker)
{
    return worker->next || worker->rests ? worker->next : ss.resting.first;
}

void ss_rest_worker(struct ss_worker *worker)
{
    unlink_worker(worker);
    link_worker(worker, true);
}

void ss_end_rest_slow(struct ss_worker *worker)
{
    unlink_worker(worker);
    link_worker(worker, false);
}

void ss_worker_to_end(struct ss_worker *worker)
{
    unlink_worker(worker);
    link_worker(worker, worker->rests);
}

struct ss_worker *ss_new_worker(struct ss_group *group, bool inherits)
{
    struct ss_worker *worker = allocate();
    if (!worker)
        return NULL;
    renew(worker, group);
    worker->inherits = inherits;
    link_worker(worker, false);
    ss_group_count_worker(group, 1);
    ss_expect(worker); // so that what is pushed from now on counts on it
    return worker;
}

// ---- birth: the thread

static void count_created(void)
{
    fetch_add_relaxed(&ss.stats.workers_created, 1);
    unsigned now = fetch_add_relaxed(&ss.stats.workers, 1) + 1;
    unsigned peak = load_relaxed(&ss.stats.workers_peak);
    while (now > peak && !cas_weak_relaxed(&ss.stats.workers_peak, &peak, now))
        ;
}

static void count_not_created(void)
{
    fetch_add_relaxed(&ss.stats.create_failures, 1);
    fetch_sub_relaxed(&ss.stats.workers_created, 1);
    fetch_sub_relaxed(&ss.stats.workers, 1);
}

// A worker has ended, or was not created. ss.lock held; smolscale_group_free() is to be woken then.
static void count_ended(struct ss_group *group)
{
    store_relaxed(&group->ended_word, load_relaxed(&group->ended_word) + 1);
}

// The worker is on no list but that of all workers. ss.lock held.
static void leave_group(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    ss_group_count_worker(group, -1);
    if (group->dissolved && group->reserve) {
        group->reserve->coming--;
        count_ended(group->reserve);
    }
    if (group->dissolved && group->workers == 0)
        ss_group_remove(group);
    else
        ss_group_refresh(group);
}

// A worker's reference to what it belongs to: the owner of a dedicated group, or the group.
static void unref_group(struct ss_group *group, struct ss_runnable *owner)
{
    if (owner)
        ss_runnable_unref(owner);
    else
        ss_group_unref(group);
}

// There is no thread for it.
static void undo_birth(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    struct ss_runnable *owner = group->owner;
    count_not_created();
    ss_lock(&ss.lock);
    ss_arrive(worker); // it never will
    leave_group(worker);
    unlink_worker(worker);
    put_back(worker);
    bool missed = ss_group_has_demand(group) || !ss_events_covered();
    count_ended(group);
    ss_unlock(&ss.lock);
    ss_os.futex_wake(&group->ended_word, INT32_MAX);
    if (group->reserve)
        ss_os.futex_wake(&group->reserve->ended_word, INT32_MAX);
    if (missed)
        ss_wake_balancer();    // for those that counted on it
    unref_group(group, owner); // never the last to an owner: the caller has one
}

static void tell_rooms(void)
{
    for (const struct ss_room *const *room = ss_rooms; *room; room++)
        if ((*room)->at_work)
            (*room)->at_work();
}

int ss_start_worker(struct ss_worker *worker)
{
    count_created();
    worker->slept.called_at = ss_os.now();
    int err = worker->joinable
                  ? ss_os.thread_create_joinable(worker_main, worker, worker->group->stack_size)
                  : ss_os.thread_create(worker_main, worker);
    if (err)
        undo_birth(worker);
    else
        tell_rooms();
    return err;
}

// A dedicated worker is what it has inherited. Others were created with signals blocked, or by a
// thread with another mask than their group's.
static void take_settings(const struct ss_worker *worker)
{
    const struct ss_group *group = worker->group;
    if (group->owner)
        return;
    if (!worker->inherits)
        ss_os.set_thread_traits(&group->traits);
    ss_os.set_signal_mask(&group->traits.mask);
}

static void begin_thread(struct ss_worker *worker)
{
    ss_cost_learn(SS_COST_CREATION, ss_os.now() - worker->slept.called_at);
    ss_self = worker;
    worker->thread = ss_os.thread_self();
    ss_thread_key_set(&death_key, worker);
    take_settings(worker);
    store_release(&worker->tid, ss_os.thread_id());
    ss_point_thread(SS_ROLE_WORKER);
}

// ---- the loop: finding work

// What a worker finds when it looks for work, and what is to be done when ss.lock is free.
struct search {
    struct ss_runnable *served; // has been served, with a reference to give up; NULL: none
    struct ss_runnable *found;  // is to be served next
    bool leaves_work;           // the worker is one too many, and leaves work to others
    struct ss_runnable *left;   // was what the worker belonged to, with a reference to give up
    struct ss_worker *wake;     // for ss_follow_up()
    struct ss_worker *another;  // to be woken, too
    enum ss_follow_up todo;
};

// A dedicated worker is not told to end: it does if its group has too many when it looks, for the
// limit may have changed since it was woken, and ss_group_fill() counts those that are on their way
// out. ss.lock held.
static bool is_to_end(const struct ss_worker *worker)
{
    const struct ss_group *group = worker->group;
    return group->owner ? group->workers > group->wanted : worker->exit;
}

// Enough other workers are busy. One whose last job blocked goes on: the next may block, too.
static bool is_surplus(const struct ss_worker *worker)
{
    const struct ss_group *group = worker->group;
    return !group->owner && !ss_blocked_last(&worker->doing) && load_relaxed(&group->surplus);
}

static struct ss_worker *recruit_successor(struct ss_group *group, enum ss_follow_up *todo);

// Its dedicated group has no need of it: it goes over to the reserve, if there is one. ss.lock
// held.
static bool go_back(struct ss_worker *worker, struct search *search)
{
    struct ss_group *group = worker->group, *reserve = group->reserve;
    if (!reserve)
        return false;
    leave_group(worker);
    search->left = group->owner;
    search->wake = recruit_successor(group, &search->todo);
    worker->exit = !ss_group_keeps(reserve, worker);
    worker->group = reserve;
    ss_group_count_worker(reserve, 1);
    ss_group_refresh(reserve);
    return true;
}

// ss.lock held.
static void begin_to_serve(struct ss_worker *worker, struct ss_runnable *runnable)
{
    worker->serves = runnable;
    store_relaxed(&worker->serves_ops, runnable->ops);
}

// Looks for work once. True: it was found, or the worker is to end. ss.lock held.
static bool look_for_work(struct ss_worker *worker, struct search *search)
{
    struct ss_group *group = worker->group;
    bool arrived = worker->parking.arriving;
    if (arrived)
        ss_arrive(worker);
    if (is_to_end(worker))
        return !go_back(worker, search); // if it does, it looks again, there
    bool surplus = !arrived && is_surplus(worker);
    search->found = surplus ? NULL : ss_inject_pop(group);
    if (search->found) {
        begin_to_serve(worker, search->found);
        if (arrived && ss_group_has_demand(group)) { // no other was called while it came
            search->wake = ss_recruit(group, &search->todo);
            search->another = ss_recruit_another(group);
        }
        return true;
    }
    search->leaves_work = surplus && ss_group_has_demand(group);
    return worker->exit_if_idle;
}

// No lock held.
static void drop_served(struct search *search)
{
    if (search->served)
        ss_runnable_unref(search->served);
    search->served = NULL;
}

// No lock held.
static void drop_left(struct search *search)
{
    if (!search->left)
        return;
    ss_follow_up(NULL, search->wake, search->todo); // never to create one
    ss_runnable_unref(search->left);
    search->left = NULL;
    search->wake = NULL;
    search->todo = SS_DO_NOTHING;
}

// Does what must be done before the worker parks, and cannot be done under ss.lock. False: work may
// have come while the lock was free. ss.lock held on entry and exit.
static bool may_park(struct ss_worker *worker, struct search *search)
{
    if (!search->served && !search->leaves_work && !search->left)
        return true;
    ss_unlock(&ss.lock);
    drop_served(search);
    drop_left(search);
    if (search->leaves_work)
        ss_wake_balancer();
    ss_lock(&ss.lock);
    bool news = worker->parking.arriving || worker->group->head;
    return !is_to_end(worker) && (!news || search->leaves_work);
}

// The worker will not look after time and events for a while: sees to it that they are looked
// after. No lock held.
static void leave_duties(void)
{
    if (!ss_time_is_kept())
        ss_wake_balancer();
    ss_events_cover();
}

static struct ss_worker *leave(struct ss_worker *worker, enum ss_follow_up *todo);

// Takes ss.lock, and notes whether others had it.
static void lock_and_note(void)
{
    bool taken = ss_lock_and_tell(&ss.lock);
    unsigned crowding = load_relaxed(&ss.crowding);
    unsigned next = ss_crowding_next(crowding, taken, SS_CROWDING_MAX);
    if (next != crowding)
        store_relaxed(&ss.crowding, next);
}

// What the worker runs next; NULL: it ends, and has left its group. Parks while there is nothing.
static struct ss_runnable *next(struct ss_worker *worker)
{
    struct search search = {.served = worker->serves, .todo = SS_DO_NOTHING};
    if (search.served && !ss_runnable_is_counted(search.served))
        search.served = NULL;
    lock_and_note();
    worker->serves = NULL;
    while (!look_for_work(worker, &search))
        if (may_park(worker, &search))
            ss_park(worker);
    if (!search.found)
        search.wake = leave(worker, &search.todo);
    struct ss_group *group = worker->group; // may be another than before
    bool last = ss_first_worker() == NULL;
    ss_unlock(&ss.lock);
    drop_served(&search);
    if (last)
        ss_wake_balancer(); // it may have nothing left to do
    if (!search.found || !search.found->ops->keeps_time)
        leave_duties();
    if (search.another)
        ss_unpark(search.another);
    ss_follow_up(group, search.wake, search.todo);
    return search.found;
}

// What the rooms above keep in the worker.
static void end_parts(struct ss_worker *worker)
{
    const struct ss_worker_duty *duty = load_acquire(&ss_duties.worker);
    if (duty)
        duty->end(worker);
}

static void run(struct ss_runnable *runnable, struct ss_worker *worker)
{
    uint64_t progress = load_relaxed(&worker->progress) + 1;
    store_relaxed(&worker->progress, progress);
    runnable->ops->run(runnable, worker);
    // What it came for may have been gone although it was listed. The flag is its own to clear:
    // others set it only before it has arrived.
    if (load_relaxed(&worker->progress) != progress)
        worker->exit_if_idle = false;
}

static void end(struct ss_worker *worker);

static void *worker_main(void *arg)
{
    struct ss_worker *worker = arg;
    begin_thread(worker);
    for (struct ss_runnable *runnable; (runnable = next(worker));)
        run(runnable, worker);
    end_parts(worker);
    ss_thread_key_set(&death_key, NULL);
    end(worker);
    return NULL;
}

// ---- the end

// A worker to wake for what is left to do. None is created here: it would inherit what jobs have
// left in this thread. ss.lock held.
static struct ss_worker *recruit_successor(struct ss_group *group, enum ss_follow_up *todo)
{
    struct ss_worker *wake = ss_group_has_demand(group) ? ss_recruit(group, todo) : NULL;
    if (*todo == SS_CREATE_WORKER) {
        group->starting = false;
        group->spawn_requested = true;
        *todo = SS_HURRY_BALANCER;
    }
    return wake;
}

// The end begins: no list has the worker any more but, where its thread is to be joined, that of
// its group. ss.lock held. Returns a worker to wake for what is left to do.
static struct ss_worker *leave(struct ss_worker *worker, enum ss_follow_up *todo)
{
    struct ss_group *group = worker->group;
    leave_group(worker);
    unlink_worker(worker);
    // One that idles for too long may be forgotten; where workers stay, and at the group's end, all
    // are joined.
    worker->is_joined =
        worker->joinable && group->joined && (group->ending || group->idle_timeout == SS_FOREVER);
    group->leaving += worker->is_joined;
    if (group->workers == 0)
        ss_spawner_group_left(group);
    return recruit_successor(group, todo);
}

// The structure may be used for another thread. No lock held.
static void recycle(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    put_back(worker);
    ss_unlock(&ss.lock);
}

void ss_join_worker(struct ss_worker *worker)
{
    ss_os.thread_join(worker->thread);
    recycle(worker);
}

static void end_detached(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    struct ss_runnable *owner = group->owner;
    if (worker->joinable)
        ss_os.thread_detach(worker->thread);
    recycle(worker);
    unref_group(group, owner);
}

// The thread is joined by the next of its group that ends, or by smolscale_group_free(). So no more
// than one thread of a group waits to be joined.
static void end_joined(struct ss_worker *worker)
{
    struct ss_group *group = worker->group;
    ss_lock(&ss.lock);
    struct ss_worker *before = group->ended;
    group->ended = worker;
    group->leaving--;
    count_ended(group);
    ss_unlock(&ss.lock);
    ss_os.futex_wake(&group->ended_word, INT32_MAX);
    if (before)
        ss_join_worker(before);
    ss_group_unref(group);
}

// The last that a worker's thread does for the executor; destructors of thread-local data may still
// run after it.
static void end(struct ss_worker *worker)
{
    ss_self = NULL;
    ss_point_thread_end();
    fetch_add_relaxed(&ss.stats.workers_retired, 1);
    fetch_sub_relaxed(&ss.stats.workers, 1);
    if (worker->is_joined)
        end_joined(worker);
    else
        end_detached(worker);
}

// ---- the end in a job (pthread_exit, cancellation). The job counts as run.

// What hangs on the worker is settled.
static void abandon(struct ss_worker *worker)
{
    struct ss_runnable *served = worker->serves;
    if (served && served->ops->abandon)
        served->ops->abandon(served, worker);
    ss_leave_job(worker); // the balancer must not find it in a job, and mark it, when it has left
    end_parts(worker);
}

// No lock held.
static void leave_reserve(struct ss_worker *worker)
{
    enum ss_follow_up todo;
    struct ss_group *reserve = worker->group;
    ss_lock(&ss.lock);
    struct ss_worker *wake = leave(worker, &todo);
    bool last = ss_first_worker() == NULL;
    ss_unlock(&ss.lock);
    ss_follow_up(reserve, wake, todo);
    if (last)
        ss_wake_balancer();
}

static void on_thread_death(void *arg)
{
    struct ss_worker *worker = arg;
    if (worker->generation != ss.generation)
        return;
    ss_thread_key_set(&death_key, worker); // for a notice that ends the thread once more
    abandon(worker);
    ss_thread_key_set(&death_key, NULL);
    struct ss_group *group = worker->group;
    struct search search = {.served = worker->serves, .todo = SS_DO_NOTHING};
    ss_lock(&ss.lock);
    worker->serves = NULL;
    bool goes_back = go_back(worker, &search); // and ends there
    if (!goes_back)
        search.wake = leave(worker, &search.todo);
    bool last = ss_first_worker() == NULL;
    ss_unlock(&ss.lock);
    drop_served(&search);
    if (group->owner)
        ss_group_fill(group); // a dedicated thread is replaced, as far as that is possible here
    ss_follow_up(group, search.wake, search.todo);
    if (last)
        ss_wake_balancer();
    if (goes_back) {
        ss_runnable_unref(search.left);
        leave_reserve(worker);
    }
    end(worker);
}

static void new_death_key(void)
{
    ss_thread_key_new(&death_key, on_thread_death);
}

// Before the first worker.
static void make_death_key(void)
{
    static struct ss_once once = SS_ONCE_INIT;
    ss_once(&once, new_death_key);
}

// ---- memory given back

// Marks all structures that are kept, but for those that the balancer will look at, and returns how
// many. From here on nobody can find them but by the list of all. No lock held.
static size_t forget_kept(void)
{
    const struct ss_worker_duty *duty = load_acquire(&ss_duties.worker);
    size_t count = 0;
    if (!ss_balancer_pause())
        return 0;
    ss_lock(&ss.lock);
    struct ss_worker *kept = ss.free_workers, *worker;
    ss.free_workers = NULL;
    ss_unlock(&ss.lock);
    while ((worker = kept)) {
        kept = worker->next;
        if (duty && duty->remembers(worker)) {
            recycle(worker);
            continue;
        }
        worker->forgotten = true;
        count++;
    }
    ss_balancer_resume();
    return count;
}

// Takes the next of those out of the list of all; NULL: not found in so many steps from `*at` on.
// Others only add to the list, at its head, so `*at` stays a place in it. ss.lock held.
static struct ss_worker *take_out_next(struct ss_worker ***at, unsigned steps)
{
    for (struct ss_worker *worker; steps-- > 0 && (worker = **at);) {
        if (worker->forgotten) {
            **at = worker->next_allocated;
            compiler_fence(); // fork() may copy the list at any moment: gone before it is freed
            return worker;
        }
        *at = &worker->next_allocated;
    }
    return NULL;
}

// ss.lock is held for some µs at a time, however many there are.
static size_t trim(void)
{
    enum { STEPS = 64 };
    size_t count = forget_kept(), bytes = 0;
    for (struct ss_worker **at = &ss.allocated; count > 0;) {
        ss_lock(&ss.lock);
        struct ss_worker *worker = take_out_next(&at, STEPS);
        ss_unlock(&ss.lock);
        if (!worker)
            continue;
        ss_deallocate(worker);
        bytes += sizeof *worker;
        count--;
    }
    return bytes;
}

// ---- others

void ss_name_worker(struct ss_worker *worker, const char name[16])
{
    if (name[0] == '\0' || memcmp(worker->name, name, sizeof worker->name) == 0)
        return;
    memcpy(worker->name, name, sizeof worker->name);
    ss_os.name_thread(worker->name);
}

bool smolscale_in_worker(void)
{
    return ss_self != NULL;
}

// The calling thread goes on in its job, which the child's queues know nothing of.
static void adopt_after_fork(struct ss_worker *worker)
{
    char name[sizeof worker->name];
    memcpy(name, worker->name, sizeof name);
    bool in_job = load_relaxed(&worker->in_job);
    renew(worker, worker->group->owner ? &ss.shared : worker->group); // a dedicated one is new
    memcpy(worker->name, name, sizeof name);
    store_relaxed(&worker->in_job, in_job);
    store_relaxed(&worker->tid, ss_os.thread_id());
    link_worker(worker, false);
    store_relaxed(&ss.stats.workers, 1);
    ss_group_count_worker(worker->group, 1);
    ss_group_refresh(worker->group);
}

static void after_fork(void)
{
    ss.active = ss.resting = (struct ss_worker_list){0};
    ss.free_workers = NULL;
    for (struct ss_worker *worker = ss.allocated; worker; worker = worker->next_allocated)
        if (worker != ss_self)
            put_back(worker); // renewed when it is used again
    if (ss_self)
        adopt_after_fork(ss_self);
}

SS_ROOM_WITH(sched_worker, make_death_key, after_fork, .trim = trim);
