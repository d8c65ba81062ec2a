// SPDX-License-Identifier: ISC
//
// File system, name look-ups and random: their results, who owns what, cancelling, and how they
// share the pool with user work.

#include "support.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned ended;
static bool all_in_worker = true;
static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/smolscale-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    const char *names[] = {"file", "copy", "fifo0", "fifo1", "fifo2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(in_folder(names[i]));
    ck_assert_int_eq(rmdir(folder), 0);
}

// ---- results

static void count_end(uv_fs_t *req)
{
    ended++;
    ck_assert_ptr_eq(req->data, folder);
}

// Runs a request that was submitted, to its end, and gives its result.
static ssize_t finish(uv_fs_t *req, int submitted)
{
    ck_assert_int_eq(submitted, 0);
    ended = 0;
    ck_assert_int_eq(uv_run(uv_default_loop(), UV_RUN_DEFAULT), 0);
    ck_assert_uint_eq(ended, 1);
    ssize_t result = req->result;
    uv_fs_req_cleanup(req);
    return result;
}

START_TEST(a_file_is_made_written_read_copied_and_removed)
{
    uv_loop_t *loop = uv_default_loop();
    uv_fs_t req = {.data = folder};
    char text[16] = "";
    uv_buf_t out = uv_buf_init((char[]){"hello"}, 5), in = uv_buf_init(text, sizeof text);
    make_folder();
    ssize_t file =
        finish(&req, uv_fs_open(loop, &req, in_folder("file"), O_RDWR | O_CREAT, 0600, count_end));
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(finish(&req, uv_fs_write(loop, &req, (uv_file)file, &out, 1, 0, count_end)),
                     5);
    ck_assert_int_eq(finish(&req, uv_fs_fsync(loop, &req, (uv_file)file, count_end)), 0);
    ck_assert_int_eq(finish(&req, uv_fs_read(loop, &req, (uv_file)file, &in, 1, 0, count_end)), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(finish(&req, uv_fs_fstat(loop, &req, (uv_file)file, count_end)), 0);
    ck_assert_uint_eq(req.statbuf.st_size, 5);
    ck_assert_int_eq(finish(&req, uv_fs_close(loop, &req, (uv_file)file, count_end)), 0);
    char from[128];
    strcpy(from, in_folder("file"));
    ck_assert_int_eq(
        finish(&req, uv_fs_copyfile(loop, &req, from, in_folder("copy"), 0, count_end)), 0);
    ck_assert_int_eq(finish(&req, uv_fs_stat(loop, &req, in_folder("copy"), count_end)), 0);
    ck_assert_uint_eq(req.statbuf.st_size, 5);
    ck_assert_int_eq(finish(&req, uv_fs_unlink(loop, &req, from, count_end)), 0);
    ck_assert_int_eq(finish(&req, uv_fs_stat(loop, &req, from, count_end)), UV_ENOENT);
    remove_folder();
}
END_TEST

static unsigned entries;

static void count_entries(uv_fs_t *req)
{
    uv_dirent_t entry;
    ck_assert_int_eq(req->result, 2);
    while (uv_fs_scandir_next(req, &entry) != UV_EOF) {
        ck_assert_int_eq(entry.type, UV_DIRENT_FILE);
        entries++;
    }
    uv_fs_req_cleanup(req);
}

START_TEST(a_folder_is_listed)
{
    uv_fs_t req;
    make_folder();
    ck_assert_int_ge(close(open(in_folder("file"), O_CREAT | O_WRONLY, 0600)), 0);
    ck_assert_int_ge(close(open(in_folder("copy"), O_CREAT | O_WRONLY, 0600)), 0);
    ck_assert_int_eq(uv_fs_scandir(uv_default_loop(), &req, folder, 0, count_entries), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(entries, 2);
    remove_folder();
}
END_TEST

// libuv copies path and buffer list of an asynchronous request: the caller's may go at once.
START_TEST(path_and_buffer_list_may_be_reused_as_soon_as_the_call_is_back)
{
    uv_loop_t *loop = uv_default_loop();
    uv_work_t blocker;
    uv_fs_t stat = {.data = folder}, write = {.data = folder};
    char path[128], text[4] = "abc", read_back[4] = "";
    uv_buf_t list[1] = {uv_buf_init(text, 3)};
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    make_folder();
    int file = open(in_folder("file"), O_CREAT | O_RDWR, 0600);
    submit_gate_job(loop, &blocker);
    await(&gate.started, 1);
    strcpy(path, in_folder("file"));
    ck_assert_int_eq(uv_fs_stat(loop, &stat, path, count_end), 0);
    ck_assert_str_eq(stat.path, path);
    ck_assert_ptr_ne(stat.path, path);
    ck_assert_int_eq(uv_fs_write(loop, &write, file, list, 1, 0, count_end), 0);
    memset(path, 'x', sizeof path);
    memset(list, 0, sizeof list);
    open_gate();
    run_all(loop);
    ck_assert_uint_eq(ended, 2);
    ck_assert_int_eq(stat.result, 0);
    ck_assert_int_eq(write.result, 3);
    ck_assert_int_eq(pread(file, read_back, 3, 0), 3);
    ck_assert_str_eq(read_back, "abc");
    uv_fs_req_cleanup(&stat);
    uv_fs_req_cleanup(&write);
    ck_assert_ptr_null(stat.path);
    close(file);
    remove_folder();
}
END_TEST

START_TEST(without_a_callback_a_file_request_is_synchronous)
{
    uv_fs_t req;
    ck_assert_int_eq(uv_fs_stat(NULL, &req, "/", NULL), 0);
    ck_assert(S_ISDIR((mode_t)req.statbuf.st_mode));
    uv_fs_req_cleanup(&req);
    ck_assert_int_eq(uv_fs_stat(uv_default_loop(), &req, "/no/such/file", NULL), UV_ENOENT);
    uv_fs_req_cleanup(&req);
    ck_assert_int_eq(uv_loop_alive(uv_default_loop()), 0);
}
END_TEST

START_TEST(what_libuv_refuses_is_refused)
{
    uv_fs_t req;
    uv_getaddrinfo_t lookup;
    ck_assert_int_eq(uv_fs_read(uv_default_loop(), &req, 0, NULL, 0, 0, count_end), UV_EINVAL);
    ck_assert_int_eq(uv_fs_stat(uv_default_loop(), NULL, "/", count_end), UV_EINVAL);
    ck_assert_int_eq(uv_getaddrinfo(uv_default_loop(), &lookup, NULL, NULL, NULL, NULL), UV_EINVAL);
    ck_assert_int_eq(uv_loop_alive(uv_default_loop()), 0);
}
END_TEST

static void note_random(uv_random_t *req, int status, void *buffer, size_t length)
{
    (void)req;
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(length, 64);
    unsigned zeros = 0;
    for (size_t i = 0; i < length; i++)
        zeros += ((char *)buffer)[i] == 0;
    ck_assert_uint_lt(zeros, 16);
    ended++;
}

START_TEST(random_bytes_come)
{
    uv_random_t req;
    char buffer[64] = {0};
    ck_assert_int_eq(uv_random(uv_default_loop(), &req, buffer, sizeof buffer, 0, note_random), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 1);
    ck_assert_int_eq(uv_random(NULL, NULL, buffer, sizeof buffer, 0, NULL), 0);
}
END_TEST

static void note_address(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    (void)req;
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_nonnull(result);
    ck_assert_uint_eq(((struct sockaddr_in *)(void *)result->ai_addr)->sin_addr.s_addr,
                      htonl(INADDR_LOOPBACK));
    uv_freeaddrinfo(result);
    ended++;
}

static void note_name(uv_getnameinfo_t *req, int status, const char *host, const char *service)
{
    (void)req;
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(host, "127.0.0.1");
    ck_assert_str_eq(service, "80");
    ended++;
}

START_TEST(names_and_addresses_are_looked_up)
{
    uv_getaddrinfo_t address;
    uv_getnameinfo_t name;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_flags = AI_NUMERICHOST};
    struct sockaddr_in socket_address;
    ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 80, &socket_address), 0);
    ck_assert_int_eq(
        uv_getaddrinfo(uv_default_loop(), &address, note_address, "127.0.0.1", NULL, &hints), 0);
    ck_assert_int_eq(uv_getnameinfo(uv_default_loop(), &name, note_name,
                                    (struct sockaddr *)&socket_address,
                                    NI_NUMERICHOST | NI_NUMERICSERV),
                     0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 2);
}
END_TEST

static uv_timer_t growing;

static void poll_seen(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    ck_assert_int_eq(status, 0);
    ck_assert_uint_lt(before->st_size, now->st_size);
    ended++;
    uv_close((uv_handle_t *)poll, NULL);
    uv_close((uv_handle_t *)&growing, NULL);
}

// One byte more at each turn until that is seen: the handle's first look, with which it compares,
// may come as late as it likes.
static void grow_file(uv_timer_t *timer)
{
    uv_fs_poll_t *poll = timer->data;
    char path[128];
    size_t size = sizeof path;
    static off_t length;
    ck_assert_int_eq(uv_fs_poll_getpath(poll, path, &size), 0);
    ck_assert_int_eq(truncate(path, ++length), 0);
}

// uv_fs_poll is libuv calling its own uv_fs_stat().
START_TEST(a_polled_file_is_seen_to_change)
{
    uv_fs_poll_t poll;
    growing.data = &poll;
    make_folder();
    ck_assert_int_ge(close(open(in_folder("file"), O_CREAT | O_WRONLY, 0600)), 0);
    ck_assert_int_eq(uv_fs_poll_init(uv_default_loop(), &poll), 0);
    ck_assert_int_eq(uv_fs_poll_start(&poll, poll_seen, in_folder("file"), 20), 0);
    ck_assert_int_eq(uv_timer_init(uv_default_loop(), &growing), 0);
    ck_assert_int_eq(uv_timer_start(&growing, grow_file, 50, 50), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 1);
    remove_folder();
}
END_TEST

// ---- where they run, seen through getaddrinfo(), which this program interposes

static void expect_no_name(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    (void)req;
    ck_assert_int_eq(status, UV_EAI_NONAME);
    ck_assert_ptr_null(result);
    ended++;
}

static int gate_lookup(uv_getaddrinfo_t *req)
{
    return uv_getaddrinfo(uv_default_loop(), req, expect_no_name, GATE_HOST, NULL, NULL);
}

START_TEST(lookups_take_at_most_half_of_the_pool)
{
    uv_getaddrinfo_t lookups[5];
    uv_work_t req;
    setenv("UV_THREADPOOL_SIZE", "5", 1);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(gate_lookup(&lookups[i]), 0);
    await(&gate.started, 3);
    // The rest of the pool is free for others meanwhile.
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, note_end), 0);
    while (noted == 0)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    ck_assert_uint_eq(counted(&gate.started), 3);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 5);
    ck_assert_uint_eq(gate.most_inside, 3);
}
END_TEST

START_TEST(with_one_thread_lookups_run_too)
{
    uv_getaddrinfo_t lookups[3];
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(gate_lookup(&lookups[i]), 0);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 3);
    ck_assert_uint_eq(gate.most_inside, 1);
}
END_TEST

static void expect_cancelled_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    (void)req;
    ck_assert_int_eq(status, UV_EAI_CANCELED);
    ck_assert_ptr_null(result);
    ended++;
}

static void expect_cancelled_file(uv_fs_t *req)
{
    ck_assert_int_eq(req->result, UV_ECANCELED);
    uv_fs_req_cleanup(req);
    ended++;
}

static void expect_cancelled_name(uv_getnameinfo_t *req, int status, const char *host,
                                  const char *service)
{
    (void)req;
    ck_assert_int_eq(status, UV_EAI_CANCELED);
    ck_assert_ptr_null(host);
    ck_assert_ptr_null(service);
    ended++;
}

static void expect_cancelled_random(uv_random_t *req, int status, void *buffer, size_t length)
{
    (void)req;
    (void)buffer;
    (void)length;
    ck_assert_int_eq(status, UV_ECANCELED);
    ended++;
}

START_TEST(queued_requests_of_every_kind_are_cancelled)
{
    uv_loop_t *loop = uv_default_loop();
    uv_work_t blocker;
    uv_fs_t file;
    uv_getaddrinfo_t address;
    uv_getnameinfo_t name;
    uv_random_t random;
    struct sockaddr_in socket_address;
    char buffer[8];
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 80, &socket_address), 0);
    submit_gate_job(loop, &blocker);
    await(&gate.started, 1);
    ck_assert_int_eq(uv_fs_stat(loop, &file, "/", expect_cancelled_file), 0);
    ck_assert_int_eq(uv_getaddrinfo(loop, &address, expect_cancelled_lookup, GATE_HOST, NULL, NULL),
                     0);
    ck_assert_int_eq(
        uv_getnameinfo(loop, &name, expect_cancelled_name, (struct sockaddr *)&socket_address, 0),
        0);
    ck_assert_int_eq(uv_random(loop, &random, buffer, sizeof buffer, 0, expect_cancelled_random),
                     0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&name), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&file), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&random), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&address), 0);
    while (ended < 4)
        uv_run(loop, UV_RUN_ONCE);
    ck_assert_uint_eq(noted, 0); // the pool is still full
    open_gate();
    run_all(loop);
    ck_assert_uint_eq(noted, 1);
}
END_TEST

START_TEST(a_running_lookup_cannot_be_cancelled)
{
    uv_getaddrinfo_t lookup;
    ck_assert_int_eq(gate_lookup(&lookup), 0);
    await(&gate.started, 1);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&lookup), UV_EBUSY);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 1);
}
END_TEST

static void note_file(uv_fs_t *req)
{
    ended++;
    uv_fs_req_cleanup(req);
}

static void open_other_ends(uv_fs_t *req)
{
    ck_assert_int_eq(req->result, 0);
    uv_fs_req_cleanup(req);
    ended += 100;
    char name[] = "fifo0";
    for (int i = 0; i < 3; i++, name[4]++)
        ck_assert_int_ge(open(in_folder(name), O_WRONLY), 0);
}

START_TEST(a_stat_gets_through_while_three_opens_of_fifos_block)
{
    uv_loop_t *loop = uv_default_loop();
    uv_fs_t opens[3], stat;
    char name[] = "fifo0";
    make_folder();
    for (int i = 0; i < 3; i++, name[4]++) {
        ck_assert_int_eq(mkfifo(in_folder(name), 0600), 0);
        ck_assert_int_eq(uv_fs_open(loop, &opens[i], in_folder(name), O_RDONLY, 0, note_file), 0);
    }
    ck_assert_int_eq(uv_fs_stat(loop, &stat, folder, open_other_ends), 0);
    run_all(loop);
    ck_assert_uint_eq(ended, 103);
    remove_folder();
}
END_TEST

// ---- elastic policy

START_TEST(elastic_files_and_lookups_get_through_while_user_work_fills_its_pool)
{
    uv_work_t blockers[4];
    uv_fs_t stat;
    uv_getaddrinfo_t lookup;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_flags = AI_NUMERICHOST};
    setenv("SMOLSCALE_POLICY", "elastic", 1); // options are read once
    if (!on_smolscale())
        return;
    for (int i = 0; i < 4; i++)
        submit_gate_job(uv_default_loop(), &blockers[i]);
    await(&gate.started, 4);
    ck_assert_int_eq(uv_fs_stat(uv_default_loop(), &stat, "/", note_file), 0);
    ck_assert_int_eq(
        uv_getaddrinfo(uv_default_loop(), &lookup, note_address, "127.0.0.1", NULL, &hints), 0);
    while (ended < 2)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    ck_assert_uint_eq(noted, 0);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 4);
}
END_TEST

START_TEST(elastic_blocked_jobs_do_not_count_against_the_size)
{
    uv_work_t blockers[20], req;
    setenv("SMOLSCALE_POLICY", "elastic", 1);
    if (!on_smolscale())
        return;
    setenv("UV_THREADPOOL_SIZE", "2", 1);
    for (int i = 0; i < 20; i++)
        submit_gate_job(uv_default_loop(), &blockers[i]);
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, note_end), 0);
    while (noted == 0)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    ck_assert_ptr_eq(order[0], &req);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 21);
}
END_TEST

START_TEST(strict_files_wait_for_user_work_that_fills_the_pool)
{
    uv_work_t blockers[4];
    uv_fs_t stat;
    for (int i = 0; i < 4; i++)
        submit_gate_job(uv_default_loop(), &blockers[i]);
    await(&gate.started, 4);
    ck_assert_int_eq(uv_fs_stat(uv_default_loop(), &stat, "/", expect_cancelled_file), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&stat), 0); // still queued
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(ended, 1);
}
END_TEST

// ---- stress

struct stat_chain {
    uv_fs_t req;
    unsigned left;
};

static void next_stat(uv_fs_t *req)
{
    struct stat_chain *chain = req->data;
    ck_assert_int_eq(req->result, chain->left % 2 ? UV_ENOENT : 0);
    uv_fs_req_cleanup(req);
    ended++;
    if (chain->left-- > 1)
        ck_assert_int_eq(uv_fs_stat(req->loop, req, chain->left % 2 ? "/no/such" : "/", next_stat),
                         0);
}

static void *chains_main(void *argument)
{
    struct stat_chain chains[8];
    uv_loop_t loop;
    (void)argument;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    for (int i = 0; i < 8; i++) {
        chains[i].left = 500;
        chains[i].req.data = &chains[i];
        ck_assert_int_eq(uv_fs_stat(&loop, &chains[i].req, "/", next_stat), 0);
    }
    run_all(&loop);
    return NULL;
}

START_TEST(loops_in_several_threads_use_files_at_the_same_time)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, chains_main, NULL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

static void note_worker(uv_work_t *req)
{
    (void)req;
    all_in_worker = all_in_worker && in_smolscale_worker();
}

START_TEST(user_work_beside_file_requests_still_runs_on_smolscale)
{
    uv_fs_t stat;
    uv_work_t req;
    ck_assert_int_eq(uv_fs_stat(uv_default_loop(), &stat, "/", note_file), 0);
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, note_worker, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_int_eq(all_in_worker, on_smolscale());
    ck_assert_uint_eq(ended + noted, 2);
}
END_TEST

Suite *request_suite(void)
{
    Suite *suite = suite_create("requests");
    TCase *tcase = new_case(suite, "results");
    tcase_add_test(tcase, a_file_is_made_written_read_copied_and_removed);
    tcase_add_test(tcase, a_folder_is_listed);
    tcase_add_test(tcase, path_and_buffer_list_may_be_reused_as_soon_as_the_call_is_back);
    tcase_add_test(tcase, without_a_callback_a_file_request_is_synchronous);
    tcase_add_test(tcase, what_libuv_refuses_is_refused);
    tcase_add_test(tcase, random_bytes_come);
    tcase_add_test(tcase, names_and_addresses_are_looked_up);
    tcase_add_test(tcase, a_polled_file_is_seen_to_change);
    tcase = new_case(suite, "sharing the pool");
    tcase_add_test(tcase, lookups_take_at_most_half_of_the_pool);
    tcase_add_test(tcase, with_one_thread_lookups_run_too);
    tcase_add_test(tcase, queued_requests_of_every_kind_are_cancelled);
    tcase_add_test(tcase, a_running_lookup_cannot_be_cancelled);
    tcase_add_test(tcase, a_stat_gets_through_while_three_opens_of_fifos_block);
    tcase_add_test(tcase, strict_files_wait_for_user_work_that_fills_the_pool);
    tcase_add_test(tcase, user_work_beside_file_requests_still_runs_on_smolscale);
    tcase_add_test(tcase, loops_in_several_threads_use_files_at_the_same_time);
    tcase = new_case(suite, "elastic");
    tcase_add_test(tcase, elastic_files_and_lookups_get_through_while_user_work_fills_its_pool);
    tcase_add_test(tcase, elastic_blocked_jobs_do_not_count_against_the_size);
    return suite;
}
