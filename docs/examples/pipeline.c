// SPDX-License-Identifier: ISC
//
// The most frequent words of a file, by tasks that hand on what they have done:
//
//     read  -- lines -->  split, split, split  -- words -->  count
//
// The channels are bounded, so nobody runs far ahead of the others, and little memory is in use
// however long the file is. Whoever has nothing more to send closes its channel; who receives is
// told by -EPIPE when that is empty.
//
//     pipeline [FILE]         reads standard input if no file is given
//
// Build: cc pipeline.c $(pkg-config --cflags --libs smolscale)
//
// With the LICENSE of this project it prints:
//
//           8 or
//           6 the
//           5 of

#include <ctype.h>
#include <errno.h>
#include <search.h>
#include <smolscale.h>
#include <smolscale_async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPLITTERS 3
#define SHOWN     3

struct word {
    char text[28];
    unsigned times;
};

// ---- read: lines, as strings that the receiver frees

struct read {
    SMOLSCALE_FRAME;
    FILE *file;
    smolscale_channel *lines;
    char *line;
    int result;
};

// May block, so it is not called by a task but for one.
static int read_line(void *arg)
{
    struct read *f = arg;
    size_t room = 0;
    f->line = NULL;
    if (getline(&f->line, &room, f->file) >= 0)
        return 1;
    free(f->line);
    return ferror(f->file) ? -EIO : 0;
}

SMOLSCALE_ASYNC(read, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->result, smolscale_unblock(cx, read_line, f));
        if (f->result <= 0)
            break;
        SMOLSCALE_AWAIT(f->result, smolscale_send(cx, f->lines, &f->line));
    }
    smolscale_close(f->lines);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

// ---- split: words, as they are

struct split {
    SMOLSCALE_FRAME;
    smolscale_channel *lines, *words;
    char *line, *at;
    struct word word;
    int result;
};

// The next word from `*at` on, in small letters; false: there is none.
static bool next_word(char **at, struct word *word)
{
    size_t length = 0;
    while (**at && !isalpha((unsigned char)**at))
        ++*at;
    for (; isalpha((unsigned char)**at); ++*at)
        if (length < sizeof word->text - 1)
            word->text[length++] = (char)tolower((unsigned char)**at);
    memset(word->text + length, 0, sizeof word->text - length);
    word->times = 1;
    return length > 0;
}

SMOLSCALE_ASYNC(split, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->lines, &f->line));
        if (f->result < 0)
            SMOLSCALE_RETURN(0);
        for (f->at = f->line; next_word(&f->at, &f->word);)
            SMOLSCALE_AWAIT(f->result, smolscale_send(cx, f->words, &f->word));
        free(f->line);
    }
    SMOLSCALE_END;
}

// ---- count

struct count {
    SMOLSCALE_FRAME;
    smolscale_channel *words;
    struct word word;
    struct word *table;
    size_t length, room;
    int result;
};

static int same_word(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static int compare_times(const void *a, const void *b)
{
    unsigned x = ((const struct word *)a)->times, y = ((const struct word *)b)->times;
    return x != y ? (x < y) - (x > y) : same_word(a, b);
}

// The word is in the table already, or comes to its end.
static int add(struct count *f)
{
    if (f->length == f->room) {
        size_t room = f->room ? 2 * f->room : 64;
        struct word *table = realloc(f->table, room * sizeof *table);
        if (!table)
            return -ENOMEM;
        f->table = table;
        f->room = room;
    }
    size_t before = f->length;
    struct word *word = lsearch(&f->word, f->table, &f->length, sizeof f->word, same_word);
    word->times += f->length == before;
    return 0;
}

SMOLSCALE_ASYNC(count, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->words, &f->word));
        if (f->result < 0)
            break;
        f->result = add(f);
        if (f->result < 0)
            break;
    }
    smolscale_close(f->words); // in case it gives up: nobody waits for it then
    if (f->result != -EPIPE)
        SMOLSCALE_RETURN(f->result);
    qsort(f->table, f->length, sizeof *f->table, compare_times);
    for (size_t i = 0; i < f->length && i < SHOWN; i++)
        printf("%7u %s\n", f->table[i].times, f->table[i].text);
    free(f->table);
    SMOLSCALE_END;
}

// ---- the whole

struct pipeline {
    SMOLSCALE_FRAME;
    FILE *file;
    smolscale_channel *lines, *words;
    smolscale_nursery *splitters;
    smolscale_task *reader, *counter;
    int read, counted, result;
};

SMOLSCALE_ASYNC(pipeline, f)
{
    SMOLSCALE_BEGIN(f);
    if (smolscale_channel_new(&f->lines, sizeof(char *), 16) < 0 ||
        smolscale_channel_new(&f->words, sizeof(struct word), 64) < 0 ||
        smolscale_nursery_new(&f->splitters) < 0)
        SMOLSCALE_RETURN(-ENOMEM);
    SMOLSCALE_SPAWN(&f->reader, read, .file = f->file, .lines = f->lines);
    for (int i = 0; i < SPLITTERS; i++)
        SMOLSCALE_NURSERY_SPAWN(f->splitters, split, .lines = f->lines, .words = f->words);
    SMOLSCALE_SPAWN(&f->counter, count, .words = f->words);

    SMOLSCALE_AWAIT(f->read, smolscale_join(cx, f->reader));
    SMOLSCALE_AWAIT(f->result, smolscale_nursery_wait(cx, f->splitters));
    smolscale_close(f->words); // the last of the splitters has gone
    SMOLSCALE_AWAIT(f->counted, smolscale_join(cx, f->counter));

    smolscale_release(f->reader);
    smolscale_release(f->counter);
    smolscale_nursery_free(f->splitters);
    smolscale_channel_unref(f->lines);
    smolscale_channel_unref(f->words);
    SMOLSCALE_RETURN(f->read < 0 ? f->read : f->counted);
    SMOLSCALE_END;
}

int main(int argc, char **argv)
{
    FILE *file = argc > 1 ? fopen(argv[1], "r") : stdin;
    if (!file) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    int result = SMOLSCALE_BLOCK_ON(pipeline, .file = file);
    if (result < 0)
        fprintf(stderr, "pipeline: %s\n", strerror(-result));
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
