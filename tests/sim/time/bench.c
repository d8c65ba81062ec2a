// SPDX-License-Identifier: ISC
//
// sim bench: workloads under the driver that counts time.

#include "smolscale.h"
#include "time.h"

#include <stdlib.h>
#include <string.h>

// One workload so far: jobs of one queue, from one pusher.
SIM_STATE static struct {
    unsigned jobs;
    uint64_t job_ns, begin, end;
    _Atomic unsigned done;
    struct sim_flag all;
} s;

static struct {
    unsigned jobs;
    uint64_t job_ns, begin, end;
} wanted;

static void run_job(void *item, void *user_data)
{
    (void)item, (void)user_data;
    sim_work(s.job_ns);
    if (fetch_add_acq_rel(&s.done, 1) + 1 == s.jobs)
        sim_flag_set(&s.all);
}

static void *jobs(void *arg)
{
    smolscale_queue *queue;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    (void)arg;
    s.jobs = wanted.jobs;
    s.job_ns = wanted.job_ns;
    attr.run = run_job;
    smolscale_queue_new(&queue, &attr);
    wanted.begin = sim_now();
    for (unsigned i = 0; i < s.jobs; i++)
        smolscale_queue_push(queue, &s, NULL);
    sim_flag_wait(&s.all);
    wanted.end = sim_now();
    return NULL;
}

int time_bench(int argc, char **argv)
{
    const char *path = argc > 0 ? argv[0] : "tests/sim/time/profiles/machine-a";
    unsigned line;
    wanted.jobs = 10000;
    printf("%-16s %5s %12s %14s %12s %12s\n", "workload", "CPUs", "ns a job", "CPU ns a job",
           "wakes a job", "lines a job");
    for (unsigned count = 1; count <= CPUS_MAX; count *= 2)
        for (wanted.job_ns = 0; wanted.job_ns <= 10000; wanted.job_ns += 10000) {
            struct sim_config config = {.cpus = count, .reuses_memory = true};
            char name[32];
            int err = profile_read(path, count, &line);
            if (err) {
                fprintf(stderr, "sim: %s:%u: %s\n", path, line, strerror(-err));
                return 2;
            }
            time_reset();
            if (sim_run(&time_driver, &config, jobs, NULL) != SIM_GOOD) {
                printf("FAILED  jobs on %u CPUs: %s\n", count, sim.failure);
                return 1;
            }
            uint64_t busy = 0;
            for (unsigned i = 0; i < count; i++)
                busy += cpus[i].busy;
            snprintf(name, sizeof name, "jobs-%llu-us", (unsigned long long)wanted.job_ns / 1000);
            printf("%-16s %5u %12.1f %14.1f %12.4f %12.2f\n", name, count,
                   (double)(wanted.end - wanted.begin) / wanted.jobs, (double)busy / wanted.jobs,
                   (double)time_counts.wakes / wanted.jobs, (double)line_transfers / wanted.jobs);
        }
    return 0;
}
