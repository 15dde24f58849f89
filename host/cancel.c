#include "host/cancel.h"

#include "host/engine.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Raised from any thread and from signal handlers: an atomic word and nothing more. */
struct recto_cancel {
    atomic_int raised;
};

recto_status recto_cancel_open(recto_cancel **cancel, recto_error *error)
{
    struct error local = { 0 };
    *cancel            = calloc(1, sizeof **cancel);
    status result      = *cancel ? STATUS_OK : error_set(&local, STATUS_MEMORY, "cancel: the system gave no memory");
    return engine_report(&local, result, error);
}

void recto_cancel_raise(recto_cancel *cancel) { atomic_store(&cancel->raised, 1); }
void recto_cancel_close(recto_cancel *cancel) { free(cancel); }
bool cancel_is_raised(const recto_cancel *cancel) { return atomic_load(&((recto_cancel *)(uintptr_t)cancel)->raised) != 0; }
