// SPDX-License-Identifier: ISC
//
// Included before compat/glib/gthreadpool.c: its functions by other names, beside which the model
// of GLib's own is.

#ifndef SIM_BENCH_GLIB_POOL_H
#define SIM_BENCH_GLIB_POOL_H

#include <glib.h>

GThreadPool *layer_g_thread_pool_new(GFunc func, gpointer data, gint max_threads,
                                     gboolean exclusive, GError **error);
gboolean layer_g_thread_pool_push(GThreadPool *pool, gpointer data, GError **error);
void layer_g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait);
void layer_g_thread_pool_set_sort_function(GThreadPool *pool, GCompareDataFunc func, gpointer data);

#endif // SIM_BENCH_GLIB_POOL_H
