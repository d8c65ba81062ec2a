// SPDX-License-Identifier: ISC

#include "program.h"

#include "cli.h"
#include "object.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

// ---- finding ----

static int executable(const char *path)
{
    struct stat stat_;
    if (stat(path, &stat_))
        return -errno;
    if (!S_ISREG(stat_.st_mode))
        return -EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? -errno : 0;
}

int program_find(const char *command, char **path)
{
    *path = NULL;
    if (!*command)
        return -ENOENT;
    if (strchr(command, '/')) {
        int err = executable(command);
        if (!err)
            *path = must_copy(command);
        return err;
    }
    const char *folder = getenv("PATH");
    if (!folder)
        folder = "/bin:/usr/bin"; // what execvp(3) takes
    int result = -ENOENT;
    for (;; folder++) {
        size_t length = strcspn(folder, ":");
        char *candidate = length ? must_format("%.*s/%s", (int)length, folder, command)
                                 : must_format("./%s", command); // an empty part is this folder
        int err = executable(candidate);
        if (!err) {
            *path = candidate;
            return 0;
        }
        free(candidate);
        if (err == -EACCES)
            result = err;
        folder += length;
        if (!*folder)
            return result;
    }
}

static char *must_find(const char *command)
{
    char *path;
    int err = program_find(command, &path);
    if (err == -ENOENT || err == -ENOTDIR)
        fail(STATUS_NOT_FOUND,
             strchr(command, '/') ? "%s: no such file" : "%s: command not found (not in PATH)",
             command);
    if (err)
        fail(STATUS_NOT_EXECUTABLE, "%s: %s", command,
             err == -EACCES ? "not executable (no permission, or not a file)" : strerror(-err));
    return path;
}

// ---- scripts ----

enum { LINE_SIZE = 256 }; // what the kernel reads of a first line

// Reads the first line of a script: its interpreter, and the rest of the line (NULL: nothing).
// False if there is none.
static bool read_script(const char *path, char line[LINE_SIZE], char **interpreter, char **rest)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, line, LINE_SIZE - 1);
    close(fd);
    if (got < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[got] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *at = line + 2 + strspn(line + 2, " \t");
    *interpreter = at;
    at += strcspn(at, " \t");
    *rest = NULL;
    if (*at) {
        *at++ = '\0';
        at += strspn(at, " \t");
        for (size_t end = strlen(at); end && isspace((unsigned char)at[end - 1]);)
            at[--end] = '\0';
        *rest = *at ? at : NULL;
    }
    return **interpreter != '\0';
}

// The command that env(1) runs, given its arguments in one piece: the first word that is neither an
// option nor a variable.
static char *behind_env(char *rest)
{
    for (char *word = strtok(rest, " \t"); word; word = strtok(NULL, " \t")) {
        char *command = word;
        if (strncmp(word, "-S", 2) == 0) // env -Snode --option, and env -S node
            command = word + 2;
        if (*command && *command != '-' && !strchr(command, '='))
            return command;
    }
    return NULL;
}

static void add_interpreter(struct program *program, const char *path)
{
    program->interpreters = must_grow(program->interpreters, program->interpreter_count + 1,
                                      sizeof *program->interpreters);
    program->interpreters[program->interpreter_count++] = must_copy(path);
}

// Follows the first lines of scripts to what is none.
static int follow(struct program *program)
{
    enum { DEPTH = 5 }; // the kernel's
    char line[LINE_SIZE], *interpreter, *rest;
    for (int depth = 0; depth < DEPTH; depth++) {
        if (!read_script(program->object, line, &interpreter, &rest))
            return 0;
        char *next = NULL;
        char *command =
            strcmp(last_part(interpreter), "env") == 0 && rest ? behind_env(rest) : NULL;
        int err = command ? program_find(command, &next) : executable(interpreter);
        if (err)
            return err;
        if (!command)
            next = must_copy(interpreter);
        free(program->object);
        program->object = next;
        add_interpreter(program, next);
    }
    return -ELOOP;
}

// ---- obstacles ----

struct object *own_object(void)
{
    static struct object *own;
    if (!own && object_open("/proc/self/exe", &own))
        fail(STATUS_FAILED, "cannot read /proc/self/exe");
    return own;
}

char *machine_name(const struct object *object)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {
        {EM_386, "x86"},       {EM_X86_64, "x86-64"},
        {EM_ARM, "ARM"},       {EM_AARCH64, "AArch64"},
        {EM_RISCV, "RISC-V"},  {EM_PPC64, "POWER"},
        {EM_S390, "S/390"},    {EM_MIPS, "MIPS"},
        {EM_SPARCV9, "SPARC"}, {EM_LOONGARCH, "LoongArch"},
    };
    int bits = object->elf_class == ELFCLASS64 ? 64 : 32;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].machine == object->machine)
            return must_format("%s, %d bit", names[i].name, bits);
    }
    return must_format("machine %u, %d bit", object->machine, bits);
}

static void set_obstacle(struct program *program, enum obstacle obstacle, char *detail)
{
    program->obstacle = obstacle;
    program->detail = detail;
}

// The kernel's rule for AT_SECURE, on which the dynamic linker ignores preloads. A script's own
// bits do not count: those of its interpreter do.
static void check_privilege(struct program *program)
{
    struct stat stat_;
    struct statvfs mount;
    if (stat(program->object, &stat_))
        return;
    if (statvfs(program->object, &mount) == 0 && mount.f_flag & ST_NOSUID)
        return;
    char capabilities[64];
    if (stat_.st_mode & S_ISUID && stat_.st_uid != getuid())
        set_obstacle(program, OBSTACLE_SETUID, must_copy("it is setuid"));
    else if ((stat_.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
             stat_.st_gid != getgid())
        set_obstacle(program, OBSTACLE_SETUID, must_copy("it is setgid"));
    else if (getuid() != 0 && getxattr(program->object, "security.capability", capabilities,
                                       sizeof capabilities) > 0)
        set_obstacle(program, OBSTACLE_SETUID, must_copy("it has file capabilities"));
}

static void check_linker(struct program *program, const struct object *object)
{
    const char *linker = object->interpreter ? last_part(object->interpreter) : NULL;
    if (!linker) {
        // The dynamic linker itself may be called as a command, with the program as its argument.
        if (!object->soname || strncmp(object->soname, "ld", 2) != 0)
            set_obstacle(program, OBSTACLE_STATIC, must_copy("it is linked statically"));
    } else if (strncmp(linker, "ld-musl", 7) == 0) {
        set_obstacle(program, OBSTACLE_MUSL, must_copy("it uses musl as its C library"));
    } else if (strncmp(linker, "ld-linux", 8) != 0 && strncmp(linker, "ld64", 4) != 0 &&
               strncmp(linker, "ld.so", 5) != 0) {
        set_obstacle(program, OBSTACLE_LIBC,
                     must_format("its dynamic linker is %s, not glibc's", object->interpreter));
    }
}

static void check(struct program *program)
{
    struct object *object;
    int err = object_open(program->object, &object);
    if (err == -ENOEXEC) {
        set_obstacle(program, OBSTACLE_NOT_ELF,
                     must_copy("it is neither an ELF file nor a script with an interpreter"));
        return;
    }
    if (err) // it may be executable and not readable; then the kernel knows more than we do
        return;
    if (!object_fits(object, own_object())) {
        char *theirs = machine_name(object), *ours = machine_name(own_object());
        set_obstacle(
            program, OBSTACLE_ARCHITECTURE,
            must_format("it is for another machine (%s; the libraries are for %s)", theirs, ours));
        free(theirs);
        free(ours);
    } else {
        check_privilege(program);
        if (!program->obstacle)
            check_linker(program, object);
    }
    object_free(object);
}

int program_examine(const char *path, struct program *program)
{
    *program = (struct program){.path = must_copy(path), .object = must_copy(path)};
    int err = follow(program);
    if (err) {
        program_finish(program);
        return err;
    }
    check(program);
    return 0;
}

void program_must_examine(const char *command, struct program *program)
{
    char *path = must_find(command);
    int err = program_examine(path, program);
    free(path);
    if (err)
        fail(err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE,
             "%s: the interpreter in its first line: %s", command, strerror(-err));
}

void program_finish(struct program *program)
{
    for (size_t i = 0; i < program->interpreter_count; i++)
        free(program->interpreters[i]);
    free(program->interpreters);
    free(program->path);
    free(program->object);
    free(program->detail);
    *program = (struct program){0};
}
