#include "runtime/cuda_ranges.h"

#ifdef RECTO_NVTX
#define NVTX_AS_SYSTEM_HEADER
#define NVTX_SUPPORT_STATIC_INJECTION_LIBRARY 0  /* a weak symbol that a program around this library might define */
#include <nvtx3/nvToolsExt.h>

#include <stdarg.h>
#include <stdio.h>

void cuda_ranges_open(struct cuda_ranges *ranges) { ranges->domain = nvtxDomainCreateA("recto"); }

void cuda_ranges_close(struct cuda_ranges *ranges)
{
    if (ranges->domain)
        nvtxDomainDestroy(ranges->domain);
    ranges->domain = NULL;
}

static nvtxEventAttributes_t named(const char *name)
{
    return (nvtxEventAttributes_t){ .version = NVTX_VERSION, .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                                    .messageType = NVTX_MESSAGE_TYPE_ASCII, .message.ascii = name };
}

void cuda_ranges_push(const struct cuda_ranges *ranges, const char *format, ...)
{
    char    name[64];
    va_list arguments;
    if (!ranges->domain)
        return;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    const nvtxEventAttributes_t event = named(name);
    nvtxDomainRangePushEx(ranges->domain, &event);
}

void cuda_ranges_push_count(const struct cuda_ranges *ranges, const char *name, uint64_t count)
{
    if (!ranges->domain)
        return;
    nvtxEventAttributes_t event = named(name);
    event.payloadType           = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
    event.payload.ullValue      = count;
    nvtxDomainRangePushEx(ranges->domain, &event);
}

void cuda_ranges_pop(const struct cuda_ranges *ranges)
{
    if (ranges->domain)
        nvtxDomainRangePop(ranges->domain);
}
#else
void cuda_ranges_open(struct cuda_ranges *ranges) { (void)ranges; }
void cuda_ranges_close(struct cuda_ranges *ranges) { (void)ranges; }
void cuda_ranges_push(const struct cuda_ranges *ranges, const char *format, ...) { (void)ranges, (void)format; }
void cuda_ranges_push_count(const struct cuda_ranges *ranges, const char *name, uint64_t count)
{
    (void)ranges, (void)name, (void)count;
}
void cuda_ranges_pop(const struct cuda_ranges *ranges) { (void)ranges; }
#endif
