// SPDX-License-Identifier: ISC
//
// Linux behind the table of os.h: each row is defined in the file of its concern.

#include "os/linux/linux.h"

#include "base/room.h"

struct ss_os ss_os = {
    .now = ss_linux_now,
    .futex_wait_until = ss_futex_wait_until,
    .nap = ss_linux_nap,
    .poll_until = ss_linux_poll_until,
    .yield = ss_linux_yield,
    .rest = ss_linux_rest,
    .futex_wake = ss_futex_wake,
    .thread_create = ss_linux_thread_create,
    .thread_create_joinable = ss_linux_thread_create_joinable,
    .thread_create_small = ss_linux_thread_create_small,
    .thread_self = ss_linux_thread_self,
    .thread_join = ss_linux_thread_join,
    .thread_detach = ss_linux_thread_detach,
    .thread_exists = ss_linux_thread_exists,
    .thread_cpu_time = ss_linux_thread_cpu_time,
    .begin_looks = ss_begin_looks,
    .end_looks = ss_end_looks,
    .thread_states = ss_look_at_threads,
    .runnable_threads = ss_look_at_load,
    .cpu_count = ss_linux_cpu_count,
    .cpu = ss_linux_cpu,
    .sleeps = ss_linux_sleeps,
    .place = ss_linux_place,
    .release = ss_linux_release,
    .membarrier_register = ss_linux_membarrier_register,
    .membarrier = ss_linux_membarrier,
    .thread_id = ss_linux_thread_id,
    .name_thread = ss_linux_name_thread,
    .thread_traits = ss_linux_thread_traits,
    .set_thread_traits = ss_linux_set_thread_traits,
    .block_signals = ss_linux_block_signals,
    .set_signal_mask = ss_linux_set_signal_mask,
    .stay_loaded = ss_linux_stay_loaded,
};

SS_ROOM(os_linux_linux, NULL, NULL); // what a test has put there holds in its children
