/* cuda_runtime_api.h: the part of CUDA's runtime interface that recto uses, for builds against the emulated runtime.
 *
 * Names and values are those of the real header, so that the same sources compile against either; what recto does not call
 * is not here. Serves C (the host part) and C++ (kernels compiled for the emulator). What the functions do beyond their
 * contract, and how tests steer it, is in tests/emu/runtime/runtime.h.
 */
#ifndef RECTO_TESTS_EMU_RUNTIME_INCLUDE_CUDA_RUNTIME_API_H
#define RECTO_TESTS_EMU_RUNTIME_INCLUDE_CUDA_RUNTIME_API_H

#include "tests/emu/emu_types.h"

#include <stddef.h>

#define CUDART_VERSION 13000

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError {
    cudaSuccess                        = 0,
    cudaErrorInvalidValue              = 1,
    cudaErrorMemoryAllocation          = 2,
    cudaErrorInitializationError       = 3,
    cudaErrorInvalidConfiguration      = 9,
    cudaErrorInvalidMemcpyDirection    = 21,
    cudaErrorStubLibrary               = 34,
    cudaErrorInsufficientDriver        = 35,
    cudaErrorDevicesUnavailable        = 46,
    cudaErrorInvalidDeviceFunction     = 98,
    cudaErrorNoDevice                  = 100,
    cudaErrorInvalidDevice             = 101,
    cudaErrorDeviceUninitialized       = 201,
    cudaErrorNoKernelImageForDevice    = 209,
    cudaErrorECCUncorrectable          = 214,
    cudaErrorUnsupportedPtxVersion     = 222,
    cudaErrorInvalidResourceHandle     = 400,
    cudaErrorNotReady                  = 600,
    cudaErrorIllegalAddress            = 700,
    cudaErrorLaunchOutOfResources      = 701,
    cudaErrorLaunchTimeout             = 702,
    cudaErrorContextIsDestroyed        = 709,
    cudaErrorAssert                    = 710,
    cudaErrorHardwareStackError        = 714,
    cudaErrorIllegalInstruction        = 715,
    cudaErrorMisalignedAddress         = 716,
    cudaErrorInvalidAddressSpace       = 717,
    cudaErrorInvalidPc                 = 718,
    cudaErrorLaunchFailure             = 719,
    cudaErrorNotPermitted              = 800,
    cudaErrorNotSupported              = 801,
    cudaErrorSystemNotReady            = 802,
    cudaErrorSystemDriverMismatch      = 803,
    cudaErrorStreamCaptureUnsupported  = 900,
    cudaErrorStreamCaptureInvalidated  = 901,
    cudaErrorStreamCaptureWrongThread  = 908,
    cudaErrorInvalidClusterSize        = 912,
    cudaErrorUnknown                   = 999
} cudaError_t;

const char *cudaGetErrorName(cudaError_t error);
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);

/* ---- Devices ---- */

typedef struct cudaDeviceProp {
    char   name[256];
    size_t totalGlobalMem;
    size_t sharedMemPerBlockOptin;
    int    major, minor;
    int    multiProcessorCount;
} cudaDeviceProp;
enum cudaDeviceAttr {
    cudaDevAttrClockRate                     = 13,
    cudaDevAttrMultiProcessorCount           = 16,
    cudaDevAttrComputeMode                   = 20,
    cudaDevAttrMemoryClockRate               = 36,
    cudaDevAttrGlobalMemoryBusWidth          = 37,
    cudaDevAttrComputeCapabilityMajor        = 75,
    cudaDevAttrComputeCapabilityMinor        = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin  = 97
};
enum cudaComputeMode { cudaComputeModeDefault = 0, cudaComputeModeProhibited = 2 };

cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize(void);

enum cudaDriverEntryPointQueryResult {
    cudaDriverEntryPointSuccess             = 0,
    cudaDriverEntryPointSymbolNotFound      = 1,
    cudaDriverEntryPointVersionNotSufficent = 2
};
#define cudaEnableDefault 0
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned int version, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *result);

/* ---- Memory ---- */

enum cudaMemcpyKind {
    cudaMemcpyHostToHost     = 0,
    cudaMemcpyHostToDevice   = 1,
    cudaMemcpyDeviceToHost   = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault        = 4
};
#define cudaHostAllocDefault 0

typedef struct CUstream_st *cudaStream_t;

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **pointer, size_t bytes);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int flags);
cudaError_t cudaFreeHost(void *pointer);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemset(void *to, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);

/* ---- Streams and events ---- */

typedef struct CUevent_st *cudaEvent_t;
#define cudaStreamDefault       0
#define cudaStreamNonBlocking   1
#define cudaEventDefault        0
#define cudaEventBlockingSync   1
#define cudaEventDisableTiming  2

cudaError_t cudaStreamCreate(cudaStream_t *stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end);

/* ---- Launches ---- */

typedef enum cudaLaunchAttributeID {
    cudaLaunchAttributeIgnore                          = 0,
    cudaLaunchAttributeClusterDimension                = 4,
    cudaLaunchAttributeProgrammaticStreamSerialization = 6
} cudaLaunchAttributeID;
typedef union cudaLaunchAttributeValue {
    char pad[64];
    struct {
        unsigned int x, y, z;
    } clusterDim;
    int programmaticStreamSerializationAllowed;
} cudaLaunchAttributeValue;
typedef struct cudaLaunchAttribute_st {
    cudaLaunchAttributeID    id;
    char                     pad[8 - sizeof(cudaLaunchAttributeID)];
    cudaLaunchAttributeValue val;
} cudaLaunchAttribute;
typedef struct cudaLaunchConfig_st {
    dim3                 gridDim, blockDim;
    size_t               dynamicSmemBytes;
    cudaStream_t         stream;
    cudaLaunchAttribute *attrs;
    unsigned int         numAttrs;
} cudaLaunchConfig_t;
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments);
cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value);

/* ---- Graphs ---- */

typedef struct CUgraph_st     *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;
typedef struct CUgraphNode_st *cudaGraphNode_t;
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal      = 0,
    cudaStreamCaptureModeThreadLocal = 1,
    cudaStreamCaptureModeRelaxed     = 2
};

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

#ifdef __cplusplus
}
#endif

#endif
