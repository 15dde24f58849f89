/* A profiler as small as can be: NVTX loads it by NVTX_INJECTION64_PATH, and it appends to the file that RANGES_LOG names, a line
 * a call: the thread, then "domain NAME", "push PAYLOAD NAME", "pop" or "destroy". */
#include <nvtx3/nvToolsExt.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static FILE           *file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int             domain;  /* its address is the handle */

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&lock);
    fprintf(file, "%ld ", syscall(SYS_gettid));
    vfprintf(file, format, arguments);
    fputc('\n', file);
    fflush(file);
    pthread_mutex_unlock(&lock);
    va_end(arguments);
}

static nvtxDomainHandle_t domain_create(const char *name)
{
    note("domain %s", name);
    return (nvtxDomainHandle_t)(void *)&domain;
}

static void domain_destroy(nvtxDomainHandle_t handle) { note((void *)handle == &domain ? "destroy" : "destroy what is none"); }

static int range_push(nvtxDomainHandle_t handle, const nvtxEventAttributes_t *event)
{
    const int known = (void *)handle == &domain && event->version == NVTX_VERSION && event->size == sizeof *event &&
                      event->messageType == NVTX_MESSAGE_TYPE_ASCII;
    note("push %llu %s", event->payloadType == NVTX_PAYLOAD_TYPE_UNSIGNED_INT64 ? (unsigned long long)event->payload.ullValue : 0,
         known ? event->message.ascii : "without a name");
    return 0;
}

static int range_pop(nvtxDomainHandle_t handle)
{
    note((void *)handle == &domain ? "pop" : "pop of another domain");
    return 0;
}

/* What NVTX looks for in the library. */
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table);

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table)
{
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    const char                     *path      = getenv("RANGES_LOG");
    NvtxFunctionTable               table;
    unsigned                        size = 0;
    if (!path || !callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) ||
        size <= NVTX_CBID_CORE2_DomainDestroy || !(file = fopen(path, "a")))
        return 0;
    nvtxDomainCreateA_impl_fntype     create  = domain_create;
    nvtxDomainDestroy_impl_fntype     destroy = domain_destroy;
    nvtxDomainRangePushEx_impl_fntype push    = range_push;
    nvtxDomainRangePop_impl_fntype    pop     = range_pop;
    memcpy((void *)table[NVTX_CBID_CORE2_DomainCreateA], &create, sizeof create);
    memcpy((void *)table[NVTX_CBID_CORE2_DomainDestroy], &destroy, sizeof destroy);
    memcpy((void *)table[NVTX_CBID_CORE2_DomainRangePushEx], &push, sizeof push);
    memcpy((void *)table[NVTX_CBID_CORE2_DomainRangePop], &pop, sizeof pop);
    return 1;
}
