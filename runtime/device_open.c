#include "runtime/device_open.h"

#ifdef RECTO_CUDA
#include "runtime/device_cuda.h"

static status open_cuda(struct device *device, const struct device_request *request, bool *absent, struct error *error)
{
    return device_cuda(device, request, absent, error);
}
#else
static status open_cuda(struct device *device, const struct device_request *request, bool *absent, struct error *error)
{
    (void)device, (void)request;
    *absent = true;
    return error_set(error, STATUS_DEVICE, "this build has no CUDA backend; use auto or cpu");
}
#endif

status device_open(struct device *device, const struct device_request *request, struct device_note *note, struct error *error)
{
    bool absent = false;
    *note       = (struct device_note){ 0 };
    if (request->wish == DEVICE_CUDA) {
        status result = open_cuda(device, request, &absent, error);
        return result == STATUS_OK ? STATUS_OK : error_prefix(error, "device cuda");
    }
    if (request->wish == DEVICE_AUTO && !*request->variant) {
        if (open_cuda(device, request, &absent, &note->reason) == STATUS_OK)
            return STATUS_OK;
        note->is_warning = !absent;
    }
    return device_cpu(device, request->machine, request->variant, error);
}

void device_close(struct device *device)
{
    if (device->accelerator)
        device->accelerator->close(device);
}
