#include "runtime/machine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void read_cpu_name(char *name, size_t size)
{
    snprintf(name, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value)
            continue;
        value += strspn(value, ": ");
        snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    fclose(file);
}

static int read_numbers(const char *path, const char *format, long long *first, long long *second)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int found = fscanf(file, format, first, second);
    fclose(file);
    return found;
}

/* Version 2 of control groups, then version 1. "max" is no number: no limit. */
static int read_quota(void)
{
    long long quota = 0, period = 0;
    if (read_numbers("/sys/fs/cgroup/cpu.max", "%lld %lld", &quota, &period) != 2) {
        long long ignored;
        if (read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "%lld", &quota, &ignored) != 1 ||
            read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "%lld", &period, &ignored) != 1)
            return 0;
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

void machine_describe(struct machine *machine)
{
    *machine = (struct machine){ .processors = 1 };
    read_cpu_name(machine->cpu_name, sizeof machine->cpu_name);
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        machine->processors = CPU_COUNT(&allowed);
    machine->quota = read_quota();
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    if (pages > 0 && page > 0)
        machine->memory = (uint64_t)pages * (uint64_t)page;
#if defined(__x86_64__)
    __builtin_cpu_init();
    machine->avx2   = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    machine->avx512 = machine->avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    machine->avx512_vnni = machine->avx512 && __builtin_cpu_supports("avx512vnni");
    machine->avx512_bf16 = machine->avx512_vnni && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
    machine->neon = true;
#endif
}

int machine_threads(const struct machine *machine)
{
    int threads = machine->processors;
    if (machine->quota && machine->quota < threads)
        threads = machine->quota;
    return threads > 0 ? threads : 1;
}
