// SPDX-License-Identifier: ISC
//
// The local executor: a run queue of a thread's own, that can be run inside another event loop.
//
// Its tasks know where they belong by their `home`, which lies behind their frame. Only the thread
// that runs it touches queue and live list. What is woken or spawned from elsewhere goes through
// the *inbox*, under a lock. The eventfd is readable exactly while `signalled`: a thread that puts
// a task in and finds it false sets it and writes; the owner, under the same lock, clears it when
// it finds neither queue nor inbox filled. A task runs only between the two, so that what it wakes
// goes straight into the queue: the eventfd stands for that, too.
//
// Freeing: the last task that comes home has been put in under the lock, and its sender touches
// nothing after it. So the lock, taken once more, is the end of all of them. That is why the
// eventfd is written under the lock, unlike other wake-ups.
//
// Timers and descriptors: while it sleeps in tick() or run(), the thread looks after both, as a
// thread does that waits like a task. Where another loop sleeps on the eventfd, a worker or the
// balancer does (cover()).

#include "os/descriptor.h"
#include "os/memory.h"
#include "task/descriptor.h"
#include "task/poll.h"

#include <string.h>

// Behind the frame of each of its tasks.
struct attachment {
    struct ss_home home;
    smolscale_local *local;
    smolscale_poll_fn *poll;
    struct smolscale_task *task;
    struct attachment *next, **link; // of those that have begun and not ended; NULL: not among them
};

struct smolscale_local {
    struct ss_lock lock;
    bool signalled;                         // the eventfd is readable; the lock
    _Atomic(struct smolscale_task *) inbox; // the lock; read without as a hint
    struct smolscale_task *inbox_tail;

    // ---- the owner's
    struct smolscale_task *head, *tail;
    struct attachment *live;
    unsigned waits; // awaits of descriptors that its tasks are in
    uint64_t polled_at;
    smolscale_cx cx;

    int fd;
    unsigned generation; // of the executor: its tasks do not exist in children of fork()
};

// Whose task the thread polls at this moment.
static SS_THREAD_LOCAL smolscale_local *running;

// ---- coming in

static void append(smolscale_local *local, struct smolscale_task *task)
{
    task->next = NULL;
    if (local->head)
        local->tail->next = task;
    else
        local->head = task;
    local->tail = task;
}

static void submit(struct ss_home *home, struct smolscale_task *task)
{
    smolscale_local *local = ((struct attachment *)home)->local;
    if (running == local) {
        append(local, task);
        return;
    }
    task->next = NULL;
    ss_lock(&local->lock);
    if (load_relaxed(&local->inbox))
        local->inbox_tail->next = task;
    else
        store_relaxed(&local->inbox, task);
    local->inbox_tail = task;
    if (!local->signalled)
        ss_event_set(local->fd);
    local->signalled = true;
    ss_unlock(&local->lock); // from here on it may be gone
}

// Moves the inbox into the queue. With both empty the eventfd is emptied, too.
static void take_inbox(smolscale_local *local)
{
    ss_lock(&local->lock);
    struct smolscale_task *list = load_relaxed(&local->inbox);
    if (list) {
        if (local->head)
            local->tail->next = list;
        else
            local->head = list;
        local->tail = local->inbox_tail;
        store_relaxed(&local->inbox, NULL);
    } else if (!local->head && local->signalled) {
        ss_event_clear(local->fd);
        local->signalled = false;
    }
    ss_unlock(&local->lock);
}

static struct smolscale_task *next_task(smolscale_local *local)
{
    if (!local->head || load_relaxed(&local->inbox))
        take_inbox(local);
    struct smolscale_task *task = local->head;
    if (task)
        local->head = task->next;
    return task;
}

// ---- its tasks

static void begin_life(smolscale_local *local, struct attachment *a)
{
    a->next = local->live;
    a->link = &local->live;
    if (a->next)
        a->next->link = &a->next;
    local->live = a;
}

static void end_life(struct attachment *a)
{
    *a->link = a->next;
    if (a->next)
        a->next->link = a->link;
    a->link = NULL;
}

static int poll_attached(smolscale_cx *cx, void *frame)
{
    struct attachment *a = (struct attachment *)cx->task->home;
    if (!a->link)
        begin_life(a->local, a);
    int result = a->poll(cx, frame);
    if (result != SMOLSCALE_PENDING && a->local->generation == ss.generation)
        end_life(a);
    return result;
}

int smolscale_local_spawn(smolscale_local *local, smolscale_task **out, smolscale_poll_fn *poll,
                          const void *frame, size_t size)
{
    size_t place = (size + _Alignof(struct attachment) - 1) & ~(_Alignof(struct attachment) - 1);
    struct smolscale_task *task =
        poll && size < SIZE_MAX / 4
            ? ss_task_new(poll_attached, NULL, place + sizeof(struct attachment), NULL)
            : NULL;
    if (out)
        *out = task;
    if (!task)
        return poll ? -ENOMEM : -EINVAL;
    struct attachment *a = (struct attachment *)((char *)ss_frame(task) + place);
    *a = (struct attachment){
        .home = {submit, &local->waits}, .local = local, .poll = poll, .task = task};
    task->home = &a->home;
    if (!out)
        task->join.lock = SS_JOIN_RELEASED;
    if (frame)
        memcpy(ss_frame(task), frame, size);
    submit(&a->home, task);
    return 0;
}

// ---- running

// Timers and descriptors, while there are any and tasks keep the thread busy.
static void attend(smolscale_local *local)
{
    uint64_t next = ss_next_due();
    bool descriptors = ss_events_awaited();
    if (next == SS_FOREVER && !descriptors)
        return;
    uint64_t now = ss_os.now();
    if (next <= now)
        ss_fire(now);
    if (descriptors && now - local->polled_at >= ss_policy(events_every_ns)) {
        local->polled_at = now;
        ss_events_poll();
    }
}

static bool run_one(smolscale_local *local)
{
    struct smolscale_task *task = next_task(local);
    if (!task)
        return false;
    smolscale_local *outer = running;
    running = local;
    bool again = ss_poll(task, &local->cx);
    running = outer;
    if (again)
        append(local, task);
    attend(local);
    return true;
}

// The thread will sleep elsewhere.
static void cover(void)
{
    ss_events_cover();
    if (!ss_time_is_kept())
        ss_wake_balancer();
}

bool smolscale_local_try_tick(smolscale_local *local)
{
    if (run_one(local))
        return true;
    if (ss_events_awaited() && ss_events_poll() && run_one(local))
        return true;
    cover();
    return false;
}

static void sleep_seated(smolscale_local *local, uint64_t until)
{
    if (ss_seat_sleep(local->fd, until, NULL))
        ss_events_poll();
    ss_seat_leave();
    // Its own tasks' descriptors need no other thread while it is awake.
    if (load_relaxed(&ss_duties.waits) > local->waits)
        ss_events_cover();
}

// Any return is fine.
static void sleep_until_ready(smolscale_local *local)
{
    uint64_t next = ss_next_due(), now = next == SS_FOREVER ? 0 : ss_os.now();
    if (next <= now) {
        ss_fire(now);
        return;
    }
    ss_lane_hand_over();
    smolscale_blocking_begin();
    struct pollfd fd = {local->fd, POLLIN, 0};
    if (ss_seat_take())
        sleep_seated(local, next);
    else
        ss_os.poll_until(&fd, 1, next);
    smolscale_blocking_end();
}

void smolscale_local_tick(smolscale_local *local)
{
    while (!run_one(local))
        if (!ss_events_awaited() || !ss_events_poll())
            sleep_until_ready(local);
}

// ---- a task that runs an async function of the caller's

struct guest {
    smolscale_poll_fn *poll;
    void *frame;
};

static int poll_guest(smolscale_cx *cx, void *frame)
{
    struct guest *guest = frame;
    return guest->poll(cx, guest->frame);
}

int smolscale_local_run(smolscale_local *local, smolscale_poll_fn *poll, void *frame)
{
    struct guest guest = {poll, frame};
    struct smolscale_task *task;
    int err =
        poll ? smolscale_local_spawn(local, &task, poll_guest, &guest, sizeof guest) : -EINVAL;
    if (err)
        return err;
    while (!smolscale_finished(task))
        smolscale_local_tick(local);
    int result = task->result;
    smolscale_release(task);
    cover();
    return result;
}

int smolscale_local_fd(smolscale_local *local)
{
    return local->fd;
}

// ---- begin and end

int smolscale_local_new(smolscale_local **out)
{
    *out = NULL;
    ss_start();
    smolscale_local *local = ss_allocate(sizeof *local);
    if (!local)
        return -ENOMEM;
    int fd = ss_event_new();
    if (fd < 0) {
        ss_deallocate(local);
        return fd;
    }
    *local = (smolscale_local){.lock = SS_LOCK_INIT, .fd = fd, .generation = ss.generation};
    *out = local;
    return 0;
}

// The task is off every list and in no queue.
static void drop(struct smolscale_task *task)
{
    struct attachment *a = (struct attachment *)task->home;
    // As before a poll: an interrupter that has seen where it waited is waited for.
    store_relaxed(&task->parked, NULL);
    ss_light_fence();
    while (ss_ctl_pinned(load_acquire(&task->ctl)))
        ss_os.yield();
    ss_descriptor_abandon(task);
    if (a->link)
        end_life(a);
    ss_task_end(task, -ECANCELED);
}

// Whatever they wait for: cancelled they come home, each once.
static void drop_tasks(smolscale_local *local)
{
    for (struct attachment *a = local->live; a; a = a->next)
        smolscale_cancel(a->task);
    for (;;) {
        for (struct smolscale_task *task; (task = next_task(local));)
            drop(task);
        if (!local->live)
            return;
        ss_os.poll_until(&(struct pollfd){local->fd, POLLIN, 0}, 1, SS_FOREVER);
    }
}

void smolscale_local_free(smolscale_local *local)
{
    if (!local)
        return;
    if (local->generation == ss.generation) {
        drop_tasks(local);
        ss_lock(&local->lock);
        ss_unlock(&local->lock);
    }
    ss_fd_close(local->fd);
    ss_deallocate(local);
}

SS_ROOM(task_local, NULL, NULL); // the calling thread is still in the loop that it was in
