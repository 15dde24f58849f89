/* device_cuda.h: a GPU as a struct device. Only in builds with CUDA; device_open.c is what others ask. */
#ifndef RECTO_RUNTIME_DEVICE_CUDA_H
#define RECTO_RUNTIME_DEVICE_CUDA_H

#include "runtime/device_open.h"

/* STATUS_DEVICE with one sentence where no GPU can be used; `absent`: because there is none. device->accelerator->close is due
 * after success, when all else of it is closed. */
MUST_CHECK status device_cuda(struct device *device, const struct device_request *request, bool *absent, struct error *error);

#endif
