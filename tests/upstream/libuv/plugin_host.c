// SPDX-License-Identifier: ISC
//
// Opens plug-ins that each have a libuv of their own (plugin.c), uses them at once, has jobs of one
// wait for jobs of the other, and closes them with jobs under way: plugin-host EXPECTED PLUGIN...,
// with EXPECTED "smolscale" where the jobs must run there. Natively all of it holds.

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 3
#define POOL    4 // the size of libuv's pool

#define EXPECT(condition)                                                       \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "line %d is not true: %s\n", __LINE__, #condition); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

struct plugin {
    const char *path;
    void *handle;
    int (*use)(unsigned *on_smolscale);
    int (*submit)(void (*job)(void *), void *data, unsigned times);
    int (*finish)(unsigned expected);
    unsigned on_smolscale;
};

static void *function(struct plugin *plugin, const char *name)
{
    void *found = dlsym(plugin->handle, name);
    EXPECT(found != NULL);
    return found;
}

static void open_plugin(struct plugin *plugin)
{
    plugin->handle = dlopen(plugin->path, RTLD_NOW | RTLD_LOCAL);
    if (plugin->handle == NULL)
        fprintf(stderr, "%s\n", dlerror());
    EXPECT(plugin->handle != NULL);
    plugin->use = function(plugin, "plugin_use");
    plugin->submit = function(plugin, "plugin_submit");
    plugin->finish = function(plugin, "plugin_finish");
}

static void *use(void *arg)
{
    struct plugin *plugin = arg;
    int line = plugin->use(&plugin->on_smolscale);
    if (line != 0)
        fprintf(stderr, "%s: line %d of the plug-in is not true\n", plugin->path, line);
    EXPECT(line == 0);
    return NULL;
}

static void all_at_once(struct plugin *plugins, int count)
{
    pthread_t threads[8 * THREADS];
    int running = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < THREADS; k++)
            EXPECT(pthread_create(&threads[running++], NULL, use, &plugins[i]) == 0);
    while (running > 0)
        pthread_join(threads[--running], NULL);
}

static sem_t meeting;

static void wait_for_other(void *unused)
{
    (void)unused;
    while (sem_wait(&meeting) != 0)
        ;
}

static void meet(void *unused)
{
    (void)unused;
    sem_post(&meeting);
}

// As many as the pool has threads wait, and only the other's jobs can free them.
static void jobs_of_one_wait_for_jobs_of_the_other(struct plugin *one, struct plugin *other)
{
    EXPECT(sem_init(&meeting, 0, 0) == 0);
    EXPECT(one->submit(wait_for_other, NULL, POOL) == 0);
    EXPECT(other->submit(meet, NULL, POOL) == 0);
    EXPECT(one->finish(POOL) == 0);
    EXPECT(other->finish(POOL) == 0);
}

static void write_slowly(void *arg)
{
    usleep(2000);
    EXPECT(write(*(int *)arg, "x", 1) == 1);
}

// Its jobs have all run, as libuv's destructor has it, and it is gone; then it comes again.
static void close_with_jobs_under_way(struct plugin *plugin)
{
    char bytes[64];
    int ends[2];
    EXPECT(pipe(ends) == 0);
    EXPECT(plugin->submit(write_slowly, &ends[1], 20) == 0);
    EXPECT(dlclose(plugin->handle) == 0);
    close(ends[1]);
    EXPECT(read(ends[0], bytes, sizeof bytes) == 20);
    close(ends[0]);
    EXPECT(dlopen(plugin->path, RTLD_NOW | RTLD_NOLOAD) == NULL);
    open_plugin(plugin);
    use(plugin);
}

int main(int argc, char **argv)
{
    struct plugin plugins[8] = {{0}};
    int count = argc - 2;
    EXPECT(count >= 2 && count <= 8);
    for (int i = 0; i < count; i++) {
        plugins[i].path = argv[i + 2];
        open_plugin(&plugins[i]);
    }
    all_at_once(plugins, count);
    for (int i = 0; i < count; i++) {
        struct plugin *next = &plugins[(i + 1) % count];
        jobs_of_one_wait_for_jobs_of_the_other(&plugins[i], next);
        close_with_jobs_under_way(&plugins[i]);
        // The others go on.
        use(next);
    }
    for (int round = 0; round < 20; round++)
        close_with_jobs_under_way(&plugins[round % count]);
    for (int i = 0; i < count; i++)
        EXPECT(plugins[i].on_smolscale > 0 == (strcmp(argv[1], "smolscale") == 0));
    puts("as it should be");
    return 0;
}
