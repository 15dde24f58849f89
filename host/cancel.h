/* cancel.h: the flag behind recto_cancel. */
#ifndef RECTO_HOST_CANCEL_H
#define RECTO_HOST_CANCEL_H

#include "host/recto.h"

#include <stdbool.h>

bool cancel_is_raised(const recto_cancel *cancel);

#endif
