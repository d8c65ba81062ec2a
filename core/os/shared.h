// SPDX-License-Identifier: ISC
//
// A page of memory that other processes of the same user can read while this one runs: a file in a
// folder that only its owner may enter, mapped by both sides. And sleeping on a word in it.
//
// The folder is $XDG_RUNTIME_DIR/smolscale if that variable names a folder of this user, else
// /dev/shm/smolscale-UID. The file's name is PID-NAMESPACE: the process id, and the inode of the
// pid namespace in which it means something (hexadecimal; 0: not known). The `smolscale` command
// looks for it there (cli/page.c).
//
// Each function keeps errno.

#ifndef SS_SHARED_H
#define SS_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SS_SHARED_FOLDER "smolscale"             // below $XDG_RUNTIME_DIR
#define SS_SHARED_IN_SHM "/dev/shm/smolscale-%u" // of that user
#define SS_SHARED_NAME   "%d-%llx"               // pid, namespace

struct ss_shared {
    void *memory; // zeroed; NULL: there is none
    pid_t pid;    // of the process that made it
    char path[4096];
};

// Makes the file and maps it. What processes that have ended have left in the folder is removed,
// and what has this process' own name: it had that before an exec(). The mapping is not inherited
// by children. 0 or a negative errno value; nothing is left then.
int ss_shared_make(struct ss_shared *shared, size_t size);

// Removes the file, if this process has made it. The mapping stays, for threads that use it.
void ss_shared_remove(const struct ss_shared *shared);

// The same, and unmaps it: no thread uses it any more.
void ss_shared_end(struct ss_shared *shared, size_t size);

// Sleeps while *word == expected, for `ns` at most, SS_FOREVER: without a limit; and may return at
// any time. False: it cannot be slept on, because the file was cut short.
bool ss_shared_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t ns);

// Wakes all, of any process, that sleep on the word.
void ss_shared_wake(_Atomic uint32_t *word);

#endif // SS_SHARED_H
