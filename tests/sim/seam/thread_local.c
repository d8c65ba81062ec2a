// SPDX-License-Identifier: ISC
//
// Linked with the core: where its thread-locals are, and its other variables.

#include "../machine/seam.h"

extern char __start_sim_thread_local[], __stop_sim_thread_local[];

char *sim_thread_local_begin(void)
{
    return __start_sim_thread_local;
}

char *sim_thread_local_end(void)
{
    return __stop_sim_thread_local;
}
