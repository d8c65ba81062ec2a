// SPDX-License-Identifier: ISC
//
// A module with GLib below it, for host.c: it uses pools in its constructor, while the loader's
// lock is held, and when it is called.

#include <dlfcn.h>
#include <glib.h>
#include <stdio.h>

int plugin_run(void);

static int jobs_run, critical;

static void count(gpointer item, gpointer user_data)
{
    (void)item;
    (void)user_data;
    g_atomic_int_inc(&jobs_run);
}

static void run_jobs(void)
{
    GThreadPool *pool = g_thread_pool_new(count, NULL, 2, FALSE, NULL);
    for (guint i = 1; i <= 10; i++)
        g_thread_pool_push(pool, GUINT_TO_POINTER(i), NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

__attribute__((constructor)) static void on_load(void)
{
    run_jobs();
}

static void count_message(const gchar *domain, GLogLevelFlags level, const gchar *text,
                          gpointer user_data)
{
    (void)domain;
    (void)level;
    (void)text;
    (void)user_data;
    critical++;
}

// Prints "<jobs> jobs, <n> messages, <limit> unused": the last two come from GLib.
int plugin_run(void)
{
    run_jobs();
    g_log_set_default_handler(count_message, NULL);
    g_thread_pool_push(NULL, &jobs_run, NULL);
    printf("%d jobs, %d messages, %d unused\n", jobs_run, critical,
           g_thread_pool_get_max_unused_threads());
    return 0;
}
