// SPDX-License-Identifier: ISC

#include "page.h"

#include "cli.h"
#include "os/shared.h" // the core's: where the files are

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS        (100 * 1000000L) // one sleep for an answer
#define ASK_AGAIN      5   // after so many sleeps: another reader may have taken the number
#define PATIENCE       300 // sleeps, until the process counts as unable to answer
#define READ_TRIES     100
#define ENDS_WITHIN_MS 1000

// ---- what is believed

char *page_head_fault(const struct ss_page_head *head, size_t length, pid_t pid)
{
    if (length < sizeof *head || memcmp(head->magic, SS_PAGE_MAGIC, sizeof SS_PAGE_MAGIC) != 0)
        return must_copy("its page is damaged, or not written yet");
    if (head->version != SS_PAGE_VERSION)
        return must_format(
            "its smolscale is %s than this command (pages of version %" PRIu32 ", and not %u)",
            head->version < SS_PAGE_VERSION ? "older" : "newer", head->version, SS_PAGE_VERSION);
    if (head->size != sizeof(struct ss_page) || length < sizeof(struct ss_page))
        return must_copy("its page is damaged: it has another length");
    if (head->pid != pid || head->tid <= 0)
        return must_copy("its page is damaged: it is of another process");
    return NULL;
}

// Ends the text in its field, and has in it only what can be printed on any terminal.
static void clean(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

const char *page_body_fault(struct ss_page_body *body)
{
    if (body->worker_count > SS_PAGE_WORKERS || body->queue_count > SS_PAGE_QUEUES)
        return "its page is damaged: it lists more than it can hold";
    for (uint32_t i = 0; i < body->worker_count; i++) {
        const struct ss_page_worker *worker = &body->worker[i];
        if (worker->state >= SS_PAGE_STATES || worker->serves >= SS_PAGE_KINDS || worker->tid < 0)
            return "its page is damaged: a worker is in no known state";
    }
    for (uint32_t i = 0; i < body->queue_count; i++) {
        clean(body->queue[i].name, sizeof body->queue[i].name);
        clean(body->queue[i].object, sizeof body->queue[i].object);
    }
    return NULL;
}

// ---- the process, as /proc has it

// A small file of /proc/PID, as a text; NULL with errno. To be freed.
static char *read_small(pid_t pid, const char *name)
{
    char *path = must_format("/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return NULL;
    size_t room = (size_t)1 << 20, size = 0;
    char *text = must_alloc(room);
    ssize_t got;
    while (size < room - 1 && (got = read(fd, text + size, room - 1 - size)) > 0)
        size += (size_t)got;
    close(fd);
    return text;
}

// The line of the process' status that begins with `key`; NULL: there is none. In `status`.
static const char *status_line(const char *status, const char *key)
{
    size_t length = strlen(key);
    while (status && strncmp(status, key, length) != 0) {
        status = strchr(status, '\n');
        status += status != NULL;
    }
    return status ? status + length : NULL;
}

static unsigned long long namespace_of(const char *process)
{
    struct stat info;
    char *path = must_format("/proc/%s/ns/pid", process);
    bool known = stat(path, &info) == 0;
    free(path);
    return known ? (unsigned long long)info.st_ino : 0;
}

// Whose process it is, and what it calls itself.
struct identity {
    uid_t user; // its effective one
    pid_t own_pid;
    unsigned long long namespace;
    bool same_ids;
};

// False: there is no such process.
static bool identify(pid_t pid, struct identity *identity)
{
    char *status = read_small(pid, "status");
    const char *uids = status_line(status, "Uid:"), *pids = status_line(status, "NSpid:");
    unsigned user = 0;
    bool known = uids && sscanf(uids, "%*u %u", &user) == 1;
    char *number = must_format("%d", (int)pid);
    *identity = (struct identity){.user = (uid_t)user, .own_pid = pid};
    unsigned long long here = namespace_of("self");
    identity->namespace = namespace_of(number);
    if (identity->namespace == 0) // of a process that may not be traced
        identity->namespace = here;
    identity->same_ids = identity->namespace == here;
    // The last of the ids is that in the process' own namespace.
    for (char *end; pids && *pids && *pids != '\n'; pids = end) {
        long id = strtol(pids, &end, 10);
        if (end == pids)
            break;
        identity->own_pid = (pid_t)id;
    }
    free(number);
    free(status);
    return known;
}

static bool exists(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

// Does the thread that answers live? It ends with exec(), the file does not.
static bool is_answered(pid_t pid, const struct ss_page_head *head)
{
    char *path = must_format("/proc/%d/task/%d", (int)pid, (int)head->tid);
    bool lives = access(path, F_OK) == 0;
    free(path);
    return lives;
}

static bool is_stopped(pid_t pid)
{
    char *status = read_small(pid, "status");
    const char *state = status_line(status, "State:");
    bool stopped = state && strpbrk(state, "tT\n") && *strpbrk(state, "tT\n") != '\n';
    free(status);
    return stopped;
}

// ---- files

// Opens the folder if it belongs to that user, and nobody else may enter it. -1: not.
static int open_folder(const char *path, uid_t user)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    if (folder >= 0 &&
        (fstat(folder, &info) < 0 || info.st_uid != user || (info.st_mode & 077) != 0)) {
        close(folder);
        return -1;
    }
    return folder;
}

// Opens a file of that user that is nobody else's business. -1: not. No file is waited for.
static int open_file(int folder, const char *name, uid_t user)
{
    int file = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat info;
    if (file >= 0 && (fstat(file, &info) < 0 || !S_ISREG(info.st_mode) || info.st_uid != user ||
                      (info.st_mode & 077) != 0)) {
        close(file);
        return -1;
    }
    return file;
}

static size_t file_length(int file)
{
    struct stat info;
    return fstat(file, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size : 0;
}

// Reads so many bytes, or leaves zeroes for what is not there.
static void read_at(int file, void *memory, size_t size, size_t at)
{
    size_t done = 0;
    memset(memory, 0, size);
    while (done < size) {
        ssize_t got = pread(file, (char *)memory + done, size - done, (off_t)(at + done));
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return;
        done += got > 0 ? (size_t)got : 0;
    }
}

static void read_head(struct page *page)
{
    read_at(page->file, &page->head, sizeof page->head, 0);
}

// A moment after the process has made it, the file has no magic yet, which is written last.
static void read_first_head(struct page *page)
{
    const struct timespec moment = {.tv_nsec = 10 * 1000000L};
    for (unsigned tries = 0; tries < 100; tries++) {
        read_head(page);
        if (page->head.magic[0] != '\0')
            return;
        nanosleep(&moment, NULL);
    }
}

// ---- finding the file of a process

enum { FOLDERS = 4 };

// Where a process of that user may have its page. `runtime`: its XDG_RUNTIME_DIR; NULL: not known.
static void list_folders(char *folders[FOLDERS], uid_t user, const char *runtime)
{
    const char *here = getenv("XDG_RUNTIME_DIR");
    folders[0] = runtime && *runtime == '/' ? must_format("%s/" SS_SHARED_FOLDER, runtime) : NULL;
    folders[1] = here && *here == '/' ? must_format("%s/" SS_SHARED_FOLDER, here) : NULL;
    folders[2] = must_format("/run/user/%u/" SS_SHARED_FOLDER, (unsigned)user);
    folders[3] = must_format(SS_SHARED_IN_SHM, (unsigned)user);
}

static void free_folders(char *folders[FOLDERS])
{
    for (unsigned i = 0; i < FOLDERS; i++)
        free(folders[i]);
}

// A variable of the process' environment as it was started. To be freed; NULL: not there.
static char *variable_of(pid_t pid, const char *name)
{
    char *path = must_format("/proc/%d/environ", (int)pid);
    FILE *file = fopen(path, "re");
    free(path);
    char *line = NULL, *value = NULL;
    size_t room = 0, length = strlen(name);
    while (file && !value && getdelim(&line, &room, '\0', file) > 0)
        if (strncmp(line, name, length) == 0 && line[length] == '=')
            value = must_copy(line + length + 1);
    free(line);
    if (file)
        fclose(file);
    return value;
}

static int open_in(const char *folder, const char *name, uid_t user)
{
    int at = open_folder(folder, user);
    if (at < 0)
        return -1;
    int file = open_file(at, name, user);
    close(at);
    return file;
}

// Also in the process' own file system, where it is not this one. -1: there is no page.
static int find_file(pid_t pid, const struct identity *identity)
{
    char *name = must_format(SS_SHARED_NAME, (int)identity->own_pid, identity->namespace);
    char *runtime = variable_of(pid, "XDG_RUNTIME_DIR"), *folders[FOLDERS];
    list_folders(folders, identity->user, runtime);
    int file = -1;
    for (unsigned i = 0; i < FOLDERS && file < 0; i++) {
        if (!folders[i])
            continue;
        file = open_in(folders[i], name, identity->user);
        if (file >= 0)
            break;
        char *inside = must_format("/proc/%d/root%s", (int)pid, folders[i]);
        file = open_in(inside, name, identity->user);
        free(inside);
    }
    free_folders(folders);
    free(runtime);
    free(name);
    return file;
}

// ---- one page

// Why a process has none.
static char *no_page(pid_t pid)
{
    char *maps = read_small(pid, "maps");
    bool loaded = maps && strstr(maps, "libsmolscale");
    free(maps);
    if (loaded)
        return must_copy("it has smolscale, but it has not used it yet or uses it no more, or was "
                         "started without SMOLSCALE_TOP=1, which 'smolscale run' sets");
    return must_copy("it is not on smolscale, or was started without SMOLSCALE_TOP=1; start it "
                     "with 'smolscale run'");
}

char *page_open(struct page *page, pid_t pid)
{
    struct identity identity;
    *page = (struct page){.pid = pid, .file = -1, .words = MAP_FAILED};
    if (!identify(pid, &identity))
        return must_copy("there is none");
    if (identity.user != geteuid() && geteuid() != 0)
        return must_copy("it belongs to another user");
    page->same_ids = identity.same_ids;
    page->file = find_file(pid, &identity);
    if (page->file < 0)
        return no_page(pid);
    read_first_head(page);
    char *fault = page_head_fault(&page->head, file_length(page->file), identity.own_pid);
    if (!fault && page->same_ids && !is_answered(pid, &page->head))
        fault = no_page(pid); // left by what the process ran before exec()
    if (!fault) {
        page->words =
            mmap(NULL, sizeof page->head, PROT_READ | PROT_WRITE, MAP_SHARED, page->file, 0);
        if (page->words == MAP_FAILED)
            fault = must_format("its page: %s", strerror(errno));
    }
    if (fault)
        page_close(page);
    return fault;
}

void page_close(struct page *page)
{
    if (page->words != MAP_FAILED)
        munmap(page->words, sizeof page->head);
    if (page->file >= 0)
        close(page->file);
    page->file = -1;
    page->words = MAP_FAILED;
}

// ---- asking

// The words are only ever looked at by the kernel, which answers by an error where they are gone.
static void *word(const struct page *page, size_t at)
{
    return (char *)page->words + at;
}

static void request(const struct page *page, uint32_t again, uint32_t number)
{
    if (pwrite(page->file, &again, sizeof again, offsetof(struct ss_page_head, again)) < 0)
        return; // it is asked once more
    size_t at = offsetof(struct ss_page_head, request);
    if (pwrite(page->file, &number, sizeof number, (off_t)at) == sizeof number)
        syscall(SYS_futex, word(page, at), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void wait_for_answer(const struct page *page)
{
    struct timespec limit = {.tv_nsec = WAIT_NS};
    uint32_t seen = atomic_load(&page->head.answered);
    if (syscall(SYS_futex, word(page, offsetof(struct ss_page_head, answered)), FUTEX_WAIT, seen,
                &limit, NULL, 0) < 0 &&
        errno != ETIMEDOUT && errno != EAGAIN && errno != EINTR)
        nanosleep(&limit, NULL);
}

// Reads the body as it was at one moment. False: it changes again and again. Pairs with the fences
// of answer(), core/process/page.c.
static bool read_body(struct page *page, struct ss_page_body *body)
{
    for (unsigned tries = 0; tries < READ_TRIES; tries++) {
        read_head(page);
        uint32_t before = atomic_load(&page->head.sequence);
        atomic_thread_fence(memory_order_seq_cst);
        read_at(page->file, body, sizeof *body, offsetof(struct ss_page, body));
        atomic_thread_fence(memory_order_seq_cst);
        read_head(page);
        if (before % 2 == 0 && atomic_load(&page->head.sequence) == before)
            return true;
        sched_yield();
    }
    return false;
}

static bool has_ended(const struct page *page)
{
    return page->same_ids ? !is_answered(page->pid, &page->head) : !exists(page->pid);
}

// Its threads end one after the other, and then it waits for its parent: so the one that answered
// may be gone a while before the process is. A process that lives on is waited for in vain.
static bool process_ends(pid_t pid)
{
    int file = (int)syscall(SYS_pidfd_open, pid, 0);
    if (file < 0)
        return !exists(pid);
    struct pollfd ended = {.fd = file, .events = POLLIN};
    bool ends = poll(&ended, 1, ENDS_WITHIN_MS) > 0;
    close(file);
    return ends;
}

char *page_ask(struct page *page, double again, struct ss_page_body *body, bool *ended)
{
    uint32_t seconds = (uint32_t)ceil(again);
    int32_t pid = page->head.pid;
    uint32_t number = 0;
    *ended = false;
    for (unsigned sleeps = 0; sleeps < PATIENCE; sleeps++) {
        if (sleeps % ASK_AGAIN == 0) {
            read_head(page);
            number = atomic_load(&page->head.answered) + 1;
            request(page, seconds, number);
        }
        read_head(page);
        char *fault = page_head_fault(&page->head, file_length(page->file), pid);
        *ended = (fault || atomic_load(&page->head.answered) != number) && has_ended(page);
        if (*ended) {
            free(fault);
            return must_copy(process_ends(page->pid) ? "it has ended"
                                                     : "it uses smolscale no more");
        }
        if (fault)
            return fault;
        if ((int32_t)(atomic_load(&page->head.answered) - number) < 0) {
            wait_for_answer(page);
            continue;
        }
        if (!read_body(page, body))
            return must_copy("its page changes while it is read");
        const char *wrong = page_body_fault(body);
        return wrong ? must_copy(wrong) : NULL;
    }
    return must_copy(is_stopped(page->pid) ? "it does not answer: it is stopped"
                                           : "it does not answer");
}

// ---- which there are

static int compare_ids(const void *a, const void *b)
{
    const pid_t *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

struct list {
    pid_t *pids;
    size_t count, room;
};

static void add(struct list *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pids[i] == pid)
            return;
    if (list->count == list->room)
        list->pids = must_grow(list->pids, list->room = list->room * 2 + 8, sizeof *list->pids);
    list->pids[list->count++] = pid;
}

// A file of the folder: counts if its process lives and answers, and is removed if it has ended.
static void look_at(struct list *list, int folder, const char *name, unsigned long long here)
{
    int pid = 0, end = 0;
    unsigned long long namespace = 0;
    if (sscanf(name, SS_SHARED_NAME "%n", &pid, &namespace, &end) != 2 || name[end] != '\0' ||
        pid <= 0 || namespace != here)
        return;
    if (!exists(pid)) {
        unlinkat(folder, name, 0);
        return;
    }
    int file = open_file(folder, name, geteuid());
    if (file < 0)
        return;
    struct ss_page_head head;
    read_at(file, &head, sizeof head, 0);
    char *fault = page_head_fault(&head, file_length(file), pid);
    if (!fault && is_answered(pid, &head))
        add(list, pid);
    free(fault);
    close(file);
}

static void look_into(struct list *list, const char *path)
{
    int folder = open_folder(path, geteuid());
    DIR *entries = folder >= 0 ? fdopendir(folder) : NULL;
    unsigned long long here = namespace_of("self");
    const struct dirent *entry;
    while (entries && (entry = readdir(entries)))
        look_at(list, dirfd(entries), entry->d_name, here);
    if (entries)
        closedir(entries);
}

pid_t *page_processes(size_t *count)
{
    struct list list = {.room = 0};
    char *folders[FOLDERS];
    list_folders(folders, geteuid(), NULL);
    for (unsigned i = 0; i < FOLDERS; i++)
        if (folders[i])
            look_into(&list, folders[i]);
    free_folders(folders);
    if (list.count > 1)
        qsort(list.pids, list.count, sizeof *list.pids, compare_ids);
    *count = list.count;
    return list.pids;
}
