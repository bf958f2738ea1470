/* What the results were measured on, for the JSON's "context". */
#include "bm_private.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* google-benchmark's form, RFC 3339 with the offset from UTC. */
static void read_date(char *out, size_t size)
{
    time_t now = time(NULL);
    struct tm local;
    char zone[8];

    localtime_r(&now, &local);
    size_t length = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &local);
    if (strftime(zone, sizeof zone, "%z", &local) == 5)
        snprintf(out + length, size - length, "%.3s:%.2s", zone, zone + 3);
}

static int read_mhz(void)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    double mhz = 0;

    if (!file)
        return 0;
    while (mhz == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "cpu MHz", 7) == 0 && strchr(line, ':'))
            mhz = strtod(strchr(line, ':') + 1, NULL);
    fclose(file);
    return (int)(mhz + 0.5);
}

static bool read_scaling(void)
{
    FILE *file = fopen(
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");
    char line[64] = "";

    if (!file)
        return false;
    bool known = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    return known && strncmp(line, "performance", 11) != 0;
}

/* Which object answers for malloc: how a reader knows the preload took. */
static void read_malloc_provider(char *out, size_t size)
{
    void *symbol = dlsym(RTLD_DEFAULT, "malloc");
    Dl_info info;

    if (!symbol || dladdr(symbol, &info) == 0 || !info.dli_fname)
        snprintf(out, size, "unknown");
    else
        snprintf(out, size, "%s", info.dli_fname);
}

void bm_read_context(bm_context *context)
{
    memset(context, 0, sizeof *context);
    read_date(context->date, sizeof context->date);
    if (gethostname(context->host, sizeof context->host - 1) != 0)
        context->host[0] = '\0';
    ssize_t length = readlink("/proc/self/exe", context->executable,
                              sizeof context->executable - 1);
    context->executable[length > 0 ? length : 0] = '\0';
    read_malloc_provider(context->malloc_from, sizeof context->malloc_from);
    context->cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    context->mhz = read_mhz();
    context->scaling = read_scaling();
    if (getloadavg(context->load, 3) < 0)
        memset(context->load, 0, sizeof context->load);
}
