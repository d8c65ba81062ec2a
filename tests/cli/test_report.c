// SPDX-License-Identifier: ISC
//
// The verdict of `smolscale compare` on measurements that are made up: what it claims, and what it
// does not.

#include "report.h"
#include "suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 12 };

static struct measurement native[MOST], ours[MOST];
static double jobs[MOST];
static char *words[] = {"program", NULL};
static struct comparison comparison = {words, 7, native, ours, jobs};

// Rounds whose native times scatter by a tenth, and whose other times are that by a factor, which
// scatters too.
static void make_rounds(size_t rounds, double cpu_factor, double wall_factor, double scatter)
{
    memset(native, 0, sizeof native);
    memset(ours, 0, sizeof ours);
    comparison.rounds = rounds;
    for (size_t i = 0; i < rounds; i++) {
        double noise = 1 + (double)(i * 7 % 5) / 50;
        double sway = exp(scatter * ((double)(i * 5 % 7) / 3 - 1));
        native[i].wall = native[i].cpu = noise;
        native[i].switches = native[i].threads = native[i].memory = 1;
        ours[i] = native[i];
        ours[i].cpu *= cpu_factor * sway;
        ours[i].wall *= wall_factor * sway;
        jobs[i] = 10;
    }
}

// What the table says, or the verdict alone: its last line. Holds until the next call.
static const char *table(void)
{
    static char *text;
    size_t size;
    free(text);
    FILE *real = stdout;
    stdout = open_memstream(&text, &size);
    report_table(&comparison);
    fclose(stdout);
    stdout = real;
    return text;
}

static const char *verdict(void)
{
    const char *text = strstr(table(), "verdict: ");
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_eq(strchr(text, '\n') + 1, text + strlen(text)); // one line, and the last
    return text + strlen("verdict: ");
}

static void assert_says(const char *needle)
{
    const char *text = verdict();
    ck_assert_msg(strstr(text, needle), "'%s' is not in: %s", needle, text);
}

START_TEST(clear_difference_is_named_with_its_interval)
{
    make_rounds(7, 0.5, 1.5, 0.05);
    assert_says("50 % less CPU time (4");
    assert_says("50 % more wall time (4");
    assert_says("with 95 % confidence; output and exit status are the same");
}
END_TEST

START_TEST(no_difference_is_said_to_be_none)
{
    make_rounds(7, 1, 1, 0.01);
    assert_says("CPU time as natively (within 0.");
    assert_says("wall time as natively (within 0.");
}
END_TEST

START_TEST(scatter_that_hides_a_difference_is_owned)
{
    make_rounds(7, 0.95, 1.05, 0.4);
    assert_says("no difference in CPU time to be told (");
    assert_says("no difference in wall time to be told (");
    assert_says(" % less to ");
}
END_TEST

START_TEST(few_rounds_claim_nothing)
{
    make_rounds(5, 0.1, 0.1, 0.01);
    assert_says(
        "90 % less CPU time, 90 % less wall time, but the rounds are too few to be sure (-n 6 or more); ");
    ck_assert_ptr_null(strstr(verdict(), "confidence"));
    make_rounds(6, 0.1, 0.1, 0.01);
    assert_says("90 % less CPU time (");
}
END_TEST

START_TEST(difference_of_results_comes_before_all_times)
{
    make_rounds(7, 0.1, 0.1, 0.01);
    ours[3].out.hash[31] ^= 1;
    ck_assert(!report_same(&comparison));
    assert_says("NOT THE SAME on smolscale: stdout in 1 of 7 rounds\n");
    ours[5].err.size = 1;
    ours[5].status = 3 << 8;
    assert_says("NOT THE SAME on smolscale: stdout in 1 of 7 rounds, stderr in 1 of 7 rounds, exit "
                "status in 1 of 7 rounds\n");
    ck_assert_ptr_nonnull(strstr(table(), "natively exit status 0, on smolscale exit status 3"));
    // A run that was ended is not one that ended so by itself.
    make_rounds(7, 1, 1, 0);
    ours[0].timed_out = true;
    assert_says("NOT THE SAME on smolscale: exit status in 1 of 7 rounds\n");
}
END_TEST

START_TEST(what_varies_natively_is_not_held_against_smolscale)
{
    make_rounds(7, 0.5, 0.5, 0.01);
    native[2].out.size = 5;
    ck_assert(report_same(&comparison));
    assert_says("what is the same in every native run is the same on smolscale");
    ck_assert_ptr_nonnull(strstr(table(), "stdout          varies from run to run natively"));
}
END_TEST

START_TEST(program_that_used_no_pool_gets_no_praise)
{
    make_rounds(7, 0.5, 0.5, 0.01);
    for (size_t i = 0; i < MOST; i++)
        jobs[i] = i % 2 ? 0 : -1;
    assert_says("no job is known to have run on smolscale");
    ck_assert_ptr_null(strstr(verdict(), "less"));
}
END_TEST

START_TEST(time_too_short_to_measure_has_no_factor)
{
    make_rounds(7, 0.5, 0.5, 0.01);
    ours[0].cpu = 0;
    assert_says("CPU time too short to be compared, 50 % less wall time (");
}
END_TEST

int main(void)
{
    return run_tests("report", 300,
                     (const TTest *[]){
                         clear_difference_is_named_with_its_interval,
                         no_difference_is_said_to_be_none,
                         scatter_that_hides_a_difference_is_owned,
                         few_rounds_claim_nothing,
                         difference_of_results_comes_before_all_times,
                         what_varies_natively_is_not_held_against_smolscale,
                         program_that_used_no_pool_gets_no_praise,
                         time_too_short_to_measure_has_no_factor,
                         NULL,
                     });
}
