// SPDX-License-Identifier: ISC
//
// host [WHAT...] PLUGIN...: loads plug-ins while other threads run, uses each from several threads
// at once, and closes it; twice over. Before a plug-in is used:
//
//   breakpoint  a breakpoint instruction is put at its uv_cancel(), as a debugger does it
//   sealed      its code is sealed (mseal)
//   mdwe        the process renounces new executable memory (PR_SET_MDWE); at once
//   alone       only one thread uses it, three times
//   together    all plug-ins are loaded at the same time
//
// Exit status 77: the kernel cannot do what is asked.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SKIPPED     77
#define SYS_MSEAL   462
#define SET_MDWE    65
#define REFUSE_GAIN 1
#define USERS       3
#define PLUGINS_MAX 16

typedef int use_fn(char *text, size_t size);

static volatile bool stop;
static int failed;
static bool breakpoint, sealed, together, alone;

static void *run_about(void *unused)
{
    while (!stop)
        usleep(100);
    return unused;
}

static void *use(void *function)
{
    char text[400];

    if (((use_fn *)function)(text, sizeof(text)) != 0)
        __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
    puts(text);
    return NULL;
}

#if defined(__x86_64__)
static struct {
    unsigned char *at, original;
} broken;

// As a debugger: takes the breakpoint away and lets the program go on at the instruction.
static void at_breakpoint(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)broken.at;
    *broken.at = broken.original;
}

static void put_breakpoint(void *plugin)
{
    struct sigaction action = {.sa_sigaction = at_breakpoint, .sa_flags = SA_SIGINFO};

    broken.at = dlsym(plugin, "uv_cancel");
    sigaction(SIGTRAP, &action, NULL);
    if (broken.at == NULL || mprotect((void *)((uintptr_t)broken.at & ~4095ul), 4096,
                                      PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        exit(SKIPPED);
    broken.original = *broken.at;
    *broken.at = 0xcc;
}
#else
static void put_breakpoint(void *plugin)
{
    (void)plugin;
    exit(SKIPPED);
}
#endif

static int seal_object(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (strcmp(info->dlpi_name, name) != 0)
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && (h->p_flags & PF_X)) {
            unsigned long begin = (info->dlpi_addr + h->p_vaddr) & ~4095ul;
            unsigned long end = (info->dlpi_addr + h->p_vaddr + h->p_memsz + 4095) & ~4095ul;
            if (syscall(SYS_MSEAL, begin, end - begin, 0) != 0)
                exit(SKIPPED);
        }
    }
    return 1;
}

static void *load(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    if (breakpoint)
        put_breakpoint(plugin);
    if (sealed)
        dl_iterate_phdr(seal_object, (void *)path);
    return plugin;
}

static void use_from_threads(void *plugin)
{
    pthread_t threads[USERS];
    void *function = dlsym(plugin, "use_libuv");

    for (unsigned i = 0; alone && i < USERS; i++)
        use(function);
    if (alone)
        return;
    for (unsigned i = 0; i < USERS; i++)
        pthread_create(&threads[i], NULL, use, function);
    for (unsigned i = 0; i < USERS; i++)
        pthread_join(threads[i], NULL);
}

static void use_all(char **paths, int count)
{
    void *plugins[PLUGINS_MAX];

    for (int i = 0; i < count && i < PLUGINS_MAX; i++) {
        plugins[i] = load(paths[i]);
        use_from_threads(plugins[i]);
        if (!together && !sealed) // what is sealed cannot be unmapped
            dlclose(plugins[i]);
    }
    for (int i = 0; together && i < count && i < PLUGINS_MAX; i++) {
        use_from_threads(plugins[i]);
        dlclose(plugins[i]);
    }
}

int main(int argc, char **argv)
{
    pthread_t others[2];
    int i = 1;

    for (; i < argc && strchr(argv[i], '/') == NULL; i++) {
        breakpoint |= strcmp(argv[i], "breakpoint") == 0;
        sealed |= strcmp(argv[i], "sealed") == 0;
        alone |= strcmp(argv[i], "alone") == 0;
        together |= strcmp(argv[i], "together") == 0;
        if (strcmp(argv[i], "mdwe") == 0 && prctl(SET_MDWE, REFUSE_GAIN, 0, 0, 0) != 0)
            return SKIPPED;
    }
    for (unsigned k = 0; k < 2; k++)
        pthread_create(&others[k], NULL, run_about, NULL);
    for (unsigned round = 0; round < 2; round++)
        use_all(argv + i, argc - i);
    stop = true;
    for (unsigned k = 0; k < 2; k++)
        pthread_join(others[k], NULL);
    return failed;
}
