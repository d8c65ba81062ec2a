// SPDX-License-Identifier: ISC
//
// The rest of what bench/glib and compat/glib ask of GLib: nothing here is part of what is timed.

#include "guest.h"

#include "../../../compat/glib/native.h"
#include "../machine/sim.h"
#include "glib_pool.h"
#include "program.h"

#undef malloc
#undef free
#undef calloc

// ---- for bench/glib

void g_free(gpointer memory)
{
    (free)(memory);
}

gpointer g_malloc_n(gsize count, gsize size)
{
    return (malloc)(count * size);
}

gpointer g_malloc0_n(gsize count, gsize size)
{
    return (calloc)(count, size);
}

void g_usleep(gulong us)
{
    guest_usleep((useconds_t)us);
}

GThread *g_thread_new(const gchar *name, GThreadFunc func, gpointer data)
{
    (void)name;
    return (GThread *)sim_spawn(func, data);
}

gpointer g_thread_join(GThread *thread)
{
    sim_join((struct sim_thread *)thread);
    return NULL;
}

static uint32_t random_state;

GRand *g_rand_new_with_seed(guint32 seed)
{
    random_state = seed;
    return (GRand *)&random_state;
}

guint32 g_rand_int(GRand *rand)
{
    (void)rand;
    return random_state = (uint32_t)sim_mix(random_state, 1);
}

void g_rand_free(GRand *rand)
{
    (void)rand;
}

void g_thread_pool_set_sort_function(GThreadPool *pool, GCompareDataFunc func, gpointer data)
{
    if (!guest_has_layer)
        fprintf(stderr, "wrong: the model of GLib's pool does not sort\n"), exit(1);
    layer_g_thread_pool_set_sort_function(pool, func, data);
}

void bench_gtask(int argc, char **argv);
void bench_gtask(int argc, char **argv)
{
    (void)argc, (void)argv;
    fprintf(stderr, "wrong: there is no GTask on the simulated machine\n"), exit(1);
}

void bench_startup(int argc, char **argv);
void bench_startup(int argc, char **argv)
{
    (void)argc, (void)argv;
    fprintf(stderr, "wrong: there are no programs on the simulated machine\n"), exit(1);
}

// ---- for compat/glib: the GLib of the process

static const gchar *program_name(void)
{
    return "simulated";
}

void *native_lookup(enum native_symbol symbol)
{
    return symbol == NATIVE_g_get_prgname ? (void *)program_name : NULL;
}

bool native_version_at_least(guint major, guint minor, guint micro)
{
    return major < 2 || (major == 2 && (minor < 74 || (minor == 74 && micro <= 6)));
}

void native_critical(const char *function, const char *expression)
{
    fprintf(stderr, "wrong: %s: %s\n", function, expression), exit(1);
}

void native_set_thread_error(GError **error)
{
    (void)error;
}

void native_out_of_memory(void)
{
    fprintf(stderr, "wrong: no memory\n"), exit(1);
}
