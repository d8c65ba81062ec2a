// SPDX-License-Identifier: ISC
//
// GTask, and with it all of GIO's asynchronous calls: libgio calls the thread pool through the
// dynamic linker, so the preloaded one serves it too.

#include "support.h"

#include <gio/gio.h>
#include <glib/gstdio.h>

static GMainLoop *loop;
static guint outstanding;

static void wait_for_callbacks(guint count)
{
    outstanding = count;
    loop = g_main_loop_new(NULL, FALSE);
    g_main_loop_run(loop);
    g_main_loop_unref(loop);
}

static void callback_came(void)
{
    if (--outstanding == 0)
        g_main_loop_quit(loop);
}

// ---------------------------------------------------------------------------------------------
// Tasks in threads
// ---------------------------------------------------------------------------------------------

static _Atomic int in_workers;

static void square(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    if (in_smolscale_worker())
        atomic_fetch_add(&in_workers, 1);
    gint n = GPOINTER_TO_INT(data);
    g_task_return_int(task, n * n);
}

static gint64 sum_of_results;

static void add_result(GObject *source, GAsyncResult *result, gpointer user_data)
{
    (void)source;
    (void)user_data;
    GError *error = NULL;
    sum_of_results += g_task_propagate_int(G_TASK(result), &error);
    ck_assert_ptr_null(error);
    callback_came();
}

START_TEST(each_task_returns_its_result_to_the_main_loop)
{
    for (gint i = 1; i <= 1000; i++) {
        GTask *task = g_task_new(NULL, NULL, add_result, NULL);
        g_task_set_task_data(task, GINT_TO_POINTER(i), NULL);
        g_task_run_in_thread(task, square);
        g_object_unref(task);
    }
    wait_for_callbacks(1000);
    ck_assert_int_eq(sum_of_results, 1000ll * 1001 * 2001 / 6);
}
END_TEST

START_TEST(tasks_run_on_the_executor)
{
    ONLY_PRELOADED;
    for (gint i = 1; i <= 100; i++) {
        GTask *task = g_task_new(NULL, NULL, NULL, NULL);
        g_task_set_task_data(task, GINT_TO_POINTER(i), NULL);
        g_task_run_in_thread_sync(task, square);
        ck_assert_int_eq(g_task_propagate_int(task, NULL), i * i);
        g_object_unref(task);
    }
    ck_assert_int_eq(atomic_load(&in_workers), 100);
}
END_TEST

static void run_another_inside(GTask *task, gpointer source, gpointer data,
                               GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    gint depth = GPOINTER_TO_INT(data);
    if (depth == 0) {
        g_task_return_int(task, 0);
        return;
    }
    GTask *inner = g_task_new(NULL, NULL, NULL, NULL);
    g_task_set_task_data(inner, GINT_TO_POINTER(depth - 1), NULL);
    g_task_run_in_thread_sync(inner, run_another_inside);
    g_task_return_int(task, 1 + g_task_propagate_int(inner, NULL));
    g_object_unref(inner);
}

START_TEST(nested_synchronous_tasks_go_as_deep_as_the_pool_is_wide)
{
    GTask *task = g_task_new(NULL, NULL, NULL, NULL);
    g_task_set_task_data(task, GINT_TO_POINTER(9), NULL);
    g_task_run_in_thread_sync(task, run_another_inside);
    ck_assert_int_eq(g_task_propagate_int(task, NULL), 9);
    g_object_unref(task);
}
END_TEST

// GTask raises its limit of ten threads by itself, a tenth of a second after all are busy. The
// program's definition precedes the pool's own, natively and preloaded, and so keeps the limit
// where it is.
gboolean g_thread_pool_set_max_threads(GThreadPool *pool, gint max_threads, GError **error)
{
    (void)pool;
    (void)max_threads;
    (void)error;
    return TRUE;
}

static void pass_gate_in_task(GTask *task, gpointer source, gpointer gate,
                              GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    pass_gate(NULL, gate);
    g_task_return_int(task, 1);
}

static void start_gate_tasks(struct gate *gate, guint count)
{
    for (guint i = 0; i < count; i++) {
        GTask *task = g_task_new(NULL, NULL, add_result, NULL);
        g_task_set_task_data(task, gate, NULL);
        g_task_run_in_thread(task, pass_gate_in_task);
        g_object_unref(task);
    }
}

START_TEST(ten_tasks_run_at_once_and_no_more)
{
    static struct gate gate = GATE_INIT;
    start_gate_tasks(&gate, 40);
    counter_wait(&gate.started, 10);
    gate_open(&gate);
    wait_for_callbacks(40);
    ck_assert_int_eq(sum_of_results, 40);
    ck_assert_int_eq(atomic_load(&gate.most_running), 10);
}
END_TEST

START_TEST(with_the_elastic_policy_blocked_tasks_do_not_count)
{
    static struct gate gate = GATE_INIT;
    setenv("SMOLSCALE_POLICY", "elastic", 1);
    ONLY_PRELOADED;
    start_gate_tasks(&gate, 40);
    counter_wait(&gate.started, 40); // each of them waits for the others
    gate_open(&gate);
    wait_for_callbacks(40);
    ck_assert_int_eq(sum_of_results, 40);
}
END_TEST

static struct {
    struct counter count;
    gint numbers[100];
} order = {.count = COUNTER_INIT};

static void note_order(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    order.numbers[counter_get(&order.count)] = GPOINTER_TO_INT(data);
    counter_add(&order.count, 1);
    g_task_return_int(task, 0);
}

static void start_noting(gint number, gint priority, GCancellable *cancellable)
{
    GTask *task = g_task_new(NULL, cancellable, add_result, NULL);
    g_task_set_check_cancellable(task, FALSE);
    g_task_set_priority(task, priority);
    g_task_set_task_data(task, GINT_TO_POINTER(number), NULL);
    g_task_run_in_thread(task, note_order);
    g_object_unref(task);
}

START_TEST(tasks_start_by_priority_and_cancelled_ones_first)
{
    static const gint expected[] = {6, 1, 2, 3, 5};
    static struct gate nine = GATE_INIT, tenth = GATE_INIT;
    GCancellable *cancellable = g_cancellable_new();
    start_gate_tasks(&nine, 9);
    start_gate_tasks(&tenth, 1);
    counter_wait(&nine.started, 9);
    counter_wait(&tenth.started, 1);
    start_noting(5, 50, NULL);
    start_noting(1, 10, NULL);
    start_noting(6, 60, cancellable);
    start_noting(2, 10, NULL);
    start_noting(3, 30, NULL);
    g_cancellable_cancel(cancellable); // GTask moves task 6 to the front
    gate_open(&tenth);                 // one thread for all of them
    counter_wait(&order.count, 5);
    gate_open(&nine);
    wait_for_callbacks(15);
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
        ck_assert_int_eq(order.numbers[i], expected[i]);
    g_object_unref(cancellable);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What stands on GTask
// ---------------------------------------------------------------------------------------------

#define FILES 60

struct file {
    GFile *file;
    char *contents;
};

static void file_read(GObject *source, GAsyncResult *result, gpointer user_data)
{
    struct file *file = user_data;
    GError *error = NULL;
    char *contents;
    gsize size;
    g_file_load_contents_finish(G_FILE(source), result, &contents, &size, NULL, &error);
    ck_assert_msg(error == NULL, "reading: %s", error ? error->message : "");
    ck_assert_str_eq(contents, file->contents);
    g_free(contents);
    callback_came();
}

static void file_written(GObject *source, GAsyncResult *result, gpointer user_data)
{
    GError *error = NULL;
    g_file_replace_contents_finish(G_FILE(source), result, NULL, &error);
    ck_assert_msg(error == NULL, "writing: %s", error ? error->message : "");
    g_file_load_contents_async(G_FILE(source), NULL, file_read, user_data);
}

START_TEST(files_are_written_and_read_asynchronously)
{
    struct file files[FILES];
    char *folder = g_dir_make_tmp("smolscale-XXXXXX", NULL);
    for (gint i = 0; i < FILES; i++) {
        char *path = g_strdup_printf("%s/%d", folder, i);
        files[i].file = g_file_new_for_path(path);
        files[i].contents = g_strnfill((gsize)(1 + i * 1000), (gchar)('a' + i % 26));
        g_file_replace_contents_async(files[i].file, files[i].contents, strlen(files[i].contents),
                                      NULL, FALSE, G_FILE_CREATE_NONE, NULL, file_written,
                                      &files[i]);
        g_free(path);
    }
    wait_for_callbacks(FILES);
    for (gint i = 0; i < FILES; i++) {
        ck_assert(g_file_delete(files[i].file, NULL, NULL));
        g_object_unref(files[i].file);
        g_free(files[i].contents);
    }
    ck_assert_int_eq(g_rmdir(folder), 0);
    g_free(folder);
}
END_TEST

// Each connection is served by a job of a pool that belongs to the service; the job ends with the
// connection.
static gboolean echo(GThreadedSocketService *service, GSocketConnection *connection,
                     GObject *source, gpointer user_data)
{
    (void)service;
    (void)source;
    (void)user_data;
    char letter;
    GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    while (g_input_stream_read(in, &letter, 1, NULL, NULL) == 1)
        g_output_stream_write_all(out, &letter, 1, NULL, NULL, NULL);
    return TRUE;
}

static gpointer talk(gpointer port)
{
    GSocketClient *client = g_socket_client_new();
    GError *error = NULL;
    GSocketConnection *connection = g_socket_client_connect_to_host(
        client, "127.0.0.1", (guint16)GPOINTER_TO_UINT(port), NULL, &error);
    ck_assert_msg(error == NULL, "connecting: %s", error ? error->message : "");
    for (char letter = 'a'; letter <= 'z'; letter++) {
        char answer = 0;
        g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), &letter,
                                  1, NULL, NULL, NULL);
        g_input_stream_read(g_io_stream_get_input_stream(G_IO_STREAM(connection)), &answer, 1, NULL,
                            NULL);
        ck_assert_int_eq(answer, letter);
    }
    g_object_unref(connection);
    g_object_unref(client);
    return NULL;
}

static gpointer talk_to_service(gpointer port)
{
    GThread *threads[8];
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("client", talk, port);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_main_loop_quit(loop);
    return NULL;
}

START_TEST(a_threaded_socket_service_serves_its_clients_at_once)
{
    GError *error = NULL;
    GSocketService *service = g_threaded_socket_service_new(10);
    guint16 port = g_socket_listener_add_any_inet_port(G_SOCKET_LISTENER(service), NULL, &error);
    ck_assert_msg(error == NULL, "listening: %s", error ? error->message : "");
    g_signal_connect(service, "run", G_CALLBACK(echo), NULL);
    loop = g_main_loop_new(NULL, FALSE);
    GThread *clients = g_thread_new("clients", talk_to_service, GUINT_TO_POINTER((guint)port));
    g_main_loop_run(loop);
    g_thread_join(clients);
    g_main_loop_unref(loop);
    g_socket_service_stop(service);
    g_object_unref(service);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {each_task_returns_its_result_to_the_main_loop, 1},
        {tasks_run_on_the_executor, 1},
        {nested_synchronous_tasks_go_as_deep_as_the_pool_is_wide, 1},
        {ten_tasks_run_at_once_and_no_more, 1},
        {with_the_elastic_policy_blocked_tasks_do_not_count, 1},
        {tasks_start_by_priority_and_cancelled_ones_first, 1},
        {files_are_written_and_read_asynchronously, 1},
        {a_threaded_socket_service_serves_its_clients_at_once, 1},
        {NULL, 0},
    };
    return test_suite("gtask", tests);
}
