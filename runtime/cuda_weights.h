/* cuda_weights.h: a model's weights on a GPU: a range of addresses for as long as the model is open, memory behind it while the
 * model is awake. Uploading copies through two pinned buffers by turns; they exist until weights_finish. */
#ifndef RECTO_RUNTIME_CUDA_WEIGHTS_H
#define RECTO_RUNTIME_CUDA_WEIGHTS_H

#include "runtime/accelerator.h"

MUST_CHECK status cuda_weights_open(const struct device *device, size_t bytes, struct device_weights **weights,
                                    struct error *error);
void              cuda_weights_close(struct device_weights *weights);
char             *cuda_weights_base(const struct device_weights *weights);
MUST_CHECK status cuda_weights_put(struct device_weights *weights, size_t offset, const void *data, size_t bytes,
                                   struct error *error);
MUST_CHECK status cuda_weights_finish(struct device_weights *weights, struct error *error);
void              cuda_weights_sleep(struct device_weights *weights);
MUST_CHECK status cuda_weights_wake(struct device_weights *weights, struct error *error);

#endif
