/*
 * Usage: bench-runner [--runs N] [--warmup N] [--timeout SECONDS]
 *                     [--stdin FILE] [--stdout FILE] [--stderr FILE]
 *                     NAME=[PRELOAD]... -- PROGRAM [ARGUMENT]...
 *
 * Runs PROGRAM (a path) N times for each NAME, in rounds which each start at
 * another NAME, and then prints one line per run.  PROGRAM's output is thrown
 * away or appended to the file; what it says on stderr comes with ours, or is
 * appended to a file of its own.  A line is:
 *   name round wall_ns user_ns system_ns minor_faults major_faults
 *   peak_rss_kb status voluntary_switches
 * A run past the timeout (60) is killed, and its status is 137.
 * The tables are made by the Python beside it.
 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sample samples[MAX_RUNS];

/* Our own stderr, when the program's goes elsewhere. */
static int complaints = STDERR_FILENO;

static int complain(const char *what, const char *reason)
{
    dprintf(complaints, "bench-runner: %s%s%s\n", what, reason ? ": " : "",
            reason ? reason : "");
    return 2;
}

static int open_to_append(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static int redirect_errors(const char *path)
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int file = open_to_append(path);

    if (saved < 0 || file < 0 || dup2(file, STDERR_FILENO) < 0)
        return complain(path, strerror(errno));
    complaints = saved;
    return 0;
}

/*
 * The child inherits 0, 1 and 2, so that nothing need be done between vfork and
 * exec.  The results go to a copy of the old stdout.
 */
static int redirect(const plan *what)
{
    const char *input = what->input ? what->input : "/dev/null";
    int results = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int in = open(input, O_RDONLY);
    int out = what->output ? open_to_append(what->output)
                           : open("/dev/null", O_WRONLY);

    if (results < 0 || in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0) {
        complain(input, strerror(errno));
        return -1;
    }
    close(in);
    close(out);
    if (what->errors && redirect_errors(what->errors))
        return -1;
    return results;
}

/* Every other round runs backwards, so that no one always follows another. */
static int run_round(const plan *what, int round, sample *out)
{
    int count = what->variant_count;

    for (int i = 0; i < count; i++) {
        int turn = round % 2 ? count - 1 - i : i;
        lseek(STDIN_FILENO, 0, SEEK_SET);
        int error = run_once(what, (round + turn) % count, &out[i]);
        if (error)
            return complain(what->command[0], strerror(error));
    }
    return 0;
}

/* As a shell would show it: the exit code, or 128 and the signal. */
static int exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void print_samples(const plan *what, int results)
{
    int count = what->variant_count;

    for (int i = 0; i < what->runs * count; i++) {
        const sample *s = &samples[i];
        dprintf(results, "%s\t%d\t%lld\t%lld\t%lld\t%ld\t%ld\t%ld\t%d\t%ld\n",
                what->variants[s->variant].name, i / count,
                (long long)s->wall_ns, (long long)s->user_ns,
                (long long)s->system_ns, s->minor_faults, s->major_faults,
                s->peak_rss_kb, exit_code(s->status), s->voluntary_switches);
    }
}

int main(int argc, char **argv, char **environment)
{
    plan what;
    const char *error = read_plan(&what, argc, argv, environment);
    int count = what.variant_count;

    if (error)
        return complain(error, NULL);
    int results = redirect(&what);
    if (results < 0)
        return 2;
    for (int i = 0; i < what.warmup; i++)
        if (run_round(&what, i, samples))
            return 2;
    for (int i = 0; i < what.runs; i++)
        if (run_round(&what, i, &samples[i * count]))
            return 2;
    print_samples(&what, results);
    return 0;
}
