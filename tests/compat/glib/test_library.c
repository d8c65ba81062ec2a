// SPDX-License-Identifier: ISC
//
// The layer as a shared library: what it exports and needs, and how it behaves in programs of
// different kinds. The programs (probe.c, host.c) are started with the layer preloaded; their paths
// come in the environment. This test itself runs without it.

#include "support.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char *path_of(const char *variable)
{
    const char *path = getenv(variable);
    ck_assert_msg(path != NULL, "%s is not set: run by meson test", variable);
    return path;
}

// ---------------------------------------------------------------------------------------------
// The file
// ---------------------------------------------------------------------------------------------

static const ElfW(Ehdr) * map_library(void)
{
    int fd = open(path_of("LAYER"), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    struct stat stat;
    ck_assert_int_eq(fstat(fd, &stat), 0);
    void *file = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert(file != MAP_FAILED);
    close(fd);
    return file;
}

static const void *at(const ElfW(Ehdr) * elf, ElfW(Off) offset)
{
    return (const char *)elf + offset;
}

// The first section of a type; *strings is the string table it refers to.
static const ElfW(Shdr) *
    find_section(const ElfW(Ehdr) * elf, ElfW(Word) type, const char **strings)
{
    const ElfW(Shdr) *sections = at(elf, elf->e_shoff);
    for (int i = 0; i < elf->e_shnum; i++) {
        if (sections[i].sh_type != type)
            continue;
        *strings = at(elf, sections[sections[i].sh_link].sh_offset);
        return &sections[i];
    }
    ck_abort_msg("no section of type %u", (unsigned)type);
}

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *join(GPtrArray *strings)
{
    g_ptr_array_sort(strings, compare_strings);
    g_ptr_array_add(strings, NULL);
    char *joined = g_strjoinv("\n", (gchar **)strings->pdata);
    g_ptr_array_free(strings, TRUE);
    return joined;
}

START_TEST(it_exports_the_sixteen_functions_and_nothing_else)
{
    const ElfW(Ehdr) *elf = map_library();
    const char *names;
    const ElfW(Shdr) *section = find_section(elf, SHT_DYNSYM, &names);
    const ElfW(Sym) *symbols = at(elf, section->sh_offset);
    GPtrArray *exported = g_ptr_array_new();
    for (size_t i = 1; i < section->sh_size / sizeof *symbols; i++)
        if (symbols[i].st_shndx != SHN_UNDEF)
            g_ptr_array_add(exported, (gpointer)(names + symbols[i].st_name));
    ck_assert_str_eq(join(exported), "g_thread_pool_free\n"
                                     "g_thread_pool_get_max_idle_time\n"
                                     "g_thread_pool_get_max_threads\n"
                                     "g_thread_pool_get_max_unused_threads\n"
                                     "g_thread_pool_get_num_threads\n"
                                     "g_thread_pool_get_num_unused_threads\n"
                                     "g_thread_pool_move_to_front\n"
                                     "g_thread_pool_new\n"
                                     "g_thread_pool_new_full\n"
                                     "g_thread_pool_push\n"
                                     "g_thread_pool_set_max_idle_time\n"
                                     "g_thread_pool_set_max_threads\n"
                                     "g_thread_pool_set_max_unused_threads\n"
                                     "g_thread_pool_set_sort_function\n"
                                     "g_thread_pool_stop_unused_threads\n"
                                     "g_thread_pool_unprocessed");
}
END_TEST

static const ElfW(Dyn) * dynamic_section(const ElfW(Ehdr) * elf, const char **strings)
{
    return at(elf, find_section(elf, SHT_DYNAMIC, strings)->sh_offset);
}

START_TEST(it_needs_the_core_and_libc_only)
{
    const char *strings;
    const ElfW(Dyn) *entry = dynamic_section(map_library(), &strings);
    GPtrArray *needed = g_ptr_array_new();
    for (; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_NEEDED)
            g_ptr_array_add(needed, (gpointer)(strings + entry->d_un.d_val));
    ck_assert_str_eq(join(needed), "libc.so.6\nlibsmolscale.so.0");
}
END_TEST

START_TEST(it_is_bound_at_once_and_never_unloaded)
{
    const char *strings;
    const ElfW(Dyn) *entry = dynamic_section(map_library(), &strings);
    ElfW(Xword) flags = 0;
    for (; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_FLAGS_1)
            flags = entry->d_un.d_val;
    ck_assert(flags & DF_1_NOW);
    ck_assert(flags & DF_1_NODELETE);
}
END_TEST

START_TEST(it_finds_the_core_relative_to_itself)
{
    const char *strings;
    const ElfW(Dyn) *entry = dynamic_section(map_library(), &strings);
    const char *path = "";
    for (; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_RUNPATH || entry->d_tag == DT_RPATH)
            path = strings + entry->d_un.d_val;
    ck_assert_msg(strncmp(path, "$ORIGIN", strlen("$ORIGIN")) == 0, "the run path is '%s'", path);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// The library in programs
// ---------------------------------------------------------------------------------------------

// Runs a program with the layer preloaded (after `before`, if not NULL) and `setting` added to the
// environment. Returns what it printed on standard output.
static char *run_preloaded(const char *before, const char *setting, const char *program,
                           const char *argument)
{
    const char *argv[] = {program, argument, NULL};
    char **environment = g_get_environ();
    environment = g_environ_unsetenv(environment, "LD_LIBRARY_PATH"); // the run path is to do
    char *preload = g_strjoin(" ", path_of("LAYER"), NULL);
    if (before != NULL)
        preload = g_strjoin(" ", before, preload, NULL);
    environment = g_environ_setenv(environment, "LD_PRELOAD", preload, TRUE);
    if (setting != NULL) {
        char **parts = g_strsplit(setting, "=", 2);
        environment = g_environ_setenv(environment, parts[0], parts[1], TRUE);
    }
    char *out = NULL, *errors = NULL;
    GError *error = NULL;
    gint status;
    g_spawn_sync(NULL, (gchar **)argv, environment, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &errors,
                 &status, &error);
    ck_assert_msg(error == NULL, "%s: %s", program, error ? error->message : "");
    ck_assert_msg(status == 0, "%s ended with %d: %s", program, status, errors);
    ck_assert_str_eq(errors, "");
    return out;
}

START_TEST(a_glib_program_runs_on_smolscale)
{
    ck_assert_str_eq(run_preloaded(NULL, NULL, path_of("PROBE"), NULL), "10 smolscale\n");
}
END_TEST

START_TEST(it_can_be_bound_at_program_start)
{
    ck_assert_str_eq(run_preloaded(NULL, "LD_BIND_NOW=1", path_of("PROBE"), NULL),
                     "10 smolscale\n");
}
END_TEST

START_TEST(calls_before_any_constructor_work)
{
    ck_assert_str_eq(run_preloaded(NULL, NULL, path_of("PROBE"), "early"), "10 smolscale\n");
}
END_TEST

START_TEST(SMOLSCALE_DISABLE_leaves_everything_to_glib)
{
    ck_assert_str_eq(run_preloaded(NULL, "SMOLSCALE_DISABLE=1", path_of("PROBE"), NULL),
                     "10 native\n");
}
END_TEST

START_TEST(a_setuid_program_is_left_to_glib)
{
    ck_assert_str_eq(run_preloaded(path_of("SECURE"), NULL, path_of("PROBE"), NULL), "10 native\n");
}
END_TEST

START_TEST(a_program_without_glib_runs_as_before_and_gets_no_thread)
{
    char *status = run_preloaded(NULL, "LD_BIND_NOW=1", "cat", "/proc/self/status");
    ck_assert_msg(strstr(status, "\nThreads:\t1\n") != NULL, "%s", status);
    char *maps = run_preloaded(NULL, NULL, "cat", "/proc/self/maps");
    ck_assert_msg(strstr(maps, "libsmolscale-glib.so") != NULL, "it was not loaded");
    ck_assert_msg(strstr(maps, "libglib-2.0") == NULL, "it brought GLib along");
}
END_TEST

START_TEST(a_glib_that_was_loaded_locally_is_found)
{
    char *expected =
        g_strdup_printf("20 jobs, 1 messages, %d unused\n", g_thread_pool_get_max_unused_threads());
    const char *const settings[] = {NULL, "SMOLSCALE_DISABLE=1"};
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++)
        ck_assert_str_eq(run_preloaded(NULL, settings[i], path_of("HOST"), path_of("PLUGIN")),
                         expected);
    g_free(expected);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {it_exports_the_sixteen_functions_and_nothing_else, 1},
        {it_needs_the_core_and_libc_only, 1},
        {it_is_bound_at_once_and_never_unloaded, 1},
        {it_finds_the_core_relative_to_itself, 1},
        {a_glib_program_runs_on_smolscale, 1},
        {it_can_be_bound_at_program_start, 1},
        {calls_before_any_constructor_work, 1},
        {SMOLSCALE_DISABLE_leaves_everything_to_glib, 1},
        {a_setuid_program_is_left_to_glib, 1},
        {a_program_without_glib_runs_as_before_and_gets_no_thread, 1},
        {a_glib_that_was_loaded_locally_is_found, 1},
        {NULL, 0},
    };
    return test_suite("library", tests);
}
