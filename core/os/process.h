// SPDX-License-Identifier: ISC
//
// What the core asks of the process that it is part of: its children, its end, its environment, and
// where it may write. Each keeps errno. Thread-safe, unless it says otherwise.

#ifndef SS_PROCESS_H
#define SS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Has `in_child` called in each child of fork(), by its only thread, before fork() returns there.
// Handlers survive fork(), and go with the plug-in that this library is part of.
void ss_process_at_fork(void (*in_child)(void));

// Has `handler` called when the process exits, or when the plug-in that this library is part of is
// unloaded. No lock held: exit() has one, too.
void ss_process_at_exit(void (*handler)(void));

pid_t ss_process_id(void);

// The CPU time that all its threads have taken, ns.
uint64_t ss_process_cpu_ns(void);

// Does the program have privileges that its caller does not (setuid and the like)?
bool ss_process_is_privileged(void);

// A variable of the environment, which owns it; NULL: it is not set. Not while another thread
// changes the environment.
const char *ss_process_environment(const char *name);

// The name of the file that holds this code: of a library, or of the program; empty where it cannot
// be told. May wait for a dlopen() or dlclose() that another thread is in: no lock held.
void ss_process_object_of(void (*code)(void), char *name, size_t size);

// Appends a text to a file, which is created if it does not exist; /dev/stdout and /dev/stderr are
// what ss_note_output() found as these. 0 or a negative errno value; -EBADF: the program
// has closed that one, or has another file in its place.
int ss_append_to_file(const char *path, const char *text, size_t length);

// Takes what standard output and standard error are now for the program's own. Done when this code
// is loaded; tests do it when they have put something else there. Not while others write.
void ss_note_output(void);

// A file that is written from its beginning, part by part; what was in it is gone. The descriptor
// is above those of the standard streams. -1 or, of the next two, false: errno says why.
int ss_output_create(const char *path);
bool ss_output_write(int file, const void *bytes, size_t size);
bool ss_output_close(int file);

// The last part of the program's name, which lives as long as the process.
const char *ss_process_name(void);

// What is at an address in the program's code: "SYMBOL" if a symbol begins there that the loader
// knows, else "LIBRARY+0xOFFSET", else the number. Takes the loader's lock: no lock held.
void ss_process_symbol(const void *address, char *text, size_t size);

// Writes a text to standard error, by one call: lines of several processes do not mix. To nowhere,
// where the program has closed it, or has another file in its place.
void ss_write_to_stderr(const char *text);

#endif // SS_PROCESS_H
