// SPDX-License-Identifier: ISC
//
// What the core asks of the kernel (os.h), on the real kernel: that it leaves threads as they were,
// takes no descriptor of the program's, follows what the process may use, and goes on where the
// kernel says no.

#include "support.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

// ---------------------------------------------------------------------------------------------
// Naps
// ---------------------------------------------------------------------------------------------

static long timer_slack(void)
{
    return syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
}

START_TEST(a_nap_leaves_the_timer_slack_of_its_thread_as_it_was)
{
    _Atomic uint32_t word = 0;
    static const long slacks[] = {1, 2, 50000, 123456, 3000000000};
    for (unsigned i = 0; i < sizeof slacks / sizeof *slacks; i++) {
        ck_assert_int_eq(prctl(PR_SET_TIMERSLACK, (unsigned long)slacks[i], 0UL, 0UL, 0UL), 0);
        ss_os.nap(&word, 0, 1000);
        ck_assert_int_eq(timer_slack(), slacks[i]);
        ss_os.nap(&word, 1, 1000); // which does not sleep
        ck_assert_int_eq(timer_slack(), slacks[i]);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Placing
// ---------------------------------------------------------------------------------------------

static cpu_set_t affinity_of(pid_t tid)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    ck_assert_int_eq(sched_getaffinity(tid, sizeof set, &set), 0);
    return set;
}

static cpu_set_t only(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return set;
}

static unsigned first_of(const cpu_set_t *set)
{
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, set))
        cpu++;
    return cpu;
}

static void ck_affinity(const char *when, const cpu_set_t *expected)
{
    cpu_set_t now = affinity_of(0);
    ck_assert_msg(CPU_EQUAL(&now, expected), "%s: expected %d CPUs from %u on, got %d from %u on",
                  when, CPU_COUNT(expected), first_of(expected), CPU_COUNT(&now), first_of(&now));
}

START_TEST(a_placed_thread_gets_its_cpus_back)
{
    cpu_set_t all = affinity_of(0), one = only(first_of(&all)), others;
    struct ss_placement placement;
    if (CPU_COUNT(&all) == 1) { // there is nothing to place
        ck_assert(!ss_os.place(gettid(), (int)first_of(&all), true, &placement));
        ck_affinity("on one CPU", &all);
        return;
    }
    CPU_XOR(&others, &all, &one);
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), true, &placement));
    ck_affinity("placed on one", &one);
    ss_os.release(&placement);
    ck_affinity("released", &all);
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), false, &placement));
    ck_affinity("placed elsewhere", &others);
    ss_os.release(&placement);
    ck_affinity("released", &all);
    ck_assert(!ss_os.place(gettid(), CPU_SETSIZE, true, &placement));
    ck_assert(!ss_os.place(gettid(), -1, true, &placement));
    ck_affinity("placed nowhere", &all);
}
END_TEST

START_TEST(an_affinity_set_from_outside_while_a_thread_is_placed_stays)
{
    cpu_set_t all = affinity_of(0);
    if (CPU_COUNT(&all) == 1)
        return; // nothing can be placed
    cpu_set_t one = only(first_of(&all)), others;
    CPU_XOR(&others, &all, &one);
    struct ss_placement placement;
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), true, &placement));
    ck_assert_int_eq(sched_setaffinity(0, sizeof others, &others), 0); // as taskset does
    ss_os.release(&placement);
    ck_affinity("set meanwhile", &others);
}
END_TEST

int main(void)
{
    return test_suite("os", (const TTest *[]){
                                a_nap_leaves_the_timer_slack_of_its_thread_as_it_was,
                                a_placed_thread_gets_its_cpus_back,
                                an_affinity_set_from_outside_while_a_thread_is_placed_stays,
                                NULL,
                            });
}
