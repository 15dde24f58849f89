/* Scales on a device, if there is one, and checks the values. Prints one line; exits 0 if all is as it should be, or if there is
 * no device. */
#include "tests/cuda/probe.h"

#include <stdio.h>

enum { COUNT = 1000 };

static int check(const char *name, cudaError_t (*scale)(const float *, float, int, float *, cudaStream_t), float *device)
{
    float values[COUNT];
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i;
    cudaError_t status = cudaMemcpy(device, values, sizeof values, cudaMemcpyHostToDevice);
    if (!status)
        status = scale(device, 2.0f, COUNT, device, NULL);
    if (!status)
        status = cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost);
    for (int i = 0; i < COUNT && !status; i++)
        if (values[i] != 2.0f * (float)i)
            status = cudaErrorUnknown;
    printf("%s: %s\n", name, cudaGetErrorString(status));
    return status != cudaSuccess;
}

int main(void)
{
    int         count  = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver || status == cudaErrorStubLibrary) {
        printf("no device: %s\n", cudaGetErrorString(status));
        return 0;
    }
    float *device = NULL;
    status        = status ? status : cudaMalloc((void **)&device, COUNT * sizeof *device);
    if (status) {
        printf("device: %s\n", cudaGetErrorString(status));
        return 1;
    }
    struct cudaDeviceProp facts;
    int failed = check("scale", probe_scale, device);
    if (!cudaGetDeviceProperties(&facts, 0) && facts.major == 9)
        failed |= check("scale_sm90", probe_scale_sm90, device);
    cudaFree(device);
    return failed;
}
