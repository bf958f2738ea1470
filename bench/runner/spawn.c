/*
 * One run, measured from outside.
 *
 * vfork, and nothing between it and execve: the child counts every fault it
 * takes, also those before exec.  posix_spawn maps a fresh stack for it (one
 * fault or two, charged to the program), fork copies page tables (dozens).
 *
 * The kernel also carries the peak RSS of the memory a process leaves at exec
 * over to the new program's ru_maxrss (exec_mmap), which after vfork is this
 * program's own.  So it is static and small, far below what it starts.
 */
#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t timeval_ns(struct timeval value)
{
    return (int64_t)value.tv_sec * 1000000000 + value.tv_usec * 1000;
}

/* Shared with the vforked child, which leaves its errno here. */
static volatile int exec_error;

static pid_t start(char **command, char **environment)
{
    exec_error = 0;
    pid_t child = vfork();
    if (child == 0) {
        execve(command[0], command, environment);
        exec_error = errno;
        _exit(127);
    }
    return child;
}

static volatile pid_t running;

static void kill_running(int signal_number)
{
    (void)signal_number;
    kill(running, SIGKILL);
}

/* The alarm is this process's: neither it nor its handler outlives exec. */
static void set_alarm(int seconds)
{
    static const struct sigaction action = {.sa_handler = kill_running};

    sigaction(SIGALRM, &action, NULL);
    alarm((unsigned)seconds);
}

static int wait_for(pid_t child, int *status, struct rusage *usage)
{
    while (wait4(child, status, 0, usage) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

int run_once(const plan *what, int variant_index, sample *out)
{
    struct rusage usage;
    set_alarm(what->timeout);
    int64_t began = now_ns();
    pid_t child = start(what->command,
                        what->variants[variant_index].environment);

    if (child < 0)
        return errno;
    running = child;
    int error = wait_for(child, &out->status, &usage);
    out->wall_ns = now_ns() - began;
    alarm(0);
    if (error || exec_error)
        return error ? error : exec_error;
    out->variant = variant_index;
    out->user_ns = timeval_ns(usage.ru_utime);
    out->system_ns = timeval_ns(usage.ru_stime);
    out->minor_faults = usage.ru_minflt;
    out->major_faults = usage.ru_majflt;
    out->peak_rss_kb = usage.ru_maxrss;
    out->voluntary_switches = usage.ru_nvcsw;
    return 0;
}
