#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

status error_set(struct error *error, status code, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return code;
}

status error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return STATUS_INTERNAL;
    char    text[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    int room = (int)(sizeof text - used) - 3;  /* what a long prefix pushes out is cut off at the end */
    snprintf(text + used, sizeof text - used, ": %.*s", room > 0 ? room : 0, error->message);
    memcpy(error->message, text, sizeof text);
    return error->code;
}

const char *status_name(status code)
{
    switch (code) {
    case STATUS_OK: return "ok";
    case STATUS_USAGE: return "usage";
    case STATUS_INPUT: return "input";
    case STATUS_MODEL: return "model";
    case STATUS_IO: return "io";
    case STATUS_BUDGET: return "budget";
    case STATUS_MEMORY: return "memory";
    case STATUS_CANCELLED: return "cancelled";
    case STATUS_DEADLINE: return "deadline";
    case STATUS_DEVICE: return "device";
    case STATUS_INTERNAL: return "internal";
    }
    return "unknown";
}
