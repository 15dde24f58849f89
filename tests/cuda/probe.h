/* probe.h: y[i] = factor * x[i] for i below count, on a device; the second in the kind of file that is for sm_90a alone. */
#ifndef RECTO_TESTS_CUDA_PROBE_H
#define RECTO_TESTS_CUDA_PROBE_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t probe_scale(const float *x, float factor, int count, float *y, cudaStream_t stream);
cudaError_t probe_scale_sm90(const float *x, float factor, int count, float *y, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
