// SPDX-License-Identifier: ISC
//
// The process: its code in memory, its children, its end, its environment, its output.

#include "os/process.h"
#include "base/room.h"
#include "os/linux/linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// The dynamic section of the object that this file is part of; none in a static program, which need
// not have a loader either.
extern ElfW(Dyn) _DYNAMIC[] __attribute__((weak, visibility("hidden")));
#pragma weak dladdr1
#pragma weak dlopen
#pragma weak dladdr

// Can it be unloaded? Not a program, which alone has DT_DEBUG, nor what was linked with -z
// nodelete.
static bool can_be_unloaded(void)
{
    if (_DYNAMIC == NULL || dladdr1 == NULL || dlopen == NULL)
        return false;
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_DEBUG)
            return false;
        if (entry->d_tag == DT_FLAGS_1 && (entry->d_un.d_val & DF_1_NODELETE) != 0)
            return false;
    }
    return true;
}

void ss_linux_stay_loaded(void)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (!can_be_unloaded())
        return;
    int saved_errno = errno;
    // By the name that the loader knows it by, so that no file is opened. What dlopen() returns is
    // never closed.
    if (dladdr1(&ss_os, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map != NULL)
        dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    errno = saved_errno;
}

void ss_process_at_fork(void (*in_child)(void))
{
    pthread_atfork(NULL, NULL, in_child);
}

void ss_process_at_exit(void (*handler)(void))
{
    atexit(handler);
}

pid_t ss_process_id(void)
{
    return getpid();
}

uint64_t ss_process_cpu_ns(void)
{
    int saved_errno = errno;
    struct timespec taken = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &taken);
    errno = saved_errno;
    return (uint64_t)taken.tv_sec * SS_NS_PER_S + (uint64_t)taken.tv_nsec;
}

bool ss_process_is_privileged(void)
{
    int saved_errno = errno;
    bool privileged = getauxval(AT_SECURE) != 0;
    errno = saved_errno;
    return privileged;
}

const char *ss_process_environment(const char *name)
{
    return getenv(name);
}

// The file that holds the address, without its folder; NULL: that cannot be told.
static const char *object_at(const void *address, Dl_info *info)
{
    if (address == NULL || dladdr == NULL || dladdr(address, info) == 0 || !info->dli_fname)
        return NULL;
    const char *slash = strrchr(info->dli_fname, '/');
    return slash ? slash + 1 : info->dli_fname;
}

void ss_process_object_of(void (*code)(void), char *name, size_t size)
{
    int saved_errno = errno;
    Dl_info info;
    const char *object = object_at((const void *)code, &info);
    snprintf(name, size, "%s", object ? object : "");
    errno = saved_errno;
}

// A descriptor of the program's may be one that does not wait: then this does.
static bool may_write_again(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    return errno == EINTR || (errno == EAGAIN && (poll(&room, 1, -1) >= 0 || errno == EINTR));
}

// 0 or a negative errno value.
static int write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);
        if (n < 0 && !may_write_again(fd))
            return -errno;
        if (n > 0) {
            text += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

// ---- the program's own output

// What the two descriptors were when this code was loaded. A program that closes one may get a file
// of its own in that place, or a connection: that one gets nothing from here.
static struct {
    bool looked, open;
    dev_t device;
    ino_t inode;
} first[STDERR_FILENO + 1];

__attribute__((constructor)) static void look_at_output(void)
{
    ss_note_output();
}

void ss_note_output(void)
{
    int saved_errno = errno;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat file;
        first[fd].open = fstat(fd, &file) == 0;
        if (first[fd].open) {
            first[fd].device = file.st_dev;
            first[fd].inode = file.st_ino;
        }
        first[fd].looked = true;
    }
    errno = saved_errno;
}

// Calls that come before constructors take it for what it was.
static bool is_as_it_was(int fd)
{
    struct stat file;
    return !first[fd].looked || (first[fd].open && fstat(fd, &file) == 0 &&
                                 file.st_dev == first[fd].device && file.st_ino == first[fd].inode);
}

// The program's own output has a place in its file, and need not be what this user may open (it may
// be a socket, or another user's file): so it is not opened again.
static int own_output(const char *path)
{
    return strcmp(path, "/dev/stdout") == 0   ? STDOUT_FILENO
           : strcmp(path, "/dev/stderr") == 0 ? STDERR_FILENO
                                              : -1;
}

int ss_append_to_file(const char *path, const char *text, size_t length)
{
    int saved_errno = errno, own = own_output(path);
    int fd = own >= 0 ? own : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int err = fd < 0                           ? -errno
              : own >= 0 && !is_as_it_was(own) ? -EBADF
                                               : write_all(fd, text, length);
    if (fd >= 0 && own < 0)
        close(fd);
    errno = saved_errno;
    return err;
}

int ss_output_create(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

bool ss_output_write(int file, const void *bytes, size_t size)
{
    int err = write_all(file, bytes, size);
    errno = -err;
    return err == 0;
}

bool ss_output_close(int file)
{
    return close(file) == 0;
}

const char *ss_process_name(void)
{
    return program_invocation_short_name;
}

void ss_process_symbol(const void *address, char *text, size_t size)
{
    Dl_info info;
    const char *object = object_at(address, &info);
    if (!object)
        snprintf(text, size, "0x%lx", (unsigned long)(uintptr_t)address);
    else if (info.dli_sname && info.dli_saddr == address)
        snprintf(text, size, "%s", info.dli_sname);
    else
        snprintf(text, size, "%s+0x%lx", object,
                 (unsigned long)((const char *)address - (const char *)info.dli_fbase));
}

void ss_write_to_stderr(const char *text)
{
    int saved_errno = errno;
    ssize_t ignored = is_as_it_was(STDERR_FILENO) ? write(STDERR_FILENO, text, strlen(text)) : 0;
    (void)ignored; // there is no other place to say it
    errno = saved_errno;
}

SS_ROOM(os_linux_process, NULL, NULL); // a child has its parent's output
