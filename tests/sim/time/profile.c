// SPDX-License-Identifier: ISC

#include "profile.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct number {
    const char *name;
    size_t offset;
    size_t size;
};

#define NUMBER(name)                                         \
    {                                                        \
#name, offsetof(struct sim_profile, name),           \
            sizeof(((const struct sim_profile *)NULL)->name) \
    }

static const struct number numbers[] = {
    NUMBER(sleep),       NUMBER(thread_life),   NUMBER(cpus),         NUMBER(per_core),
    NUMBER(per_complex), NUMBER(per_socket),    NUMBER(access_ps),    NUMBER(rmw),
    NUMBER(fence),       NUMBER(ticks),         NUMBER(from_memory),  NUMBER(cache),
    NUMBER(slack),       NUMBER(from_core),     NUMBER(from_complex), NUMBER(from_socket),
    NUMBER(from_far),    NUMBER(pause),         NUMBER(clock),        NUMBER(memory),
    NUMBER(call),        NUMBER(thread_switch), NUMBER(wake_here),    NUMBER(wake_busy),
    NUMBER(overshoot),   NUMBER(slice),         NUMBER(granularity),  NUMBER(hot),
    NUMBER(balance),     NUMBER(big),           NUMBER(little_speed),
};

static bool set_number(struct sim_profile *profile, const char *name, uint64_t value)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(numbers[i].name, name) != 0)
            continue;
        if (numbers[i].size == sizeof(unsigned))
            *(unsigned *)((char *)profile + numbers[i].offset) = (unsigned)value;
        else
            *(uint64_t *)((char *)profile + numbers[i].offset) = value;
        return true;
    }
    return false;
}

// One line. False: it says nothing that is known.
static bool read_line(struct sim_profile *profile, char *line)
{
    char name[64], what[64];
    double a, b, c;
    line[strcspn(line, "#\n")] = 0;
    if (sscanf(line, "%63s", name) != 1)
        return true;
    if (sscanf(line, "call %31[^0-9] %lf", what, &a) == 2 && what[0] != 0) {
        size_t length = strlen(what);
        while (length && what[length - 1] == ' ')
            what[--length] = 0;
        if (length && profile->call_count < SIM_CALLS_MAX) {
            memcpy(profile->calls[profile->call_count].name, what, length + 1);
            profile->calls[profile->call_count++].ns = (uint64_t)a;
            return true;
        }
    }
    if (sscanf(line, "idle %lf %lf %lf", &a, &b, &c) == 3) {
        if (profile->idle_count == SIM_IDLE_STATES_MAX)
            return false;
        profile->idle[profile->idle_count].after = (uint64_t)a;
        profile->idle[profile->idle_count].call = (uint64_t)b;
        profile->idle[profile->idle_count++].arrival = (uint64_t)c;
        return true;
    }
    if (sscanf(line, "placement %31s", what) == 1) {
        static const char *const names[] = {
            [SIM_PLACE_PREVIOUS] = "previous",
            [SIM_PLACE_LAST] = "last",
            [SIM_PLACE_WAKER] = "waker",
        };
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
            profile->placement = (enum sim_placement)i;
            if (strcmp(what, names[i]) == 0)
                return true;
        }
        return false;
    }
    return sscanf(line, "%63s %lf", name, &a) == 2 && set_number(profile, name, (uint64_t)a);
}

static bool is_whole(const struct sim_profile *p)
{
    return p->cpus >= 1 && p->cpus <= SIM_CPUS_MAX && p->per_core && p->per_complex &&
           p->per_socket && p->call && p->idle_count && p->slice && p->balance;
}

bool sim_profile_read(struct sim_profile *profile, const char *folder, const char *name)
{
    char path[4096], line[512];
    memset(profile, 0, sizeof *profile);
    snprintf(profile->name, sizeof profile->name, "%s", name);
    profile->little_speed = 100;
    snprintf(path, sizeof path, "%s/%s.txt", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "sim: no profile %s\n", path);
        return false;
    }
    bool good = true;
    for (unsigned number = 1; good && fgets(line, sizeof line, file); number++)
        if (!read_line(profile, line)) {
            fprintf(stderr, "sim: %s:%u: not understood\n", path, number);
            good = false;
        }
    fclose(file);
    if (good && !is_whole(profile)) {
        fprintf(stderr, "sim: %s: something is missing, or there are more than %u CPUs\n", path,
                SIM_CPUS_MAX);
        good = false;
    }
    return good;
}

uint64_t sim_profile_call(const struct sim_profile *profile, const char *what)
{
    for (unsigned i = 0; i < profile->call_count; i++)
        if (strcmp(profile->calls[i].name, what) == 0)
            return profile->calls[i].ns;
    return profile->call;
}
