#include "profiling/gpu/cublaslt.h"

#include <dlfcn.h>
#include <stdlib.h>

/* The few names of its interface that are needed; its headers need not be installed. */
enum { COMPUTE_32F = 68, R_32F = 0, R_16BF = 14 };
enum { DESC_TRANSA = 3, DESC_EPILOGUE = 7, DESC_BIAS = 8, DESC_BIAS_TYPE = 26 };
enum { EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32, TRANSPOSE = 1, WORKSPACE_BYTES = 1 };

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
    struct heuristic chosen;
};

static const size_t workspace_bytes = (size_t)64 << 20;

static void find(struct cublaslt *library, void *function, const char *name)
{
    /* A pointer to a function as POSIX wants it read. */
    *(void **)function = dlsym(library->file, name);
    if (!*(void **)function)
        bench_check(cudaErrorNotSupported, name);
}

struct cublaslt *cublaslt_open(void)
{
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so" };
    void                    *file    = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !file; i++)
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

/* It counts columns first: y^T [n, rows] = W [n, k] x^T [k, rows], where a row of ours is a column of its. */
static struct plan *make_plan(const struct cublaslt_work *work)
{
    const struct cublaslt *library = work->library;
    struct plan           *plan    = calloc(1, sizeof *plan);
    const int              transpose = TRANSPOSE, type = R_16BF;
    const int              epilogue  = (work->bias ? EPILOGUE_BIAS : 0) | (work->gelu ? EPILOGUE_GELU : 0);
    handle                 preference;
    int                    count = 0;
    if (!plan)
        bench_check(cudaErrorMemoryAllocation, "taking memory");
    library->desc_create(&plan->desc, COMPUTE_32F, R_32F);
    library->desc_set(plan->desc, DESC_TRANSA, &transpose, sizeof transpose);
    if (epilogue)
        library->desc_set(plan->desc, DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (work->bias) {
        library->desc_set(plan->desc, DESC_BIAS, &work->bias, sizeof work->bias);
        library->desc_set(plan->desc, DESC_BIAS_TYPE, &type, sizeof type);
    }
    library->layout_create(&plan->a, R_16BF, (uint64_t)work->k, (uint64_t)work->n, work->k);
    library->layout_create(&plan->b, R_16BF, (uint64_t)work->k, (uint64_t)work->rows, work->k);
    library->layout_create(&plan->y, R_16BF, (uint64_t)work->n, (uint64_t)work->rows, work->n);
    library->preference_create(&preference);
    library->preference_set(preference, WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes);
    library->choose(library->library, plan->desc, plan->a, plan->b, plan->y, plan->y, preference, 1, &plan->chosen, &count);
    library->preference_destroy(preference);
    if (count == 0)
        plan->chosen.state = 1;
    return plan;
}

cudaError_t cublaslt_launch(const struct bench_device *device, void *context)
{
    static const float    one = 1, zero = 0;
    struct cublaslt_work *work = context;
    if (!work->plan)
        work->plan = make_plan(work);
    const struct plan *plan = work->plan;
    if (plan->chosen.state != 0)
        return cudaErrorNotSupported;
    const int status = work->library->multiply(work->library->library, plan->desc, &one, work->weight, plan->a, work->x, plan->b,
                                               &zero, work->y, plan->y, work->y, plan->y, &plan->chosen.algorithm,
                                               work->library->workspace, workspace_bytes, device->stream);
    return status == 0 ? cudaSuccess : cudaErrorNotSupported;
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
