/* The cache of graphs by itself: at most so many, at most so many bytes, least recently used first out, never one that is taken. */
#include "runtime/cuda_graphs.h"
#include "tests/emu/runtime/gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { PLANS = CUDA_GRAPHS_MOST + 8 };

static struct pool        *host_pool, *device_pool;
static struct cuda_context context;
static struct cuda_graphs  graphs;
static cudaStream_t        stream;
static void               *memory;

/* Plans and lanes are told apart by their addresses alone. */
static char names[PLANS];
static const struct plan *plan_at(int i) { return (const void *)&names[i]; }
static const struct lane *lane_at(int i) { return (const void *)&names[i]; }

static int begin(void **state)
{
    (void)state;
    bool absent;
    *emu_runtime_settings() = (struct emu_runtime_settings){ .driver = 13000, .architecture = 90, .processors = 4,
                                                             .memory = (size_t)1 << 30, .granularity = 64 << 10, .guard = true };
    return pool_open(&host_pool, 0, NULL) != STATUS_OK || pool_open(&device_pool, 0, NULL) != STATUS_OK ||
           cuda_context_open(&context, host_pool, device_pool, &absent, NULL) != STATUS_OK ||
           cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) || cudaMalloc(&memory, 256) ||
           (cuda_graphs_open(&graphs, device_pool), 0);
}

static int end(void **state)
{
    (void)state;
    struct pool_usage usage;
    cuda_graphs_close(&graphs);
    cudaStreamDestroy(stream);
    cudaFree(memory);
    cuda_context_close(&context);
    pool_usage(device_pool, &usage);
    pool_close(device_pool);
    pool_close(host_pool);
    gpu_check_nothing_left();
    return usage.in_use != 0;
}

static cudaGraph_t graph_of(int nodes)
{
    cudaGraph_t graph = NULL;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    for (int i = 0; i < nodes; i++)
        assert_int_equal(cudaMemsetAsync(memory, i, 256, stream), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    return graph;
}

/* Takes, and keeps a graph of so many nodes where there is none; the entry is still taken. */
static struct cuda_graph *use(int plan, int nodes, status expected)
{
    struct error       error = { 0 };
    struct cuda_graph *entry = cuda_graphs_take(&graphs, plan_at(plan), lane_at(0));
    assert_non_null(entry);
    if (!entry->executable) {
        cudaGraph_t graph = graph_of(nodes);
        assert_int_equal(cuda_graphs_keep(&graphs, entry, graph, &context, &error), expected);
        cudaGraphDestroy(graph);
    }
    return entry;
}

static bool is_kept(int plan)
{
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++)
        if (graphs.entries[i].plan == plan_at(plan) && graphs.entries[i].executable)
            return true;
    return false;
}

static struct accelerator_usage usage_now(void)
{
    struct accelerator_usage usage = { 0 };
    cuda_graphs_usage(&graphs, &usage);
    return usage;
}

static void oldest_goes_first(void **state)
{
    (void)state;
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++)
        cuda_graphs_return(&graphs, use(i, 3, STATUS_OK));
    cuda_graphs_return(&graphs, use(0, 3, STATUS_OK));  /* used again: 1 is the oldest now */
    assert_int_equal(usage_now().graphs, CUDA_GRAPHS_MOST);
    cuda_graphs_return(&graphs, use(CUDA_GRAPHS_MOST, 3, STATUS_OK));
    assert_true(is_kept(0));
    assert_false(is_kept(1));
    assert_true(is_kept(2));
    for (int i = CUDA_GRAPHS_MOST + 1; i < PLANS; i++)
        cuda_graphs_return(&graphs, use(i, 3, STATUS_OK));
    assert_int_equal(usage_now().graphs, CUDA_GRAPHS_MOST);
    assert_int_equal(emu_runtime_usage().executables, CUDA_GRAPHS_MOST);
    assert_int_equal(usage_now().evictions, 8);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    const int         nodes = 12000;
    struct pool_usage usage;
    for (int i = 0; i < 5; i++) {
        cuda_graphs_return(&graphs, use(i, nodes, STATUS_OK));
        pool_usage(device_pool, &usage);
        assert_int_equal(usage.in_use, usage_now().graph_bytes);
        assert_true(usage_now().graph_bytes <= CUDA_GRAPHS_BYTES);
    }
    assert_int_equal(usage_now().graphs, 2);
    assert_true(is_kept(4) && is_kept(3));
}

static void taken_ones_stay(void **state)
{
    (void)state;
    struct cuda_graph *first = use(0, 12000, STATUS_OK), *second = use(1, 12000, STATUS_OK);
    struct cuda_graph *third = use(2, 12000, STATUS_BUDGET);  /* no room beside two that are in use */
    cuda_graphs_return(&graphs, third);
    assert_true(is_kept(0) && is_kept(1));
    cuda_graphs_return(&graphs, second);
    cuda_graphs_return(&graphs, use(2, 12000, STATUS_OK));
    assert_true(is_kept(0) && !is_kept(1) && is_kept(2));
    cuda_graphs_return(&graphs, first);
    struct cuda_graph *all[CUDA_GRAPHS_MOST];
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++)
        all[i] = cuda_graphs_take(&graphs, plan_at(i), lane_at(1));
    assert_null(cuda_graphs_take(&graphs, plan_at(0), lane_at(2)));
    for (int i = 0; i < CUDA_GRAPHS_MOST; i++)
        cuda_graphs_return(&graphs, all[i]);
}

static void plans_and_lanes_are_forgotten(void **state)
{
    (void)state;
    cuda_graphs_return(&graphs, use(0, 3, STATUS_OK));
    cuda_graphs_return(&graphs, use(1, 3, STATUS_OK));
    cuda_graphs_forget(&graphs, plan_at(0), NULL);
    assert_true(!is_kept(0) && is_kept(1));
    cuda_graphs_forget(&graphs, NULL, lane_at(1));
    assert_true(is_kept(1));
    cuda_graphs_forget(&graphs, NULL, lane_at(0));
    assert_int_equal(usage_now().graphs, 0);
    assert_int_equal(emu_runtime_usage().executables, 0);
}

static void ceiling_of_the_pool_counts(void **state)
{
    (void)state;
    struct error       error = { 0 };
    struct pool       *small;
    struct cuda_graphs tight;
    assert_int_equal(pool_open(&small, 100 << 10, NULL), STATUS_OK);
    cuda_graphs_open(&tight, small);
    struct cuda_graph *entry = cuda_graphs_take(&tight, plan_at(0), lane_at(0));
    cudaGraph_t        graph = graph_of(100);
    assert_int_equal(cuda_graphs_keep(&tight, entry, graph, &context, &error), STATUS_BUDGET);
    assert_null(entry->executable);
    cudaGraphDestroy(graph);
    graph = graph_of(3);
    assert_int_equal(cuda_graphs_keep(&tight, entry, graph, &context, &error), STATUS_OK);
    cudaGraphDestroy(graph);
    cuda_graphs_return(&tight, entry);
    cuda_graphs_close(&tight);
    pool_close(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(oldest_goes_first, begin, end),
        cmocka_unit_test_setup_teardown(bytes_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(taken_ones_stay, begin, end),
        cmocka_unit_test_setup_teardown(plans_and_lanes_are_forgotten, begin, end),
        cmocka_unit_test_setup_teardown(ceiling_of_the_pool_counts, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
