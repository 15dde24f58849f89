/* device_open.h: which device computes: the one asked for, or the best that is here. */
#ifndef RECTO_RUNTIME_DEVICE_OPEN_H
#define RECTO_RUNTIME_DEVICE_OPEN_H

#include "runtime/accelerator.h"

enum device_wish { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };

struct device_request {
    enum device_wish      wish;
    const struct machine *machine;
    const char           *variant;      /* kernels of the CPU, or "": the best. Whoever names them wants the CPU */
    struct pool          *host_pool, *device_pool;
    bool                  ranges;       /* a tool wants to be told what is computed when */
};

/* Why DEVICE_AUTO took the CPU. */
struct device_note {
    bool         is_warning;  /* a GPU is here and cannot be used */
    struct error reason;      /* its message is empty where nothing else was tried */
};

MUST_CHECK status device_open(struct device *device, const struct device_request *request, struct device_note *note,
                              struct error *error);
/* When all that was opened on it is closed. */
void device_close(struct device *device);

#endif
