// SPDX-License-Identifier: ISC
//
// test-broken-objects SAMPLE: damages a copy of an ELF file in thousands of ways (by a fixed
// generator) and reads each: whatever the file says, nothing outside of it may be touched.

#include "interfaces.h"
#include "object.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *sample;

static unsigned char *read_sample(size_t *size)
{
    FILE *file = fopen(sample, "rb");
    ck_assert_ptr_nonnull(file);
    unsigned char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    ck_assert_uint_gt(*size, 1000);
    fclose(file);
    return bytes;
}

// The damaged file, in memory, by a name.
static int damaged_fd = -1;
static char damaged_path[64];

static void write_damaged(const unsigned char *bytes, size_t size)
{
    if (damaged_fd < 0) {
        char name[] = "/tmp/smolscale-object-XXXXXX";
        damaged_fd = mkstemp(name);
        ck_assert_int_ge(damaged_fd, 0);
        unlink(name);
        snprintf(damaged_path, sizeof damaged_path, "/proc/self/fd/%d", damaged_fd);
    }
    ck_assert_int_eq(ftruncate(damaged_fd, 0), 0);
    ck_assert_int_eq(pwrite(damaged_fd, bytes, size, 0), (ssize_t)size);
}

static bool touch(const struct symbol *symbol, void *data)
{
    size_t *sum = data;
    *sum += strlen(symbol->name);
    const unsigned char *code = symbol->code;
    if (code)
        *sum += (size_t)(code[0] + code[symbol->size - 1]);
    return true;
}

static void read_damaged(void)
{
    struct object *object;
    struct use uses[LAYER_COUNT];
    if (object_open(damaged_path, &object))
        return;
    size_t sum = 0;
    object_symbols(object, true, touch, &sum);
    object_symbols(object, false, touch, &sum);
    interfaces_examine(object, uses);
    free(object_names_library(object, "libuv.so"));
    object_free(object);
}

static uint64_t state = 1;

static size_t draw(size_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % below;
}

START_TEST(cut_off_at_any_place)
{
    size_t size;
    unsigned char *bytes = read_sample(&size);
    for (size_t length = 0; length < size; length += 1 + size / 1000) {
        write_damaged(bytes, length);
        read_damaged();
    }
    free(bytes);
}
END_TEST

START_TEST(changed_in_many_ways)
{
    static const unsigned char extremes[] = {0, 1, 0x7f, 0x80, 0xff};
    size_t size;
    unsigned char *bytes = read_sample(&size), *damaged = malloc(size);
    for (int round = 0; round < 4000; round++) {
        memcpy(damaged, bytes, size);
        // Headers and tables rather than code: the first bytes, or the last, where the section
        // headers are.
        size_t changes = 1 + draw(8), region = size < 4096 ? size : 4096;
        for (size_t i = 0; i < changes; i++) {
            size_t at = draw(region);
            if (draw(2))
                at = size - 1 - at;
            damaged[at] = draw(2) ? extremes[draw(sizeof extremes)] : (unsigned char)draw(256);
        }
        write_damaged(damaged, size);
        read_damaged();
    }
    free(bytes);
    free(damaged);
}
END_TEST

START_TEST(what_is_no_object_is_said_to_be_none)
{
    struct object *object;
    ck_assert_int_eq(object_open("/dev/null", &object), -ENOEXEC);
    ck_assert_int_eq(object_open("/", &object), -ENOEXEC);
    ck_assert_int_eq(object_open("/nonexistent", &object), -ENOENT);
    write_damaged((const unsigned char *)"#!/bin/sh\n", 10);
    ck_assert_int_eq(object_open(damaged_path, &object), -ENOEXEC);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    sample = argv[1];
    return run_tests("broken objects", 240,
                     (const TTest *[]){
                         cut_off_at_any_place,
                         changed_in_many_ways,
                         what_is_no_object_is_said_to_be_none,
                         NULL,
                     });
}
