/* accelerator.h: a device with memory of its own, as the engine uses it. The CPU is none.
 *
 * Its arenas are mapped by device->memory, booked in the pool of device memory, and out of the host's reach: a lane has memory
 * where the host writes the inputs of a run and finds the result. A lane belongs to one run at a time; all else may be
 * called from any thread at once, except closing.
 *
 * Weights are put into memory that is reserved once. Sleeping gives the bytes back and keeps the addresses, so that plans, and
 * what the device made of them, stay valid; waking brings memory that has to be put anew.
 */
#ifndef RECTO_RUNTIME_ACCELERATOR_H
#define RECTO_RUNTIME_ACCELERATOR_H

#include "runtime/device.h"

struct lane;
struct device_weights;

/* How runs were computed. A replay is one order to the device for all kernels of a run. */
struct accelerator_usage {
    const char *name;           /* what the device calls itself */
    uint64_t    memory;         /* bytes that it has */
    uint64_t    replays;
    uint64_t    eager;          /* kernel by kernel, because it was the plan's first run or is timed */
    uint64_t    fallbacks;      /* kernel by kernel for another reason */
    uint64_t    captures, evictions;
    uint64_t    graphs, graph_bytes;  /* kept now; the bytes are an estimate */
    char        reason[256];    /* of the last fallback; "" */
    char        lost[448];      /* why the device can no longer be used; "" */
};

/* What the device does at most in a second, by its clocks: operations, of dense products for bf16 and fp8, and bytes of its
 * memory. 0: not known. */
struct accelerator_rates {
    double fp32, bf16, fp8, bytes;
};

struct accelerator {
    /* Whether it computes a network of this precision. */
    bool (*offers)(const struct device *device, enum dtype precision);
    /* What a plan needs of an arena. */
    size_t (*run_bytes)(const struct plan *plan);

    MUST_CHECK status (*lane_open)(const struct device *device, struct lane **lane, struct error *error);
    void (*lane_close)(struct lane *lane);  /* null is allowed */
    /* Gives back the host memory of a lane that belongs to no run. */
    void (*lane_trim)(struct lane *lane);
    /* Memory for a run of run->plan; sets run->host. */
    MUST_CHECK status (*lane_fit)(struct lane *lane, struct run *run, struct error *error);
    /* Computes, and waits for the result. STATUS_DEVICE: it failed; the next run may succeed, unless the device is lost. With
     * `times`, which may be null, kernel by kernel. */
    MUST_CHECK status (*lane_run)(struct lane *lane, const struct run *run, struct run_times *times, struct error *error);
    /* The plan will be closed; nobody runs it. */
    void (*forget)(const struct device *device, const struct plan *plan);

    /* Bytes from row to row of a linear's weights, which lie [n padded][k] here. */
    size_t (*weight_stride)(enum dtype type, int k);
    /* Awake, contents undefined; offsets are multiples of ACCELERATOR_ALIGNMENT. */
    MUST_CHECK status (*weights_open)(const struct device *device, size_t bytes, struct device_weights **weights,
                                      struct error *error);
    void (*weights_close)(struct device_weights *weights);  /* null is allowed */
    char *(*weights_base)(const struct device_weights *weights);
    MUST_CHECK status (*weights_put)(struct device_weights *weights, size_t offset, const void *data, size_t bytes,
                                     struct error *error);
    MUST_CHECK status (*weights_finish)(struct device_weights *weights, struct error *error);  /* all that was put is there */
    void (*weights_sleep)(struct device_weights *weights);
    MUST_CHECK status (*weights_wake)(struct device_weights *weights, struct error *error);

    void (*usage)(const struct device *device, struct accelerator_usage *usage);
    void (*rates)(const struct device *device, struct accelerator_rates *rates);
    /* A range of the calling thread that a profiler shows, within those that are open. Where none listens, nothing. */
    void (*range_begin)(const struct device *device, const char *name);
    void (*range_end)(const struct device *device);
    void (*close)(struct device *device);
};

enum { ACCELERATOR_ALIGNMENT = 256 };

#endif
