// SPDX-License-Identifier: ISC
//
// A small GLib program that test_library.c starts in different surroundings. It runs jobs and
// prints one line: "<jobs run> <native or smolscale>", the latter by asking inside a job. With the
// argument "early" the jobs run before any constructor of any library has.

#include <dlfcn.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int jobs_run, on_smolscale;

static void look(gpointer item, gpointer user_data)
{
    bool (*in_worker)(void) = (bool (*)(void))dlsym(RTLD_DEFAULT, "smolscale_in_worker");
    (void)item;
    (void)user_data;
    g_atomic_int_inc(&jobs_run);
    if (in_worker != NULL && in_worker())
        g_atomic_int_inc(&on_smolscale);
}

static void run_jobs(void)
{
    GThreadPool *pool = g_thread_pool_new(look, NULL, 2, FALSE, NULL);
    for (guint i = 1; i <= 10; i++)
        g_thread_pool_push(pool, GUINT_TO_POINTER(i), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

static void before_constructors(int argc, char **argv, char **environment)
{
    (void)environment;
    if (argc > 1 && strcmp(argv[1], "early") == 0)
        run_jobs();
}
__attribute__((section(".preinit_array"),
               used)) static void (*first)(int, char **, char **) = before_constructors;

int main(int argc, char **argv)
{
    (void)argv;
    if (argc == 1)
        run_jobs();
    if (on_smolscale != 0 && on_smolscale != jobs_run)
        return 1;
    printf("%d %s\n", jobs_run, on_smolscale ? "smolscale" : "native");
    return 0;
}
