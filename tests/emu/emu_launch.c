/* Kernels by address, and launches: workers take clusters of blocks in an order that the settings choose. */
#include "emu_check.h"
#include "emu_state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__thread struct emu_worker *emu_worker;
__thread struct emu_thread *emu_current;
struct emu_counters         emu_totals;

enum { KERNELS_MOST = 4096, SHARED_DEFAULT = 48 * 1024 };
static pthread_mutex_t kernels_lock = PTHREAD_MUTEX_INITIALIZER, totals_lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_kernel *kernels[KERNELS_MOST];
static int                kernel_count;
static struct emu_worker *workers[256];
static struct emu_running *running_now;

/* Held through a launch, and while memory is registered. The same thread may take it again. */
static pthread_mutex_t big;
static pthread_once_t  big_once = PTHREAD_ONCE_INIT;
static void big_make(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&big, &attributes);
    pthread_mutexattr_destroy(&attributes);
}
void emu_lock(void)
{
    pthread_once(&big_once, big_make);
    pthread_mutex_lock(&big);
}
void emu_unlock(void) { pthread_mutex_unlock(&big); }

/* ---- kernels ---- */

static struct emu_kernel *kernel_of(const void *function)
{
    for (int i = 0; i < kernel_count; i++)
        if (kernels[i]->function == function)
            return kernels[i];
    return NULL;
}

const void *emu_kernel_add(const void *function, const char *name, emu_invoke *invoke, const size_t *arg_bytes, int args,
                           int architecture)
{
    pthread_mutex_lock(&kernels_lock);
    if (!kernel_of(function)) {
        struct emu_kernel *k = kernel_count < KERNELS_MOST ? malloc(sizeof *k) : NULL;
        if (!k) {
            fprintf(stderr, "[emu] no room for kernel %s\n", name);
            abort();
        }
        *k = (struct emu_kernel){ function, name, invoke, arg_bytes, args, architecture, SHARED_DEFAULT };
        kernels[kernel_count++] = k;
    }
    pthread_mutex_unlock(&kernels_lock);
    return function;
}

const struct emu_kernel *emu_kernel_find(const void *function)
{
    pthread_mutex_lock(&kernels_lock);
    const struct emu_kernel *k = kernel_of(function);
    pthread_mutex_unlock(&kernels_lock);
    return k;
}

enum emu_status emu_kernel_allow(const void *function, int shared_bytes)
{
    enum emu_status status = EMU_OK;
    pthread_mutex_lock(&kernels_lock);
    struct emu_kernel *k = kernel_of(function);
    if (!k)
        status = EMU_UNKNOWN_KERNEL;
    else if (shared_bytes < 0 || shared_bytes > EMU_SHARED_MOST)
        status = EMU_BAD_VALUE;
    else
        k->shared_limit = shared_bytes;
    pthread_mutex_unlock(&kernels_lock);
    return status;
}

/* ---- blocks ---- */

static uint64_t volume(dim3 d) { return (uint64_t)d.x * d.y * d.z; }

static void thread_reset(struct emu_fiber *f, struct emu_block *block, int linear, const struct emu_running *running)
{
    const dim3 size = running->launch->block, grid = running->launch->grid;
    unsigned   i    = (unsigned)linear;
    f->block        = block;
    f->thread       = (struct emu_thread){ { i % size.x, i / size.x % size.y, i / size.x / size.y },
                                     { (unsigned)(block->number % grid.x), (unsigned)(block->number / grid.x % grid.y),
                                       (unsigned)(block->number / grid.x / grid.y) },
                                     size, grid, linear, linear % 32, linear / 32 };
    f->inside       = 0;
    f->copies.count = f->copy_groups.count = f->stores.count = f->store_groups.count = 0;
    f->wait_address = f->wait_parity = 0;
    f->cluster_arrived = false;
    emu_set_ready(f);
}

static void block_reset(struct emu_worker *w, int rank, uint64_t number, const struct emu_running *running)
{
    struct emu_block *b = &w->blocks[rank];
    b->worker           = w;
    b->rank             = rank;
    b->number           = number;
    b->threads = b->live = (int)volume(running->launch->block);
    b->fibers            = w->fibers + rank * b->threads;
    b->fenced            = false;
    for (int i = 0; i < (b->threads + 31) / 32; i++) {
        int lanes         = b->threads - i * 32;
        b->warps[i].live  = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        b->warps[i].waiting = 0;
    }
    int launch_registers = EMU_REGISTER_FILE / ((b->threads + 31) / 32 * 32) / 8 * 8;
    for (int i = 0; i < EMU_BLOCK_WARPS; i++)
        b->warps[i].registers = launch_registers < 255 ? launch_registers : 255,
        b->warps[i].registers_wanted = b->warps[i].registers_changes = 0;
    b->registers_free = 0;
    for (int i = 0; i < 16; i++) {
        struct emu_named_barrier *n = &b->barriers[i];
        n->arrived = n->expected = n->votes = 0;
        memset(n->waiting, 0, sizeof n->waiting);
    }
    for (int i = 0; i < EMU_WARPGROUPS; i++)
        emu_warpgroup_reset(&b->warpgroups[i]);
    emu_block_shared_reset(b, running->launch->shared_bytes);
    for (int i = 0; i < b->threads; i++)
        thread_reset(b->fibers[i], b, i, running);
}

/* Of the rank-th block of a cluster, the number in the grid. */
static uint64_t block_number(const struct emu_running *r, uint64_t cluster, int rank)
{
    dim3     grid = r->launch->grid, c = r->cluster;
    uint64_t across = grid.x / c.x, down = grid.y / c.y, in = (uint64_t)rank;
    uint64_t x = cluster % across * c.x + in % c.x, y = cluster / across % down * c.y + in / c.x % c.y;
    uint64_t z = cluster / across / down * c.z + in / c.x / c.y;
    return (z * grid.y + y) * grid.x + x;
}

static void cluster_reset(struct emu_worker *w, uint64_t cluster)
{
    const struct emu_running *r = w->running;
    w->block_count              = r->blocks_each;
    w->threads = w->live        = (int)volume(r->launch->block) * r->blocks_each;
    w->ready_words              = (w->threads + 63) / 64;
    w->random                   = emu_mix(emu_mix(emu_settings()->seed * 0x10001 + r->number) ^ cluster) | 1;
    w->transfers.count          = 0;
    w->happened                 = 0;
    w->inside                   = 0;
    w->cluster_arrived          = 0;
    w->cluster_met              = false;
    memset(w->ready, 0, sizeof w->ready);
    for (int i = 0; i < r->blocks_each; i++)
        block_reset(w, i, block_number(r, cluster, i), r);
    emu_start_priorities(w);
    w->counters.blocks += (uint64_t)r->blocks_each;
    w->counters.threads += (uint64_t)w->threads;
    if (w->shadow)
        emu_check_cluster_start(w);
}

/* ---- workers ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a          = b;
        b          = r;
    }
    return a;
}

/* The i-th cluster to run: in order, backwards, or by an affine permutation. */
static uint64_t nth(const struct emu_running *r, uint64_t i, const struct emu_settings *s)
{
    uint64_t n = r->clusters;
    if (s->order == EMU_REVERSE)
        return n - 1 - i;
    if (s->order < EMU_RANDOM)
        return i;
    uint64_t step = (emu_mix(s->seed) % n) | 1;
    while (gcd(step, n) != 1)
        step += 2;
    return (step % n * i + emu_mix(s->seed + 7)) % n;  /* n is below 2^32: no overflow that matters */
}

void emu_launch_failed(void)
{
    if (running_now)
        __atomic_store_n(&running_now->failed, true, __ATOMIC_RELAXED);
}

static void totals_add(struct emu_counters *from)
{
    pthread_mutex_lock(&totals_lock);
    const uint64_t *a = (const uint64_t *)(const void *)from;
    uint64_t       *t = (uint64_t *)(void *)&emu_totals;
    for (size_t i = 0; i < sizeof *from / sizeof *a; i++)
        t[i] += a[i];
    pthread_mutex_unlock(&totals_lock);
    memset(from, 0, sizeof *from);
}

static void *work(void *context)
{
    struct emu_worker         *w = context;
    const struct emu_settings *s = emu_settings();
    emu_worker                   = w;
    w->order                     = s->order;
    w->async                     = s->async;
    w->stopped                   = false;
    emu_fiber_prepare(w, (int)volume(w->running->launch->block) * w->running->blocks_each);
    emu_fiber_main_stack(w);
    emu_signals();
    emu_check_worker(w, s->check);
    while (!w->stopped && !__atomic_load_n(&w->running->failed, __ATOMIC_RELAXED)) {
        uint64_t i = __atomic_fetch_add(&w->running->next, 1, __ATOMIC_RELAXED);
        if (i >= w->running->clusters)
            break;
        cluster_reset(w, nth(w->running, i, s));
        emu_fiber_switch(&w->main, w->fibers[emu_choose(w, -1)]);
        for (int b = 0; b < w->block_count && !w->stopped; b++)
            emu_block_shared_check(&w->blocks[b]);
        if (w->shadow && !w->stopped)
            emu_access_cluster_end(w);
    }
    totals_add(&w->counters);
    emu_worker = NULL;
    return NULL;
}

static struct emu_worker *worker_at(int i)
{
    if (!workers[i] && !(workers[i] = calloc(1, sizeof *workers[i]))) {
        fprintf(stderr, "[emu] no memory for a worker\n");
        abort();
    }
    return workers[i];
}

static enum emu_status refuse(const struct emu_launch *launch, const char *name, enum emu_status status, const char *why)
{
    if (!emu_settings()->quiet)
        fprintf(stderr,
                "[emu] launch of %s refused: %s (grid %u,%u,%u, block %u,%u,%u, cluster %u,%u,%u, %zu bytes shared)\n", name,
                why, launch->grid.x, launch->grid.y, launch->grid.z, launch->block.x, launch->block.y, launch->block.z,
                launch->cluster.x, launch->cluster.y, launch->cluster.z, launch->shared_bytes);
    return status;
}

static enum emu_status check_launch(const struct emu_launch *l, const struct emu_kernel *k, dim3 cluster)
{
    uint64_t threads = volume(l->block), blocks = volume(l->grid), together = volume(cluster);
    if (!k)
        return refuse(l, "a kernel never registered", EMU_UNKNOWN_KERNEL, "no KERNEL_HANDLE was made of it");
    if (!threads || threads > EMU_BLOCK_THREADS || l->block.z > 64)
        return refuse(l, k->name, EMU_BAD_CONFIGURATION, "a block has 1 to 1024 threads, 64 along z");
    if (!blocks || l->grid.y > 65535 || l->grid.z > 65535 || l->grid.x > 0x7fffffff || blocks >> 32)
        return refuse(l, k->name, EMU_BAD_CONFIGURATION, "a grid has 1 to 2^31 - 1 blocks along x, 65535 along y and z");
    if (together > 8 || l->grid.x % cluster.x || l->grid.y % cluster.y || l->grid.z % cluster.z)
        return refuse(l, k->name, EMU_BAD_CONFIGURATION, "a cluster has up to 8 blocks, and the grid is a multiple of it");
    if (l->shared_bytes > (size_t)k->shared_limit)
        return refuse(l, k->name, EMU_BAD_VALUE, "more dynamic shared memory than the kernel was allowed");
    return EMU_OK;
}

static void run(struct emu_running *r)
{
    int       count = emu_settings()->workers;
    pthread_t threads[256];
    bool      started[256] = { false };
    if ((uint64_t)count > r->clusters)
        count = (int)r->clusters;
    if (count > 256)
        count = 256;
    for (int i = 0; i < count; i++)
        worker_at(i)->running = r;
    for (int i = 1; i < count; i++)
        started[i] = !pthread_create(&threads[i], NULL, work, workers[i]);
    work(workers[0]);
    for (int i = 1; i < count; i++)
        if (started[i])
            pthread_join(threads[i], NULL);
}

enum emu_status emu_launch(const struct emu_launch *launch)
{
    static uint64_t number;
    const struct emu_kernel *kernel  = emu_kernel_find(launch->kernel);
    dim3                     cluster = launch->cluster;
    cluster.x += !cluster.x;
    cluster.y += !cluster.y;
    cluster.z += !cluster.z;
    enum emu_status status = check_launch(launch, kernel, cluster);
    if (status)
        return status;
    struct emu_running r = { .launch = launch, .kernel = kernel, .blocks_each = (int)volume(cluster), .cluster = cluster };
    r.clusters           = volume(launch->grid) / (uint64_t)r.blocks_each;
    emu_lock();
    r.number    = ++number;
    running_now = &r;
    emu_report_clear();
    emu_check_launch(&r);
    run(&r);
    emu_guards_check();
    emu_totals.launches++;
    running_now = NULL;
    emu_unlock();
    return r.failed ? EMU_FAULT : EMU_OK;
}

struct emu_counters emu_counters(void) { return emu_totals; }
void emu_counters_reset(void) { memset(&emu_totals, 0, sizeof emu_totals); }
