#include "profiling/gpu/cublaslt.h"

#include <dlfcn.h>
#include <stdlib.h>

/* The few names of its interface that are needed; its headers need not be installed. */
enum { COMPUTE_32F = 68, R_32F = 0, R_16BF = 14, R_8F_E4M3 = 28 };
enum { DESC_TRANSA = 3, DESC_EPILOGUE = 7, DESC_BIAS = 8, DESC_A_SCALES = 17, DESC_B_SCALES = 18, DESC_BIAS_TYPE = 26,
       DESC_A_SCALING = 31, DESC_B_SCALING = 32 };
enum { EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32, TRANSPOSE = 1, WORKSPACE_BYTES = 1, SCALING_OUTER_VECTORS = 3 };
enum { CANDIDATES = 16, TRIALS = 5 };  /* algorithms at most, and launches of which one gets its median */

typedef void *handle;
struct algorithm {
    uint64_t data[8];
};
struct heuristic {
    struct algorithm algorithm;
    size_t           workspace;
    int              state;
    float            waves;
    int              reserved[4];
};

struct cublaslt {
    void  *file;
    handle library;
    void  *workspace;
    int (*create)(handle *);
    int (*destroy)(handle);
    int (*desc_create)(handle *, int compute, int scale);
    int (*desc_destroy)(handle);
    int (*desc_set)(handle, int name, const void *value, size_t bytes);
    int (*layout_create)(handle *, int type, uint64_t rows, uint64_t columns, int64_t stride);
    int (*layout_destroy)(handle);
    int (*preference_create)(handle *);
    int (*preference_destroy)(handle);
    int (*preference_set)(handle, int name, const void *value, size_t bytes);
    int (*choose)(handle, handle desc, handle a, handle b, handle c, handle d, handle preference, int wanted,
                  struct heuristic *found, int *count);
    int (*multiply)(handle, handle desc, const void *alpha, const void *a, handle a_layout, const void *b, handle b_layout,
                    const void *beta, const void *c, handle c_layout, void *d, handle d_layout, const struct algorithm *,
                    void *workspace, size_t workspace_bytes, cudaStream_t stream);
};

struct plan {
    handle           desc, a, b, y;
    struct heuristic found[CANDIDATES];
    int              chosen;  /* -1: it has no algorithm */
};

static const size_t workspace_bytes = (size_t)64 << 20;

static void find(struct cublaslt *library, void *function, const char *name)
{
    /* A pointer to a function as POSIX wants it read. */
    *(void **)function = dlsym(library->file, name);
    if (!*(void **)function)
        bench_check(cudaErrorNotSupported, name);
}

struct cublaslt *cublaslt_open(const char *path)
{
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so" };
    void                    *file    = *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !file && !*path; i++)
        file = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    struct cublaslt *library = file ? calloc(1, sizeof *library) : NULL;
    if (!library)
        return NULL;
    library->file = file;
    find(library, &library->create, "cublasLtCreate");
    find(library, &library->destroy, "cublasLtDestroy");
    find(library, &library->desc_create, "cublasLtMatmulDescCreate");
    find(library, &library->desc_destroy, "cublasLtMatmulDescDestroy");
    find(library, &library->desc_set, "cublasLtMatmulDescSetAttribute");
    find(library, &library->layout_create, "cublasLtMatrixLayoutCreate");
    find(library, &library->layout_destroy, "cublasLtMatrixLayoutDestroy");
    find(library, &library->preference_create, "cublasLtMatmulPreferenceCreate");
    find(library, &library->preference_destroy, "cublasLtMatmulPreferenceDestroy");
    find(library, &library->preference_set, "cublasLtMatmulPreferenceSetAttribute");
    find(library, &library->choose, "cublasLtMatmulAlgoGetHeuristic");
    find(library, &library->multiply, "cublasLtMatmul");
    if (library->create(&library->library) != 0) {
        dlclose(file);
        free(library);
        return NULL;
    }
    library->workspace = bench_memory(workspace_bytes);
    return library;
}

void cublaslt_close(struct cublaslt *library)
{
    if (!library)
        return;
    bench_free(library->workspace);
    library->destroy(library->library);
    dlclose(library->file);
    free(library);
}

/* False where this version of the library does not know a setting. */
static bool describe(const struct cublaslt_work *work, handle desc)
{
    const struct cublaslt *library = work->library;
    const int transpose = TRANSPOSE, bias_type = work->residual ? R_32F : R_16BF, scaling = SCALING_OUTER_VECTORS;
    const int epilogue = (work->bias ? EPILOGUE_BIAS : 0) | (work->gelu ? EPILOGUE_GELU : 0);
    const struct {
        bool        wanted;
        int         name;
        const void *value;
        size_t      bytes;
    } settings[] = {
        { true, DESC_TRANSA, &transpose, sizeof transpose },
        { epilogue != 0, DESC_EPILOGUE, &epilogue, sizeof epilogue },
        { work->bias != NULL, DESC_BIAS, &work->bias, sizeof work->bias },
        { work->bias != NULL, DESC_BIAS_TYPE, &bias_type, sizeof bias_type },
        { work->x_scales != NULL, DESC_A_SCALING, &scaling, sizeof scaling },
        { work->x_scales != NULL, DESC_B_SCALING, &scaling, sizeof scaling },
        { work->x_scales != NULL, DESC_A_SCALES, &work->weight_scales, sizeof work->weight_scales },
        { work->x_scales != NULL, DESC_B_SCALES, &work->x_scales, sizeof work->x_scales },
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].wanted && library->desc_set(desc, settings[i].name, settings[i].value, settings[i].bytes) != 0)
            return false;
    return true;
}

static cudaError_t multiply(const struct bench_device *device, const struct cublaslt_work *work, int candidate)
{
    static const float           one = 1, zero = 0;
    const struct plan           *plan    = work->plan;
    const struct cublaslt       *library = work->library;
    const void                  *c       = work->residual ? work->residual : work->y;
    const int status = library->multiply(library->library, plan->desc, &one, work->weight, plan->a, work->x, plan->b,
                                         work->residual ? &one : &zero, c, plan->y, work->y, plan->y,
                                         &plan->found[candidate].algorithm, library->workspace, workspace_bytes, device->stream);
    return status == 0 ? cudaSuccess : cudaErrorNotSupported;
}

struct trial {
    const struct cublaslt_work *work;
    int                         candidate;
};

static cudaError_t run_trial(const struct bench_device *device, void *context)
{
    const struct trial *trial = context;
    return multiply(device, trial->work, trial->candidate);
}

/* The fastest of the candidates; what the heuristic holds for the best often is not. */
static int choose(const struct bench_device *device, const struct cublaslt_work *work, int count)
{
    const struct plan  *plan = work->plan;
    struct bench_device few  = *device;
    double              best = 0;
    int                 chosen = -1;
    few.rounds = TRIALS < device->rounds ? TRIALS : device->rounds;
    for (int i = 0; i < count; i++) {
        struct trial trial   = { work, i };
        const double seconds = plan->found[i].state == 0 ? bench_seconds(&few, run_trial, &trial) : 0;
        if (seconds > 0 && (chosen < 0 || seconds < best)) {
            best   = seconds;
            chosen = i;
        }
    }
    return chosen;
}

/* It counts columns first: y^T [n, rows] = W [n, k] x^T [k, rows], where a row of ours is a column of its. */
static void make_plan(const struct bench_device *device, struct cublaslt_work *work)
{
    const struct cublaslt *library = work->library;
    struct plan           *plan    = calloc(1, sizeof *plan);
    const int              type    = work->x_scales ? R_8F_E4M3 : R_16BF;
    handle                 preference;
    int                    count = 0;
    if (!plan)
        bench_check(cudaErrorMemoryAllocation, "taking memory");
    work->plan = plan;
    library->desc_create(&plan->desc, COMPUTE_32F, R_32F);
    const bool known = describe(work, plan->desc);
    library->layout_create(&plan->a, type, (uint64_t)work->k, (uint64_t)work->n, work->k);
    library->layout_create(&plan->b, type, (uint64_t)work->k, (uint64_t)work->rows, work->k);
    library->layout_create(&plan->y, work->residual ? R_32F : R_16BF, (uint64_t)work->n, (uint64_t)work->rows, work->n);
    library->preference_create(&preference);
    library->preference_set(preference, WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes);
    if (known)
        library->choose(library->library, plan->desc, plan->a, plan->b, plan->y, plan->y, preference, CANDIDATES, plan->found,
                        &count);
    library->preference_destroy(preference);
    plan->chosen = choose(device, work, count);
}

cudaError_t cublaslt_launch(const struct bench_device *device, void *context)
{
    struct cublaslt_work *work = context;
    if (!work->plan)
        make_plan(device, work);
    const struct plan *plan = work->plan;
    return plan->chosen < 0 ? cudaErrorNotSupported : multiply(device, work, plan->chosen);
}

void cublaslt_finish(struct cublaslt_work *work)
{
    struct plan *plan = work->plan;
    if (!plan)
        return;
    work->library->layout_destroy(plan->a);
    work->library->layout_destroy(plan->b);
    work->library->layout_destroy(plan->y);
    work->library->desc_destroy(plan->desc);
    free(plan);
    work->plan = NULL;
}
