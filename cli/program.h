// SPDX-License-Identifier: ISC
//
// A command before it is run: which file it is, what the kernel will do with that, and whether a
// preload can work.

#ifndef SMOLSCALE_CLI_PROGRAM_H
#define SMOLSCALE_CLI_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

// Why the dynamic linker will load no library of ours.
enum obstacle {
    OBSTACLE_NONE,
    OBSTACLE_SETUID,       // setuid, setgid or with file capabilities, for the user that calls it
    OBSTACLE_STATIC,       // no dynamic linker takes part
    OBSTACLE_ARCHITECTURE, // another machine, word size or byte order than that of the libraries
    OBSTACLE_MUSL,         // musl's dynamic linker, which cannot load a library made for glibc
    OBSTACLE_LIBC,         // a dynamic linker that is not known
    OBSTACLE_NOT_ELF, // neither an ELF file nor a script: a job for the kernel's binfmt_misc or a
                      // shell
};

struct program {
    char *path;   // of the file that is the command
    char *object; // of the ELF file that will run: itself, or the last interpreter of a script
    char **interpreters; // of a script: what its first line calls, and so on
    size_t interpreter_count;
    enum obstacle obstacle;
    char *detail; // what the obstacle is, in half a sentence; NULL: none
};

// Finds a command as execvp(3) does: by PATH, unless there is a slash in it. Returns 0 and its path
// (to be freed), -ENOENT, or -EACCES if all that was found may not be executed.
int program_find(const char *command, char **path);

// Examines the file at `path`: follows "#!" lines (and env in them), and looks for an obstacle.
// Returns 0 or a negative errno, with `program` empty.
int program_examine(const char *path, struct program *program);

// Finds and examines a command. Where that fails it says why, and the process ends with
// STATUS_NOT_FOUND or STATUS_NOT_EXECUTABLE.
void program_must_examine(const char *command, struct program *program);
void program_finish(struct program *program);

// "x86-64, 64 bit"; to be freed.
struct object;
char *machine_name(const struct object *object);

// The ELF file of this very command: the libraries to preload are for the same machine.
struct object *own_object(void);

#endif // SMOLSCALE_CLI_PROGRAM_H
