// SPDX-License-Identifier: ISC

#include "report.h"

#include "cli.h"
#include "statistics.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

// ---- agreement ----

enum agreement {
    SAME,
    DIFFERS, // natively always the same, on smolscale not always that
    VARIES,  // natively not always the same: nothing can be said
};

enum aspect { STDOUT, STDERR, EXIT, ASPECTS };

static const char *const aspect_names[ASPECTS] = {"stdout", "stderr", "exit"};
static const char *const agreement_names[] = {
    [SAME] = "same", [DIFFERS] = "differs", [VARIES] = "varies"};

static bool equal_output(const struct output *one, const struct output *other)
{
    return one->size == other->size && memcmp(one->hash, other->hash, HASH_SIZE) == 0;
}

static bool equal(enum aspect aspect, const struct measurement *one,
                  const struct measurement *other)
{
    switch (aspect) {
    case STDOUT:
        return equal_output(&one->out, &other->out);
    case STDERR:
        return equal_output(&one->err, &other->err);
    default:
        return one->timed_out == other->timed_out && one->status == other->status;
    }
}

static enum agreement agreement(const struct comparison *c, enum aspect aspect)
{
    for (size_t i = 1; i < c->rounds; i++) {
        if (!equal(aspect, &c->native[0], &c->native[i]))
            return VARIES;
    }
    for (size_t i = 0; i < c->rounds; i++) {
        if (!equal(aspect, &c->native[0], &c->ours[i]))
            return DIFFERS;
    }
    return SAME;
}

// In how many rounds it is not as in the first native run.
static size_t differing(const struct comparison *c, enum aspect aspect)
{
    size_t count = 0;
    for (size_t i = 0; i < c->rounds; i++)
        count += !equal(aspect, &c->native[0], &c->ours[i]);
    return count;
}

bool report_same(const struct comparison *c)
{
    for (enum aspect aspect = 0; aspect < ASPECTS; aspect++) {
        if (agreement(c, aspect) == DIFFERS)
            return false;
    }
    return true;
}

// ---- quantities ----

enum quantity { WALL, CPU, SWITCHES, THREADS, MEMORY, QUANTITIES };

static double value_of(enum quantity quantity, const struct measurement *m)
{
    switch (quantity) {
    case WALL:
        return m->wall;
    case CPU:
        return m->cpu;
    case SWITCHES:
        return m->switches;
    case THREADS:
        return m->threads;
    default:
        return m->memory;
    }
}

static char *format_seconds(double value)
{
    if (value >= 9.9995)
        return must_format("%.1f s", value);
    if (value >= 0.99995)
        return must_format("%.2f s", value);
    return must_format(value >= 0.0999995 ? "%.0f ms" : "%.1f ms", value * 1e3);
}

static char *format_bytes(double value)
{
    double mebibytes = value / (1 << 20);
    return must_format(mebibytes < 9.95 ? "%.1f MiB" : "%.0f MiB", mebibytes);
}

static char *format_count(double value)
{
    return must_format("%.0f", value);
}

static const struct {
    const char *key, *title;
    char *(*format)(double value);
} quantities[QUANTITIES] = {
    [WALL] = {"wall", "wall time", format_seconds},
    [CPU] = {"cpu", "CPU time", format_seconds},
    [SWITCHES] = {"switches", "switches", format_count},
    [THREADS] = {"threads", "threads, peak", format_count},
    [MEMORY] = {"memory", "memory, peak", format_bytes},
};

// The values of all rounds; to be freed.
static double *values_of(const struct comparison *c, enum quantity quantity,
                         const struct measurement *side)
{
    double *values = must_grow(NULL, c->rounds, sizeof *values);
    for (size_t i = 0; i < c->rounds; i++)
        values[i] = value_of(quantity, &side[i]);
    return values;
}

static struct ratio ratio_for(const struct comparison *c, enum quantity quantity)
{
    double *native = values_of(c, quantity, c->native);
    double *ours = values_of(c, quantity, c->ours);
    struct ratio ratio = ratio_of(native, ours, c->rounds);
    free(native);
    free(ours);
    return ratio;
}

// ---- the verdict ----

// How a hundredth of a factor is said: "24 % less".
static char *percent(double factor)
{
    double difference = (factor - 1) * 100;
    double size = fabs(difference);
    return must_format(size < 9.95 ? "%.1f %% %s" : "%.0f %% %s", size,
                       difference < 0 ? "less" : "more");
}

// "20 to 28 % less", "4 % less to 2 % more".
static char *percent_interval(double low, double high)
{
    char *one = percent(low), *other = percent(high), *text;
    if (high <= 1)
        text = must_format("%.*s to %s", (int)strcspn(other, " "), other, one);
    else if (low >= 1)
        text = must_format("%.*s to %s", (int)strcspn(one, " "), one, other);
    else
        text = must_format("%s to %s", one, other);
    free(one);
    free(other);
    return text;
}

enum { SURE = 95 }; // per cent

// Too few rounds for an interval of that confidence.
static bool too_few(const struct ratio *ratio)
{
    return ratio->known && ratio->level * 100 < SURE;
}

// What the rounds say of one quantity, in half a sentence. A difference is claimed only where the
// interval leaves no difference out; where the rounds are too few, what is said is no claim.
static char *judge(const struct ratio *ratio, const char *what)
{
    if (!ratio->known)
        return must_format("%s too short to be compared", what);
    char *middle = percent(ratio->estimate), *interval = percent_interval(ratio->low, ratio->high);
    double most = fmax(fabs(ratio->low - 1), fabs(ratio->high - 1));
    char *text;
    if (too_few(ratio))
        text = must_format("%s %s", middle, what);
    else if (most <= 0.05)
        text = must_format("%s as natively (within %.1f %%)", what, fmax(most * 100, 0.1));
    else if (ratio->low > 1 || ratio->high < 1)
        text = must_format("%s %s (%s)", middle, what, interval);
    else
        text = must_format("no difference in %s to be told (%s)", what, interval);
    free(middle);
    free(interval);
    return text;
}

// How sure that is.
static char *confidence(const struct ratio *cpu, const struct ratio *wall)
{
    if (too_few(cpu) || too_few(wall))
        return must_copy(", but the rounds are too few to be sure (-n 6 or more)");
    if (!cpu->known && !wall->known)
        return must_copy("");
    return must_format(", with %.0f %% confidence", 100 * (cpu->known ? cpu->level : wall->level));
}

static bool any_job(const struct comparison *c)
{
    for (size_t i = 0; i < c->rounds; i++) {
        if (c->jobs[i] > 0)
            return true;
    }
    return false;
}

static char *describe_status(const struct measurement *m)
{
    if (m->timed_out)
        return must_copy("no end in time");
    if (WIFSIGNALED(m->status))
        return must_format("signal %d (%s)", WTERMSIG(m->status), strsignal(WTERMSIG(m->status)));
    return must_format("exit status %d", WEXITSTATUS(m->status));
}

// What is not as natively: "stdout in 3 of 7 rounds".
static char *list_differences(const struct comparison *c)
{
    char *list = must_copy("");
    for (enum aspect aspect = 0; aspect < ASPECTS; aspect++) {
        if (agreement(c, aspect) != DIFFERS)
            continue;
        char *longer = must_format("%s%s%s in %zu of %zu rounds", list, *list ? ", " : "",
                                   aspect == EXIT ? "exit status" : aspect_names[aspect],
                                   differing(c, aspect), c->rounds);
        free(list);
        list = longer;
    }
    return list;
}

static const char *agreement_in_words(const struct comparison *c)
{
    bool varies = false;
    for (enum aspect aspect = 0; aspect < ASPECTS; aspect++)
        varies = varies || agreement(c, aspect) == VARIES;
    return varies ? "what is the same in every native run is the same on smolscale"
                  : "output and exit status are the same";
}

static char *verdict(const struct comparison *c)
{
    if (!report_same(c)) {
        char *list = list_differences(c);
        char *text = must_format("NOT THE SAME on smolscale: %s", list);
        free(list);
        return text;
    }
    if (!any_job(c))
        return must_format(
            "no job is known to have run on smolscale, so this compares the program with itself; "
            "'smolscale doctor %s' may say why",
            c->command[0]);
    struct ratio cpu = ratio_for(c, CPU), wall = ratio_for(c, WALL);
    char *of_cpu = judge(&cpu, "CPU time"), *of_wall = judge(&wall, "wall time");
    char *sure = confidence(&cpu, &wall);
    char *text = must_format("%s, %s%s; %s", of_cpu, of_wall, sure, agreement_in_words(c));
    free(sure);
    free(of_cpu);
    free(of_wall);
    return text;
}

// ---- the table ----

// "84 ms (82-90)": the unit once, unless it changes.
static char *format_spread(enum quantity quantity, const double *values, size_t n)
{
    struct spread spread = spread_of(values, n);
    char *median = quantities[quantity].format(spread.median);
    char *low = quantities[quantity].format(spread.low);
    char *high = quantities[quantity].format(spread.high);
    char *unit = strchr(median, ' '), *low_unit = strchr(low, ' '), *high_unit = strchr(high, ' ');
    if (unit && low_unit && high_unit && strcmp(low_unit, unit) == 0 &&
        strcmp(high_unit, unit) == 0)
        *low_unit = *high_unit = '\0';
    char *text = must_format("%8s (%s-%s)", median, low, high);
    free(median);
    free(low);
    free(high);
    return text;
}

// The columns: what it is, natively, on smolscale, and by what factor it differs.
static const char row_format[] = "%-15s %-23s %-23s %s\n";

static void print_row(const struct comparison *c, enum quantity quantity)
{
    double *native = values_of(c, quantity, c->native);
    double *ours = values_of(c, quantity, c->ours);
    char *left = format_spread(quantity, native, c->rounds);
    char *right = format_spread(quantity, ours, c->rounds);
    struct ratio ratio = ratio_of(native, ours, c->rounds);
    char *factor = ratio.known
                       ? must_format("%.2f (%.2f-%.2f)", ratio.estimate, ratio.low, ratio.high)
                       : must_copy("");
    printf(row_format, quantities[quantity].title, left, right, factor);
    free(left);
    free(right);
    free(factor);
    free(native);
    free(ours);
}

static void print_jobs(const struct comparison *c)
{
    struct spread jobs = spread_of(c->jobs, c->rounds);
    char *text = jobs.median < 0 ? must_copy("none known") : must_format("%8.0f", jobs.median);
    printf(row_format, "jobs", "", text, "");
    free(text);
}

static void print_agreement(const struct comparison *c, enum aspect aspect)
{
    const char *title = aspect == EXIT ? "exit status" : aspect_names[aspect];
    size_t count = differing(c, aspect);
    switch (agreement(c, aspect)) {
    case SAME:
        if (aspect == EXIT) {
            char *status = describe_status(&c->native[0]);
            printf("%-15s same: %s\n", title, status);
            free(status);
        } else {
            const struct output *output = aspect == STDOUT ? &c->native[0].out : &c->native[0].err;
            printf("%-15s same: %llu bytes, SHA-256 ", title, (unsigned long long)output->size);
            for (int i = 0; i < 8; i++)
                printf("%02x", output->hash[i]);
            puts("...");
        }
        break;
    case DIFFERS:
        printf("%-15s DIFFERS in %zu of %zu rounds", title, count, c->rounds);
        for (size_t i = 0; aspect == EXIT && i < c->rounds; i++) {
            if (!equal(EXIT, &c->native[0], &c->ours[i])) {
                char *native = describe_status(&c->native[0]), *ours = describe_status(&c->ours[i]);
                printf(": natively %s, on smolscale %s", native, ours);
                free(native);
                free(ours);
                break;
            }
        }
        putchar('\n');
        break;
    case VARIES:
        printf("%-15s varies from run to run natively, so it is not compared\n", title);
        break;
    }
}

void report_table(const struct comparison *c)
{
    printf(row_format, "", "  native", "  smolscale", "factor");
    for (enum quantity quantity = 0; quantity < QUANTITIES; quantity++)
        print_row(c, quantity);
    print_jobs(c);
    for (enum aspect aspect = 0; aspect < ASPECTS; aspect++)
        print_agreement(c, aspect);
    char *text = verdict(c);
    printf("verdict: %s\n", text);
    free(text);
}

// ---- JSON ----

static void add_hash(cJSON *to, const char *name, const struct output *output)
{
    char text[2 * HASH_SIZE + 1];
    for (int i = 0; i < HASH_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", output->hash[i]);
    cJSON *object = cJSON_AddObjectToObject(to, name);
    cJSON_AddNumberToObject(object, "bytes", (double)output->size);
    cJSON_AddStringToObject(object, "sha256", text);
}

static void add_side(const struct comparison *c, cJSON *to, const char *name,
                     const struct measurement *side)
{
    cJSON *object = cJSON_AddObjectToObject(to, name);
    for (enum quantity quantity = 0; quantity < QUANTITIES; quantity++) {
        double *values = values_of(c, quantity, side);
        cJSON_AddItemToObject(object, quantities[quantity].key,
                              cJSON_CreateDoubleArray(values, (int)c->rounds));
        free(values);
    }
    add_hash(object, "stdout", &side[0].out); // of the first round
    add_hash(object, "stderr", &side[0].err);
    char *status = describe_status(&side[0]);
    cJSON_AddStringToObject(object, "end", status);
    free(status);
}

static void add_ratio(const struct comparison *c, cJSON *to, enum quantity quantity)
{
    struct ratio ratio = ratio_for(c, quantity);
    if (!ratio.known) {
        cJSON_AddNullToObject(to, quantities[quantity].key);
        return;
    }
    cJSON *object = cJSON_AddObjectToObject(to, quantities[quantity].key);
    cJSON_AddNumberToObject(object, "estimate", ratio.estimate);
    cJSON_AddNumberToObject(object, "low", ratio.low);
    cJSON_AddNumberToObject(object, "high", ratio.high);
    cJSON_AddNumberToObject(object, "level", ratio.level);
    cJSON_AddNumberToObject(object, "p", ratio.p);
}

void report_json(const struct comparison *c)
{
    cJSON *top = cJSON_CreateObject();
    cJSON *command = cJSON_AddArrayToObject(top, "command");
    for (char **word = c->command; *word; word++)
        cJSON_AddItemToArray(command, cJSON_CreateString(*word));
    cJSON_AddNumberToObject(top, "rounds", (double)c->rounds);
    add_side(c, top, "native", c->native);
    add_side(c, top, "smolscale", c->ours);
    cJSON_AddItemToObject(top, "jobs", cJSON_CreateDoubleArray(c->jobs, (int)c->rounds));
    cJSON *ratios = cJSON_AddObjectToObject(top, "ratio");
    for (enum quantity quantity = 0; quantity < QUANTITIES; quantity++)
        add_ratio(c, ratios, quantity);
    cJSON *agree = cJSON_AddObjectToObject(top, "agreement");
    for (enum aspect aspect = 0; aspect < ASPECTS; aspect++)
        cJSON_AddStringToObject(agree, aspect_names[aspect], agreement_names[agreement(c, aspect)]);
    cJSON_AddBoolToObject(top, "same", report_same(c));
    char *text = verdict(c);
    cJSON_AddStringToObject(top, "verdict", text);
    free(text);
    char *printed = cJSON_Print(top);
    if (!printed)
        fail(STATUS_FAILED, "no memory");
    puts(printed);
    cJSON_free(printed);
    cJSON_Delete(top);
}
