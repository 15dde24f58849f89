/* A program with kernels and a CUDA runtime of its own beside the one inside librecto.a. Prints one line; exits 0 if both work, as
 * far as the machine lets them. */
#include <recto.h>

#include "tests/cuda/probe.h"

#include <stdio.h>

int main(void)
{
    recto_engine *engine = NULL;
    recto_error   error  = RECTO_ERROR_INIT;
    if (recto_engine_open(&engine, NULL, &error) != RECTO_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int               devices = 0;
    const cudaError_t found   = cudaGetDeviceCount(&devices);
    const cudaError_t scaled  = probe_scale(NULL, 1.0f, 0, NULL, NULL);
    recto_engine_close(engine);
    printf("recto %s; of its own %d devices (%s), a launch says %s\n", recto_version(), devices, cudaGetErrorName(found),
           cudaGetErrorName(scaled));
    /* No blocks are a launch that is wrong, and without a driver no launch is right. */
    return scaled == cudaSuccess;
}
