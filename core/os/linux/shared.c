// SPDX-License-Identifier: ISC
//
// The shared page on Linux (../shared.h). The folder is opened once and checked; all else is done
// relative to it, so that nobody can put another one in its place meanwhile.

#include "os/shared.h"
#include "os/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Files that are looked at when those of ended processes are removed: the next process goes on.
#define STALE_LOOKS 256

// ---- the folder

// Opens the folder, which is made if need be. A folder that another user may enter, or that is
// another user's, is refused. A descriptor or a negative errno value.
static int open_folder(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    struct stat info;
    if (fstat(folder, &info) < 0 || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        close(folder);
        return -EACCES;
    }
    return folder;
}

// Is it the caller's own? (After su(1), the variable may still name that of another user.)
static bool is_own_folder(const char *path)
{
    struct stat info;
    return path && *path == '/' && stat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
           info.st_uid == geteuid();
}

// Opens the first of the folders that can be had; its path is put into `path`.
static int open_any_folder(char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (is_own_folder(runtime) && strlen(runtime) + sizeof SS_SHARED_FOLDER + 32 < size) {
        snprintf(path, size, "%s/%s", runtime, SS_SHARED_FOLDER);
        int folder = open_folder(path);
        if (folder >= 0)
            return folder;
    }
    snprintf(path, size, SS_SHARED_IN_SHM, (unsigned)geteuid());
    return open_folder(path);
}

// ---- files of processes that have ended

static unsigned long long pid_namespace(void)
{
    struct stat info;
    return stat("/proc/self/ns/pid", &info) == 0 ? (unsigned long long)info.st_ino : 0;
}

// Does the name belong to a process of this namespace that does not exist any more?
static bool is_stale(const char *name, unsigned long long namespace)
{
    int pid = 0, end = 0;
    unsigned long long of = 0;
    if (sscanf(name, SS_SHARED_NAME "%n", &pid, &of, &end) != 2 || name[end] != '\0')
        return false;
    return pid > 0 && of == namespace && kill(pid, 0) < 0 && errno == ESRCH;
}

static void remove_stale(int folder, unsigned long long namespace)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    if (!list) {
        if (copy >= 0)
            close(copy);
        return;
    }
    const struct dirent *entry;
    for (unsigned looks = 0; looks < STALE_LOOKS && (entry = readdir(list)); looks++)
        if (is_stale(entry->d_name, namespace))
            unlinkat(folder, entry->d_name, 0);
    closedir(list);
}

// ---- the file

// A file longer than the process may write would end it (SIGXFSZ).
static bool may_be_as_long(size_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= size;
}

static int create(int folder, const char *name)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int file = openat(folder, name, flags, 0600);
    if (file < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0)
        file = openat(folder, name, flags, 0600);
    return file < 0 ? -errno : file;
}

// The room is taken now: a write to a file system that is full would end the process later
// (SIGBUS). 0 or a negative errno value.
static int map(struct ss_shared *shared, int file, size_t size)
{
    int err = fchmod(file, 0600) < 0 ? errno : posix_fallocate(file, 0, (off_t)size);
    if (err)
        return -err;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        return -errno;
    if (madvise(memory, size, MADV_DONTFORK) < 0) {
        err = -errno;
        munmap(memory, size);
        return err;
    }
    shared->memory = memory;
    return 0;
}

static int make_in(struct ss_shared *shared, int folder, size_t size)
{
    char name[64];
    unsigned long long namespace = pid_namespace();
    remove_stale(folder, namespace);
    snprintf(name, sizeof name, SS_SHARED_NAME, (int)shared->pid, namespace);
    int file = create(folder, name);
    if (file < 0)
        return file;
    int err = map(shared, file, size);
    close(file);
    if (err)
        unlinkat(folder, name, 0);
    size_t length = strlen(shared->path);
    snprintf(shared->path + length, sizeof shared->path - length, "/%s", name);
    return err;
}

int ss_shared_make(struct ss_shared *shared, size_t size)
{
    int saved_errno = errno, err = -EFBIG;
    shared->memory = NULL;
    shared->pid = getpid();
    if (may_be_as_long(size)) {
        err = open_any_folder(shared->path, sizeof shared->path);
        if (err >= 0) {
            int folder = err;
            err = make_in(shared, folder, size);
            close(folder);
        }
    }
    errno = saved_errno;
    return err;
}

void ss_shared_remove(const struct ss_shared *shared)
{
    int saved_errno = errno;
    if (shared->memory && shared->pid == getpid())
        unlink(shared->path);
    errno = saved_errno;
}

void ss_shared_end(struct ss_shared *shared, size_t size)
{
    int saved_errno = errno;
    ss_shared_remove(shared);
    if (shared->memory)
        munmap(shared->memory, size);
    shared->memory = NULL;
    errno = saved_errno;
}

// ---- the words in it: futexes of the file, not of this process alone

bool ss_shared_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    int saved_errno = errno;
    struct timespec limit = {.tv_sec = (time_t)(ns / SS_NS_PER_S),
                             .tv_nsec = (long)(ns % SS_NS_PER_S)};
    long result =
        syscall(SYS_futex, word, FUTEX_WAIT, expected, ns == SS_FOREVER ? NULL : &limit, NULL, 0);
    bool there = result == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
    errno = saved_errno;
    return there;
}

void ss_shared_wake(_Atomic uint32_t *word)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    errno = saved_errno;
}
